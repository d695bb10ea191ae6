"""Arize Phoenix: exported spans as a data frame (Parquet, CSV, JSON lines) or from its REST client, and annotations.

The spans are those of OpenInference, so the mapping is that of `otlp`: a column `attributes.llm.model_name` of a frame is
the attribute `llm.model_name` of a span. Token counts of a frame are floats with NaN for nothing; cells of its CSV hold
what Python prints. Annotations name a span, and are outcomes of it.
"""

from __future__ import annotations

import ast
import datetime
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from divergence.executions.importers import convert, delimited, otlp_events, otlp_spans, parquet_rows, written
from divergence.executions.importers.feedback import Judged, attach, number_or_label, scored
from divergence.executions.importers.foreign_files import head
from divergence.executions.importers.format import Format
from divergence.executions.importers.groups import traces_by_folder
from divergence.executions.importers.json_documents import documents
from divergence.executions.importers.mapping import Draft, Outcome, Place
from divergence.executions.importers.otlp_mapping import DROPPED, FIELDS
from divergence.executions.importers.trace_reading import TraceReading

FORMAT = Format(
    name="phoenix",
    title="Arize Phoenix: spans as data frame (Parquet, CSV, JSON lines) or from the REST client, and annotations (CSV)",
    versions="4 to 20",
    authority="Arize-ai/phoenix: phoenix.client; Arize-ai/openinference",
    unit="a call to a model",
    fields=FIELDS,
    reads=DROPPED,
    regime="deployment",
    rank=30,
    notes=("The mapping is that of `otlp`; a frame's column is the attribute after `attributes.`.",),
    apart=traces_by_folder,
)
EXTRA: dict[str, pl.DataType] = {
    **{name: pl.String() for name in ("resource.service", "gen_ai.response.id")},
    "gen_ai.latency.time_in_model_decode": pl.Float64(),
}
PREFIX = "attributes."
ROWS = 5_000  # rows of a Parquet file that are read at once


def recognises(path: Path, start: bytes) -> bool:
    """Are these spans or annotations of Phoenix, by the names in the first bytes?"""
    if start[:4] == b"PAR1":
        return path.suffix == ".parquet" and _is_frame(path)
    if start.lstrip()[:1] == b"{":
        return (
            b'"span_kind"' in start
            and b'"status_code"' in start
            and (b'"context"' in start or b'"context.span_id"' in start)
        )
    first = start.split(b"\n", 1)[0]
    return (b"context.span_id" in first and b"span_kind" in first) or (
        b"annotation_name" in first and b"result.score" in first
    )


def read(paths: list[Path], primary: str | None, draft: Draft) -> None:
    """Add the calls of all files to the draft, judged by the annotations among them.

    Raises InputError where a file cannot be read, and where no annotation is named `primary`.
    """
    reading, judged, unknown = TraceReading(draft, EXTRA), [], set()
    for path in paths:
        draft.sources.append(path)
        file = convert.printable(path)
        for row, record in _rows(path, draft):
            if not isinstance(record, dict):
                draft.reject(Place(file, row), "record_readable", "The row is no object.")
            elif "annotation_name" in record:
                judged += _judged(record)
            else:
                try:
                    span = _span(record, unknown)
                except otlp_spans.UNREADABLE as error:
                    draft.reject(
                        Place(file, row), "record_readable", f"The span is of no known shape ({type(error).__name__})."
                    )
                    continue
                reading.span(span, row, file, otlp_spans.is_call(span), (None, span.get("session.id")))
    reading.flush()
    calls = otlp_events.derived(reading.executions(reading.calls()))
    outcomes = attach(judged, calls, ("span.id",), "span.trace", draft)
    draft.extend(scored(calls, outcomes, primary, draft))
    draft.unmapped |= otlp_spans.unmapped(unknown)


def _is_frame(path: Path) -> bool:
    return "context.span_id" in (parquet_rows.names(path) or ())


def _rows(path: Path, draft: Draft) -> Iterator[tuple[int, Any]]:
    start = head(path)
    if start[:4] == b"PAR1":
        yield from parquet_rows.records(path, lambda name: not _dropped(name.removeprefix(PREFIX)))
    elif start.lstrip()[:1] in (b"{", b"["):
        yield from documents(path, draft.reject)
    else:
        yield from delimited.csv_rows(path, draft)


def _dropped(name: str) -> bool:
    return any(name == part or name.startswith(f"{part}.") for part in DROPPED)


def _span(record: Mapping[str, Any], unknown: set[str]) -> dict[str, Any]:
    """A row as a span of OTLP/JSON, and that as a flat record."""
    inside, context = record.get("attributes"), record.get("context")
    pairs = inside.items() if isinstance(inside, dict) else _columns(record)
    attributes = [{"key": name, "value": _value(value)} for name, value in pairs if not _empty(value) and not _dropped(name)]
    named = (
        context if isinstance(context, dict) else {name: record.get(f"context.{name}") for name in ("trace_id", "span_id")}
    )
    kind = record.get("span_kind")
    if kind and not any(pair["key"] == "openinference.span.kind" for pair in attributes):
        attributes.append({"key": "openinference.span.kind", "value": {"stringValue": kind}})
    span = {
        "traceId": named.get("trace_id"),
        "spanId": named.get("span_id"),
        "parentSpanId": record.get("parent_id") or None,
        "name": record.get("name"),
        "startTimeUnixNano": _nanoseconds(record.get("start_time")),
        "endTimeUnixNano": _nanoseconds(record.get("end_time")),
        "status": {"code": record.get("status_code")},
        "attributes": attributes,
        "events": [_event(event) for event in _list(record.get("events"))],
    }
    return otlp_spans.with_sampler(otlp_spans.flat_span(span, {}, unknown))


def _columns(record: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in record.items():
        if name.startswith(PREFIX):
            yield name.removeprefix(PREFIX), value


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        return {"stringValue": value}
    if isinstance(value, bool):
        return {"boolValue": value}
    return {"doubleValue": value} if isinstance(value, int | float) else {"stringValue": json.dumps(value, default=str)}


def _empty(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and value != value)


def _nanoseconds(value: Any) -> str | None:
    instant = None if value in (None, "") else written.utc(value)
    if instant is None:
        return None
    passed = instant - datetime.datetime.fromtimestamp(0, datetime.UTC)
    return str((passed.days * 86400 + passed.seconds) * 10**9 + passed.microseconds * 1000)


def _event(event: Mapping[str, Any]) -> dict[str, Any]:
    inside = event.get("attributes")
    attributes = (
        [{"key": name, "value": _value(value)} for name, value in inside.items()] if isinstance(inside, dict) else []
    )
    return {"name": event.get("name"), "timeUnixNano": _nanoseconds(event.get("timestamp")), "attributes": attributes}


def _list(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, str):
        try:
            value = ast.literal_eval(value)  # literals only: nothing is run
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return []
    return [part for part in value if isinstance(part, dict)] if isinstance(value, list) else []


def _judged(record: Mapping[str, Any]) -> list[Judged]:
    name, kind = record.get("annotation_name"), record.get("annotator_kind")
    try:
        value = written.number(record.get("result.score"))
    except ValueError:
        value = None
    _, label = number_or_label(record.get("result.label") or None)
    if not isinstance(name, str) or (value is None and label is None):
        return []
    return [Judged(Outcome(name, value, label, str(kind).lower() if kind else None), call=record.get("span_id"))]
