"""`divergence score` as it is typed: a risk model of the embedded lab's log, and that log."""

import json
import os
import pathlib
import pickle
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.cli import main
from divergence.risk.build import risk_model
from divergence.risk.model import RiskModel
from divergence.scoring.outputs import UNFINISHED
from divergence.scoring.score import score_log

ROOT = pathlib.Path(__file__).parents[2]
LAB = ROOT / "datasets" / "serving-lab"


@pytest.fixture(scope="module")
def lab_model(tmp_path_factory):
    """A risk model of the lab's log."""
    log = dv.read(LAB)
    folder = tmp_path_factory.mktemp("model")
    risk_model(dv.fit(dv.collapse(log), seed=0), log).save(folder)
    return folder


def typed(capsys, *arguments):
    """Exit code, stdout and stderr of the command."""
    with pytest.raises(SystemExit) as ended:
        main(["score", *map(str, arguments)])
    seen = capsys.readouterr()
    return ended.value.code, seen.out, seen.err


def test_the_embedded_log_is_scored_with_a_summary_of_calibration(lab_model, tmp_path, capsys):
    code, said, _ = typed(capsys, lab_model, LAB, "-o", tmp_path / "out", "--workers", 0)
    rows = pl.read_parquet(LAB / "data.parquet")
    deployed = rows.filter(pl.col("regime") == "deployment")
    assert code == 0, said
    assert f"{deployed.height:,} requests scored in 1 of 1 partitions" in said
    assert "calibration on" in said and "when the model was made: calibration" in said
    out = pl.read_parquet(tmp_path / "out" / "data.parquet")
    assert out["execution_id"].to_list() == deployed["execution_id"].to_list()
    assert out["known"].all() and not out["risk"].is_nan().any()
    assert ((out["lower"] <= out["risk"]) & (out["risk"] <= out["upper"])).all()
    judged = out.join(deployed.select("execution_id", "score"), on="execution_id").drop_nulls("score")
    told = json.loads((tmp_path / "out" / "manifest.json").read_text())["calibration"]
    assert told["judged"] == judged.height
    assert abs(told["failed"] - (1 - judged["score"].mean())) < 1e-9
    assert abs(told["brier"] - ((1 - judged["score"] - judged["risk"]) ** 2).mean()) < 1e-9


def test_json_is_one_object(lab_model, tmp_path, capsys):
    flags = ("--workers", 0, "--json", "--quiet")
    code, said, _ = typed(capsys, lab_model, LAB / "data.parquet", "-o", tmp_path / "out", *flags)
    told = json.loads(said)
    assert code == 0 and {"rows", "partitions", "failed", "calibration"} <= set(told)
    assert (told["partitions"], told["failed"], told["stale"]["stale"]) == (1, 0, False)


def test_what_was_never_seen_is_wider_and_not_known(lab_model, tmp_path, capsys):
    rows = pl.read_parquet(LAB / "data.parquet").filter(pl.col("regime") == "deployment").drop("score")
    new = {
        "plain": rows,
        "model": rows.with_columns(model=pl.lit("a new model")),
        "context": rows.with_columns(context=pl.lit("a new context")),
        "task": rows.with_columns(task=pl.lit("a new task")),
    }
    (tmp_path / "logs").mkdir()
    for name, frame in new.items():
        frame.write_parquet(tmp_path / "logs" / f"{name}.parquet")
    typed(capsys, lab_model, tmp_path / "logs", "-o", tmp_path / "out", "--workers", 0)
    out = {name: pl.read_parquet(tmp_path / "out" / f"{name}.parquet") for name in new}
    width = {name: (frame["upper"] - frame["lower"]).mean() for name, frame in out.items()}
    for name in ("model", "context", "task"):
        assert not out[name]["known"].any() and width[name] > 1.2 * width["plain"], name


def test_a_log_whose_outcomes_have_changed_is_said_to_be_stale(lab_model, tmp_path, capsys):
    rows = pl.read_parquet(LAB / "data.parquet").with_columns(score=pl.lit(0.0))
    rows.write_parquet(tmp_path / "changed.parquet")
    code, said, _ = typed(capsys, lab_model, tmp_path / "changed.parquet", "-o", tmp_path / "out", "--workers", 0)
    assert code == 1 and "stale: in the context" in said


def test_a_changed_byte_a_newer_format_and_a_pickle_stop_the_run_with_a_sentence(lab_model, tmp_path, capsys):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "a pickle was loaded"),))

    def damaged(name):
        shutil.copytree(lab_model, tmp_path / name)
        return tmp_path / name / "risk.npz", tmp_path / name / "risk.json"

    arrays, _ = damaged("byte")
    whole = bytearray(arrays.read_bytes())
    whole[len(whole) // 2] ^= 1
    arrays.write_bytes(bytes(whole))
    _, words = damaged("format")
    words.write_text(words.read_text().replace('"format": 4', '"format": 99', 1))
    arrays, _ = damaged("pickle")
    arrays.write_bytes(pickle.dumps(Trap()))
    for name, sentence in (
        ("byte", "was changed after it was saved"),
        ("format", "has format 99, this version reads 4"),
        ("pickle", "was changed after it was saved"),
        ("nothing", "holds no risk model"),
    ):
        code, _, said = typed(capsys, tmp_path / name, LAB, "-o", tmp_path / "out", "--workers", 0)
        assert code == 2 and sentence in said and said.strip().count("\n") == 0, name
    assert not (tmp_path / "out").exists() and not (tmp_path / "a pickle was loaded").exists()


def test_ctrl_c_keeps_what_was_done(lab_model, tmp_path):
    logs = tmp_path / "logs"
    logs.mkdir()
    rows = pl.read_parquet(LAB / "data.parquet")
    for k in range(150):
        rows.write_parquet(logs / f"part-{k:03}.parquet")
    heard = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "  # a background job ignores it
        "from divergence.cli import main; main(sys.argv[1:])"
    )
    command = [sys.executable, "-c", heard, "score", lab_model, logs, "-o", tmp_path / "out", "--workers", "0"]
    run = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    for _ in range(600):
        if len(list((tmp_path / "out" / UNFINISHED).glob("*.parquet"))) > 3:
            break
        time.sleep(0.05)
    run.send_signal(signal.SIGINT)
    _, said = run.communicate()
    assert run.returncode == 2 and "what was done is kept, run again to go on" in said, said
    done = list((tmp_path / "out" / UNFINISHED).glob("*.parquet"))
    assert (
        3 < len(done) < 150
        and not list((tmp_path / "out").glob("*.parquet"))
        and not list((tmp_path / "out").rglob(".*.part"))
    )


def test_outcomes_turned_round_are_stale_and_outside_the_null(tmp_path):
    """The verdict has power: every outcome its opposite, and every group nine points worse, in the second wave of the lab's
    log, scored by a model of the first."""
    both = pl.read_parquet(ROOT / "datasets/serving-lab/data.parquet")
    both.filter(wave="1").write_parquet(tmp_path / "first.parquet")
    log = dv.read(tmp_path / "first.parquet")
    lab_model = tmp_path / "model"
    risk_model(dv.fit(dv.collapse(log), seed=0), log).save(lab_model)
    rows = both.filter(regime="deployment", wave="2")
    lost = 0.09 / rows["score"].mean()
    worse = rows.with_columns(score=pl.col("score") * (pl.Series(np.random.default_rng(0).random(rows.height)) >= lost))
    logs = {"same": rows, "turned": rows.with_columns(score=1 - pl.col("score")), "worse": worse}
    for name, log in logs.items():
        log.write_parquet(tmp_path / f"{name}.parquet")
        made = score_log(lab_model, [tmp_path / f"{name}.parquet"], tmp_path / name, load=RiskModel.load, workers=0).manifest
        assert made["stale"]["stale"] == (name != "same")
        told = made["calibration"]
        assert 1 < told["design_effect"] < 20 and told["ece_null_95"] < 0.1
        assert told["inside_posterior"] == (name == "same") or name == "worse"
