"""Counts of risk against outcome, however a log is cut."""

import json

import numpy as np
import polars as pl
import pyarrow as pa
import small_scorer
from small_scorer import requests

from divergence.risk.reliability import reliability
from divergence.scoring.outcome_counts import Observations, calibration, merge
from divergence.scoring.score import score_log


def test_what_happened_is_counted_beside_what_was_predicted(model, logs, tmp_path):
    scored = score_log(model, [logs], tmp_path / "out", load=small_scorer.load, workers=0)
    rows = pl.concat(pl.read_parquet(p) for p in sorted(logs.rglob("*.parquet")))
    judged = rows.filter((pl.col("regime") == "deployment") & pl.col("score").is_not_null())
    by_context = judged.group_by("engine").agg(n=pl.len(), failures=(1 - pl.col("score")).sum())
    for engine, n, failures in by_context.iter_rows():
        sums = scored.observed[f"engine={engine}"]
        assert (sum(sums["n"]), sum(sums["failures"])) == (n, failures)
        assert sums["risk"] == sorted(set(sums["risk"]))
    risk = pl.concat(pl.read_parquet(p) for p in sorted((tmp_path / "out").rglob("*.parquet")))
    joined = judged.join(risk, on="execution_id")
    # Six partitions, cut into contexts, give what all rows in memory give: the same counts, so the same numbers.
    here = reliability(joined["risk"].to_numpy(), 1 - joined["score"].to_numpy())
    told = json.loads((tmp_path / "out" / "manifest.json").read_text())["calibration"]
    assert len({*here} - {"rows", "clusters", "design_effect"}) == 10
    for name in here.keys() - {"rows", "clusters", "design_effect"}:
        assert told[name] == here[name], name


def test_more_risks_than_are_counted_one_by_one_are_rounded_however_a_log_is_cut():
    random = np.random.default_rng(0)
    risk = random.random(4000)
    failed = (random.random(4000) < risk).astype(float)
    context = pa.array(np.zeros(4000, np.int32))
    context = pa.DictionaryArray.from_arrays(context, pa.array(["c"]))
    found, known = [], np.ones(4000, bool)
    for size in (4000, 100):
        mine = Observations()
        for k in range(0, 4000, size):
            mine.add(context[k : k + size], risk[k : k + size], known[k : k + size], 1 - failed[k : k + size], np.ones(size))
        found.append(mine.sums[0])
    halves = []
    for part in (np.s_[:300], np.s_[300:]):  # the first has few risks and is not rounded before both are together
        mine = Observations()
        mine.add(context[part], risk[part], known[part], 1 - failed[part], np.ones(4000)[part])
        halves.append(mine.sums[0])
    assert found[0] == found[1] == merge(halves) and len(found[0]["c"]["risk"]) <= 513
    whole, told = reliability(risk, failed), calibration(found[0])
    # Rounding moves a risk by 1/1024 at most; the error, and what a perfect score has, by no more.
    assert abs(whole["ece"] - told["ece"]) < 1 / 1024 and abs(whole["brier"] - told["brier"]) < 2 / 1024


def test_judged_rates_count_their_trials(model, tmp_path):
    """A rate of 2 of 4 trials is two failures, in counts as in memory."""
    rows = requests(1500, 3).filter(pl.col("regime") == "deployment").with_columns(score_n=pl.lit(4))
    rows = rows.with_columns(score=pl.Series(np.random.default_rng(0).integers(0, 5, rows.height) / 4))
    rows.write_parquet(tmp_path / "rates.parquet")
    scored = score_log(model, [tmp_path / "rates.parquet"], tmp_path / "out", load=small_scorer.load, workers=0)
    out = pl.read_parquet(tmp_path / "out" / "rates.parquet").join(rows, on="execution_id")
    here = reliability(out["risk"].to_numpy(), 1 - out["score"].to_numpy(), weight=np.full(out.height, 4.0))
    told = scored.manifest["calibration"]
    assert told["judged"] == 4 * out.height and told["ece"] == here["ece"] and told["bins"] == here["bins"]
