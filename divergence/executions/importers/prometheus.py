"""Prometheus: saved pages of metrics, and the JSON answers of a Prometheus server, as the table `telemetry`.

One row is one number of one server in one window. Gauges are taken at the window's end; counters are differenced here,
series by series, over restarts too (`metric_pages`), and never taken from `rate()` or `increase()`, which extrapolate.

Pages carry no time and no server. Pages of one folder are of one server, whose name is the folder's, unless labels name
an instance. They stand in the order in which they are given. The time of a page is an instant in its name
(`metrics_2026-11-29T13-00-00Z.prom`), the timestamps of its samples, or when the file was written; where these do not
increase, windows of one second follow each other, which is said: such windows hold totals, and join nothing by time. Where
pages without times stand in the order of their names and a counter falls in it, only their gauges are taken: a server that
was started anew looks no different from pages in the wrong order, and the sum of what counters rose by would be made up.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from divergence.errors import InputError
from divergence.executions import metric_pages
from divergence.executions.importers import convert, foreign_files
from divergence.executions.importers.feedback import without_judgements
from divergence.executions.importers.format import Format
from divergence.executions.importers.groups import Group, cut
from divergence.executions.importers.mapping import Draft, Place
from divergence.executions.importers.privacy import Privacy
from divergence.executions.metric_names import METRICS
from divergence.executions.metric_pages import MetricPage, MetricSample, Series


def by_instance(files: Sequence[Path], _privacy: Privacy) -> list[Group]:
    """The pages of one server, which lie in a folder of its name, are a group; answers of a database are read first."""
    if any(foreign_files.head(file).lstrip()[:1] == b"{" for file in files):
        return [list(files)]
    return cut(files, lambda file: file.resolve().parent.name)


FORMAT = Format(
    name="prometheus",
    title="Prometheus: pages of vLLM, SGLang, llama.cpp, TGI, LiteLLM and DCGM, and answers of a server's query API",
    versions="text format 0.0.4; HTTP API v1; vLLM 0.4 to 0.32, SGLang to 0.5, llama.cpp to 2026, TGI 3, LiteLLM 1",
    authority="prometheus/prometheus: docs/querying/api.md; the servers' own lists, named in `executions/metric_names.py`",
    unit="one metric of one server in one window",
    fields=(),
    metrics=METRICS,
    regime="deployment",
    rank=30,
    notes=("Pages hold no executions: they fill the table `telemetry`.",),
    apart=by_instance,
)
SAMPLE = re.compile(rb"^[A-Za-z_:][\w:]*(\{[^}\n]*\})?[ \t]+[-+0-9.naif]", re.MULTILINE | re.IGNORECASE)
HEADER = re.compile(rb"^\s*#\s*(HELP|TYPE)\s+\S+\s+\S+", re.MULTILINE)
STAMP = re.compile(r"(\d{4}-\d{2}-\d{2})[T_ ](\d{2})[-:](\d{2})[-:](\d{2})(Z|[+-]\d{2}:?\d{2})?")
LARGEST = 64 * 2**20  # bytes of a page: the largest genuine one at hand has 54 kB
SAID = 200  # characters of a server's sentence that are repeated
ALONE_S = 1.0
"""Length of a window that nothing tells the length of, in seconds."""
SCRAPED_S = 0.1
"""Files that were written closer to each other were copied: no server is scraped ten times a second."""
LATEST = datetime.datetime.max.replace(tzinfo=datetime.UTC).timestamp()
"""Seconds since 1970 beyond which there is no instant."""
IN_ORDER = "Counters are differenced in that order"
OUT_OF_ORDER = "Counters fall in that order, which is the one of the names, so that what they rose by is left out"
Answers = dict[str, dict[float, dict[Any, MetricSample]]]
"""Instance -> instant -> the samples of all answers, each series once: several answers often hold the same one."""


def recognises(_path: Path, start: bytes) -> bool:
    """Is this a page of metrics or an answer of the query API, by its first bytes?"""
    if re.match(rb'\s*\{\s*"status"\s*:\s*"(success|error)"', start):
        return b'"resultType"' in start or b'"errorType"' in start
    return bool(re.match(rb"\s*#", start)) and HEADER.search(start) is not None and SAMPLE.search(start) is not None


def read(paths: list[Path], primary: str | None, draft: Draft) -> None:
    """Add the windows of all pages and answers to the draft.

    Raises InputError where a page is none. An answer that is an error is set aside with what the server said.
    """
    without_judgements(primary, "a metrics page")
    pages: dict[str, list[_Page]] = {}
    answers: Answers = {}
    for path in paths:
        draft.sources.append(path)
        start = foreign_files.head(path)
        if start.lstrip()[:1] == b"{":
            _answer(path, answers, draft)
        else:
            pages.setdefault(path.resolve().parent.name, []).append(_page(path))
    for instance, sequence in pages.items():
        _windows_of_pages(instance, sequence, draft)
    for instance, instants in answers.items():
        _windows_of_answer(instance, instants, draft)


@dataclasses.dataclass(frozen=True)
class _Page:
    path: Path
    reading: MetricPage
    time: float
    stated: bool


def _page(path: Path) -> _Page:
    try:
        with foreign_files.opened(path) as file:
            data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise ValueError(f"it has more than {LARGEST // 2**20} MiB")
        text = data.decode("utf-8")
        reading = metric_pages.parse(text)
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"{path} is no page of metrics in Prometheus' text format: {convert.named(str(error))}.") from error
    except ImportError as error:
        raise InputError(
            f"{path} is a page of metrics, which needs prometheus-client: install eval-divergence[probe]."
        ) from error
    stated = _time_of(path, text)
    return _Page(path, reading, path.stat().st_mtime if stated is None else stated, stated is not None)


def _time_of(path: Path, text: str) -> float | None:
    """When a page was scraped, by its name or the timestamps of its samples; None where neither says."""
    found = STAMP.search(path.name)
    if found:
        date, hour, minute, second, zone = found.groups()
        written = f"{date}T{hour}:{minute}:{second}{(zone or 'Z').replace('Z', '+00:00')}"
        with contextlib.suppress(ValueError):  # digits that are no instant
            return datetime.datetime.fromisoformat(written).timestamp()
    stamped = re.search(r"^[^#\n]*[ \t](\d{13})$", text, re.MULTILINE)
    return int(stamped[1]) / 1e3 if stamped else None


def _windows_of_pages(instance: str, sequence: list[_Page], draft: Draft) -> None:
    times = [page.time for page in sequence]
    shortest = 0.0 if all(page.stated for page in sequence) else SCRAPED_S
    first, last = sequence[0].path.name, sequence[-1].path.name
    counted = True
    if any(later - earlier <= shortest for earlier, later in itertools.pairwise(times)):
        counted = not _in_no_order(sequence)
        draft.note(
            f"The pages of {instance} have no times that increase: from {first} to {last} each has a window of 1 s, which"
            f" joins nothing by time. {IN_ORDER if counted else OUT_OF_ORDER}: name the pages as they were scraped."
        )
        times = [times[0] + place * ALONE_S for place in range(len(times))]
    before = None
    for place, page in enumerate(sequence):
        length = times[place] - times[place - 1] if place else ALONE_S
        for series, value in metric_pages.window(before, page.reading).items():
            _measure(draft, series, instance, times[place] - length, length, value)
        before = page.reading if counted else None
    if len(sequence) > 1 and shortest and times[-1] == sequence[-1].time:
        draft.note(f"The pages of {instance} say no time: that of a page is when its file was written, {first} to {last}.")
    if len(sequence) == 1:
        draft.note(f"{instance} has one page: its gauges are read; what its counters rose by needs a second page.")


def _in_no_order(sequence: list[_Page]) -> bool:
    """Do pages in the mere order of their names have counters that fall? Then it is not the order of their scrapes."""
    names = [page.path.name for page in sequence]
    return names == sorted(names) and any(
        metric_pages.falls(one.reading, other.reading) for one, other in itertools.pairwise(sequence)
    )


def _answer(path: Path, answers: Answers, draft: Draft) -> None:
    document = foreign_files.read_json(path)
    place = Place(convert.printable(path), 1)
    if not isinstance(document, dict) or document.get("status") != "success":
        said = document.get("error") if isinstance(document, dict) else None
        draft.reject(place, "answer_success", f"The server answered with an error: {convert.printable(said)[:SAID]}.")
        return
    nameless, nothing = 0, 0
    for labels, name, points in _results(document.get("data")):
        nameless += name is None
        for instant, value in points:
            made = metric_pages.samples(name or path.stem, labels, value, {} if name else {path.stem: "gauge"})
            nothing += value != value
            seen = answers.setdefault(labels.get("instance") or path.stem, {}).setdefault(instant, {})
            for sample in made:
                seen.setdefault((sample.series, sample.identity), sample)
    if nameless:
        draft.note(
            f"{path.name} has {nameless} series without a name, worked out by the server: they are metric {path.stem}."
        )
    if nothing:
        draft.note(f"{path.name}: {nothing} values are no number, and are left out.")


def _results(data: Any) -> Iterator[tuple[dict[str, str], str | None, list[tuple[float, float]]]]:
    results = data.get("result") if isinstance(data, dict) else None
    for result in results if isinstance(results, list) else []:
        labels = result.get("metric") if isinstance(result, dict) else None
        if not isinstance(labels, dict):
            continue
        points = result.get("values") or [result.get("value")]
        named = {str(label): str(value) for label, value in labels.items()}
        yield named, named.pop("__name__", None), list(_points(points))


def _points(points: Any) -> Iterator[tuple[float, float]]:
    for point in points if isinstance(points, list) else []:
        try:
            instant, value = float(point[0]), float(point[1])
        except (TypeError, ValueError, IndexError, KeyError, OverflowError):
            continue  # a point of another shape than [seconds, "number"]
        if 0 <= instant < LATEST:
            yield instant, value


def _windows_of_answer(instance: str, instants: Mapping[float, Mapping[Any, MetricSample]], draft: Draft) -> None:
    """Windows from one instant to the next, series by series: a series without a point in between has a longer one."""
    order = sorted(instants)
    steps = sorted(later - earlier for earlier, later in itertools.pairwise(order))
    step = steps[len(steps) // 2] if steps else ALONE_S
    last: dict[tuple[Any, ...], tuple[float, MetricSample]] = {}
    for instant in order:
        by_start: dict[float, list[MetricSample]] = {}
        for sample in instants[instant].values():
            earlier = last.get((sample.series, sample.identity))
            last[sample.series, sample.identity] = (instant, sample)
            start = earlier[0] if earlier else instant - step
            if not sample.total:
                by_start.setdefault(max(start, instant - step), []).append(sample)
            elif earlier:
                risen = metric_pages.increase(earlier[1].value, sample.value)
                by_start.setdefault(start, []).append(sample._replace(value=risen))
        for start, changed in by_start.items():
            for series, value in metric_pages.derived(metric_pages.together(changed)).items():
                _measure(draft, series, instance, start, instant - start, value)


def _measure(draft: Draft, series: Series, instance: str, start: float, length: float, value: float) -> None:
    draft.measure(
        {
            "window_start": datetime.datetime.fromtimestamp(start, datetime.UTC),
            "window_s": length,
            "instance": series.instance or instance,
            "model": series.model or draft.constants.get("model"),
            "metric": series.metric,
            "value": value,
        }
    )
