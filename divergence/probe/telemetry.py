"""What did the servers say about themselves meanwhile? Scrapes Prometheus endpoints into the `telemetry` table.

One row is one metric of one instance in one window: a gauge's value at the end of the window, a counter's increase in
it (a counter that fell was restarted: its new value is the increase), a histogram's increase by bucket (`metric` =
`ttft_s le 0.5`). Names and meanings are those of `executions.metric_names`, which imported pages share.
A scrape that fails is counted, and the next window is the longer; it never disturbs a request: pages are bounded, read one
at a time in a thread, for a quarter of the time at most. What a page says of a key is in no file.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import datetime
import functools
import json
import math
import os
import time
import urllib.parse
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

import polars as pl

from divergence.addresses import without
from divergence.errors import InputError
from divergence.executions import metric_pages
from divergence.executions.importers.factors import private
from divergence.executions.metric_pages import MetricPage, parse
from divergence.probe import journals
from divergence.probe.reply_stream import UNUSABLE, body
from divergence.staging import whole

LARGEST_PAGE = 1 << 22  # bytes; the pages of servers with hundreds of series have some 100 kB
MOST_LINES = 20_000  # of a page; a server with hundreds of series has some 1,000
LONGEST_LINE = 1 << 12  # characters of one
LONGEST_NAME = 200  # characters of a metric with its bucket
UNREAD = f"no answer in time, no metrics, or more than {MOST_LINES:,} lines or {LARGEST_PAGE >> 20} MiB"
"""Why a page is not read."""
BUSY_SHARE = 4  # a page that takes long is asked for again after this many times as long
SCRAPE_S = 5.0  # a server that does not answer in this time is busy; the next window comes soon
SCHEMA = {
    "window_start": pl.Datetime("us", "UTC"),
    "window_s": pl.Float64,
    "instance": pl.String,
    "model": pl.String,
    "metric": pl.String,
    "value": pl.Float64,
}


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
    headers_env: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Header name -> name of the environment variable that holds its value, where the page asks for a key."""

    def variables(self) -> dict[str, str]:
        """Field of the plan -> the variable that it names; messages say the field, as the name may be a pasted key."""
        return {f"headers_env {header}": variable for header, variable in self.headers_env.items()}


def check(scrapes: tuple[Scrape, ...]) -> None:
    """Raises `InputError` for an address that is not plain HTTP(S) or holds a key, or a period that is no period."""
    for scrape in scrapes:
        if not scrape.url.startswith(("http://", "https://")) or "@" in scrape.url:
            raise InputError(f"The telemetry address of {scrape.instance!r} must be http(s) without user and password.")
        query = urllib.parse.parse_qsl(scrape.url.partition("?")[2], keep_blank_values=True)
        if any(private(name) for name, _ in query):
            raise InputError(
                f"The telemetry address of {scrape.instance!r} holds a key in its query: give the name of the environment "
                "variable that holds it in headers_env, never the key itself."
            )
        if not scrape.period_s > 0:
            raise InputError(f"period_s of telemetry {scrape.instance!r} must be above 0, seen {scrape.period_s}.")


def window(before: MetricPage | None, after: MetricPage) -> dict[str, float]:
    """Metric -> value of one window of one server, its models and devices put together."""
    changed = metric_pages.window(before.as_one() if before else None, after.as_one())
    return {series.metric: value for series, value in changed.items()}


def told(before: MetricPage | None, after: MetricPage, keys: frozenset[str]) -> dict[str, float]:
    """What is kept of a window: no name that holds one of these keys, or is none, and no value that is no number."""
    values = {name: v for name, v in window(before, after).items() if len(name) <= LONGEST_NAME and math.isfinite(v)}
    together = "\n".join(values)
    if without(together, keys, "") != together:
        values = {name: value for name, value in values.items() if without(name, keys, "") == name}
    return values


def bounded(page: str) -> MetricPage:
    """The page, parsed. Raises ValueError for one that is none, or so large that reading it would disturb the requests."""
    lines = page.split("\n", MOST_LINES + 1)
    if len(lines) > MOST_LINES + 1 or max(map(len, lines)) > LONGEST_LINE:
        raise ValueError("too large a page")
    return parse(page)


@functools.cache
def _reader() -> concurrent.futures.ThreadPoolExecutor:
    """Where pages are read, one at a time: what waits longer than its scrape may take is not begun."""
    return concurrent.futures.ThreadPoolExecutor(1, "telemetry")


async def _aside(function, *given):
    return await asyncio.get_running_loop().run_in_executor(_reader(), function, *given)


async def watch(
    session,
    scrape: Scrape,
    head: Mapping[str, str],
    path: Path,
    failed: Counter[str],
    ended: asyncio.Event,
    keys: frozenset[str] = frozenset(),
) -> None:
    """Scrape with the headers of `head` at once, at the end of every window, and when `ended` is set, which ends the last
    one; one JSON line a window, appended to `path`, without the `keys`."""
    began = time.perf_counter()
    before = await _page(session, scrape, head)
    since = time.time()
    with _appended(path) as file:
        while True:
            took = time.perf_counter() - began
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(scrape.period_s, BUSY_SHARE * took)):
                    await ended.wait()
            last = ended.is_set()  # and not by the end of this page, whose windows would be lost
            began = time.perf_counter()
            after = await _page(session, scrape, head)
            now = time.time()
            if after is None:  # the next window is from the last page that could be read
                failed[scrape.instance] += 1
            else:
                line = {
                    "window_start": since,
                    "window_s": now - since,
                    "instance": scrape.instance,
                    "model": scrape.model or None,
                    "values": await _aside(told, before, after, keys),
                }
                file.write(json.dumps(line) + "\n")
                file.flush()
                before, since = after, now
            if last:
                return


def _appended(path: Path) -> TextIO:
    """The journal, to be written on from a line of its own: a killed run may have left the half of one."""
    file = path.open("a", encoding="utf-8")
    if path.stat().st_size:
        with path.open("rb") as written:
            written.seek(-1, os.SEEK_END)
            file.write("" if written.read() == b"\n" else "\n")
    return file


async def _page(session, scrape: Scrape, head: Mapping[str, str]) -> MetricPage | None:
    """The page as it is now; None where it cannot be read in time."""
    import aiohttp

    try:
        asked = session.get(scrape.url, headers=head, allow_redirects=False)
        async with asyncio.timeout(SCRAPE_S), asked as response:
            page = await body(response, LARGEST_PAGE) if response.status == 200 else None
            return None if page is None else await _aside(bounded, page.decode("utf-8", "replace"))
    except (aiohttp.ClientError, OSError, TimeoutError, *UNUSABLE):
        return None


def finish(journal: Path, target: Path) -> tuple[int, int]:
    """Write `telemetry.parquet` from the journal, whole or not at all (without rows no file); returns its rows, and how many
    lines of the journal are no whole ones."""
    found = list(map(_rows, journals.lines(journal))) if journal.exists() else []
    rows = [row for one in found if one is not None for row in one]
    damaged = found.count(None)
    if not rows:
        return 0, damaged
    frame = pl.DataFrame(rows, schema=SCHEMA, orient="row").sort("window_start", "instance", "metric")
    with whole(target) as part:
        frame.write_parquet(part, compression="zstd")
    return frame.height, damaged


def _rows(text: bytes) -> list[tuple] | None:
    """The rows of one line of the journal, None where it is no whole one."""
    line = journals.parsed(text) or {}
    values, model = line.get("values"), line.get("model")
    kinds = {"window_start": pl.Float64, "window_s": pl.Float64, "instance": pl.String}
    if not all(journals.fits(line.get(name), kind) for name, kind in kinds.items()) or not isinstance(values, dict):
        return None
    if not all(journals.fits(name, pl.String) and journals.fits(value, pl.Float64) for name, value in values.items()):
        return None
    if model is not None and not journals.fits(model, pl.String):
        return None
    try:
        at = datetime.datetime.fromtimestamp(float(line["window_start"]), datetime.UTC)
    except (ValueError, OverflowError, OSError):  # no year that a calendar has
        return None
    return [
        (at, float(line["window_s"]), line["instance"], model, name, float(value)) for name, value in sorted(values.items())
    ]
