"""Medians and 95 % points of times against plain counts."""

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.cells.histograms import RELATIVE_ERROR
from divergence.executions import read


def log(spread: float, regime: str = "deployment", items: int = 60) -> pl.DataFrame:
    random = np.random.default_rng(17)
    rows = [
        {
            "regime": regime,
            "model": m,
            "context": c,
            "item": f"i{i}",
            "score": float(random.random() < 0.6),
            "latency_s": float(random.lognormal(shift, spread)),
        }
        for m, shift in (("A", 0.0), ("B", 1.0))
        for c in (("x", "y") if m == "A" else ("x",))
        for i in range(items)
    ]
    return pl.DataFrame(rows)


@pytest.mark.parametrize(("spread", "regime"), [(0.3, "deployment"), (1.2, "deployment"), (0.5, "evaluation")])
def test_quantiles_are_those_of_the_rows(spread, regime):
    frame = log(spread, regime)
    posterior = dv.fit(read(frame, configuration=dv.Configuration(outcome="latency_s")).cells, seed=0)
    answer = dv.deployed_level(posterior) if regime == "deployment" else dv.bench_level(posterior)
    found = answer.to_frame().filter(pl.col("context").is_not_null())
    assert found.height == 6 and found["identified"].all() and set(found["unit"]) == {"s"}
    for row in found.iter_rows(named=True):
        values = frame.filter(model=row["model"], context=row["context"])["latency_s"].to_numpy()
        share = {"median": 0.5, "quantile_95": 0.95}[row["statistic"]]
        # the bootstrap's median lies at the plain quantile, within a bin and two standard errors of that quantile
        error = np.sqrt(share * (1 - share) / len(values))
        low, high = np.quantile(values, [max(share - 2 * error, 0), min(share + 2 * error, 1)])
        assert low * (1 - RELATIVE_ERROR) <= row["median"] <= high * (1 + RELATIVE_ERROR)
        assert row["lower"] < row["median"] < row["upper"]
    plain = answer.where(statistic=None).to_frame()
    assert plain["model"].to_list() == ["A", "B"] and plain["context"].null_count() == 2


def test_scores_have_none_and_few_rows_say_why():
    posterior = dv.fit(read(log(0.5)).cells, seed=0)
    assert dv.deployed_level(posterior).where(statistic="median").rows.height == 0
    few = read(log(0.5, items=6), configuration=dv.Configuration(outcome="latency_s"))
    answer = dv.deployed_level(dv.fit(few.cells, seed=0)).where(statistic="median")
    assert answer.rows.height == 3 and not answer.identified and "its uncertainty needs 10" in answer.reasons[0]
