"""What a person and a script see of a scoring run."""

import json

import numpy as np
import polars as pl
import pytest
import small_scorer
from small_scorer import ENGINES, ITEMS, MODELS

from divergence.cli.score_summary import run
from divergence.errors import InputError
from divergence.scoring.outcome_counts import calibration, merge

OPTIONS = {"load": small_scorer.load, "workers": 0}


def test_summary_and_json(model, logs, tmp_path, capsys):
    (logs / "notes.md").write_text("notes")
    assert run(str(model), (str(logs),), str(tmp_path / "out"), quiet=False, as_json=False, **OPTIONS) == 0
    said = capsys.readouterr().out
    made = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert f"{made['scored']:,} requests scored in 6 of 6 partitions" in said
    assert "calibration on" in said and "worst context" in said and "notes.md" in said
    assert run(str(model), (str(logs),), str(tmp_path / "out"), quiet=True, as_json=True, **OPTIONS) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["rows"], told["partitions"], told["failed"]) == (made["rows"], 6, 0)
    assert told["calibration"] == made["calibration"]


def test_a_failure_is_exit_one_and_only_failures_are_exit_two(model, logs, tmp_path, capsys):
    (logs / "part-1.parquet").write_bytes(b"no columns")
    assert run(str(model), (str(logs),), str(tmp_path / "out"), quiet=True, as_json=True, **OPTIONS) == 1
    seen = capsys.readouterr()
    assert json.loads(seen.out)["failed"] == 1 and "FAILED" in seen.err and "part-1.parquet" in seen.err
    run(str(model), (str(logs),), str(tmp_path / "out"), quiet=False, as_json=False, **OPTIONS)
    seen = capsys.readouterr()
    assert (seen.out + seen.err).count("FAILED") == 1 and f"FAILED {logs / 'part-1.parquet'}: " in seen.err
    assert "earlier results of partitions that failed now" not in seen.out
    with pytest.raises(InputError, match="none of 1 partitions could be scored; the first: "):
        run(str(model), (str(logs / "part-1.parquet"),), str(tmp_path / "o"), quiet=True, as_json=False, **OPTIONS)


def test_a_log_without_outcomes_says_nothing_about_calibration(model, logs, tmp_path, capsys):
    pl.read_parquet(logs / "part-0.parquet").drop("score").write_parquet(tmp_path / "a.parquet")
    run(str(model), (str(tmp_path / "a.parquet"),), str(tmp_path / "out"), quiet=False, as_json=False, **OPTIONS)
    assert "no request of this log is judged" in capsys.readouterr().out


def sums(risk, failed):
    """The counts of one context by a loop over rows."""
    found = {}
    for r, y in zip(risk.tolist(), failed, strict=True):
        n, failures = found.get(r, (0, 0))
        found[r] = n + 1, failures + int(y)
    risks = sorted(found)
    return {"risk": risks, "n": [found[r][0] for r in risks], "failures": [found[r][1] for r in risks]}


def test_calibration_of_a_perfect_score_is_inside_its_null_and_of_a_wrong_one_is_not():
    """4000 rows: of 40 perfect scores about 2 exceed a 95 % limit; more than 7 would happen once in 500 times."""
    outside = wrong = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        risk = random.beta(2, 5, 4000)
        failed = random.random(4000) < risk
        outside += not calibration({"c": sums(risk, failed)})["inside_null"]
        wrong += not calibration({"c": sums(np.sqrt(risk), failed)})["inside_null"]
    assert outside <= 7 and wrong == 40


def test_calibration_finds_the_worst_context_and_adds_up():
    random = np.random.default_rng(1)
    parts = []
    for shift in (0, 0, 0.2):
        risk = random.uniform(0.2, 0.5, 500)
        parts.append({f"c{shift}": sums(risk, random.random(500) < risk + shift)})
    whole = calibration(merge(parts))
    assert whole["worst_context"]["context"] == "c0.2" and whole["judged"] == 1500
    assert whole["contexts"]["c0"]["judged"] == 1000
    assert abs(sum(b["n"] * b["risk"] for b in whole["bins"]) / 1500 - whole["risk"]) < 1e-12
    assert calibration({}) is None


def test_the_levels_of_the_small_model_are_all_scored(model, logs, tmp_path):
    """A known request is one whose model and context the model has."""
    run(str(model), (str(logs),), str(tmp_path / "out"), quiet=True, as_json=True, **OPTIONS)
    rows = pl.concat(pl.read_parquet(p) for p in sorted(logs.rglob("*.parquet"))).filter(pl.col("regime") == "deployment")
    known = pl.concat(pl.read_parquet(p) for p in sorted((tmp_path / "out").rglob("*.parquet")))["known"].sum()
    assert len(ITEMS) == 12
    assert known == rows.filter(pl.col("model").is_in(MODELS) & pl.col("engine").is_in(ENGINES)).height
