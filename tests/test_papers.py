"""Citations, the paragraph of methods, and registrations: made from the record, and from nothing else."""

import hashlib
import json
import pathlib
import re

import polars as pl
import pytest
from damaged_fields import of_words

import divergence as dv
from divergence import preregistration
from divergence.cli import main
from divergence.papers import REFERENCES
from divergence.simulate import simulate, world


def run(*arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return stop.value.code or 0, out, err


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    path = tmp_path_factory.mktemp("log") / "log.parquet"
    frame = simulate(world("baseline", n_models=3, n_contexts=3, n_items=40), 1)[0]
    frame = frame.with_columns(score=pl.when(pl.int_range(pl.len()) % 50 == 0).then(None).otherwise(pl.col("score")))
    frame.write_parquet(path)
    return path


@pytest.fixture(scope="module")
def report(log, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out")
    read = dv.read(log)
    dv.write_report(dv.fit(dv.collapse(read), seed=3), folder, log=read, formats=("md", "tex"))
    return folder


def test_the_paragraph_says_what_the_record_says(report):
    record = json.loads((report / "run.json").read_text())
    fit, text = record["fits"][0], dv.methods(report)
    assert f"{fit['n_rows']:,} logged executions" in text and f"{fit['n_items']} items" in text
    assert fit["method"] in text and "seed 3" in text and "all diagnostics passed" in text
    assert "90% equal-tailed" in text and "generalized accuracy in the terms of NIST AI 800-3" in text
    assert f"{record['rows']['unjudged']:,} rows without a judgement" in text
    assert record["data"][0]["sha256"][:12] in text and "by their shares of the logged traffic" in text
    assert dv.methods(report / "run.json") == dv.methods(record) == text
    assert "benchmark accuracy in the terms" in dv.methods(report, items="observed")


def test_the_tables_of_a_paper_name_the_same_population(report):
    written = (report / "report.tex").read_text()
    assert "The numbers are about new items of the same source, the population of generalized accuracy" in written
    assert "90\\% equal-tailed interval" in written


def test_a_failed_diagnostic_and_other_laws_are_said(report):
    record = json.loads((report / "run.json").read_text())
    record["fits"][0]["diagnostics"][0]["passed"] = False
    record["configuration"]["deployment_law"] = {"name": "uniform"}
    record["interval"] = 0.8
    text = dv.methods(record)
    assert f"these diagnostics failed: {record['fits'][0]['diagnostics'][0]['name']}" in text
    assert "contexts count equally" in text and "80% equal-tailed" in text


def test_it_stands_in_the_texts(report):
    text = dv.methods(report)
    plain = re.sub(r"\\(.)", r"\1", (report / "report.md").read_text())
    assert "## Methods" in plain and text in plain
    tex = (report / "report.tex").read_text()
    assert tex.rstrip().endswith("\\end{document}") and tex.count("\\end{document}") == 1 and "subsection*{Methods}" in tex


@pytest.mark.parametrize("wrong", ["nowhere", {}, {"fits": []}])
def test_what_is_no_record_is_a_sentence(wrong):
    for function in (dv.methods, dv.citations):
        with pytest.raises(dv.InputError, match="record of a run"):
            function(wrong)


def test_a_record_with_any_damaged_field_is_refused_with_its_file_or_says_what_a_record_says(report, tmp_path):
    """Each field gone, or of another kind; what the paragraph does not use may be anything."""
    record, path = json.loads((report / "run.json").read_text()), tmp_path / "run.json"
    lock = {"departures": ["seed: 1, registered 2"], "created": "2026-01-01T00:00:00", "sha256": "a" * 64}
    used = {k: v for k, v in record.items() if k not in ("spec", "system")} | {"preregistered": lock}
    used["fits"] = [{k: v for k, v in fit.items() if k not in ("checks", "notes", "why")} for fit in record["fits"]]
    count = refused = 0
    for what, table in of_words(used):
        path.write_text(json.dumps(table))
        for function in (dv.methods, dv.citations):
            try:
                assert function(path).encode()
            except dv.InputError as error:
                refused += 1
                assert str(path) in str(error) and "record of a run" in str(error) and str(error).isprintable(), what
            except Exception as error:
                raise AssertionError(f"{what}: {type(error).__name__}: {error}") from error
            count += 1
    assert refused > count / 4


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("fits", 0, "n_rows"), "many", "record.fits[0].n_rows is 'many'"),
        (("fits", 0, "diagnostics"), None, "record.fits[0].diagnostics is None"),
        (("provenance", "versions"), [], "record.provenance.versions is []"),
        (("configuration", "items"), "old", "its items are 'old'"),
        (("interval",), 90, "its interval is 90"),
    ],
)
def test_a_damaged_record_says_what_is_wrong(report, path, value, said, tmp_path):
    record = json.loads((report / "run.json").read_text())
    inner = record
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(dv.InputError, match=re.escape(f"this is no whole record of a run ({said}")):
        dv.methods(record)
    (tmp_path / "run.json").write_text(json.dumps(record))
    with pytest.raises(dv.InputError, match=re.escape(said)) as refused:
        dv.methods(tmp_path)
    assert f"{tmp_path.name}/run.json is no whole record" in str(refused.value)


@pytest.mark.parametrize("text", ["{", "", "[" * 100_000, "\x00", '{"fits": 1}'])
def test_a_damaged_file_is_named(text, tmp_path):
    (tmp_path / "run.json").write_text(text)
    for function in (dv.methods, dv.citations):
        with pytest.raises(dv.InputError, match=rf"{tmp_path.name}/run\.json is no record of a run"):
            function(tmp_path)


def test_citations_are_bibtex_of_what_was_used(report):
    whole = dv.citations()
    with pytest.raises(dv.ArgumentError, match="folder of a report"):
        dv.citations(3)
    keys = re.findall(r"@\w+\{([\w.-]+),", whole)
    assert len(keys) == len(set(keys)) == len(REFERENCES) and whole.count("{") == whole.count("}")
    assert f"version = {{{dv.__version__}}}" in whole
    used = dv.citations(report)
    assert "vehtari2024" in used and "hoffman2014" not in used
    record = json.loads((report / "run.json").read_text())
    record["fits"][0]["method"] = "arm-level, NUTS"
    assert "hoffman2014" in dv.citations(record) and "phan2019" in dv.citations(record)


@pytest.fixture
def lock(tmp_path, capsys) -> pathlib.Path:
    (tmp_path / "mine.toml").write_text('outcome = "score"\nstability_eps = 0.03\n[acceptance]\nquality_min = 0.5\n')
    path = tmp_path / "lock.json"
    asked = ("--question", "gap", "--question", "horizon", "--seed", "7")
    code, out, err = run("preregister", tmp_path / "mine.toml", "-o", path, *asked, capsys=capsys)
    assert code == 0 and "2 questions, seed 7" in out and "no data were there" in out, err
    return path


def test_a_run_that_keeps_to_it(log, lock, tmp_path, capsys):
    arguments = (
        "report",
        log,
        "-o",
        tmp_path / "out",
        "--config",
        tmp_path / "mine.toml",
        "--preregistered",
        lock,
        "--quiet",
    )
    code, _, err = run(*arguments, capsys=capsys)
    assert (code, err) == (0, "")
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    kept = record["preregistered"]
    assert kept["departures"] == [] and record["provenance"]["seed"] == 7  # the lock's seed is taken
    assert kept["questions"] == {"gap": True, "horizon": False} and "kappa" in kept["exploratory"]
    assert "without departures" in dv.methods(tmp_path / "out")


def test_every_departure_is_said(log, lock, tmp_path, capsys):
    (tmp_path / "other.toml").write_text('stability_eps = 0.2\n[where]\nmodel = ["model-0", "model-1"]\n')
    arguments = ("report", log, "-o", tmp_path / "out", "--config", tmp_path / "other.toml", "--seed", "8", "--quiet")
    code, _, err = run(*arguments, "--preregistered", lock, capsys=capsys)
    assert code == 1
    for word in ("stability_eps is 0.2, registered was 0.03", "acceptance", "where", "the seed is 8, registered was 7"):
        assert word in err
    assert len(json.loads((tmp_path / "out" / "run.json").read_text())["preregistered"]["departures"]) == 4
    assert "with 4 departures" in dv.methods(tmp_path / "out")


def test_a_lock_that_was_changed_is_refused(log, lock, tmp_path, capsys):
    said = json.loads(lock.read_text())
    for change in ({"seed": 8}, {"questions": ["kappa"]}, {"sha256": "0" * 64}, {"format": 2}):
        (tmp_path / "edited.json").write_text(json.dumps(said | change))
        out = ("-o", tmp_path / "out", "--quiet")
        code, _, err = run("report", log, *out, "--preregistered", tmp_path / "edited.json", capsys=capsys)
        assert code == 2 and ("was changed" in err or "no registration" in err)
        assert not (tmp_path / "out").exists()
    for content in ("{", "[]", ""):
        (tmp_path / "edited.json").write_text(content)
        with pytest.raises(dv.InputError, match="registration"):
            preregistration.load(tmp_path / "edited.json")


def test_it_is_written_once_and_says_what_was_there(log, lock, tmp_path, capsys):
    code, _, err = run("preregister", tmp_path / "mine.toml", "-o", lock, capsys=capsys)
    assert code == 2 and "is not written over" in err
    code, out, err = run("preregister", log, "-o", tmp_path / "late.json", "--json", capsys=capsys)
    assert code == 0, err
    assert list(json.loads(out)["data"]) == [str(log)] and len(json.loads(out)["questions"]) > 20
    for wrong in (("--question", "gapp"), ("--map", "score")):
        code, _, err = run("preregister", tmp_path / "mine.toml", "-o", tmp_path / "x.json", *wrong, capsys=capsys)
        assert code == 2 and not (tmp_path / "x.json").exists()
    code, _, err = run("preregister", tmp_path / "nothing.parquet", "-o", tmp_path / "x.json", capsys=capsys)
    assert code == 2 and "nothing.parquet" in err


def test_the_whole_configuration_is_locked():
    import dataclasses

    keys = {field.name for field in dataclasses.fields(dv.Configuration)} - {"path"}
    assert set(preregistration.declared(dv.Configuration())) == keys


@pytest.mark.parametrize("hashed", [True, False])
def test_a_lock_with_any_damaged_field_is_refused_or_says_what_a_lock_says(hashed, tmp_path):
    """Each field gone, or of another kind; also where its hash was made anew."""
    path = tmp_path / "lock.json"
    preregistration.write(path, dv.Configuration(), ["gap"], 7, {"a.csv": None}, "1.0")
    whole = json.loads(path.read_text())
    odd = [None, True, -1, 0.5, 10**30, "", "\ud800", [], ["a"], [1], {}, {"a": [1]}]
    tables = [{k: v for k, v in whole.items() if k != name} for name in whole]
    tables += [{**whole, name: value} for name in whole for value in odd]
    refused = 0
    for table in tables:
        if hashed and "sha256" in table and table["sha256"] == whole["sha256"]:
            says = {k: v for k, v in table.items() if k != "sha256"}
            text = json.dumps(says, sort_keys=True, ensure_ascii=False).encode("utf-8", "replace")
            table = {**table, "sha256": hashlib.sha256(text).hexdigest()}
        path.write_text(json.dumps(table))
        try:
            lock = preregistration.load(path)
        except dv.InputError as error:
            refused += 1
            assert "registration" in str(error) and str(error).isprintable()
        else:
            preregistration.record(lock, preregistration.departures(lock, dv.Configuration(), 7, 0.9), {"gap": True})
    assert refused >= len(tables) - (0 if not hashed else 3 * len(odd))
    path.write_text("[" * 100_000)
    with pytest.raises(dv.InputError, match="is not JSON"):
        preregistration.load(path)
