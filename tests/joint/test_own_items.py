"""Traffic that asks other questions than the bench beside contexts that replay it: it says nothing about the bench."""

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.joint import arm_noise

BENCH = np.array([0.55, 0.5, 0.3, 0.25])
"""Rates of four models on the bench's items."""


def _log(other: np.ndarray, seed: int = 0) -> pl.DataFrame:
    """A bench of 60 items, a context that replays it and loses a tenth of the answers, and chats of 120 other items with
    rates `other`."""
    random, rows = np.random.default_rng(seed), []
    for m, (rate, chat) in enumerate(zip(BENCH, other, strict=True)):
        right = random.permutation(60) < 60 * rate
        served = right & (random.random(60) > 0.1)
        talked = random.permutation(120) < 120 * chat
        for regime, context, name, score in (
            ("evaluation", "bench", "item", right),
            ("deployment", "replay", "item", served),
            ("deployment", "chat", "turn", talked),
        ):
            rows += [(regime, f"m{m}", context, f"{name}-{k}", float(s)) for k, s in enumerate(score)]
    return pl.DataFrame(rows, schema=["regime", "model", "context", "item", "score"], orient="row")


def _bench(log: pl.DataFrame) -> np.ndarray:
    """Bench levels of the models, from the fit."""
    return dv.bench_level(dv.fit(dv.collapse(dv.read(log)), seed=0)).to_frame().sort("model")["mean"].to_numpy()


@pytest.mark.parametrize("other", [[0.65, 0.6, 0.65, 0.6], [0.2, 0.5, 0.5, 0.8], [0.95, 0.9, 0.85, 0.9]])
@pytest.mark.parametrize("many", [False, True])
def test_other_items_draw_no_bench(other, many, monkeypatch):
    if many:
        monkeypatch.setattr(arm_noise, "DENSE_ARMS_MAX", 4)
    log = _log(np.array(other))
    alone = _bench(log.filter(pl.col("context") != "chat"))
    both = _bench(log)
    assert np.abs(both - alone).mean() < 0.01  # the levels' own standard errors are .06
    raw = log.filter(pl.col("regime") == "evaluation").group_by("model").agg(pl.col("score").mean()).sort("model")["score"]
    assert abs((both - raw.to_numpy()).mean()) < 0.01
