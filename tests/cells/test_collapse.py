"""Collapse against a loop over rows, and as a commutative monoid."""

import collections

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import divergence as dv
from divergence.cells.cells import TABLES
from divergence.configuration import ContextLaw
from divergence.simulate import simulate, world


def _log(seed=0, **changes):
    log, _ = simulate(world("sessions", n_models=2, n_contexts=2, n_items=12), seed)
    return log.with_columns(**changes)


def _same(a, b):
    assert a.levels == b.levels
    for name in TABLES:
        for key in (*TABLES[name][0], *TABLES[name][1]):
            np.testing.assert_array_equal(getattr(a, name)[key], getattr(b, name)[key], err_msg=f"{name}.{key}")


def test_counts_against_a_loop():
    log = _log()
    cells = dv.collapse(dv.read(log))
    expected = collections.defaultdict(lambda: np.zeros(2))
    for row in log.iter_rows(named=True):
        expected[row["model"], row["regime"], row["context"], row["item"]] += [1, row["score"]]
    seen = {}
    for k in range(len(cells.counts)):
        key = tuple(cells.levels[name][cells.counts[name][k]] for name in ("model", "regime", "context", "item"))
        seen[key] = (cells.counts["n"][k], cells.counts["y"][k])
    assert seen == {k: tuple(v) for k, v in expected.items()}


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**31 - 1), st.floats(0.05, 0.95))
def test_merge_is_the_whole(seed, share):
    log = _log(answer=pl.when(pl.col("score") > 0).then(pl.lit("a")).otherwise(pl.lit("b")))
    first = np.random.default_rng(seed).random(log.height) < share
    first[:2] = [True, False]
    # Factors are named, so that a part in which one does not vary still counts it.
    setting = dv.Configuration(factors=("quantization", "kv_cache_dtype", "concurrency"), kind="binary")
    part = [dv.collapse(dv.read(log.filter(f), configuration=setting)) for f in (first, ~first)]
    whole = dv.collapse(dv.read(log, configuration=setting))
    _same(dv.merge(*part), whole)
    _same(dv.merge(*part[::-1]), whole)


def test_different_outcomes_do_not_merge():
    log = _log()
    binary = dv.collapse(dv.read(log))
    seconds = dv.collapse(dv.read(log.with_columns(latency_s=0.5), configuration=dv.Configuration(outcome="latency_s")))
    with pytest.raises(dv.InputError, match="cannot be merged"):
        dv.merge(binary, seconds)


def test_a_published_rate_counts_its_trials():
    log = pl.DataFrame(
        {"regime": "deployment", "model": "m", "context": ["a", "b"], "score": [0.25, 0.501], "score_n": [100, 133]}
    )
    counts = dv.collapse(dv.read(log)).counts
    assert counts["n"].tolist() == [100, 133]
    assert counts["y"].tolist() == [25, 67]  # .501 x 133 = 66.6: published rates are rounded, counts are whole
    assert (counts["item"] == -1).all()


def test_different_laws_do_not_merge():
    """What was declared about deployment is part of the cells: two answers to two questions do not add up."""
    parts = [
        dv.collapse(dv.read(_log(), configuration=dv.Configuration(deployment_law=ContextLaw(name))))
        for name in ("uniform", "own")
    ]
    with pytest.raises(dv.InputError, match="declared_law 'uniform' and 'own' cannot be merged"):
        dv.merge(*parts)
