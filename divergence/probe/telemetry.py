"""What did the servers say about themselves meanwhile? Scrapes Prometheus endpoints into the `telemetry` table.

One row is one metric of one instance in one window: a gauge's value at the end of the window, a counter's increase in
it (a counter that fell was restarted: its new value is the increase), a histogram's increase by bucket (`metric` =
`ttft_s le 0.5`). Names of llama.cpp, vLLM, SGLang and TGI are mapped to one vocabulary, others kept as they are.
A scrape that fails is counted and leaves a gap; it never disturbs a request.
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import json
import time
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from divergence.errors import InputError
from divergence.staging import whole

SCRAPE_S = 5.0  # a server that does not answer in this time is busy; the next window comes soon
NAMES: Mapping[str, str] = {
    # llama.cpp names its gauges `_seconds` although they are tokens a second; its counters restart with the process.
    "llamacpp:prompt_tokens_total": "input_tokens",
    "llamacpp:prompt_seconds_total": "prefill_s",
    "llamacpp:tokens_predicted_total": "output_tokens",
    "llamacpp:tokens_predicted_seconds_total": "decode_s",
    "llamacpp:n_decode_total": "decode_steps",
    "llamacpp:prompt_tokens_cached_total": "cached_tokens",
    "llamacpp:spec_decode_num_draft_tokens_total": "draft_tokens",
    "llamacpp:spec_decode_num_accepted_tokens_total": "accepted_tokens",
    "llamacpp:requests_processing": "requests_running",
    "llamacpp:requests_deferred": "requests_waiting",
    "llamacpp:n_busy_slots_per_decode": "batch_size",
    "llamacpp:prompt_tokens_seconds": "prefill_tokens_per_s",
    "llamacpp:predicted_tokens_seconds": "decode_tokens_per_s",
    "vllm:num_requests_running": "requests_running",
    "vllm:num_requests_waiting": "requests_waiting",
    "vllm:kv_cache_usage_perc": "kv_cache_usage",  # a fraction in spite of its name
    "vllm:gpu_cache_usage_perc": "kv_cache_usage",
    "vllm:num_preemptions_total": "preemptions",
    "vllm:spec_decode_num_draft_tokens_total": "draft_tokens",
    "vllm:spec_decode_num_accepted_tokens_total": "accepted_tokens",
    "vllm:prompt_tokens_total": "input_tokens",
    "vllm:generation_tokens_total": "output_tokens",
    "vllm:time_to_first_token_seconds": "ttft_s",
    "vllm:time_per_output_token_seconds": "tpot_s",
    "vllm:e2e_request_latency_seconds": "latency_s",
    "vllm:request_queue_time_seconds": "queue_s",
    "sglang:num_running_reqs": "requests_running",
    "sglang:num_queue_reqs": "requests_waiting",
    "sglang:token_usage": "kv_cache_usage",
    "sglang:cache_hit_rate": "prefix_cache_hit_rate",
    "sglang:gen_throughput": "decode_tokens_per_s",
    "sglang:prompt_tokens_total": "input_tokens",
    "sglang:generation_tokens_total": "output_tokens",
    "sglang:time_to_first_token_seconds": "ttft_s",
    "sglang:e2e_request_latency_seconds": "latency_s",
    "tgi_queue_size": "requests_waiting",
    "tgi_batch_current_size": "batch_size",
    "tgi_request_duration": "latency_s",
    "tgi_request_queue_duration": "queue_s",
    "tgi_request_mean_time_per_token_duration": "tpot_s",
    "tgi_request_generated_tokens": "output_tokens",
    "tgi_request_input_length": "input_tokens",
}
"""Metric name of an engine -> the name in the log."""


@dataclasses.dataclass(frozen=True)
class Scrape:
    """One Prometheus endpoint to be watched during the run."""

    url: str
    """Address of the metrics page."""
    instance: str
    """Name of the server in the log."""
    model: str = ""
    """Model that it serves, as the log names it; empty = several."""
    period_s: float = 5.0
    """Length of a window, in seconds."""


@dataclasses.dataclass(frozen=True)
class Reading:
    """All samples of one scrape."""

    gauges: dict[str, float]
    """Metric -> value."""
    counters: dict[str, float]
    """Metric (with its bucket, for histograms) -> cumulative value."""


def check(scrapes: tuple[Scrape, ...]) -> None:
    """Raises `InputError` for an address that is not plain HTTP(S), or a period that is no period."""
    for scrape in scrapes:
        if not scrape.url.startswith(("http://", "https://")) or "@" in scrape.url:
            raise InputError(f"The telemetry address of {scrape.instance!r} must be http(s) without user and password.")
        if not scrape.period_s > 0:
            raise InputError(f"period_s of telemetry {scrape.instance!r} must be above 0, seen {scrape.period_s}.")


def parse(text: str) -> Reading:
    """Samples of a Prometheus text page, summed over labels other than `le`. Raises ValueError where it is none."""
    from prometheus_client.parser import text_string_to_metric_families

    gauges: dict[str, float] = {}
    counters: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name.endswith("_created"):
                continue
            base = sample.name
            for end in ("_bucket", "_sum", "_count"):
                if family.type in ("histogram", "summary"):
                    base = base.removesuffix(end)
            name = NAMES.get(base, NAMES.get(sample.name, base))
            if family.type in ("histogram", "summary"):
                edge = sample.labels.get("le", sample.labels.get("quantile"))
                part = sample.name.removeprefix(base).removeprefix("_")
                name = f"{name} le {edge}" if edge is not None else f"{name} {part}"
            target = counters if family.type in ("counter", "histogram") or base.endswith("_total") else gauges
            target[name] = target.get(name, 0.0) + float(sample.value)
    return Reading(gauges, counters)


def window(before: Reading | None, after: Reading) -> dict[str, float]:
    """Metric -> value of one window: gauges as they are, counters by their increase; no counters in the first one."""
    values = dict(after.gauges)
    if before is not None:
        for name, value in after.counters.items():
            last = before.counters.get(name, 0.0)
            values[name] = value - last if value >= last else value
    return values


async def watch(session, scrape: Scrape, path: Path, failed: list[str]) -> None:
    """Scrape until cancelled; one JSON line a window, appended to `path`."""
    import aiohttp

    before: Reading | None = None
    since = time.time()
    with path.open("a", encoding="utf-8") as file:
        while True:
            await asyncio.sleep(scrape.period_s)
            try:
                async with asyncio.timeout(SCRAPE_S), session.get(scrape.url, allow_redirects=False) as response:
                    after = parse(await response.text()) if response.status == 200 else None
            except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
                after = None
            now = time.time()
            if after is None:
                failed.append(scrape.instance)
            else:
                line = {
                    "window_start": since,
                    "window_s": now - since,
                    "instance": scrape.instance,
                    "model": scrape.model or None,
                    "values": window(before, after),
                }
                file.write(json.dumps(line) + "\n")
                file.flush()
            before, since = after or before, now


def finish(journal: Path, target: Path) -> int:
    """Write `telemetry.parquet` from the journal, whole or not at all; returns its rows (0 = no file)."""
    if not journal.exists():
        return 0
    rows = []
    for text in journal.read_text(encoding="utf-8").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue  # the last line of a killed run
        start = datetime.datetime.fromtimestamp(line["window_start"], datetime.UTC)
        rows += [
            (start, line["window_s"], line["instance"], line["model"], metric, value)
            for metric, value in sorted(line["values"].items())
        ]
    if not rows:
        return 0
    schema = {
        "window_start": pl.Datetime("us", "UTC"),
        "window_s": pl.Float64,
        "instance": pl.String,
        "model": pl.String,
        "metric": pl.String,
        "value": pl.Float64,
    }
    frame = pl.DataFrame(rows, schema=schema, orient="row").sort("window_start", "instance", "metric")
    with whole(target) as part:
        frame.write_parquet(part, compression="zstd")
    return frame.height
