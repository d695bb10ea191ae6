"""What did the servers say about themselves meanwhile? Scrapes Prometheus endpoints into the `telemetry` table.

One row is one metric of one instance in one window: a gauge's value at the end of the window, a counter's increase in
it (a counter that fell was restarted: its new value is the increase), a histogram's increase by bucket (`metric` =
`ttft_s le 0.5`). Names and meanings are those of `executions.metric_names`, which imported pages share.
A scrape that fails is counted, and the next window is the longer; it never disturbs a request.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime
import json
import time
import urllib.parse
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from divergence.errors import InputError
from divergence.executions import metric_pages
from divergence.executions.importers.factors import private
from divergence.executions.metric_pages import MetricPage, parse
from divergence.probe.reply_stream import UNUSABLE, body
from divergence.staging import whole

LARGEST_PAGE = 1 << 25  # bytes; the pages of servers with hundreds of series have some 100 kB
SCRAPE_S = 5.0  # a server that does not answer in this time is busy; the next window comes soon


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


async def watch(
    session, scrape: Scrape, head: Mapping[str, str], path: Path, failed: Counter[str], ended: asyncio.Event
) -> None:
    """Scrape with the headers of `head` at once, at the end of every window, and when `ended` is set, which ends the last
    one; one JSON line a window, appended to `path`."""
    before = await _page(session, scrape, head)
    since = time.time()
    with path.open("a", encoding="utf-8") as file:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(scrape.period_s):
                    await ended.wait()
            last = ended.is_set()  # and not by the end of this page, whose windows would be lost
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
                    "values": window(before, after),
                }
                file.write(json.dumps(line) + "\n")
                file.flush()
                before, since = after, now
            if last:
                return


async def _page(session, scrape: Scrape, head: Mapping[str, str]) -> MetricPage | None:
    """The page as it is now; None where it cannot be read."""
    import aiohttp

    try:
        asked = session.get(scrape.url, headers=head, allow_redirects=False)
        async with asyncio.timeout(SCRAPE_S), asked as response:
            page = await body(response, LARGEST_PAGE) if response.status == 200 else None
            return None if page is None else parse(page.decode("utf-8", "replace"))
    except (aiohttp.ClientError, OSError, TimeoutError, *UNUSABLE):
        return None


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
