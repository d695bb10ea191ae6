"""Quantiles of risk and plain rates of the rows that a model was made from, by loops over them."""

import numpy as np
import polars as pl
import risk_worlds as worlds

import divergence as dv
from divergence.risk.build import risk_model
from divergence.risk.training_traffic import SHARES

KEYS = ("model", "context", "task")


def test_quantiles_and_rates_are_those_of_the_rows():
    frame, _ = worlds.make(3, models=3, contexts=3, tasks=3, items=30)
    log = dv.read(frame)
    model = risk_model(dv.fit(dv.collapse(log), seed=0), log)
    rows = frame.filter(regime="deployment")
    batch = rows.select(*KEYS, "item").to_arrow().combine_chunks().to_batches()[0]
    scores = pl.from_arrow(model.score(batch))
    risks = np.sort(scores["risk"].to_numpy())
    steps = (np.arange(SHARES) + 0.5) / SHARES
    np.testing.assert_array_equal(model.traffic["risks"], risks[np.ceil(steps * len(risks) - 1e-9).astype(int) - 1])
    # The share that is at least as risky, to a step of the quantiles.
    share = 1 - np.searchsorted(risks, scores["risk"].to_numpy()) / len(risks)
    assert np.abs(scores["audit"].to_numpy() - share).max() <= 1 / SHARES + 1e-9
    plain = model.plain(
        rows.with_columns(item=pl.lit("new")).select(*KEYS, "item").to_arrow().combine_chunks().to_batches()[0]
    )
    obvious = rows.join(rows.group_by(KEYS).agg(rate=1 - pl.col("score").mean()), on=KEYS, maintain_order="left")["rate"]
    np.testing.assert_allclose(plain, obvious.to_numpy())
    known = model.plain(batch)
    exact = rows.join(
        rows.group_by(*KEYS, "item").agg(rate=1 - pl.col("score").mean()), on=[*KEYS, "item"], maintain_order="left"
    )
    assert np.abs(known - exact["rate"].to_numpy()).max() <= 0.5 / 255 + 1e-12
