"""OpenTelemetry: spans, events and metrics of calls to language models, as OTLP in JSON, JSON lines or protobuf.

One row is one call to one model: a span, or where only the events were exported an event of operation details. Dialects
and versions are in `otlp_mapping`. What must be known:

    A call with another call below it is a wrapper; only leaves are counted (`span_tree`).
    Logfire writes a stream as two spans, one without usage and one of no length with it: they are one call here.
    A silent retry of a client is inside its span, and its time is in the latency.
    Several choices (n = 2) are one call, with the tokens of all of them.
    Success is the absence of an error: its status is unset, not OK. A stream that was cut carries no tokens.
"""

from __future__ import annotations

import collections
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from divergence.errors import InputError
from divergence.executions.importers import (
    convert,
    langfuse,
    otlp_columns,
    otlp_events,
    otlp_protobuf,
    otlp_spans,
    span_tree,
)
from divergence.executions.importers.feedback import Judged, scores_of, with_scores
from divergence.executions.importers.format import Format
from divergence.executions.importers.groups import traces_by_folder
from divergence.executions.importers.held_records import HeldRecords
from divergence.executions.importers.json_documents import Taken, documents
from divergence.executions.importers.mapping import Draft, Place
from divergence.executions.importers.otlp_mapping import DROPPED, FIELDS, NOTED
from divergence.executions.importers.otlp_metrics import OtlpMetrics
from divergence.executions.importers.prompt_texts import prompt_text
from divergence.executions.importers.trace_reading import TraceReading
from divergence.executions.metric_names import OPENTELEMETRY

FORMAT = Format(
    name="otlp",
    title="OpenTelemetry traces, events, metrics (OTLP): GenAI conventions, OpenInference, OpenLLMetry, Logfire, Langfuse",
    versions="OTLP 1; GenAI conventions 1.26 to 1.38 and after; OpenInference 0.1; OpenLLMetry to 0.62; vLLM to 0.32",
    authority="open-telemetry/semantic-conventions-genai: docs/gen-ai; open-telemetry/opentelemetry-proto",
    unit="a call to a model: the leaf spans of a trace",
    fields=FIELDS,
    reads=(*DROPPED, *NOTED),
    metrics=OPENTELEMETRY,
    regime="deployment",
    rank=20,
    notes=(
        "Protobuf needs the extra `otlp`.",
        "Prompts and answers are read only where they are asked for; users are not read.",
        "The seed of a request is no part of its sampler.",
        "Evaluation events become outcomes of the call that they name.",
    ),
    apart=traces_by_folder,
)
KINDS = ("resourceSpans", "resourceLogs", "resourceMetrics")
SPAN_COLUMNS = {
    **{name: pl.String() for name in ("logfire.span_type", "gen_ai.response.id", "resource.service")},
    **{name: pl.Float64() for name in ("duration", "gen_ai.latency.time_in_model_decode")},
}
"""Paths that are kept beside the canonical columns, for what several spans say together."""
OF_A_PLACE = {name: pl.String() for name in (span_tree.TRACE, span_tree.SPAN)}
RECORDS = 1000  # records of spans that are held before they become columns
VALUES_NOTED = 20  # different values of one setting that are remembered for the note


def recognises(_path: Path, start: bytes) -> bool:
    """Is this OTLP, by its first bytes?"""
    return _is_json(start) or otlp_protobuf.looks_binary(start)


def _is_json(start: bytes) -> bool:
    begin = start.lstrip()[:1]
    if begin in (b"{", b"[") and any(f'"{kind}"'.encode() in start for kind in KINDS):
        return True  # a blank line before it looks like the first byte of protobuf
    # scores as the SDK of Langfuse posts them; those of its API name a project
    return begin == b"[" and b'"traceId"' in start and b'"dataType"' in start and b'"projectId"' not in start


def read(paths: list[Path], primary: str | None, draft: Draft) -> None:
    """Add the calls of all files to the draft; `primary` names the evaluation that becomes the score.

    Raises InputError where a file is no OTLP, and where no call names a model and none is set.
    """
    reading = _Reading(draft)
    for path in paths:
        draft.sources.append(path)
        file = convert.printable(path)
        for row, document in _documents(path, draft, functools.partial(reading.take_line, file)):
            reading.take(document, file, row)
    reading.finish(primary)
    reading.metrics.measure(draft)


class _Reading:
    """What was read so far: spans, evaluations, names that nothing reads, and settings that no column holds."""

    def __init__(self, draft: Draft):
        self.draft = draft
        self._texts = draft.privacy.wants_texts
        self.evaluations: list[Judged] = []
        self.metrics = OtlpMetrics()
        self._traces = TraceReading(draft, SPAN_COLUMNS, otlp_events.narrow)
        self._unknown: set[str] = set()
        self._columns = otlp_columns.SpanColumns(self._unknown)
        self._decode = otlp_columns.decoder()
        self._settings: dict[str, set[str]] = collections.defaultdict(set)
        self._spans = self._entries = 0
        self._details = HeldRecords()

    def take(self, document: Any, file: str, row: int) -> None:
        """Read one export request, or one score of those that the SDK of Langfuse posts beside its spans."""
        if isinstance(document, dict) and "dataType" in document:
            self.evaluations += langfuse.judgement(document)
            return
        if not isinstance(document, dict) or not any(kind in document for kind in KINDS):
            self.draft.reject(Place(file, row), "record_readable", "The document is no OTLP export request.")
            return
        records, rows = [], []
        for shared, span in otlp_spans.resources(document, "resourceSpans", "scopeSpans", "spans"):
            self._spans += 1
            try:
                record = otlp_spans.flat_span(span, shared, self._unknown, self._texts)
            except otlp_spans.UNREADABLE as error:
                self._unreadable(Place(file, self._spans), "span", error)
                continue
            if self._texts:
                self._keep_texts(record)
            records.append(record)
            rows.append(self._spans)
            if len(records) >= RECORDS:
                self._add(records, rows, file)
                records, rows = [], []
        self._add(records, rows, file)
        for shared, entry in otlp_spans.resources(document, "resourceLogs", "scopeLogs", "logRecords"):
            self._entries += 1
            try:
                judged = otlp_events.evaluation(entry)
                record = None if judged else otlp_events.details(entry, shared, self._unknown)
            except otlp_spans.UNREADABLE as error:
                self._unreadable(Place(file, self._entries), "log record", error)
                continue
            if judged:
                self.evaluations.append(judged)
            if record:
                self._details.keep((record, file, self._entries))
        for shared, metric in otlp_spans.resources(document, "resourceMetrics", "scopeMetrics", "metrics"):
            try:
                self.metrics.take(metric, shared)
            except otlp_spans.UNREADABLE as error:
                self._unreadable(Place(file, row), "metric", error)

    def _add(self, records: list[dict[str, Any]], rows: list[int], file: str) -> None:
        self._columns.add(records, rows, file)
        if len(self._columns) >= otlp_columns.TOGETHER:
            self._settle()

    def take_line(self, file: str, line: bytes) -> bool:
        """Read a line that holds an export request of spans as columns; False where it is none, or is not plain.

        Where texts are asked for, spans are read one by one.
        """
        request = None if self._texts else self._decode(line)
        before = len(self._columns)
        if request is None or not self._columns.take(request, self._spans + 1, file):
            return False
        self._spans += len(self._columns) - before
        if len(self._columns) >= otlp_columns.TOGETHER:
            self._settle()
        return True

    def _unreadable(self, place: Place, what: str, error: Exception) -> None:
        self.draft.reject(place, "record_readable", f"The {what} is of no known shape ({type(error).__name__}).")

    def _keep_texts(self, record: dict[str, Any]) -> None:
        """The prompt's salted hash as item and the texts themselves."""
        privacy, called = self.draft.privacy, otlp_spans.is_call(record)
        for role in ("prompt", "response"):
            raw = record.pop(f"text.{role}", None)
            if raw is None or not called:
                continue
            try:
                text = prompt_text(otlp_spans.value_of(raw))
            except otlp_spans.UNREADABLE:
                continue  # of a shape that is no text: the call counts all the same
            if text and role == "prompt" and privacy.item_by_prompt:
                record["span.item"] = privacy.prompt_item(text)
            if record["span.identity"]:
                self.draft.keep_text(record["span.identity"], role, text)

    def _settle(self) -> None:
        """Map the calls gathered so far, of whatever files."""
        if not len(self._columns):
            return
        found = self._columns.settled()
        for name, values in found.settings.items():
            self._settings[name] |= set(sorted(values)[: VALUES_NOTED - len(self._settings[name])])
        self._traces.columns(found.calls, found.tree)

    def finish(self, primary: str | None) -> None:
        """All calls into the draft, each once, with what their traces say together; part by part, as they are many."""
        self._settle()
        self._details_without_span()
        streams = otlp_events.LogfireStreams()
        found = self._traces.worked_out(streams.joined)
        streams.say(self.draft)
        _refuse_without_model(found, self.draft)
        varied = otlp_events.varied_lengths(found, self.draft)
        self._say(found)

        def parts() -> Iterator[pl.DataFrame]:
            for part, calls in self._traces.finished(found):
                streamed = otlp_events.as_streamed(calls, part)
                yield otlp_events.derived(otlp_events.without_lengths(streamed) if varied else streamed)

        scores = None
        if self.evaluations or primary:
            judged = [otlp_events.judged(self.evaluations, calls) for calls in parts()]
            outcomes = otlp_events.outcomes(self.evaluations, judged, self.draft)
            scores = scores_of(outcomes, primary, self.draft)
        for calls in parts():
            self.draft.extend(calls if scores is None else with_scores(calls, scores))

    def _details_without_span(self) -> None:
        """Events of operation details stand for a call whose span was not exported."""
        keys = [
            self._traces.key(pl.DataFrame([_place_in_traces(record) for record, _, _ in entries], schema=OF_A_PLACE))
            for entries in self._details.batches()
        ]
        if not keys:
            return
        known = self._traces.among(pl.concat(keys))
        repeated, at = int(known.sum()), 0
        for entries in self._details.batches():
            for (record, file, row), spanned in zip(entries, known[at : at + len(entries)], strict=True):
                if not spanned:
                    self._traces.event(record, row, file)
            self._traces.flush()
            at += len(entries)
        if repeated:
            self.draft.note(
                f"{repeated} events of operation details repeat spans of this import, and are not counted again."
            )

    def _say(self, found: pl.DataFrame) -> None:
        self.draft.unmapped |= otlp_spans.unmapped(self._unknown)
        differing = sorted(name for name, values in self._settings.items() if len(values) > 1)
        if differing:
            self.draft.note(f"Settings that differ between calls and stand in no column: {', '.join(differing)}.")
        embedded = int(found["embeds"].sum())
        if embedded:
            self.draft.note(f"{embedded} calls embed text and answer nothing: their task says so.")


def _place_in_traces(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: record[name] for name in OF_A_PLACE}


def _documents(path: Path, draft: Draft, taken: Taken) -> Iterator[tuple[int, Any]]:
    with path.open("rb") as file:
        start = file.read(65536)
    if otlp_protobuf.looks_binary(start) and not _is_json(start):
        yield 1, otlp_protobuf.document(path)
    else:
        yield from documents(path, draft.reject, taken=taken)


def _refuse_without_model(found: pl.DataFrame, draft: Draft) -> None:
    nameless = sum(row["rule"] == "model_given" for row in draft.rejected)
    if not found.height and nameless:
        raise InputError(f"{nameless} calls name no model, as those of vLLM: give it with --set model=NAME.")
