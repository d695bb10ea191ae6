"""The command: exit codes, files, JSON, speed, and what is not imported."""

import json
import resource
import subprocess
import sys
from xml.etree import ElementTree

import polars as pl
import pytest
from compare_runs import flipped, run

from divergence.cli import main

CPU_SECONDS_MAX = 1.0  # of the whole command on two logs of 220 documents, start of Python included
MILLION_SECONDS_MAX = 5.0
BUSY = 2.0  # a machine that does other work charges up to this much more CPU for the same instructions
HEAVY = ("jax", "numpyro", "altair", "sklearn", "great_tables", "scipy.stats", "arviz_stats")


def called(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(["compare", *map(str, arguments)])
    return ended.value.code or 0


@pytest.fixture
def runs(tmp_path):
    """Files of a run, one no worse, one worse, one not settled."""
    named = {"before": (0, 0), "fine": (0, 0), "worse": (40, 2), "open": (9, 5)}
    for name, (down, up) in named.items():
        run(flipped(300, down, up)[1], engine=name).write_parquet(tmp_path / f"{name}.parquet")
    return {name: tmp_path / f"{name}.parquet" for name in named}


@pytest.mark.parametrize(("name", "code"), [("fine", 0), ("worse", 4), ("open", 5)])
def test_exit_codes(runs, name, code, capsys):
    assert called(runs["before"], runs[name]) == code
    assert called(runs["before"], runs[name], "--exit-zero", "--quiet") == 0
    assert len(capsys.readouterr().out.splitlines()) <= 24  # one screen


def test_files(runs, tmp_path, capsys):
    out = tmp_path / "out"
    assert called(runs["before"], runs["worse"], "-o", out, "--json") == 4
    printed = json.loads(capsys.readouterr().out)
    assert {p.name for p in out.iterdir()} == {
        "compare.html",
        "compare.json",
        "compare.md",
        "compare.parquet",
        "junit.xml",
    }
    assert json.loads((out / "compare.json").read_text()) == printed
    assert pl.read_parquet(out / "compare.parquet").height == 300
    suite = ElementTree.parse(out / "junit.xml").getroot()[0]
    assert (suite.get("tests"), suite.get("failures")) == ("2", "2")
    text = (out / "compare.md").read_text()
    assert text.startswith("### ❌ worse: -12.7 points") and len(text) < 65_536
    page = (out / "compare.html").read_text()
    assert len(page) < 100_000 and "<script" not in page and "http" not in page
    assert "40 down, 2 up" in page and "engine" in page


def test_texts_of_a_log_are_no_markup(tmp_path, capsys):
    evil = "<img src=x onerror=alert(1)>|`@everyone`"
    before, after = (
        run(s, answer=evil).with_columns(item=pl.col("item") + evil, task=pl.lit(evil)) for s in flipped(60, 9, 1)
    )
    before.write_parquet(tmp_path / "a.parquet")
    after.with_columns(engine=pl.lit(evil)).write_parquet(tmp_path / "b.parquet")
    called(tmp_path / "a.parquet", tmp_path / "b.parquet", "-o", tmp_path / "out", "--quiet")
    capsys.readouterr()
    assert "<img" not in (tmp_path / "out/compare.html").read_text()
    text = (tmp_path / "out/compare.md").read_text()
    assert "\\<img" in text and "@everyone" not in text
    ElementTree.parse(tmp_path / "out/junit.xml")


def test_prompts_only_where_asked_for(tmp_path, capsys):
    for name, scores in zip(("a", "b"), flipped(60, 9, 1), strict=True):
        run(scores, prompt="what is the secret word?").write_parquet(tmp_path / f"{name}.parquet")
    sides = tmp_path / "a.parquet", tmp_path / "b.parquet"
    called(*sides, "-o", tmp_path / "plain", "--quiet")
    called(*sides, "-o", tmp_path / "kept", "--quiet", "--keep-text")
    capsys.readouterr()
    assert "secret word" not in "".join(p.read_text(errors="replace") for p in (tmp_path / "plain").iterdir())
    assert "secret word" in (tmp_path / "kept/compare.html").read_text()


def test_by_and_flags(runs, tmp_path, capsys):
    log = pl.concat([pl.read_parquet(runs[name]) for name in ("before", "worse")])
    log.rename({"score": "mark"}).write_csv(tmp_path / "log.csv")
    by = ("--by", "engine", "--before", "before", "--after", "worse")
    assert called(tmp_path / "log.csv", *by, "--map", "score=mark", "--quiet") == 4
    assert called(tmp_path / "log.csv", *by, "--map", "score=mark", "--where", "engine=before", "--quiet") == 2
    assert "no level 'worse'" in capsys.readouterr().err
    assert called(tmp_path / "log.csv", "--by", "engine") == 2
    assert called(tmp_path / "log.csv") == 2
    assert called(runs["before"], runs["fine"], "--before", "x") == 2
    assert called(runs["before"], runs["fine"], "--anytime") == 2
    assert called(runs["before"], runs["fine"], "--margin", "0") == 2
    assert "margin" in capsys.readouterr().err


def test_looks(runs, tmp_path, capsys):
    state = tmp_path / "state"
    assert called(runs["before"], runs["worse"], "--anytime", "--state", state, "--json") == 4
    assert json.loads(capsys.readouterr().out)["look"]["number"] == 1
    assert state.is_file()


def test_many_runs(runs, tmp_path, capsys):
    assert called(*(runs[name] for name in ("before", "fine", "worse", "open")), "-o", tmp_path / "out") == 4
    told = capsys.readouterr().out
    assert "3 runs against" in told and "pairs of runs differ" in told
    record = json.loads((tmp_path / "out/compare.json").read_text())
    assert [r["verdict"] for r in record["runs"]] == ["no worse", "worse", "not settled"]
    assert (tmp_path / "out/run-2/compare.html").is_file()


def test_nothing_is_half_written(runs, tmp_path, capsys):
    (tmp_path / "taken").write_text("a file")
    assert called(runs["before"], runs["worse"], "-o", tmp_path / "taken", "--quiet") == 2
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    assert "cannot be written" in capsys.readouterr().err


def seconds(*arguments):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "divergence", "compare", *map(str, arguments)], capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_two_logs_take_a_second(logs):
    sides = [logs / "lm_eval" / name for name in ("real-before", "real-after")]
    assert min(seconds(*sides) for _ in range(2)) <= CPU_SECONDS_MAX * BUSY


def test_a_million_rows(tmp_path):
    items = pl.int_range(500_000, eager=True)
    for name, seed in (("a", 0), ("b", 1)):
        frame = pl.DataFrame({"item": "item-" + items.cast(pl.String), "task": "t" + (items % 57).cast(pl.String)})
        score = (items.hash(seed) % 10 < 6).cast(pl.Float64)
        frame.with_columns(score=score, model=pl.lit("m")).write_parquet(tmp_path / f"{name}.parquet")
    assert seconds(tmp_path / "a.parquet", tmp_path / "b.parquet") <= MILLION_SECONDS_MAX * BUSY


def test_it_is_light(runs):
    code = (
        "import sys; from divergence.cli import main\n"
        f"try: main(['compare', {str(runs['before'])!r}, {str(runs['open'])!r}])\n"
        f"except SystemExit: pass\nprint([name for name in {HEAVY} if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.splitlines()[-1] == "[]"


def test_levels_without_a_column_are_refused(runs, capsys):
    for sides in (("before", "worse"), ("before", "worse", "open")):
        assert called(*(runs[name] for name in sides), "--before", "x") == 2
    assert "name levels of --by" in capsys.readouterr().err


def test_prompts_of_several_runs(tmp_path):
    for name, down in (("before", 0), ("monday", 3), ("tuesday", 5)):
        asked = [f"What is {k}?" for k in range(100)]
        run(flipped(100, down, 0)[1], prompt=asked, engine=name).write_parquet(tmp_path / f"{name}.parquet")
    paths = [tmp_path / f"{name}.parquet" for name in ("before", "monday", "tuesday")]
    called(*paths, "--keep-text", "-o", tmp_path / "out")
    shown = [(tmp_path / "out" / f"run-{k}" / "compare.html").read_text().count("What is ") for k in (1, 2)]
    assert shown == [3, 5]
