"""How much the bench flatters: minus the gap, draw by draw, under any law."""

import numpy as np

import divergence as dv


def test_it_is_bench_minus_deployment(waves_posterior):
    law = {"context-1": 0.25, "context-2": 0.75}
    found = dv.evaluation_advantage(waves_posterior, law=law)
    bench, deployed = dv.bench_level(waves_posterior), dv.deployed_level(waves_posterior, law=law)
    np.testing.assert_allclose(found.draws, bench.draws - deployed.draws, atol=1e-12)
    assert found.rows["model"].to_list() == bench.rows["model"].to_list()
