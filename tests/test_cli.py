"""The command as a user meets it: verbs, exit codes, sentences, and nothing half-written."""

import hashlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import polars as pl
import pytest

from divergence.cli import main, spread_lists
from divergence.results import FILES
from divergence.simulate import simulate, world


def run(*arguments, capsys=None):
    """Exit code, stdout, stderr of the command, in this process."""
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr() if capsys else ("", "")
    return stop.value.code or 0, out, err


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    path = tmp_path_factory.mktemp("log") / "log.parquet"
    simulate(world("baseline", n_models=3, n_contexts=3, n_items=40), 1)[0].write_parquet(path)
    return path


def test_report_writes_the_five_results(log, tmp_path, capsys):
    code, out, err = run("report", log, "-o", tmp_path / "out", "--quiet", "--json", capsys=capsys)
    assert (code, err) == (0, "")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(FILES)
    rows = json.loads(out)
    frame = pl.read_parquet(tmp_path / "out" / "estimates.parquet")
    assert len(rows) == frame.height
    assert set(frame["question"]) >= {"bench_level", "gap", "kappa", "reversal", "instrument"}
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<html" in page
    run_record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert run_record["data"][0]["sha256"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]  # no temporary folder is left


def test_a_report_loads_nothing_that_its_log_has_no_use_for(log, tmp_path):
    """Of a log without embeddings, with items in common: no geometry, no JAX, none of the functions of pyarrow."""
    unused = ("divergence.geometry", "jax", "numpyro", "sklearn", "scipy.stats", "pandas", "pyarrow.compute")
    code = (
        "import sys; from divergence.cli import main\n"
        f"try: main(['report', {str(log)!r}, '-o', {str(tmp_path / 'out')!r}, '--quiet'])\n"
        f"except SystemExit as stop: print(stop.code, [m for m in {unused!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "0 []\n"


def test_two_files_two_regimes(log, tmp_path, capsys):
    frame = pl.read_parquet(log)
    paths = []
    for regime in ("evaluation", "deployment"):
        for model in ("model-0", "model-1"):
            paths.append(tmp_path / f"{regime}-{model}.csv")
            frame.filter(regime=regime, model=model).drop("regime").write_csv(paths[-1])
    code, out, _ = run("check", "--evaluation", *paths[:2], "--deployment", *paths[2:], "--json", capsys=capsys)
    assert code == 0
    assert json.loads(out)["rows"] == frame.filter(pl.col("model") != "model-2").height


def test_lists_after_one_flag():
    assert spread_lists(["report", "--evaluation", "a", "b", "--deployment", "c", "-o", "x"]) == [
        "report",
        "--evaluation",
        "a",
        "--evaluation",
        "b",
        "--deployment",
        "c",
        "-o",
        "x",
    ]


def test_check_names_what_cannot_be_answered(log, capsys):
    code, out, _ = run("check", log, "--json", "--where", "regime=deployment", capsys=capsys)
    answers = {a["question"]: a for a in json.loads(out)["answers"]}
    assert code == 0
    assert answers["kappa"]["identified"]
    assert not answers["gap"]["identified"]
    assert "evaluation" in answers["gap"]["reason"]


def test_question_not_identified_is_three(log, capsys):
    code, _, err = run("check", log, "--where", "regime=deployment", "--question", "gap", capsys=capsys)
    assert code == 3
    assert "gap" in err


def test_an_unknown_format_is_a_sentence(log, tmp_path, capsys):
    code, _, err = run("report", log, "-o", tmp_path / "o", "--format", "md,pdf", capsys=capsys)
    assert code == 2 and "--format 'pdf' is not known; choose from html, md, tex, json" in err
    assert not (tmp_path / "o").exists()


def test_fit_then_load(log, tmp_path, capsys):
    import divergence as dv

    code, _, _ = run("fit", log, "-o", tmp_path / "m", "--quiet", capsys=capsys)
    assert code == 0
    assert dv.kappa(dv.load(tmp_path / "m")).identified


def test_check_opens_with_what_was_read(log, capsys):
    code, out, _ = run("check", log, capsys=capsys)
    assert code == 0 and out.startswith("Executions: ") and "score is binary" in out and "\nfactors: " in out


def test_simulate_is_reproducible(tmp_path, capsys):
    for name in ("a", "b"):
        assert (
            run("simulate", "waves", "-o", tmp_path / name / "log.parquet", "--seed", "4", "--items", "20", capsys=capsys)[0]
            == 0
        )
    one, two = (pl.read_parquet(tmp_path / n / "log.parquet") for n in ("a", "b"))
    assert one.equals(two)
    truth = json.loads((tmp_path / "a" / "truth.json").read_text())
    found = hashlib.sha256((tmp_path / "a" / "log.parquet").read_bytes()).hexdigest()
    assert truth["log"] == {"file": "log.parquet", "sha256": found}
    assert {r["question"] for r in truth["estimates"]} >= {"gap", "kappa", "instrument"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["report", "nothing-here.parquet", "-o", "out"], "nothing-here.parquet"),
        (["report", "-o", "out"], "name a log"),
        (["simulate", "paradise", "-o", "x.parquet"], "paradise"),
        (["check", "LOG", "--question", "gapp"], "gapp"),
        (["check", "LOG", "--map", "score"], "--map"),
        (["check", "LOG", "--accept-rejected", "7"], "accept_rejected"),
        (["report", "LOG"], "-o"),
        (["reprot", "LOG"], "reprot"),
        (["report", "LOG", "-o", "out", "--seed", "many"], "many"),
    ],
)
def test_usage_errors_are_two_and_a_sentence(log, tmp_path, monkeypatch, capsys, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*[log if a == "LOG" else a for a in arguments], capsys=capsys)
    assert code == 2
    assert sentence in err
    assert "Traceback" not in err + out
    assert not list(tmp_path.iterdir())


BAD = {
    "empty": (b"", "empty"),
    "truncated": (b"PAR1" + b"\0" * 40, ""),
    "no_regime": (b"model,item,score\nm,i,1\n", "regime"),
    "score_7": (b"regime,model,item,score,context\nevaluation,m,i,7,c\n", "score"),
    "nan": (b"regime,model,item,score,context\nevaluation,m,i,NaN,c\n", "score"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_two_and_a_sentence(name, tmp_path, capsys):
    content, word = BAD[name]
    path = tmp_path / f"log.{'parquet' if name in ('truncated',) else 'csv'}"
    path.write_bytes(content)
    code, _, err = run("report", path, "-o", tmp_path / "out", "--quiet", capsys=capsys)
    assert code == 2
    assert word in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "answered", "refused"),
    [
        ({"regime": "deployment"}, "kappa", "gap"),
        ({"regime": "evaluation"}, "bench_level", "deployed_level"),
        ({"model": "model-0"}, "gap", "coupling"),
        ({"context": ["bench", "context-1"]}, "gap", "kappa"),
    ],
)
def test_thin_logs_are_answered_as_far_as_they_go(log, tmp_path, capsys, change, answered, refused):
    frame = pl.read_parquet(log)
    for column, levels in change.items():
        frame = frame.filter(pl.col(column).is_in([levels] if isinstance(levels, str) else levels))
    path = tmp_path / "thin.parquet"
    frame.write_parquet(path)
    code, _, err = run("report", path, "-o", tmp_path / "out", "--quiet", capsys=capsys)
    assert code == 0, err
    table = pl.read_parquet(tmp_path / "out" / "estimates.parquet")
    assert table.filter(question=answered)["identified"].any()
    no = table.filter(question=refused)
    assert not no["identified"].any()
    assert no["mean"].null_count() == no.height
    assert all(no["reason"])


def test_nothing_identified_is_three(tmp_path, capsys):
    path = tmp_path / "log.csv"
    path.write_text("regime,model,item,score,context\nevaluation,m,i,,c\n")
    code, _, err = run("report", path, "-o", tmp_path / "out", "--quiet", capsys=capsys)
    assert code in (2, 3)
    assert err.startswith("divergence: ")
    assert not (tmp_path / "out").exists()


def test_an_output_that_cannot_be_written(log, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    code, _, err = run("report", log, "-o", tmp_path / "file" / "out", "--quiet", capsys=capsys)
    assert code == 2
    assert "cannot be written" in err


def test_an_interrupt_leaves_nothing(log, tmp_path):
    """Ctrl-C in the middle of the work: the sentence, exit code 2, and no folder."""
    out = tmp_path / "out"
    child = subprocess.Popen(
        [sys.executable, "-m", "divergence", "report", str(log), "-o", str(out), "--quiet"],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    for _ in range(600):  # until the optimiser is in the process: the command is at work
        maps = pathlib.Path(f"/proc/{child.pid}/maps")
        if not maps.exists():
            pytest.skip("this system has no /proc to see how far the process is")
        if "scipy/optimize" in maps.read_text():
            break
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 2, err
    assert "interrupted" in err
    assert list(tmp_path.iterdir()) == []
