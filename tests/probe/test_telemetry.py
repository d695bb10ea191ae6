"""Is a metrics page read as it is meant: gauges, increases of counters, buckets, in names that engines share?"""

import asyncio
import base64
import collections
import json
import pathlib
import threading
import time

import polars as pl
import pytest

from divergence.executions import read
from divergence.probe import run, telemetry

GENUINE = pathlib.Path(__file__).parents[3] / "shared/formats/prometheus/sglang_docs_excerpt.prom"
PAGE = """# TYPE llamacpp:prompt_tokens_total counter
llamacpp:prompt_tokens_total {total}
# TYPE llamacpp:requests_processing gauge
llamacpp:requests_processing 3
# TYPE vllm:time_to_first_token_seconds histogram
vllm:time_to_first_token_seconds_bucket{{le="0.5",model_name="a"}} {low}
vllm:time_to_first_token_seconds_bucket{{le="+Inf",model_name="a"}} {total}
vllm:time_to_first_token_seconds_sum{{model_name="a"}} 9
vllm:time_to_first_token_seconds_count{{model_name="a"}} {total}
"""


def test_counters_become_increases_and_restarts_are_seen():
    first, second, restarted = (telemetry.parse(PAGE.format(total=t, low=low)) for t, low in ((100, 60), (130, 75), (8, 2)))
    assert telemetry.window(None, first) == {"requests_running": 3}
    values = telemetry.window(first, second)
    assert values["uncached_input_tokens"] == 30 and "input_tokens" not in values  # its cached tokens are not on this page
    assert values["requests_running"] == 3
    assert values["ttft_s le 0.5"] == 15 and values["ttft_s le +Inf"] == 30 and values["ttft_s count"] == 30
    assert telemetry.window(second, restarted)["uncached_input_tokens"] == 8


@pytest.mark.parametrize("engine", ["llamacpp", "vllm"])
def test_drafted_and_accepted_tokens_have_one_name_in_both_engines(engine):
    values = {f"{engine}:spec_decode_num_{kind}_tokens_total": n for kind, n in (("draft", 90), ("accepted", 60))}
    page = "".join(f"# TYPE {name} counter\n{name} {value}\n" for name, value in values.items())
    assert telemetry.parse(page).counters == {"draft_tokens": 90, "accepted_tokens": 60}


def test_a_page_that_is_none_is_a_value_error():
    with pytest.raises(ValueError):
        telemetry.parse("<html>{not metrics")


@pytest.mark.skipif(not GENUINE.is_file(), reason="the shared sample of a metrics page is absent")
def test_a_genuine_page():
    reading = telemetry.parse(GENUINE.read_text())
    assert reading.gauges["requests_running"] == 162 and reading.gauges["kv_cache_usage"] == 0.28
    assert reading.counters["input_tokens"] == 8128902 and reading.counters["latency_s le 60.0"] == 1513


def test_a_run_leaves_windows_that_the_toolkit_reads(write_plan, tmp_path, stub):
    stub.pause = 0.03
    watched = f'[[telemetry]]\nurl = "{stub.base_url[:-3]}/metrics"\ninstance = "a"\nmodel = "parrot"\nperiod_s = 0.1\n'
    gone = '[[telemetry]]\nurl = "http://127.0.0.1:9/metrics"\ninstance = "gone"\nperiod_s = 0.1\n'
    summary = run(write_plan({f"ok {n}": "x" for n in range(20)}, head=watched + gone), tmp_path / "out", quiet=True)
    table = pl.read_parquet(tmp_path / "out" / "telemetry.parquet")
    assert summary.windows == table.height > 3 and set(table["instance"]) == {"a"}
    assert set(table["metric"]) == {"uncached_input_tokens", "requests_running"}
    log = read(tmp_path / "out")
    assert log.counts.valid == 40 and log.telemetry.collect().height == table.height
    assert log.outcomes.collect()["metric"].unique().to_list() == ["lenient"]


def test_a_campaign_shorter_than_a_window_has_its_pages(write_plan, tmp_path, stub):
    """A page at the start and one at the end: the window between them is the campaign's."""
    stub.pause = 0.05
    watched = f'[[telemetry]]\nurl = "{stub.base_url[:-3]}/metrics"\ninstance = "a"\nperiod_s = 600\n'
    gone = '[[telemetry]]\nurl = "http://127.0.0.1:9/metrics"\ninstance = "gone"\nperiod_s = 600\n'
    summary = run(write_plan({f"ok {n}": "x" for n in range(20)}, head=watched + gone), tmp_path / "out", quiet=True)
    table = pl.read_parquet(tmp_path / "out" / "telemetry.parquet")
    assert set(table["metric"]) == {"uncached_input_tokens", "requests_running"} and table.height == 2
    assert 0 < table["window_s"][0] <= summary.seconds
    assert summary.unread == {"gone": 1} and "gone 1 times" in str(summary)


def test_a_page_that_could_not_be_read_makes_the_next_window_longer(tmp_path, monkeypatch):
    """Counters of 100, 130, nothing, 160, and 190 at the end: the windows' increases are those of the server."""
    pages = iter([100, 130, None, 160, 190])
    ended, failed, path = asyncio.Event(), collections.Counter(), tmp_path / "journal"

    async def page(*_):
        total = next(pages)
        if total == 160:
            ended.set()
        return None if total is None else telemetry.parse(PAGE.format(total=total, low=0))

    monkeypatch.setattr(telemetry, "_page", page)
    scrape = telemetry.Scrape("http://127.0.0.1:9/metrics", "a", period_s=0.05)
    asyncio.run(asyncio.wait_for(telemetry.watch(None, scrape, {}, path, failed, ended), 20))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["values"]["uncached_input_tokens"] for line in lines] == [30, 30, 30] and failed == {"a": 1}
    starts = [line["window_start"] for line in lines]
    assert starts[1] == pytest.approx(starts[0] + lines[0]["window_s"])
    assert starts[2] == pytest.approx(starts[1] + lines[1]["window_s"]) and lines[1]["window_s"] >= 2 * 0.05


def histogram(lines: int, label: str = "") -> str:
    many = "".join(f'vllm:x_seconds_bucket{{le="{n}",n="{n}{label}"}} {n}\n' for n in range(lines))
    return f"# TYPE vllm:x_seconds histogram\n{many}"


@pytest.mark.parametrize(
    "page",
    [
        histogram(telemetry.MOST_LINES + 2),
        "\n" * (telemetry.MOST_LINES + 2),
        "# a\n" * 2_000_000,
        "a{" + 'b="c",' * 2000 + "} 1\n",
        f"a {'1' * 9000}\n",
    ],
    ids=["series", "nothing", "comments", "labels", "digits"],
)
def test_a_page_that_is_too_large_is_not_read(page):
    began = time.process_time()
    with pytest.raises(ValueError):
        telemetry.bounded(page)
    assert time.process_time() - began < 1


def test_a_large_page_is_read():
    page = telemetry.bounded(histogram(3000) + PAGE.format(total=8, low=2))
    assert len(telemetry.told(page, page, frozenset())) == 3000 + 6


def test_a_page_that_takes_long_stops_nobody(write_plan, tmp_path, stub, monkeypatch):
    """Reading each takes as long as a request may: they are answered meanwhile, and no two pages are read at a time."""
    at_once = most = pages = 0
    lock = threading.Lock()
    parse = telemetry.parse

    def slowly(text):
        nonlocal at_once, most, pages
        with lock:
            at_once, pages = at_once + 1, pages + 1
            most = max(most, at_once)
        time.sleep(1.2)
        with lock:
            at_once -= 1
        return parse(text)

    monkeypatch.setattr(telemetry, "parse", slowly)
    monkeypatch.setattr(telemetry, "SCRAPE_S", 2.0)
    watched = "".join(
        f'[[telemetry]]\nurl = "{stub.base_url[:-3]}/metrics"\ninstance = "{name}"\nperiod_s = 0.05\n' for name in "abc"
    )
    stub.pause = 0.1
    plan = write_plan({f"ok {n}": "x" for n in range(16)}, head=watched, timeout_s=1.0)
    summary = run(plan, tmp_path / "out", quiet=True)
    assert summary.rows == 32 and not summary.errors and not summary.retries
    assert most == 1 <= pages and set(summary.unread) <= set("abc")
    table = pl.read_parquet(tmp_path / "out" / "telemetry.parquet") if summary.windows else None
    assert table is None or table["window_s"].min() > 0.05


KEY = "Wp-4Rk/Yu+8Sd~" + "aB3cD4" * 5


def test_what_a_page_says_of_a_key_is_in_no_file(write_plan, tmp_path, stub, monkeypatch, capfd):
    """Its own key and that of an endpoint, in names of metrics and labels, whole and after what is long enough to be cut."""
    monkeypatch.setenv("PAGE_KEY", KEY)
    monkeypatch.setenv("HOST_KEY", KEY[::-1])
    said = [KEY, KEY.upper(), base64.b64encode(f"u:{KEY}".encode()).decode(), KEY[::-1], KEY.encode().hex(":")]
    said += ["".join(chr(ord(letter) + 0xFEE0) for letter in KEY), "".join(f"%{ord(letter):02X}" for letter in KEY[::-1])]
    said += ["z" * n + KEY for n in (60, 150, telemetry.LONGEST_NAME - 20, 400)]
    stub.page = f"# TYPE vllm:x histogram\nsglang:{KEY[::-1].encode().hex()} 4\n" + "".join(
        f'vllm:x_bucket{{le="{text}",model_name="{text}"}} TOTAL\n' for text in ["0.5", *said]
    )
    stub.pause = 0.05
    watched = f'[[telemetry]]\nurl = "{stub.base_url[:-3]}/metrics"\ninstance = "a"\nperiod_s = 0.05\n'
    watched += 'headers_env = { "X-Page" = "PAGE_KEY" }\n'
    plan = write_plan({f"ok {n}": "x" for n in range(6)}, head=watched, endpoint='api_key_env = "HOST_KEY"')
    summary = run(plan, tmp_path / "out")
    table = pl.read_parquet(tmp_path / "out" / "telemetry.parquet")
    assert set(table["metric"]) == {"requests_running", "uncached_input_tokens", "vllm:x le 0.5"} and not summary.unread
    kept = (tmp_path / "out" / "telemetry.journal").read_text() + str(table.to_dicts()) + "".join(capfd.readouterr())
    for form in (*said[:7], KEY.encode().hex(), KEY, KEY[::-1]):
        assert form[4:16].lower() not in kept.lower(), form
