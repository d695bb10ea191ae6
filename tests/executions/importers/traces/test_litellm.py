"""Rows that LiteLLM's own code made, in every shape in which people have them, against the README's counts."""

import gzip
import importlib.util
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import polars as pl
import pytest

from divergence.errors import InputError
from divergence.executions.importers import blocks, detect, import_log

WHOLE = ("spendlogs_psql_copy.csv", "spendlogs_rows.jsonl", "spendlogs_pg_dump.sql.gz", "spend_rows_as_queued.jsonl.gz")
PLAIN = "spendlogs_copy_text.tsv"
TABLE = {"prompt_tokens": 1434, "completion_tokens": 487}
"""Sums over the table, estimates of failures (27) and repeats of the cache (109 and 29) included."""


@pytest.mark.parametrize("name", (*WHOLE, PLAIN))
def test_rows_tokens_cost_and_errors(logs, name):
    path = logs(f"litellm/{name}")
    assert detect(path) == "litellm"
    imported = import_log([path])
    rows = imported.executions
    assert rows.height == 19 and imported.rejected.is_empty()
    assert rows["error_type"].count() == 5
    assert rows["cost_usd"].sum() == pytest.approx(0.00132046, rel=1e-12)
    assert rows["latency_s"].sum() == pytest.approx(2.102, rel=1e-12)
    assert (rows["input_tokens"].sum(), rows["output_tokens"].sum()) == (1298, 458)  # what the stub served with 200
    assert TABLE["prompt_tokens"] == 1298 + 27 + 109 and TABLE["completion_tokens"] == 458 + 29
    said = " ".join(imported.notes)
    assert "3 failed requests carry estimates of 27 input" in said and "repeat 109 input and 29 output" in said


def test_columns_that_stand_inside_json(logs):
    rows = import_log([logs("litellm/spendlogs_rows.jsonl")]).executions
    assert (rows["cached_tokens"].sum(), rows["reasoning_tokens"].sum()) == (96, 128)
    assert rows.filter(pl.col("attempts") == 2).select("router", "model").rows() == [("fast-chat", "openai/gpt-4o-mini")]
    assert rows.filter(pl.col("engine") == "response cache").select("cost_usd", "input_tokens").rows() == [(0.0, None)]
    unpriced = rows.filter(pl.col("model") == "openai/my-finetune-7b")
    assert unpriced.select("cost_usd", "input_tokens").rows() == [(None, 107)]
    assert rows["ttft_s"].count() == 2  # the two streams
    assert set(rows["error_type"].drop_nulls()) >= {"ContextWindowExceededError", "ProxyModelNotFoundError"}


def test_every_shape_says_the_same(logs):
    first, *others = (import_log([logs(f"litellm/{name}")]).executions.sort("execution_id") for name in WHOLE[:3])
    assert all(other.equals(first) for other in others)
    plain = import_log([logs(f"litellm/{PLAIN}")]).executions.sort("execution_id")
    assert plain.select("model", "time", "cost_usd").equals(first.select("model", "time", "cost_usd"))


def test_many_small_files_are_mapped_together_and_say_what_one_says(logs, tmp_path, monkeypatch):
    source, times = logs("litellm/spendlogs_rows.jsonl"), []
    lines = [*source.read_text().splitlines(), '{"request_id": "x", "startTime": "2026-01-01", "spend": 0}']
    (tmp_path / "one.jsonl").write_text("\n".join(lines))
    (tmp_path / "many").mkdir()
    for number, line in enumerate(lines):
        (tmp_path / "many" / f"{number:02}.jsonl").write_text(line)
    one = import_log([tmp_path / "one.jsonl"], "litellm")
    whole = blocks.mapped
    monkeypatch.setattr(blocks, "mapped", lambda *given: times.append(1) or whole(*given))
    many = import_log([tmp_path / "many"], "litellm")
    assert many.executions.equals(one.executions) and many.notes == one.notes and len(times) == 1
    (rejected,) = many.rejected.rows(named=True)
    assert rejected["rule"] == "model_given" and rejected["file"].endswith("19.jsonl") and rejected["row"] == 1


def test_no_key_user_or_address_comes_through(logs):
    source = logs("litellm/spendlogs_rows.jsonl")
    record = json.loads(source.read_text().splitlines()[0])
    imported = import_log([source])
    written = imported.executions.write_csv() + " ".join((*imported.unmapped, *imported.notes))
    for name in ("api_key", "user", "end_user", "team_id", "requester_ip_address", "cache_key", "organization_id"):
        assert record[name] not in written.replace("http://127.0.0.1", "")


def test_damaged_rows_are_set_aside(tmp_path):
    head = "request_id,startTime,endTime,spend,model,prompt_tokens,metadata\n"
    rows = "a,2026-01-01 00:00:00,2026-01-01 00:00:01,nan,m,-5,{broken\nb,later,,0.5,m,3,{}\nc,too,short\n"
    path = tmp_path / "rows.csv"
    path.write_bytes(head.encode() + rows.encode() + b'd\xff,2026-01-01,,1,m,1,"[1]"\n,2026-01-01,,1,m,1,{}\n')
    imported = import_log([path])
    assert imported.executions.select("execution_id", "latency_s", "cost_usd").rows() == [
        ("a", 1.0, None),
        ("b", None, 0.5),
        ("d\ufffd", None, 1.0),
    ]
    assert set(imported.rejected["rule"]) == {"row_width", "execution_id_given"}
    assert any("no UTF-8" in note for note in imported.notes)


def _run(*command: str | Path, **given) -> None:
    subprocess.run([str(part) for part in command], check=True, capture_output=True, timeout=120, **given)


@pytest.fixture(scope="module")
def server(logs):
    """A PostgreSQL server of its own, on a socket, with the genuine dump in it."""
    if shutil.which("initdb") is None or shutil.which("pg_ctl") is None:
        pytest.skip("PostgreSQL's initdb is not on this machine")
    if importlib.util.find_spec("adbc_driver_postgresql") is None:
        pytest.skip("adbc-driver-postgresql (extra postgres) is not installed")
    folder = Path(tempfile.mkdtemp(prefix="pg-"))  # a short path: a socket's name has a hundred characters at most
    owner = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if owner:
        shutil.chown(folder, "postgres", "postgres")
    data = folder / "data"
    _run(*owner, "initdb", "-D", data, "-U", "tester", "-A", "trust")
    listen = f"-k {folder} -c listen_addresses=''"
    _run(*owner, "pg_ctl", "-D", data, "-w", "-o", listen, "-l", folder / "log", "start")
    try:
        dump = gzip.decompress(logs("litellm/spendlogs_pg_dump.sql.gz").read_bytes())
        _run("psql", "-h", folder, "-U", "tester", "-d", "postgres", "-q", input=dump)
        yield f"postgresql://tester:secret@/postgres?host={folder}"
    finally:
        _run(*owner, "pg_ctl", "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder)


@pytest.mark.postgres
def test_a_real_server_says_what_its_dump_says(server, logs):
    imported = import_log([Path(server)])
    dump = import_log([logs("litellm/spendlogs_pg_dump.sql.gz")])
    assert imported.format == "litellm"
    assert imported.executions.sort("execution_id").equals(dump.executions.sort("execution_id"))
    assert not any("secret" in note or "tester" in note for note in imported.notes)


@pytest.mark.postgres
def test_a_server_that_cannot_be_reached_is_one_sentence_without_the_password(tmp_path):
    pytest.importorskip("adbc_driver_postgresql")
    with pytest.raises(InputError) as refused:
        import_log([Path(f"postgresql://a:hidden@/none?host={tmp_path}")])
    assert "hidden" not in str(refused.value) and "\n" not in str(refused.value)


def test_rows_exported_twice_change_neither_session_nor_sums(logs, tmp_path):
    path = logs("litellm/spendlogs_rows.jsonl")
    (tmp_path / "again.jsonl").write_bytes(path.read_bytes())
    once, twice = import_log([path]), import_log([path, tmp_path / "again.jsonl"])
    assert twice.executions.equals(once.executions) and twice.rejected.height == 19
    assert {note for note in twice.notes if "requests" in note} == {note for note in once.notes if "requests" in note}


def test_payloads_of_callbacks_are_no_rows_of_the_table(logs):
    assert detect(logs("litellm/standard_logging_payload.jsonl")) is None
