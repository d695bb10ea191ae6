"""A file of a log that is cut, replaced, appended to or removed after it was read: one sentence at whatever reads it next,
and never a number of another file."""

import importlib
import json
import os

import polars as pl
import pytest

import divergence as dv
from divergence.behaviour import behaviour
from divergence.cells.collapse import collapse_beside, collapse_design
from divergence.errors import InputError
from divergence.executions.unchanged import unchanged
from divergence.results import write_report
from divergence.simulate import simulate, world

WRITERS = {
    "parquet": pl.DataFrame.write_parquet,
    "arrow": pl.DataFrame.write_ipc,
    "csv": pl.DataFrame.write_csv,
    "jsonl": pl.DataFrame.write_ndjson,
    "json": pl.DataFrame.write_json,
}
ROWS = simulate(world("baseline", n_models=2, n_contexts=3, n_items=30), 3)[0]
OTHER = ROWS.with_columns(score=1 - pl.col("score"))


def cut(path, _write):
    os.truncate(path, path.stat().st_size // 2)


def emptied(path, _write):
    os.truncate(path, 0)


def gone(path, _write):
    path.unlink()


def other(path, write):
    write(OTHER, path)


def put_in_its_place(path, write):
    write(OTHER, path.with_name("new"))
    os.replace(path.with_name("new"), path)


def grown(path, write):
    write(pl.concat([ROWS, ROWS]), path)


def appended(path, _write):
    with open(path, "ab") as file:
        file.write(path.read_bytes()[-50:])


CHANGES = (cut, emptied, gone, other, put_in_its_place, grown, appended)


def said(path, function, *args) -> str:
    with pytest.raises(InputError, match="changed while it was being read") as caught:
        function(*args)
    sentence = str(caught.value)
    assert len(sentence) <= 300 and sentence.isprintable() and path.name in sentence and "read it again" in sentence
    assert f"cp {path}" in sentence or "…" in sentence
    return sentence


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", WRITERS)
def test_a_changed_file_is_refused(tmp_path, kind, change):
    path, write = tmp_path / f"log.{kind}", WRITERS[kind]
    write(ROWS, path)
    log = dv.read(path, configuration=dv.Configuration())
    assert log.sources[0].stamp == (path.stat().st_size, path.stat().st_mtime_ns)
    change(path, write)
    for function in (dv.collapse, collapse_design, behaviour, dv.load_curve, type(log).scan, type(log).embedded_texts):
        said(path, function, log)
    for name in ("valid", "rejected", "cells", "design"):
        said(path, getattr, log, name)
    said(path, getattr, log.sources[0], "sha256")


def test_a_changed_file_gives_no_risk_model_no_report_and_no_export(tmp_path):
    from divergence.exchange.write_every_eval_ever import write

    path = tmp_path / "log.csv"
    ROWS.write_csv(path)
    log = dv.read(path)
    posterior = dv.fit(dv.collapse(log), seed=0)
    log.rejected, log.valid, log.design  # noqa: B018  kept from now on
    write_report(posterior, tmp_path / "right", log=log)
    OTHER.write_csv(path)
    said(path, dv.risk_model, posterior, log)
    said(path, collapse_beside, log, posterior.fits[0].cells, "score")
    said(path, lambda: write_report(posterior, tmp_path / "out", log=log))
    said(path, lambda: write(log, {}, tmp_path / "export"))
    assert not (tmp_path / "out").exists() and not (tmp_path / "export").exists()
    run = json.loads((tmp_path / "right/run.json").read_text())
    assert run["data"][0]["sha256"] == log.sources[0].sha256  # of the file that was counted


def test_a_file_that_changes_in_the_middle_of_a_pass_is_refused_at_its_end(tmp_path):
    path = tmp_path / "log.csv"
    ROWS.write_csv(path)
    log = dv.read(path)

    def changed_in_between(error=None):
        with log.unchanged():
            log.scan().collect()
            appended(path, None)
            if error is not None:
                raise error

    said(path, changed_in_between)
    for error in (KeyError("x"), pl.exceptions.PanicException("index out of bounds"), pl.exceptions.ComputeError("x")):
        ROWS.write_csv(path)
        log = dv.read(path)
        said(path, changed_in_between, error)


def test_a_file_that_is_appended_to_while_it_is_read(tmp_path, monkeypatch):
    """The last pass of `read` sees other rows than the first one."""
    path = tmp_path / "log.csv"
    ROWS.write_csv(path)
    reading = importlib.import_module("divergence.executions.read")
    counted = reading._check_counts

    def late(*args):
        appended(path, None)
        return counted(*args)

    monkeypatch.setattr(reading, "_check_counts", late)
    said(path, dv.read, path)


def test_an_error_of_a_file_that_did_not_change_is_its_own(tmp_path):
    path = tmp_path / "log.csv"
    ROWS.write_csv(path)
    log = dv.read(path)
    with pytest.raises(KeyError, match="x"), log.unchanged():
        raise KeyError("x")
    with pytest.raises(InputError, match="no outcome nowhere"):
        dv.collapse(log, outcome="nowhere")


def test_a_further_table_is_looked_at_too(tmp_path):
    rows = ROWS.with_columns(execution_id=pl.int_range(pl.len()).cast(pl.String))
    rows.write_parquet(tmp_path / "executions.parquet")
    further = rows.select("execution_id", metric=pl.lit("other"), value=pl.col("score"))
    further.write_parquet(tmp_path / "outcomes.parquet")
    log = dv.read(tmp_path)
    assert [source.path.name for source in log.beside] == ["outcomes.parquet"]
    dv.collapse(log, outcome="other")
    further.with_columns(value=1 - pl.col("value")).write_parquet(tmp_path / "outcomes.parquet")
    said(tmp_path / "outcomes.parquet", lambda: dv.collapse(log, outcome="other"))


def test_frames_are_not_looked_at():
    log = dv.read(ROWS)
    assert log.sources[0].stamp is None
    assert dv.collapse(log).counts["rows"].sum() == log.counts.valid
    with unchanged(log.sources):
        pass
