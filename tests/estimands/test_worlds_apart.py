"""Are two worlds told apart that are the same?"""

import numpy as np
import polars as pl

import divergence as dv


def _log(rng, overlap=1.0, tokens=(100, 100), contexts=3, models=5, items=60, waves=2):
    """Bench and traffic; a share of the traffic's items are the bench's; tokens and costs by regime."""
    rows = []
    live = [f"c{k}" for k in range(contexts)]
    for regime, labels, size in (("evaluation", ["bench"], tokens[0]), ("deployment", live, tokens[1])):
        for m in range(models):
            for label in labels:
                for i in range(items):
                    name = f"i{i}" if regime == "evaluation" or i < overlap * items else f"new{i}"
                    for w in range(waves):
                        rows.append(
                            (
                                regime,
                                f"m{m}",
                                label,
                                name,
                                str(w),
                                float(rng.random() < 0.4 + 0.1 * m),
                                int(rng.poisson(size)),
                                0.01 * (m + 1),
                            )
                        )
    return pl.DataFrame(
        rows, orient="row", schema=["regime", "model", "context", "item", "wave", "score", "input_tokens", "cost_usd"]
    )


def _answer(log):
    return dv.matrix(dv.fit(dv.collapse(dv.read(log)), seed=0))


def _value(answer, statistic, regime=None):
    return float(np.median(answer.where(statistic=statistic, regime=regime).draws))


def test_the_same_world_twice_is_not_told_apart():
    answer = _answer(
        _log(np.random.default_rng(3), contexts=1).with_columns(context=pl.lit("same"), trial=pl.int_range(pl.len()))
    )
    for name in ("outside", "contexts", "unseen"):
        assert _value(answer, f"{name} p") == 1.0
    assert _value(answer, "context_tokens p") > 0.01
    floor = answer.where(statistic="context_tokens", regime=None).noise_floor[0]
    assert abs(_value(answer, "context_tokens")) < 2 * floor
