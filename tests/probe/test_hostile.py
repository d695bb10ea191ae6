"""Whatever a server sends, a campaign ends, every item has its row, memory is bounded and `timeout_s` holds."""

import base64
import json
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path

import polars as pl
import pytest
from hostile_server import BEHAVIOURS, ECHOES, HostileServer

import divergence as dv

pytest.importorskip("aiohttp", reason="the probe's client needs aiohttp (extra `probe`)")

TIMEOUT_S = 1.0
SLACK_S = 2.0  # a limit is kept within this; the event loop is busy with other replies meanwhile
ENDLESS = sorted(name for name, sent in BEHAVIOURS.items() if callable(sent) and name != "reset")
FAULTY = {
    "malformed_json": ("deep-stream", "deep-objects", "deep-closed", "digits", "usage-list", "usage-text", "timings-number",
                       "choices-text", "choices-number", "choice-null", "delta-list", "content-object", "content-number",
                       "finish-object", "event-number", "event-null", "not-utf8"),
    "server_error": ("event-text", "error-event"),
    "oversized_reply": ("text-wide", "text-huge", "gzip-bomb", "deflate-bomb"),
    "truncated_stream": ("utf16", "gzip-cut", "gzip-end", "done-only", "carriage-returns"),
    "malformed_reply": ("gzip-false",),
    "content_encoding": ("brotli", "gzip-twice"),
    "content_type": ("type-missing", "type-html", "old-http"),
    "connection": ("reset", "nothing", "half-head", "not-http", "status-huge", "head-long", "head-odd", "length-huge",
                   "length-negative", "chunk-bad", "chunk-huge"),
    "http_400": ("deep-400", "deep-400-error", "error-name-odd", "error-list", "error-surrogate"),
    "http_429": ("retry-nan", "retry-for-ever"),
    "http_101": ("switch",), "http_204": ("status-empty",), "http_302": ("redirect-loop",), "http_307": ("redirect",),
    "http_503": ("retry-date",), "http_999": ("status-odd",),
}  # fmt: skip
"""Every other behaviour is odd, and yet an answer."""
MEMORY = 300 * 2**20  # bytes beyond the start
PROBE = """
import dataclasses, pathlib, re, sys
from divergence.probe import client, run
import aiohttp, polars
withheld = pathlib.Path("/proc/thread-self/schedstat")
def waited():
    return int(withheld.read_text().split()[1]) / 1e9 if withheld.exists() else 0.0
attempt = client._attempt
async def timed(*given):
    before = waited()
    reply = await attempt(*given)
    return dataclasses.replace(reply, latency_s=reply.latency_s - (waited() - before))
client._attempt = timed
def said(name):
    return int(re.search(name + r":\\s+(\\d+) kB", pathlib.Path("/proc/self/status").read_text())[1])
before = said("VmRSS")
run(sys.argv[1], sys.argv[2], quiet=True)
print(said("VmHWM") - before)
"""


"""The campaign, and how many kB it took. A reply's time is without that in which its thread could run and the machine ran
others: a limit that is not kept because of what the client does shows, however busy the machine is."""


@pytest.fixture
def hostile():
    server = HostileServer()
    yield server
    server.close()


def planned(folder: Path, base_url: str, words: list[str], clients: int = 16, timeout_s: float = TIMEOUT_S) -> Path:
    folder.mkdir(exist_ok=True)
    rows = [{"item": word, "prompt": f"{word} please", "gold": "4", "scorer": "number"} for word in words]
    (folder / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = folder / "plan.toml"
    path.write_text(f"""
name = "hostile"
items = "items.jsonl"
[request]
timeout_s = {timeout_s}
retries = 0
[endpoint.host]
base_url = "{base_url}"
[[system]]
model = "m"
endpoint = "host"
[[context]]
label = "live"
regime = "deployment"
factors = {{ sampler = "greedy" }}
sampler = {{ temperature = 0.0 }}
concurrency = {clients}
""")
    return path


def probed(plan: Path, out: Path) -> int:
    """Run the campaign in a process of its own; how many bytes it took beyond its start."""
    done = subprocess.run([sys.executable, "-c", PROBE, plan, out], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    return int(done.stdout) * 1024


def test_every_reply_that_ends_is_a_row(hostile, tmp_path):
    words = [name for name in BEHAVIOURS if name not in ENDLESS]
    assert len(BEHAVIOURS) >= 62
    grown = probed(planned(tmp_path, hostile.base_url, words, 8, timeout_s=60.0), tmp_path / "out")
    rows = pl.read_parquet(tmp_path / "out" / "executions.parquet")
    kinds = dict(rows.select("item", "error_type").iter_rows())
    assert kinds.pop("length-short") in ("connection", "truncated_stream")  # as the bytes after the end come late or not
    wanted = dict.fromkeys(words) | {name: kind for kind, names in FAULTY.items() for name in names}
    assert kinds | {"length-short": None} == wanted and rows.height == len(words)
    assert rows.filter(pl.col("score").is_null() == pl.col("error_type").is_null()).height == 0
    assert rows["finish_reason"].drop_nulls().str.len_chars().max() <= 100
    print(f"{rows.height} that end: {grown / 2**20:.0f} MiB beyond the start")
    assert grown <= MEMORY
    assert sum("HTTP" in request for request in hostile.received) == len(words) + 1  # nobody followed a redirect


def test_every_reply_without_an_end_is_a_row_in_time(hostile, tmp_path):
    began = time.perf_counter()
    grown = probed(planned(tmp_path, hostile.base_url, ENDLESS), tmp_path / "out")
    assert time.perf_counter() - began < 60
    rows = pl.read_parquet(tmp_path / "out" / "executions.parquet")
    assert sorted(rows["item"]) == ENDLESS and rows["score"].null_count() == len(ENDLESS)
    kinds = dict(rows.select("item", "error_type").iter_rows())
    assert set(kinds.values()) <= {"timeout", "connection", "malformed_json", "oversized_reply", "http_400"}
    for name in ("events-empty", "comments-endless", "drip", "silent", "silent-after-text", "informational"):
        assert kinds[name] == "timeout", name
    print(f"{rows.height} without an end: at most {rows['latency_s'].max():.2f} s, {grown / 2**20:.0f} MiB beyond the start")
    assert rows["latency_s"].max() < TIMEOUT_S + SLACK_S
    assert grown <= MEMORY


def test_generated_replies_are_rows(hostile, tmp_path):
    check_generated(hostile, tmp_path, 200)


@pytest.mark.prove
def test_two_thousand_generated_replies_are_rows(hostile, tmp_path):
    check_generated(hostile, tmp_path, 10_000)


def check_generated(hostile, folder: Path, wanted: int) -> None:
    words = [f"seed-{seed}" for seed in range(wanted)]
    grown = probed(planned(folder, hostile.base_url, words, 32), folder / "out")
    rows = pl.read_parquet(folder / "out" / "executions.parquet")
    print(f"{rows.height} replies: at most {rows['latency_s'].max():.2f} s, {grown / 2**20:.0f} MiB beyond the start")
    assert sorted(rows["item"]) == sorted(words)
    assert rows["latency_s"].max() < TIMEOUT_S + SLACK_S
    assert grown <= MEMORY
    kinds = set(rows["error_type"].drop_nulls())
    assert {"malformed_json", "truncated_stream", "http_429"} <= kinds
    assert rows["error_type"].null_count() > wanted / 20  # some survive their damage


def test_what_the_server_says_of_itself_is_recorded(hostile, tmp_path):
    import hostile_server

    said = {"model": "big-2026-01-01", "system_fingerprint": "fp_1", "usage": {
        "prompt_tokens": 7, "completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 5}}}  # fmt: skip
    hostile_server.BEHAVIOURS["named"] = hostile_server.streamed(said, hostile_server.said("4"))
    try:
        probed(planned(tmp_path, hostile.base_url, ["named", "good"]), tmp_path / "out")
    finally:
        del hostile_server.BEHAVIOURS["named"]
    rows = pl.read_parquet(tmp_path / "out" / "executions.parquet").sort("item")
    told = rows.select("item", "served_model", "system_fingerprint", "reasoning_tokens", "score").rows()
    assert told == [("good", None, None, None, 0.0), ("named", "big-2026-01-01", "fp_1", 5, 1.0)]
    assert dv.read(tmp_path / "out").counts.valid == 2


KEY = "Sk-Canary+7f3/QxZ9~eLm"


def test_a_key_that_comes_back_in_any_form_is_in_no_file_and_no_message(hostile, tmp_path, monkeypatch, capfd):
    from divergence.probe import run

    monkeypatch.setenv("HOST_KEY", KEY)
    plan = planned(tmp_path, hostile.base_url, list(ECHOES))
    plan.write_text(plan.read_text().replace("[[system]]", '[endpoint.host.headers_env]\n"X-Key" = "HOST_KEY"\n[[system]]'))
    plan.write_text(plan.read_text().replace("[endpoint.host]", '[endpoint.host]\napi_key_env = "HOST_KEY"'))
    summary = run(plan, tmp_path / "out")
    assert summary.rows == len(ECHOES) and not summary.errors
    rows = pl.read_parquet(tmp_path / "out" / "executions.parquet")
    for name in ("answer", "finish_reason", "served_model", "system_fingerprint"):
        assert rows[name].str.contains("[key]", literal=True).all(), rows[name].to_list()
    told = capfd.readouterr()
    kept = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
    everything = (kept + (told.out + told.err + repr(summary) + str(rows.to_dicts())).encode()).lower()
    for form in (KEY, KEY.encode().hex(), urllib.parse.quote(KEY, safe="")):
        assert form.lower().encode() not in everything
    for before in range(3):  # wherever it begins in what was packed
        packed = base64.b64encode(b"x" * before + KEY.encode()).lower()
        assert packed[4:-4] not in everything


def test_answers_with_which_a_pattern_does_not_end_are_rows(tmp_path, monkeypatch):
    """The items' own pattern, and a server that answers with what it cannot bear: others are asked and timed meanwhile."""
    import hostile_server

    from divergence.probe import bounded_pattern, run

    monkeypatch.setattr(bounded_pattern, "CPU_S", 0.2)
    slow = hostile_server.streamed(hostile_server.said("a" * 40 + "!"))
    monkeypatch.setitem(hostile_server.BEHAVIOURS, "slow", slow)
    server = HostileServer()
    try:
        plan = planned(tmp_path, server.base_url, [], clients=4, timeout_s=20.0)
        rows = [
            {"item": f"{word}-{n}", "prompt": f"{word} please", "gold": "aaaa", "scorer": "regex", "pattern": "((?:a+)+)"}
            for word in ("slow", "good")
            for n in range(5)
        ]
        (tmp_path / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        summary = run(plan, tmp_path / "out", quiet=True)
    finally:
        server.close()
    rows = pl.read_parquet(tmp_path / "out" / "executions.parquet")
    kinds = dict(rows.select("item", "error_type").iter_rows())
    assert kinds == {f"slow-{n}": "pattern_timeout" for n in range(5)} | {f"good-{n}": None for n in range(5)}
    assert rows.filter(pl.col("score").is_null() == pl.col("error_type").is_null()).height == 0
    assert summary.error_types == {"pattern_timeout": 5}
