"""Are two worlds told apart that are the same?"""

import numpy as np
import polars as pl
from plain_logs import bench_and_traffic

import divergence as dv


def _answer(log):
    return dv.matrix(dv.fit(dv.collapse(dv.read(log)), seed=0))


def _value(answer, statistic, regime=None):
    return float(np.median(answer.where(statistic=statistic, regime=regime).draws))


def test_the_same_world_twice_is_not_told_apart():
    answer = _answer(
        bench_and_traffic(np.random.default_rng(3), contexts=1).with_columns(
            context=pl.lit("same"), trial=pl.int_range(pl.len())
        )
    )
    for name in ("outside", "contexts", "unseen"):
        assert _value(answer, f"{name} p") == 1.0
    assert _value(answer, "context_tokens p") > 0.01
    floor = answer.where(statistic="context_tokens", regime=None).noise_floor[0]
    assert abs(_value(answer, "context_tokens")) < 2 * floor
