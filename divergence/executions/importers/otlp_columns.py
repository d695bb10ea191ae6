"""Many OTLP spans at once: export requests to columns, without a record for a span.

What a span says is decided by `otlp_spans`, which makes a record of one after another. This gives the same for requests
that msgspec (the extra `fast`) decodes under the types of OTLP, and refuses the others, which are then read span by span
into the same columns: another shape than OTLP's, times that are no numbers, names that are no texts.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl

from divergence.executions.importers import blocks, otlp_spans, span_tree
from divergence.executions.importers.foreign_files import fast
from divergence.executions.importers.otlp_mapping import NOTED
from divergence.executions.importers.otlp_spans import PASSED, UNREADABLE
from divergence.executions.importers.written import EARLIEST_NS

FIXED = ("span.trace", "span.id", "span.parent", "span.name", "span.start", "span.duration_s", "span.error")
"""Columns that every span fills, or leaves empty."""
NOT_READ: list[Any] = []
"""Stands for the column of an attribute that is not read."""
TOGETHER = 20_000  # spans that are mapped together: enough for columns to pay, some 30 MB of texts


def decoder() -> Callable[[bytes], Any]:
    """Decodes an export request of spans and of nothing else; what it gives is None for another line, or without msgspec."""
    return _decoder() if fast() else lambda _: None


@functools.cache
def _decoder() -> Callable[[bytes], Any]:
    import msgspec

    struct = functools.partial(msgspec.defstruct, gc=False)
    text, number = str | None, str | int | None
    attribute = struct("Attribute", [("key", str), ("value", dict[str, Any])])
    span = struct(
        "Span",
        [
            *((name, text, None) for name in ("traceId", "spanId", "parentSpanId", "name")),
            *((name, number, None) for name in ("startTimeUnixNano", "endTimeUnixNano")),
            ("attributes", list[attribute] | None, None),
            ("events", list[dict[str, Any]] | None, None),
            ("status", dict[str, Any] | None, None),
        ],
    )
    scope = struct("Scope", [("spans", list[span] | None, None), ("scope", Any, None)])
    resource = struct(
        "Resource",
        [("scopeSpans", list[scope]), ("resource", Any, None), ("instrumentationLibrarySpans", None, None)],
    )
    fields = [("resourceSpans", list[resource]), ("resourceLogs", None, None), ("resourceMetrics", None, None)]
    decode, faults = msgspec.json.Decoder(struct("Request", fields)).decode, (msgspec.MsgspecError, RecursionError)

    def request(line: bytes) -> Any:
        try:
            if not line.isascii():
                line.decode()  # what is passed over is not looked at by itself
            return decode(line)
        except (*faults, ValueError):
            return None

    return request


@dataclasses.dataclass(frozen=True)
class Spans:
    """What some spans say."""

    tree: pl.DataFrame
    """Each span with what it names itself (`span_tree.TREE`)."""
    calls: blocks.GivenColumns
    """The calls among them, each with its number among the spans of its file."""
    settings: Mapping[str, set[str]]
    """Values of `NOTED`, of the calls."""


class SpanColumns:
    """Spans in columns until they are mapped together; `unknown` takes the names of attributes that nothing reads."""

    def __init__(self, unknown: set[str]) -> None:
        self.unknown = unknown
        self._forget()

    def _forget(self) -> None:
        self.rows: list[int] = []
        self.files: list[str] = []
        self._given: dict[str, list[Any]] = {}
        self._known: dict[str, list[Any]] = {}
        self._made: dict[str, list[Any]] = {name: [] for name in FIXED}

    def __len__(self) -> int:
        return len(self.rows)

    def add(self, records: Sequence[Mapping[str, Any]], rows: Sequence[int], file: str) -> None:
        """Take spans as `otlp_spans.flat_span` makes them, `rows` from 1 in their file."""
        first, columns = len(self.rows), {}
        self._widen(rows)
        self.files += [file] * len(rows)
        for place, record in enumerate(records, start=first):
            for name, value in record.items():
                if value is not None:
                    column = columns.get(name)
                    if column is None:
                        column = columns[name] = self._column(name)
                    column[place] = value

    def take(self, request: Any, row: int, file: str) -> bool:
        """Take all spans of a request of `decoder`, the first of them with the number `row` in its file; False, and nothing
        taken, where they have to be read one by one."""
        start = len(self.rows)
        try:
            for resource in request.resourceSpans:
                said = otlp_spans.of_resource(resource.resource)
                for scope in resource.scopeSpans:
                    named = scope.scope.get("name") if isinstance(scope.scope, dict) else None
                    self._spans(scope.spans or [], otlp_spans.of_scope(said, named), row - start)
        except UNREADABLE:
            for column in (self.rows, *self._given.values(), *self._made.values()):
                del column[start:]
            return False
        self.files += [file] * (len(self.rows) - start)
        return True

    def _spans(self, spans: list[Any], shared: Mapping[str, Any], shift: int) -> None:
        first = len(self.rows)
        self._widen(range(first + shift, first + shift + len(spans)))
        for name, value in shared.items():
            self._column(name)[first:] = [value] * len(spans)
        known = self._known.get
        traces, own_ids, parents, names, starts, durations, errors = (self._made[name] for name in FIXED)
        for place, span in enumerate(spans, start=first):
            for attribute in span.attributes or ():
                column = known(attribute.key)
                if column is None:
                    column = self._meet(attribute.key)
                if column is not NOT_READ:
                    value = attribute.value.get("stringValue")
                    if value is None and (value := otlp_spans.value_of(attribute.value)) is None:
                        continue
                    column[place] = value
            trace, own, above = span.traceId, span.spanId, span.parentSpanId
            traces[place] = trace if trace and len(trace) == 32 else otlp_spans.hexadecimal(trace)
            own_ids[place] = own if own and len(own) == 16 else otlp_spans.hexadecimal(own)
            if above:
                parents[place] = above if len(above) == 16 else otlp_spans.hexadecimal(above)
            names[place] = span.name
            start, end = span.startTimeUnixNano, span.endTimeUnixNano
            if start != "0":
                starts[place] = start
                if start and end and end != "0" and int(start) >= EARLIEST_NS:
                    durations[place] = (int(end) - int(start)) / 1e9
            if span.status and span.status.get("code") in otlp_spans.STATUS_ERROR:
                errors[place] = "error"
            if span.events:
                found: dict[str, Any] = {}
                otlp_spans.read_events(span.events, starts[place], found)
                for name, value in found.items():
                    self._column(name)[place] = value

    def settled(self) -> Spans:
        """All spans taken so far, which are then forgotten."""
        self._expand()
        tree = {to: self._made[to] for to in (span_tree.TRACE, span_tree.SPAN, span_tree.PARENT)}
        tree[span_tree.AGENT] = self._either("gen_ai.agent.name", "agent.name")
        tree[span_tree.CONVERSATION] = self._either("gen_ai.conversation.id", "session.id")
        places = self._calls()
        rows, files = [self.rows[place] for place in places], [self.files[place] for place in places]
        calls = blocks.GivenColumns(rows, files, {**self._given, **self._made}, places)
        calls.put("span.identity", self._identities(places))
        calls.put("request.sampler", self._samplers(calls))
        settings = {}
        for name in NOTED:
            settings[name] = {str(value) for value in calls.column(name) or () if value is not None}
        self._forget()
        return Spans(pl.DataFrame([span_tree.names(name, values) for name, values in tree.items()]), calls, settings)

    def _meet(self, name: str) -> list[Any]:
        """The column of an attribute that is met for the first time."""
        role = otlp_spans.WITHOUT_TEXTS.get(name)
        if role is None:
            self.unknown.add(name)
        column = self._known[name] = NOT_READ if role in (None, PASSED) else self._column(name)
        return column

    def _column(self, name: str) -> list[Any]:
        """A column, made where there is none yet. Attributes stand apart: one may be called as a column of ours."""
        columns = self._given if name in otlp_spans.WITH_TEXTS else self._made
        column = columns.get(name)
        if column is None:
            column = columns[name] = [None] * len(self.rows)
        return column

    def _widen(self, rows: Sequence[int]) -> None:
        nothing = [None] * len(rows)
        for columns in (self._given, self._made):
            for column in columns.values():
                column += nothing
        self.rows += rows

    def _expand(self) -> None:
        """What follows from several attributes of a span, as in `otlp_spans.flat_span`."""
        for key in otlp_spans.EXPANDED_IN_ORDER:
            for place, value in enumerate(self._given.get(key, ())):
                if value is not None:
                    for name, member in otlp_spans.members(key, value).items():
                        column = self._column(name)
                        if column[place] is None:
                            column[place] = member
        starts = self._made["span.start"]
        for place, begun in enumerate(self._given.get(otlp_spans.BEGUN, ())):
            if begun is not None and starts[place]:
                self._column("span.first_token_s")[place] = otlp_spans.first_token(begun, starts[place])
        hosts, ports = self._given.get("server.address"), self._given.get("server.port")
        if hosts and ports:
            instances = self._column("span.instance")
            for place, (host, port) in enumerate(zip(hosts, ports, strict=True)):
                if instances[place] is None and host is not None and port is not None:
                    instances[place] = f"{host}:{port}"
        if lengths := self._given.get("gen_ai.latency.e2e"):
            engines, services = self._column("span.engine"), self._column("resource.service.name")
            for place, length in enumerate(lengths):
                if length is not None and engines[place] is None:
                    engines[place] = "sglang" if "sglang" in str(services[place]) else "vllm"

    def _calls(self) -> list[int]:
        """The places of the spans that are calls."""
        columns, places = {**self._given, **self._made}, []
        signs = [(name, columns[name]) for name in otlp_spans.SIGNS if name in columns]
        for place, operation in enumerate(self._either(*otlp_spans.OPERATIONS)):
            if operation is None:
                record = {name: column[place] for name, column in signs if column[place] is not None}
                called = otlp_spans.is_call(record)
            else:
                called = operation in otlp_spans.CALLS
            if called:
                places.append(place)
        return places

    def _either(self, one: str, other: str) -> list[Any]:
        """`record.get(one) or record.get(other)` of all spans."""
        first, second = self._given.get(one), self._given.get(other)
        if first is None or second is None:
            return [value or None for value in first or second or [None] * len(self.rows)]
        return [a or b for a, b in zip(first, second, strict=True)]

    def _identities(self, places: list[int]) -> list[str | None]:
        traces, own = self._made["span.trace"], self._made["span.id"]
        return [f"{traces[place]}:{own[place]}" if traces[place] and own[place] else None for place in places]

    def _samplers(self, calls: blocks.GivenColumns) -> list[str | None]:
        """The settings of each call as one label, worked out once for those that are alike."""
        given = {path: column for path in otlp_spans.SETTING_OF if (column := calls.column(path)) is not None}
        texts = [[value if value is None else str(value) for value in column] for column in given.values()]
        labels: dict[tuple[str | None, ...], str | None] = {}
        for values in set(zip(*texts, strict=True)):
            named = zip(given, values, strict=True)
            settings = tuple((otlp_spans.SETTING_OF[path], value) for path, value in named if value is not None)
            labels[values] = otlp_spans.sampler(settings) if settings else None
        return [labels[values] for values in zip(*texts, strict=True)] if given else [None] * len(calls)
