"""The verb: the incident of the embedded stream, the files it leaves, resuming, and its refusals."""

import json
import os
import pathlib
import re

import numpy as np
import polars as pl
import pytest
from page_sentences import sentences
from superlative_claims import GRAMMAR, SUPERLATIVE

from divergence.cli import main
from divergence.simulate import stream

ROOT = pathlib.Path(__file__).parents[2]
INCIDENT = ROOT / "datasets" / "serving-stream"
BROKE = "2026-11-25T02:37:25Z"  # request 801 of the first stream, by the card


def run(capsys, *arguments) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        main(["drift", *map(str, arguments)])
    out = capsys.readouterr()
    return end.value.code, out.out, out.err


@pytest.mark.parametrize("reference", ["0.4", "0.3", "2026-11-25T02:30:00Z/2026-11-25T02:36:00Z"])
def test_the_incident_is_found(capsys, tmp_path, reference):
    code, out, _ = run(capsys, INCIDENT, "-o", tmp_path, "--reference", reference, "--json")
    made = json.loads(out)
    assert code == 0 and made["verdict"] in ("structural", "both")
    assert BROKE < made["time"] < "2026-11-25T02:44:00Z"  # no earlier alarm
    first = made["alarms"][0]
    assert first["family"] == "structural" and first["change_from"] <= "2026-11-25T02:38:43Z"
    assert first["change_to"] >= BROKE
    edge = made["edges"][0]
    assert {edge["a"], edge["b"]} == {"input_tokens", "region"} and edge["settled"] and edge["material"]
    assert abs(edge["before"]) < 0.1 and 0.6 < edge["after"] < 0.9
    assert sorted(path.name for path in tmp_path.iterdir()) == ["drift.html", "evidence.parquet"]


def test_page_and_evidence(capsys, tmp_path):
    code, out, _ = run(capsys, INCIDENT, "-o", tmp_path, "--reference", "0.4", "--quiet", "--no-telemetry")
    assert code == 0 and out == ""
    page = (tmp_path / "drift.html").read_text()
    assert not re.search(r"(src|href)=|@import|url\(", page)  # self-contained
    for part in ("metrics", "topology", "evidence", "edges", "factors", "meaning", "method"):
        assert f'<section id="{part}">' in page
    assert "input_tokens with region" in page and "prefers-color-scheme: dark" in page and "Risk scores: stale since" in page
    assert "nan" not in re.sub(r"<[^>]*>", "", page).lower().split()
    # No superlative of its own: one names the question of a report that no longer carries.
    told = [one.replace("which combination is best", "") for _, one in sentences(page)]
    assert len(told) > 10 and [one for one in told if SUPERLATIVE.search(GRAMMAR.sub(" ", one))] == []
    table = pl.read_parquet(tmp_path / "evidence.parquet")
    families = table.filter(kind="family")
    assert families.height == 2 * table["chunk"].n_unique() and table["log_e"].null_count() == 0
    assert families.filter(family="structural")["log_e"].max() > 3


def test_a_state_goes_on_where_it_stopped(capsys, tmp_path):
    rows = stream("coupling", 4, reference_rows=4000, chunks=20, change=8)
    rows[:7000].write_parquet(tmp_path / "one.parquet")
    rows[4000:].write_parquet(tmp_path / "two.parquet")
    state, out = tmp_path / "state", tmp_path / "out"
    shared = [
        "--chunk-rows",
        "200",
        "--only",
        "queue",
        "--only",
        "ttft",
        "--only",
        "kv_use",
        "--signal",
        "queue",
        "--signal",
        "ttft",
        "--signal",
        "kv_use",
    ]
    code, text, _ = run(
        capsys, tmp_path / "one.parquet", "-o", out, "--reference", "0.57143", "--state", state, "--json", *shared
    )
    assert code == 0 and json.loads(text)["verdict"] == "none" and json.loads(text)["horizon"] is None
    code, text, _ = run(capsys, tmp_path / "two.parquet", "-o", out, "--state", state, "--json", *shared)
    made = json.loads(text)
    assert code == 0 and made["verdict"] in ("structural", "both") and made["rows"] == 10_000 and made["skipped"] >= 3000
    before = state.read_bytes()
    code, text, error = run(capsys, tmp_path / "two.parquet", "-o", out, "--state", state, "--alpha", "0.01", *shared)
    assert code == 2 and "was made with alpha = 0.05" in error and state.read_bytes() == before
    code, text, _ = run(capsys, tmp_path / "two.parquet", "-o", out, "--state", state, "--json", *shared)
    assert json.loads(text)["rows"] == 10_000 and json.loads(text)["log_evidence"] == made["log_evidence"]


def test_refusals_leave_nothing(capsys, tmp_path):
    rows = stream("null", 4, reference_rows=2000, chunks=2)
    rows.drop("time").write_parquet(tmp_path / "timeless.parquet")
    rows.with_columns(pl.col("time").dt.replace_time_zone(None)).write_parquet(tmp_path / "naive.parquet")
    rows[:200].write_parquet(tmp_path / "short.parquet")
    for name, arguments, word in (
        ("timeless", ["--reference", "0.4"], "no column time"),
        ("naive", ["--reference", "0.4"], "--zone UTC"),
        ("short", ["--reference", "0.4"], "at least 10 are needed"),
        ("short", [], "--reference is missing"),
        ("short", ["--reference", "2"], "neither a fraction"),
        ("short", ["--reference", "0.4", "--endless", "--horizon", "5"], "exclude each other"),
        ("none", ["--reference", "0.4"], "none.parquet"),
        ("short", ["--reference", "0.4", "--signal", "quue"], "no file of the stream has such a column"),
    ):
        code, _, error = run(capsys, tmp_path / f"{name}.parquet", "-o", tmp_path / "out", *arguments)
        assert code == 2 and word in error and "Traceback" not in error, (name, error)
        assert not (tmp_path / "out").exists()
    code, _, error = run(
        capsys, tmp_path / "naive.parquet", "-o", tmp_path / "out", "--reference", "0.7", "--zone", "UTC", "--signal", "ttft"
    )
    assert code == 0, error


def test_telemetry_alone_and_counters(capsys, tmp_path):
    os.makedirs(tmp_path / "log")
    pl.read_parquet(INCIDENT / "telemetry.parquet").filter(pl.col("instance") != "bench/server").write_parquet(
        tmp_path / "log" / "t.parquet"
    )
    code, out, error = run(capsys, tmp_path / "log", "-o", tmp_path / "out", "--reference", "0.4", "--json")
    assert code in (0, 2)
    if code == 2:
        assert "independent" in error or "at least 10" in error
    else:
        assert "verdict" in json.loads(out)


def made_stream(path, **columns) -> pathlib.Path:
    """A quiet stream of 4,000 rows, a request every half minute; `columns` replace its own."""
    n = 4000
    a = np.random.default_rng(0).lognormal(size=n)
    noise = np.exp(0.3 * np.random.default_rng(1).normal(size=n))
    own = {"time": [f"2026-01-{1 + i // 2880:02}T{i // 120 % 24:02}:{i // 2 % 60:02}:{i % 2 * 30:02}Z" for i in range(n)]}
    own |= {"input_tokens": (100 * a).astype(int).tolist(), "latency_s": (a * noise).tolist(), "model": ["m"] * n}
    pl.DataFrame(own | columns).write_parquet(path)
    return path


def test_one_instant_for_all_rows_is_no_order(capsys, tmp_path):
    path = made_stream(tmp_path / "log.parquet", time=["2026-01-01T00:00:00Z"] * 4000)
    code, _, err = run(capsys, path, "-o", tmp_path / "out", "--reference", "0.4")
    assert code == 2 and "All 1600 rows of the reference have the time 2026-01-01T00:00:00Z" in err
    assert not (tmp_path / "out").exists()


def test_a_signal_that_vanishes_is_said_beside_a_green_verdict(capsys, tmp_path):
    tokens = [100 + i % 37 if i < 3000 else None for i in range(4000)]
    path = made_stream(tmp_path / "log.parquet", input_tokens=tokens)
    code, out, _ = run(capsys, path, "-o", tmp_path / "out", "--reference", "0.4")
    assert code == 0 and "input_tokens has no value in a chunk that begins at" in out
