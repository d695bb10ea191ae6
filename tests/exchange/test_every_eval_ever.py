"""A log written as Every Eval Ever: valid under the tool's own schemas, read back the same, with our intervals."""

import datetime
import hashlib
import json
import math
import os
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from divergence.cli import main
from divergence.errors import InputError
from divergence.exchange import Evaluator, level_intervals, write
from divergence.executions import read
from divergence.executions.importers import import_log
from divergence.executions.importers import write as write_import

SCHEMAS = Path(__file__).resolve().parents[3] / "shared" / "logs" / "every_eval_ever"
NOW = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
SEED = 7


def rows(models=("org/a",), tasks=("t",), contexts=("x",), items=40, trials=2):
    """A log whose items differ in difficulty, with errors and rows that nobody judged."""
    rng = np.random.default_rng(SEED)
    found = []
    for model in models:
        for task in tasks:
            chance = rng.beta(4, 2, items)
            for context in contexts:
                for item in range(items):
                    for trial in range(trials):
                        found.append(
                            {
                                "regime": "evaluation",
                                "model": model,
                                "task": task,
                                "item": f"{task}/{item}",
                                "trial": trial,
                                "engine": context,
                                "sampler": "temperature=0.5,max_new_tokens=16,seed=1",
                                "score": float(rng.random() < chance[item]),
                                "answer": "yes",
                                "gold": "yes",
                                "scorer": "exact",
                                "error_type": None,
                                "latency_s": 0.25,
                                "input_tokens": 5,
                                "output_tokens": 7,
                                "cost_usd": 0.125,
                                "execution_id": f"{model}{task}{context}{item}{trial}",
                                "time": NOW,
                            }
                        )
    found[0] |= {"score": None, "error_type": "http_429", "answer": None}
    found[1] |= {"error_type": "AgentTimeoutError", "score": 0.0}
    found[2] |= {"score": None}
    return pl.DataFrame(found)


def files(folder):
    return sorted(folder.rglob("*.json"))


def validator(name):
    jsonschema = pytest.importorskip("jsonschema")
    if not (SCHEMAS / name).is_file():
        pytest.skip("the schemas ../shared/logs/every_eval_ever are not on this machine")
    return jsonschema.Draft7Validator(json.loads((SCHEMAS / name).read_text()))


@pytest.mark.parametrize("model", ["org/a", "stub-a", "/models/llama 3 (q4).gguf", "a/b/c", "modèle"])
def test_what_is_written_is_valid_whatever_the_model_is_called(tmp_path, model):
    log = read(rows(models=(model,), tasks=("a|0", "b"), items=6))
    written = write(log, level_intervals(log)[0], tmp_path / "out", Evaluator("me", "first_party", "made"), NOW)
    assert len(written.files) == len(files(tmp_path / "out")) == 2
    aggregate, instance = validator("eval.schema.json"), validator("instance_level_eval.schema.json")
    for path in files(tmp_path / "out"):
        said = json.loads(path.read_text())
        assert [error.message for error in aggregate.iter_errors(said)] == []
        assert said["model_info"]["id"] == model
        details = said["detailed_evaluation_results"]
        body = (tmp_path / "out" / details["file_path"]).read_bytes()
        assert hashlib.sha256(body).hexdigest() == details["checksum"]
        lines = [json.loads(line) for line in body.splitlines()]
        assert len(lines) == details["total_rows"]
        assert [error.message for line in lines for error in instance.iter_errors(line)] == []
        assert {line["evaluation_id"] for line in lines} == {said["evaluation_id"]}
        results = {result["evaluation_result_id"] for result in said["evaluation_results"]}
        assert {line["evaluation_result_id"] for line in lines} <= results


def test_the_score_is_the_mean_the_error_is_by_items_and_the_interval_is_ours(tmp_path):
    frame = rows()
    log = read(frame)
    intervals, notes = level_intervals(log)
    write(log, intervals, tmp_path / "out", now=NOW)
    assert notes == ()
    said = json.loads(files(tmp_path / "out")[0].read_text())
    (result,) = said["evaluation_results"]
    judged = frame.filter(pl.col("score").is_not_null())
    scores = judged["score"].to_numpy()
    details = result["score_details"]
    assert details["score"] == scores.mean()
    assert details["uncertainty"]["num_samples"] == len(scores)
    sums = judged.group_by("item").agg((pl.col("score") - scores.mean()).sum())["score"].to_numpy()
    expected = math.sqrt(len(sums) / (len(sums) - 1) * np.sum(sums**2)) / len(scores)
    assert details["uncertainty"]["standard_error"]["value"] == pytest.approx(expected, rel=1e-12)
    (interval,) = intervals.values()
    limits = details["uncertainty"]["confidence_interval"]
    assert (limits["lower"], limits["upper"], limits["confidence_level"]) == (interval.lower, interval.upper, 0.9)
    assert limits["lower"] < scores.mean() < limits["upper"]
    # 40 items at this spread: the posterior interval has about the width of +-1.64 clustered standard errors
    assert limits["upper"] - limits["lower"] == pytest.approx(2 * 1.645 * expected, rel=0.25)
    assert result["generation_config"]["generation_args"] == {"temperature": 0.5, "max_tokens": 16}
    assert said["model_info"]["inference_engine"] == {"name": "x"}


def test_what_is_written_is_read_back_the_same(tmp_path):
    frame = rows(models=("org/a", "b"), contexts=("x", "y"), items=5)
    log = read(frame)
    written = write(log, {}, tmp_path / "out", now=NOW)
    assert (written.rows, written.unjudged) == (frame.height - 1, 1)
    back = import_log([tmp_path / "out"])
    assert back.rejected.height == 0
    assert not [note for note in back.notes if "in the log itself" in note or "checksum" in note]
    kept = frame.filter(pl.col("score").is_not_null() | pl.col("error_type").is_not_null())
    for column in frame.columns:
        got = back.executions.sort("execution_id")[column].to_list()
        want = kept.sort("execution_id")[column].to_list()
        if column == "scorer":
            want = [
                scorer if score is not None else None
                for scorer, score in zip(want, kept.sort("execution_id")["score"], strict=True)
            ]
        assert got == pytest.approx(want) if column == "latency_s" else got == want, column


def test_one_log_is_the_same_files_again_and_others_stay(tmp_path):
    log = read(rows(items=4))
    other = tmp_path / "out" / "data" / "t" / "of-others.json"
    other.parent.mkdir(parents=True)
    other.write_text("{}")
    first = write(log, {}, tmp_path / "out", now=NOW)
    again = write(log, {}, tmp_path / "out", now=NOW)
    assert first == again
    assert other.read_text() == "{}"
    assert len(files(tmp_path / "out")) == 2


def test_an_unknown_relationship_is_refused_and_writes_nothing(tmp_path):
    with pytest.raises(InputError, match="relationship"):
        write(read(rows(items=2)), {}, tmp_path / "out", Evaluator(relationship="friend"))
    assert not (tmp_path / "out").exists()


def test_the_verb_writes_a_genuine_log_with_its_further_outcomes(tmp_path, capsys):
    if not (SCHEMAS.parent / "lighteval").is_dir():
        pytest.skip("the genuine logs ../shared/logs/lighteval are not on this machine")
    write_import(import_log([SCHEMAS.parent / "lighteval"], primary="extractive_match"), tmp_path / "log.parquet")
    paths = [str(path) for path in tmp_path.glob("*.parquet")]
    with pytest.raises(SystemExit) as done:
        main(["export", *paths, "--format", "every-eval-ever", "-o", str(tmp_path / "out"), "--json"])
    assert done.value.code == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["rows"], len(said["files"]), said["notes"]) == (120, 2, [])
    means = {}
    for path in files(tmp_path / "out"):
        for result in json.loads(path.read_text())["evaluation_results"]:
            means.setdefault(result["evaluation_result_id"], []).append(result["score_details"]["score"])
            assert ("confidence_interval" in result["score_details"]["uncertainty"]) == (
                result["evaluation_result_id"] == "extractive_match"
            )
    assert {name: sorted(values) for name, values in means.items()} == {
        "extractive_match": [0.8, 0.9333333333333333],
        "em": [0.31666666666666665, 0.3333333333333333],
    }
    with pytest.raises(SystemExit) as refused:
        main(["export", *paths, "--format", "none", "-o", str(tmp_path / "other")])
    assert refused.value.code == 2
    assert not (tmp_path / "other").exists()


@pytest.mark.tools
def test_the_tools_own_validator_passes_what_is_written(tmp_path):
    """Needs `pip install every_eval_ever` (Python 3.12): on the PATH, or as the command in `DIVERGENCE_EVERY_EVAL_EVER`."""
    given = os.environ.get("DIVERGENCE_EVERY_EVAL_EVER")
    command = shlex.split(given) if given else [shutil.which("every_eval_ever")]
    if command[0] is None:
        pytest.skip("every_eval_ever is not on this machine")
    log = read(rows(models=("org/a", "stub-a"), items=6))
    write(log, level_intervals(log)[0], tmp_path / "out")
    paths = [str(path) for path in (tmp_path / "out").rglob("*") if path.is_file()]
    done = subprocess.run([*command, "validate", *paths], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout
    assert "4 passed" in done.stdout
