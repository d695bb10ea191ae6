"""Is the committed data set what its plan, its items and its card say it is?"""

import datetime
import hashlib
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.executions.schema import COLUMNS
from divergence.probe import scoring
from divergence.probe.item_files import read_items
from divergence.probe.reading import read_plan
from divergence.probe.store import execution_id
from lab import items

FOLDER = Path(__file__).parents[2] / "datasets" / "serving-lab"


@pytest.fixture(scope="module")
def plan():
    return read_plan(FOLDER / "plan.toml")


@pytest.fixture(scope="module")
def rows():
    return pl.read_parquet(FOLDER / "data.parquet")


def test_items_are_made_by_the_generator():
    lines = [json.loads(line) for line in (FOLDER / "items.jsonl").read_text(encoding="utf-8").splitlines()]
    assert lines == items.items()
    assert len({row["item"] for row in lines}) == len(lines) == 204
    assert len({row["prompt"] + row["gold"] + str(row["examples"]) for row in lines}) == 204
    assert len({row["task"] for row in lines}) == 6 and {row["wording"] for row in lines} == {1, 2, 3}


def test_gold_answers_score_as_right_and_examples_do_not_give_them_away():
    for row in items.items():
        assert scoring.score(f" {row['gold']}.", row)[1] == 1.0
        assert row["prompt"] not in [question for question, _ in row["examples"]]


def test_sums_and_lookups_are_right_by_construction():
    for row in items.items():
        if row["task"] == "sum":
            a, b = [int(word) for word in row["prompt"].replace("?", " ").split() if word.isdigit()]
            assert a + b == int(row["gold"])
        if row["task"] == "lookup":
            assert f"has a {row['gold']}" in row["prompt"]


def test_checksums_are_right():
    lines = (FOLDER / "SHA256").read_text().splitlines()
    assert len(lines) == 7
    for line in lines:
        digest, name = line.split("  ")
        assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == digest, name


def test_schema_file_describes_the_columns(rows):
    declared = {c["name"]: c for c in json.loads((FOLDER / "schema.json").read_text())["columns"]}
    assert list(declared) == rows.columns
    for name, dtype in rows.schema.items():
        assert dtype == COLUMNS[name].dtype and declared[name]["type"] == str(dtype)


def test_every_planned_execution_is_there_once(plan, rows):
    listed = read_items(plan)
    planned = {
        (c.label, i["item"], s.model, wave, trial)
        for c in plan.context for i in listed for s in plan.system
        for wave in range(1, plan.waves + 1) for trial in range((wave - 1) * plan.trials + 1, wave * plan.trials + 1)
    }  # fmt: skip
    keys = [(c, i, m, int(w), t) for c, i, m, w, t in rows.select("context", "item", "model", "wave", "trial").rows()]
    assert len(keys) == len(planned) == 31_824 and set(keys) == planned
    identity = plan.hash(listed)
    assert rows["execution_id"].to_list() == [execution_id(identity, key) for key in keys]


def test_factors_and_scores_follow_from_plan_and_items(plan, rows):
    for context in plan.context:
        part = rows.filter(context=context.label)
        assert set(part["regime"]) == {context.regime}
        swapped = {r.name: r.factors for r in context.router.replica} if context.router else {}
        for factor, level in context.factors.items():
            assert set(part[factor]) == {level, *(f[factor] for f in swapped.values() if factor in f)}
    known = {row["item"]: row for row in items.items()}
    lenient = pl.read_parquet(FOLDER / "outcomes.parquet").select("execution_id", lenient="value")
    both = rows.join(lenient, on="execution_id")
    assert both.height == rows.height
    for name, answer, strict in rows.select("item", "answer", "score").unique().rows():
        assert scoring.score(answer, known[name])[1] == strict
    assert (both["lenient"] >= both["score"]).all()


def test_embeddings_cover_every_answer_and_every_prompt(rows):
    table = dv.read(FOLDER).embedded()
    assert table.height == rows.height
    for column in ("embedding", "prompt_embedding"):
        vectors = table[column].list.to_array(384).to_numpy()
        assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() < 0.01  # int8 rounds a unit vector by less


def test_telemetry_counts_what_the_log_says(rows):
    """Requests that the router's own counters saw, against the rows of its context: an independent count."""
    table = pl.read_parquet(FOLDER / "telemetry.parquet")
    assert table["window_start"].min() >= rows["time"].min() - datetime.timedelta(seconds=20)
    answered = table.filter(pl.col("metric").is_in(["router_answered_own_total", "router_answered_small_total"]))
    seen = answered.group_by("metric").agg(pl.col("value").sum()).sort("metric")["value"].to_list()
    said = rows.filter(context="mix").group_by("quantization").len().sort("quantization")["len"].to_list()
    assert all(0.5 * b < a <= b for a, b in zip(seen, said, strict=True))  # the last window of a server is never whole


def test_known_controls_hold(rows):
    """What the card promises, by plain counting."""
    waves = rows.pivot("wave", index=["context", "model", "item"], values="answer", aggregate_function="first")
    moved = dict(waves.group_by("context").agg((pl.col("1") != pl.col("2")).mean()).rows())
    assert moved["bench"] == moved["cut"] == moved["second-engine"] == 0.0
    assert moved["load"] < 0.02 < 0.3 < moved["sampled"]
    level = dict(rows.group_by("context").agg(pl.col("score").mean()).rows())
    for same in ("load", "flash", "second-engine"):
        assert abs(level[same] - level["bench"]) < 0.01
    assert level["chatml"] < level["cut"] < level["flash-kv4"] < level["mix"] < level["bench"]
    cell = {(m, c): s for m, c, s in rows.group_by("model", "context").agg(pl.col("score").mean()).rows()}
    broken = "smollm2-135m-q4_1"
    assert cell[broken, "second-engine-large"] < cell[broken, "second-engine"] - 0.35
    others = {m for m, _ in cell} - {broken}
    assert all(abs(cell[m, "second-engine-large"] - cell[m, "bench"]) < 0.02 for m in others)
    share = rows.filter(context="mix")["quantization"].eq("swapped_q4_0").mean()
    assert abs(share - 0.3) < 3 * (0.3 * 0.7 / (6 * 408)) ** 0.5
