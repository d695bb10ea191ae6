"""MLflow 3: traces as JSON lines (`Trace.to_json`), as the CSV of `search_traces`, or from a SQLite tracking store.

One row is one span of a model (`mlflow.spanType` CHAT_MODEL, LLM or EMBEDDING). What must be known:

    Attributes are JSON inside JSON. Tokens of a trace repeat those of its spans, and are compared with their sum.
    A trace may be OK although a call in it failed: errors are those of the spans.
    Reasoning tokens are not in `tokenUsage`. Assessments name a trace, or a span of it; expectations are no judgements.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from divergence.errors import InputError
from divergence.executions.importers import convert, delimited, factors, span_tree, written
from divergence.executions.importers.feedback import Judged, attach, number_or_label, scored
from divergence.executions.importers.foreign_files import head, unpacked
from divergence.executions.importers.format import Format
from divergence.executions.importers.groups import traces_by_folder
from divergence.executions.importers.json_documents import documents, json_or_text, objects
from divergence.executions.importers.mapping import Draft, Field, Outcome, Place
from divergence.executions.importers.otlp_spans import UNREADABLE
from divergence.executions.importers.trace_reading import TraceReading

USAGE, COST = "mlflow.chat.tokenUsage", "mlflow.llm.cost"
FIELDS = (
    Field("execution_id", "span.identity", convert.text, "trace id and span id", True),
    Field("model", "model", convert.text, "as asked for", True, aliases=("mlflow.spanInputs.model", "mlflow.llm.model")),
    Field("task", "trace.name", convert.label, "name of the trace"),
    Field("session", "trace.session", convert.text, "else the trace, where it holds several calls"),
    Field("time", "span.start", written.nanoseconds, unit="ns since 1970"),
    Field("latency_s", "span.duration_s", written.amount),
    Field("input_tokens", f"{USAGE}.input_tokens", written.whole, "cached ones included; none for embeddings"),
    Field("output_tokens", f"{USAGE}.output_tokens", written.whole),
    Field("cached_tokens", f"{USAGE}.cache_read_input_tokens", written.whole),
    Field("cost_usd", f"{COST}.total_cost", written.amount, "by MLflow's own table of prices"),
    Field("error_type", "span.exception", convert.label, "class of the exception", aliases=("span.error",)),
    Field("finish_reason", "span.finish_reason", written.finish),
    Field("engine_version", "span.served", convert.label, "the snapshot that was served", aliases=("mlflow.llm.model",)),
    Field("provider", "mlflow.llm.provider", convert.label, aliases=("mlflow.message.format",)),
    Field("sampler", "span.sampler", convert.label, "without the seed"),
)
FORMAT = Format(
    name="mlflow",
    title="MLflow 3 traces: JSON lines, CSV of `search_traces`, SQLite tracking store (also packed)",
    versions="3.0 to 3.17, trace schema 3",
    authority="mlflow/mlflow: mlflow/tracing/constant.py, mlflow/entities/span.py",
    unit="a span of a model",
    fields=FIELDS,
    reads=("mlflow.spanType", "mlflow.spanInputs", "mlflow.spanOutputs", "trace.tokens"),
    regime="deployment",
    rank=30,
    notes=("Inputs and outputs are read for the model, the finish reason and the settings only.",),
    apart=traces_by_folder,
)
CALLS = ("CHAT_MODEL", "LLM", "EMBEDDING")
READ = ("mlflow.llm.model", "mlflow.llm.provider", "mlflow.message.format", "model", USAGE, COST, "mlflow.spanType")
PASSED = (
    "mlflow.spanInputs",
    "mlflow.spanOutputs",
    "mlflow.traceRequestId",
    "mlflow.spanLogLevel",
    "mlflow.chat.tools",
    "user",
)
STORE = b"SQLite format 3\0"
SPANS = "SELECT trace_id, content FROM spans ORDER BY trace_id, start_time_unix_nano"
ABOUT = "SELECT * FROM trace_info"
JUDGED = "SELECT trace_id, span_id, name, value, assessment_type, source_type FROM assessments WHERE valid"


def recognises(path: Path, start: bytes) -> bool:
    """Are these traces of MLflow, by the first bytes?"""
    if start[:16] == STORE:
        return b"trace_info" in start or b"assessments" in start or _has_spans(path)
    if start.lstrip()[:1] == b"{":
        return b'"info"' in start[:200] and b'"trace_id"' in start[:400] and b'"trace_location"' in start
    return start.startswith(b"trace_id,trace,") or b",trace_metadata," in start.split(b"\n", 1)[0]


def read(paths: list[Path], primary: str | None, draft: Draft) -> None:
    """Add the spans of models in all files to the draft, judged by the assessments of their traces.

    Raises InputError where a file cannot be read, and where no assessment is named `primary`.
    """
    reading, judged, names = TraceReading(draft), [], set()
    for path in paths:
        draft.sources.append(path)
        file, stated = convert.printable(path), {"input_tokens": 0, "output_tokens": 0}
        for row, (info, spans, assessments) in _traces(path, draft):
            about = _about(info)
            for span in spans:
                try:
                    record = _span(span, about, names)
                except UNREADABLE as error:
                    draft.reject(
                        Place(file, row), "record_readable", f"The span is of no known shape ({type(error).__name__})."
                    )
                    continue
                call = record.get("mlflow.spanType") in CALLS
                reading.span(record, row, file, call, (None, about.get("trace.session")))
            judged += _judged(about["trace.id"], assessments)
            for name in stated:
                stated[name] += about["trace.tokens"].get(name) or 0
        for name, value in stated.items():
            draft.claim(name, value or None, {"file": file}, "sum")
    reading.flush()
    calls = reading.executions(reading.calls())
    outcomes = attach(judged, calls, ("span.id",), span_tree.TRACE, draft)
    draft.extend(scored(calls, outcomes, primary, draft))
    draft.unmapped |= names - {*READ, *PASSED, *factors.SAMPLER_NAMES}


Trace = tuple[dict[str, Any], list[Any], list[Any]]


def _traces(path: Path, draft: Draft) -> Iterator[tuple[int, Trace]]:
    start = head(path)
    if start[:16] == STORE:
        with unpacked(path) as store:
            yield from enumerate(_stored(store, path), start=1)
        return
    rows = documents(path, draft.reject) if start.lstrip()[:1] in (b"{", b"[") else _of_csv(path, draft)
    for row, trace in rows:
        info, data = (trace.get("info"), trace.get("data")) if isinstance(trace, dict) else (None, None)
        spans = data.get("spans") if isinstance(data, dict) else None
        if not isinstance(info, dict) or not isinstance(spans, list):
            draft.reject(
                Place(convert.printable(path), row), "record_readable", "The row is no trace with `info` and `data.spans`."
            )
            continue
        yield row, (info, spans, objects(info.get("assessments")))


def _of_csv(path: Path, draft: Draft) -> Iterator[tuple[int, Any]]:
    for row, cells in delimited.csv_rows(path, draft):
        yield row, json_or_text(cells.get("trace"))


def _has_spans(path: Path) -> bool:
    try:
        with unpacked(path) as plain, contextlib.closing(_opened(plain)) as store:
            return bool(store.execute("SELECT 1 FROM sqlite_master WHERE name = 'spans'").fetchone())
    except (sqlite3.Error, InputError):
        return False


def _opened(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)


def _stored(plain: Path, path: Path) -> Iterator[Trace]:
    """The traces of a SQLite store, which is opened for reading only; `path` is where it lay, packed or not."""
    try:
        with contextlib.closing(_opened(plain)) as store:
            traces = store.execute(ABOUT)
            columns = [column[0] for column in traces.description]
            rows = (dict(zip(columns, row, strict=True)) for row in traces)
            about = {row["request_id"]: _stored_info(row) for row in rows}
            judged: dict[str, list[Any]] = {}
            for trace, span, name, value, kind, source in store.execute(JUDGED):
                content = {
                    "assessment_name": name,
                    "span_id": span,
                    "source": {"source_type": source},
                    kind: {"value": json_or_text(value)},
                }
                judged.setdefault(trace, []).append(content)
            spans: list[Any] = []
            current = None
            for trace, content in store.execute(SPANS):
                if trace != current and current is not None:
                    yield _stored_trace(current, about, spans, judged)
                    spans = []
                current = trace
                spans.append(json_or_text(content))
            if current is not None:
                yield _stored_trace(current, about, spans, judged)
    except sqlite3.Error as error:
        raise InputError(f"{path} is no readable SQLite store of MLflow: {error}.") from error


def _stored_info(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a row of `trace_info` says, as a trace's JSON says it; older stores lack some of its columns."""
    tokens = {name: row[name] for name in ("input_tokens", "output_tokens") if row.get(name) is not None}
    metadata = {"mlflow.trace.session": row.get("session_id"), "mlflow.trace.tokenUsage": tokens}
    return {"trace_id": row["request_id"], "trace_metadata": metadata, "tags": {"mlflow.traceName": row.get("trace_name")}}


def _stored_trace(
    trace: str, about: Mapping[str, dict[str, Any]], spans: list[Any], judged: Mapping[str, list[Any]]
) -> Trace:
    return about.get(trace, {"trace_id": trace}), spans, judged.get(trace, [])


def _about(info: Mapping[str, Any]) -> dict[str, Any]:
    metadata, tags = info.get("trace_metadata"), info.get("tags")
    metadata, tags = (part if isinstance(part, dict) else {} for part in (metadata, tags))
    tokens = json_or_text(metadata.get("mlflow.trace.tokenUsage"))
    return {
        "trace.id": str(info.get("trace_id")),
        "trace.name": tags.get("mlflow.traceName"),
        "trace.session": metadata.get("mlflow.trace.session"),
        "trace.tokens": tokens if isinstance(tokens, dict) else {},
    }


def _span(span: Mapping[str, Any], about: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    """One span as a flat record. Raises one of `UNREADABLE`."""
    attributes = {
        name: json_or_text(value) for name, value in span["attributes"].items() if name not in ("mlflow.spanOutputs",)
    }
    names |= attributes.keys()
    record = {name: value for name, value in attributes.items() if name in READ and isinstance(value, str)}
    for prefix in (USAGE, COST):
        members = attributes.get(prefix)
        record |= {f"{prefix}.{name}": value for name, value in members.items()} if isinstance(members, dict) else {}
    trace, own = about["trace.id"], _identity(span.get("span_id"))
    start, end = span.get("start_time_unix_nano"), span.get("end_time_unix_nano")
    record |= {"span.trace": trace, "span.id": own, "span.parent": _identity(span.get("parent_span_id"))}
    record |= {"span.identity": f"{trace}:{own}" if own else None, "span.start": start}
    record |= {name: about[name] for name in ("trace.name", "trace.session")}
    if start and end:
        record["span.duration_s"] = (int(end) - int(start)) / 1e9
    status = span.get("status")
    if (status.get("code") if isinstance(status, dict) else status) in ("STATUS_CODE_ERROR", "ERROR", 2):
        record["span.error"] = "error"
    for event in objects(span.get("events")):
        if event.get("name") == "exception":
            inside = event.get("attributes")
            record["span.exception"] = json_or_text(inside.get("exception.type")) if isinstance(inside, dict) else None
    if record.get("mlflow.spanType") in CALLS:
        inputs = attributes.get("mlflow.spanInputs")
        settings = {**(inputs if isinstance(inputs, dict) else {}), **attributes}
        record["mlflow.spanInputs.model"] = settings.get("model")
        record["span.sampler"] = factors.sampler_label(
            {n: settings[n] for n in factors.SAMPLER_NAMES if n in settings and n != "seed"}
        )
        outputs = json_or_text(span["attributes"].get("mlflow.spanOutputs"))
        outputs = outputs if isinstance(outputs, dict) else {}
        record["span.served"] = outputs.get("model")
        record["span.finish_reason"] = [choice.get("finish_reason") for choice in objects(outputs.get("choices"))] or None
    return record


def _identity(value: Any) -> str | None:
    """A span's id: base64 in a trace's JSON, hexadecimal elsewhere."""
    if not isinstance(value, str) or not value:
        return None
    if value.endswith("=") and len(value) % 4 == 0:
        try:
            return base64.b64decode(value, validate=True).hex()
        except (binascii.Error, ValueError):
            return value
    return value.removeprefix("0x")


def _judged(trace: str, assessments: list[Any]) -> Iterator[Judged]:
    for assessment in assessments:
        feedback, source = assessment.get("feedback"), assessment.get("source")
        value, label = number_or_label(feedback.get("value")) if isinstance(feedback, dict) else (None, None)
        name = assessment.get("assessment_name") or assessment.get("name")
        if isinstance(name, str) and (value is not None or label is not None):
            kind = str(source.get("source_type") or "").lower() if isinstance(source, dict) else ""
            yield Judged(Outcome(name, value, label, kind or None), call=_identity(assessment.get("span_id")), trace=trace)
