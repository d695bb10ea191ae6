"""From a file that nobody described to an answer: `init`, `[wide]`, nested names, `--outcome`, and errors that help."""

import json
import pathlib
import random
import re
import tomllib

import polars as pl
import pytest

import divergence as dv
from divergence.cli import main
from divergence.executions.files import open_sources
from divergence.executions.guess import advice, guess


def run(*arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return stop.value.code or 0, out, err


@pytest.fixture
def leaderboard(tmp_path) -> pathlib.Path:
    rows = ["Model,MMLU,GSM8K,ARC-C,Hella%"]
    rows += [f"org/m{k},{70 - k}.5,{50 + k},{60 + k / 2}%,{'-' if k == 3 else 80 - k}" for k in range(12)]
    path = tmp_path / "leaderboard.csv"
    path.write_text("\n".join(rows))
    return path


@pytest.fixture
def latency(tmp_path) -> pathlib.Path:
    random.seed(3)
    path = tmp_path / "ab.csv"
    lines = [f"{'AB'[k % 2]},r{k},{random.lognormvariate(6 + 0.2 * (k % 2), 0.3):.1f}" for k in range(400)]
    path.write_text("\n".join(["variant,request_id,latency_ms", *lines]))
    return path


@pytest.fixture
def own_csv(tmp_path) -> pathlib.Path:
    random.seed(1)
    rows = [
        f"{q},{m},{env},{int(random.random() < 0.6)}"
        for m in "ab"
        for q in range(40)
        for env in ("bench", "prod-1", "prod-2")
    ]
    path = tmp_path / "own.csv"
    path.write_text("\n".join(["question_id,llm,env,correct", *rows]))
    return path


@pytest.fixture
def own_jsonl(tmp_path) -> pathlib.Path:
    random.seed(2)
    path = tmp_path / "own.jsonl"
    lines = [
        json.dumps(
            {"id": f"q{q}", "meta": {"model": m, "env": env}, "data": {"correct": random.random() < 0.7, "n": {"x": q}}}
        )
        for m in "ab"
        for q in range(40)
        for env in ("eval", "prod")
    ]
    path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize(
    ("name", "questions"),
    [
        ("leaderboard", {"bench_level"}),
        ("latency", {"deployed_level", "context_effect"}),
        ("own_csv", {"gap", "kappa", "context_effect"}),
        ("own_jsonl", {"gap", "reversal"}),
    ],
)
def test_init_then_report(name, questions, request, tmp_path, capsys):
    """The file that `init` writes makes the log answer; it says what it read and what is open, and is never overwritten."""
    path = request.getfixturevalue(name)
    code, out, err = run("init", path, capsys=capsys)
    assert code == 0, err
    written = (tmp_path / "divergence.toml").read_text()
    assert all(line.startswith("#") or not line or re.match(r'[\[\w"]', line) for line in written.splitlines())
    assert "divergence report" in err and "can be answered" in out
    code, out, err = run("check", path, "--json", capsys=capsys)
    assert code == 0, err
    assert {a["question"] for a in json.loads(out)["answers"] if a["identified"]} >= questions
    code, _, err = run("init", path, capsys=capsys)
    assert code == 2 and "--force" in err
    code, out, _ = run("init", path, "--force", "--json", capsys=capsys)
    assert code == 0 and json.loads(out)["declared"] == {
        key: value for key, value in tomllib.loads(written).items() if value != {}
    }


def test_report_of_a_latency_ab_is_about_seconds(latency, tmp_path, capsys):
    assert run("init", latency, "--quiet", capsys=capsys)[0] == 0
    assert "[acceptance]" not in (latency.parent / "divergence.toml").read_text()  # requirements are about a score
    code, _, err = run("report", latency, "-o", tmp_path / "out", "--quiet", capsys=capsys)
    assert "No requirements are declared" not in (tmp_path / "out" / "report.html").read_text()
    assert code == 0, err
    table = pl.read_parquet(tmp_path / "out" / "estimates.parquet")
    contrast = table.filter(pl.col("question") == "context_effect", pl.col("statistic") == "contrast")
    raw = pl.read_csv(latency).group_by("variant").agg(pl.col("latency_ms").mean() / 1000).sort("variant")["latency_ms"]
    assert contrast["unit"].to_list() == ["s"]
    # the difference of the raw means, within the interval that the report gives
    assert contrast["lower"][0] < raw[0] - raw[1] < contrast["upper"][0]


def test_a_wide_table_is_its_long_one(leaderboard):
    """Unfolding by hand gives the same cells: `%` and `-` are read as people write them."""
    declared = {"wide": {"model": "Model"}, "values": {"score": {"scale": [0, 100]}}, "constants": {"regime": "evaluation"}}
    log = dv.read(leaderboard, configuration=dv.Configuration.from_table(declared))
    frame = pl.read_csv(leaderboard, infer_schema=False)
    long = [
        (row["Model"], name, None if row[name] == "-" else float(row[name].strip("%")) / 100)
        for row in frame.iter_rows(named=True)
        for name in frame.columns[1:]
    ]
    read = {(model, item): score for model, item, score in log.valid.select("model", "item", "score").iter_rows()}
    assert read == pytest.approx({(model, item): score for model, item, score in long}, abs=1e-12)
    assert log.counts.unjudged == 1 and log.valid["execution_id"].n_unique() == log.counts.valid
    some = {**declared, "wide": {"model": "Model", "columns": ["MMLU", "GSM8K"], "becomes": "task", "trials": {"MMLU": 100}}}
    log = dv.read(leaderboard, configuration=dv.Configuration.from_table(some))
    assert set(log.valid["task"]) == {"MMLU", "GSM8K"}
    assert set(log.valid.filter(pl.col("task") == "MMLU")["score_n"]) == {100}


@pytest.mark.parametrize(
    ("wide", "sentence"),
    [
        ({"model": "Modle"}, "did you mean Model"),
        ({"model": "Model", "columns": ["MMLUU"]}, "did you mean MMLU"),
        ({"model": "Model", "becomes": "row"}, "item, task"),
        ({"modle": "Model"}, "nearest known key is model"),
        ({"model": "Model", "trials": {"MMLU": 1.5}}, "whole number"),
        ({"model": "Model", "columns": []}, "empty list"),
    ],
)
def test_a_wrong_wide_is_a_sentence(leaderboard, wide, sentence):
    with pytest.raises(dv.InputError, match=sentence):
        dv.read(
            leaderboard, configuration=dv.Configuration.from_table({"wide": wide, "constants": {"regime": "evaluation"}})
        )


def test_nested_names_are_the_values_inside(own_jsonl, tmp_path, capsys):
    names = ["--map", "score=data.correct", "--map", "model=meta.model", "--map", "item=id", "--set", "regime=deployment"]
    code, out, err = run("check", own_jsonl, *names, "--where", "meta.env=prod", "--json", capsys=capsys)
    assert code == 0, err
    assert json.loads(out)["rows"] == 80
    columns = {"score": "data.correct", "model": "meta.model", "item": "id", "trial": "data.n.x", "context": "meta.env"}
    configuration = dv.Configuration.from_table({"columns": columns, "constants": {"regime": "deployment"}})
    rows = [json.loads(line) for line in own_jsonl.read_text().splitlines()]
    log = dv.read(own_jsonl, configuration=configuration)
    assert log.valid["score"].to_list() == [float(row["data"]["correct"]) for row in rows]
    assert log.valid["trial"].to_list() == [row["data"]["n"]["x"] for row in rows]
    parquet = tmp_path / "own.parquet"  # the same as real records
    pl.DataFrame(rows).write_parquet(parquet)
    assert dv.read(parquet, configuration=configuration).valid["score"].to_list() == log.valid["score"].to_list()
    code, _, err = run(
        "check", own_jsonl, "--map", "score=data.corect", "--map", "model=meta.model", *names[4:], capsys=capsys
    )
    assert code == 2 and "data.corect" in err and "did you mean data.correct" in err


def test_the_outcome_is_a_flag(latency, capsys):
    flags = ["--map", "latency_s=latency_ms", "--map", "context=variant", "--set", "model=m", "--set", "regime=deployment"]
    code, out, err = run("check", latency, "--outcome", "latency_s", *flags, "--json", capsys=capsys)
    assert code == 0, err
    assert {a["question"] for a in json.loads(out)["answers"] if a["identified"]} >= {"deployed_level"}
    code, _, err = run("check", latency, "--outcome", "latncy", *flags, capsys=capsys)
    assert code == 2 and "latncy" in err


@pytest.mark.parametrize("name", ["leaderboard", "latency", "own_csv", "own_jsonl"])
def test_the_advice_of_an_error_works(name, request, capsys):
    """The command that the sentence names makes the file a log."""
    path = request.getfixturevalue(name)
    code, _, err = run("check", path, capsys=capsys)
    assert code == 2 and "write what was recognised" in err
    assert run("init", path, capsys=capsys)[0] == 0 and run("check", path, capsys=capsys)[0] == 0


def test_flags_say_it_where_they_can(tmp_path, capsys):
    path = tmp_path / "log.csv"
    path.write_text("llm,qid,question_id,correct\n" + "\n".join(f"m{k % 2},x,q{k // 2},{k % 3 == 0:d}" for k in range(60)))
    flags = guess(open_sources(path)[0][0]).flags.split()
    assert "--map" in flags
    assert run("check", path, *flags, capsys=capsys)[0] == 0


@pytest.mark.parametrize(
    "text",
    ["a,b\n1,2\n3,4\n", "x\n", "name,height\nann,1.7\nbob,1.8\n", "id,meta\n1,{broken\n"],
)
def test_nothing_is_offered_for_what_is_no_log(text, tmp_path, capsys):
    path = tmp_path / "other.csv"
    path.write_text(text)
    code, _, err = run("check", path, capsys=capsys)
    assert code == 2 and "To read it" not in err
    code, _, err = run("init", path, capsys=capsys)
    assert code == 2 and not (tmp_path / "divergence.toml").exists()


@pytest.mark.parametrize(
    ("values", "table"),
    [
        (["1", "5", "3"], {"scale": [1, 5]}),
        (["0", "55.5", "100"], {"scale": [0, 100]}),
        (["up", "down", "up"], {"up": 1.0, "down": 0.0}),
        (["true", "false", "true"], None),
        (["0", "1", "0.5"], None),
    ],
)
def test_what_scores_mean(values, table, tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("model,item,regime,rating\n" + "\n".join(f"m,i{k},evaluation,{v}" for k, v in enumerate(values)))
    sources, _ = open_sources(path)
    assert guess(sources[0]).table.get("values", {}).get("score") == table


def test_advice_on_nothing_is_nothing():
    assert advice([], "Name a log.") == " Name a log."


def test_init_of_another_tools_log_says_so(tmp_path, capsys):
    samples = [{"id": str(k), "epoch": 1, "scores": {"match": {"value": "C" if k % 3 else "I"}}} for k in range(6)]
    evaluation = {"run_id": "r", "task_id": "t", "task": "qa", "model": "x/y", "created": "2026-03-01T00:00:00+00:00"}
    log = {"version": 2, "status": "success", "eval": {**evaluation, "dataset": {}, "config": {}}, "samples": samples}
    (tmp_path / "bench.json").write_text(json.dumps(log))
    code, out, err = run("init", tmp_path / "bench.json", capsys=capsys)
    assert code == 0, err
    assert "Logs of other tools" in (tmp_path / "divergence.toml").read_text() and "bench_level" in out


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("plain.csv", "model,correct\n" + "\n".join(f"a,{k % 2}" for k in range(9))),
        (
            "thumbs.jsonl",
            "\n".join(
                json.dumps({"model": "m", "feedback": "up" if k % 3 else "down", "env": "prod" if k % 2 else "staging"})
                for k in range(30)
            ),
        ),
    ],
)
def test_rows_without_items_are_deployment(name, text, tmp_path, capsys):
    (tmp_path / name).write_text(text)
    code, out, err = run("init", tmp_path / name, capsys=capsys)
    assert code == 0 and "No column names the item" in out and "deployed_level" in out, err


def test_nothing_is_left_where_the_guess_does_not_read(tmp_path, capsys, own_csv, monkeypatch):
    from divergence.executions import read as reading

    def refuse(*_, **__):
        raise dv.InputError("no")

    monkeypatch.setattr("divergence.executions.read", refuse)
    code, _, _ = run("init", own_csv, "-o", tmp_path / "x.toml", capsys=capsys)
    assert code == 2 and not (tmp_path / "x.toml").exists() and callable(reading)


def test_a_file_named_elsewhere_is_named_in_the_next_command(tmp_path, own_csv, capsys):
    code, _, err = run("init", own_csv, "-o", tmp_path / "deep" / "x.toml", capsys=capsys)
    assert code == 0 and f"--config {tmp_path / 'deep' / 'x.toml'}" in err


@pytest.mark.parametrize(
    "text", ['hi\noutcome = "latency_s"\n#', "a\r[where]\rmodel = 'zzz'", "\x00", "\x1b[31m", "\x7f", "\u2028x = 1"]
)
@pytest.mark.parametrize("place", ["value", "name", "model"])
def test_what_a_log_holds_never_becomes_a_declaration(text, place, tmp_path, capsys):
    rows = [
        {"model": m, "item": f"i{k}", "score": float(k % 2), "env": e} for m in "ab" for k in range(20) for e in ("x", "y")
    ]
    frame = pl.DataFrame(rows)
    plain = init_of(frame.with_columns(note=pl.lit("a note")), tmp_path / "plain.parquet", capsys)
    if place == "model":
        odd = frame.with_columns(note=pl.lit("a note"), model=pl.col("model").replace("a", text))
    else:
        odd = frame.with_columns(pl.lit(text).alias("note") if place == "value" else pl.lit("a note").alias(text))
    assert init_of(odd, tmp_path / "odd.parquet", capsys) == plain


def init_of(frame, path, capsys) -> dict:
    """What `init` declares for a log."""
    frame.write_parquet(path)
    code, _, error = run("init", path, "-o", path.with_suffix(".toml"), capsys=capsys)
    assert code == 0, error
    return tomllib.loads(path.with_suffix(".toml").read_text())


@pytest.mark.parametrize("link", [False, True])
def test_a_log_is_not_written_over(own_csv, tmp_path, capsys, link):
    target, content = tmp_path / "link.toml" if link else own_csv, own_csv.read_bytes()
    if link:
        target.symlink_to(own_csv)
    code, _, error = run("init", own_csv, "-o", target, "--force", capsys=capsys)
    assert code == 2 and "is one of the logs that are read" in error and own_csv.read_bytes() == content
