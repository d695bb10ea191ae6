"""Metrics of OTLP as windows of the table `telemetry`, in the vocabulary of `metric_names`.

A point that counts since a start is differenced from the point of the same series before it; the first one has the whole
window since its start. A point that says what happened since the last one is taken as it stands. Series of one model at
one instance that differ in other attributes are put together.
"""

from __future__ import annotations

import collections
import datetime
from collections.abc import Iterator, Mapping
from typing import Any

from divergence.executions import metric_pages
from divergence.executions.importers import written
from divergence.executions.importers.mapping import Draft
from divergence.executions.importers.otlp_spans import value_of
from divergence.executions.metric_names import BY_FAMILY

CUMULATIVE = (2, "2", "AGGREGATION_TEMPORALITY_CUMULATIVE")
INSTANCE = "resource.service.instance.id"
EARLIEST_S = 1.0
"""Length of the window of a gauge, and of a total whose start is not said, in seconds."""

Window = tuple[int, int, str | None, str | None, str]


class OtlpMetrics:
    """The points read so far."""

    def __init__(self) -> None:
        self._last: dict[tuple[Any, ...], tuple[int, float]] = {}
        self._windows: dict[Window, float] = collections.defaultdict(float)

    def take(self, metric: Mapping[str, Any], shared: Mapping[str, Any]) -> None:
        """Read all points of one metric. Raises one of `otlp_spans.UNREADABLE` for another shape than OTLP's."""
        for kind in ("gauge", "sum", "histogram"):
            body = metric.get(kind) or {}
            total = kind != "gauge" and body.get("aggregationTemporality", 2) in CUMULATIVE
            for point in body.get("dataPoints") or ():
                attributes = {pair["key"]: value_of(pair["value"]) for pair in point.get("attributes") or ()}
                for name, value in _numbers(metric["name"], kind, point, attributes):
                    if value == value:
                        self._put(name, value, point, attributes, shared, total)

    def measure(self, draft: Draft) -> None:
        """Put the windows into the draft."""
        for (start, end, instance, model, metric), value in sorted(self._windows.items(), key=str):
            draft.measure(
                {
                    "window_start": datetime.datetime.fromtimestamp(start / 1e9, datetime.UTC),
                    "window_s": (end - start) / 1e9,
                    "instance": instance,
                    "model": draft.constants.get("model") or model,
                    "metric": metric,
                    "value": value,
                }
            )

    def _put(
        self,
        name: str,
        value: float,
        point: Mapping[str, Any],
        attributes: Mapping[str, Any],
        shared: Mapping[str, Any],
        total: bool,
    ) -> None:
        end = int(point["timeUnixNano"])
        start = int(point.get("startTimeUnixNano") or 0) or end - int(EARLIEST_S * 1e9)
        for instant in (start, end):
            written.nanoseconds(instant)  # or it raises
        instance, model = shared.get(INSTANCE), attributes.get("gen_ai.request.model")
        if total:
            identity = (name, instance, *sorted((key, str(content)) for key, content in attributes.items()))
            before = self._last.get(identity)
            self._last[identity] = (end, value)
            if before is not None:
                start, value = max(before[0], start), metric_pages.increase(before[1], value)
        if end > start:
            self._windows[start, end, instance, model, name] += value


def _numbers(name: str, kind: str, point: Mapping[str, Any], attributes: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    known = BY_FAMILY.get(f"{name}:{attributes.get('gen_ai.token.type')}") or BY_FAMILY.get(name)
    metric = known.name if known else name
    if kind != "histogram":
        yield metric, float(point["asDouble"] if "asDouble" in point else point["asInt"])
        return
    yield f"{metric} count", float(point["count"])
    yield f"{metric} sum", float(point.get("sum") or 0)
    if known and known.total:
        yield known.total, float(point.get("sum") or 0)
    counted = 0.0
    for count, edge in zip(point.get("bucketCounts") or (), [*(point.get("explicitBounds") or ()), "+Inf"], strict=False):
        counted += float(count)
        yield f"{metric} le {edge}", counted
