"""Many plain OTLP spans at once: lines of JSON to columns, without a Python object for a span.

What a span says is decided by `otlp_spans`, which reads one after another. This gives the same for lines that are plain,
and nothing where a single one of them is not: another shape than OTLP's, a value of two kinds or of none, JSON text to be
expanded, numbers where texts should be, events that are no spans, identities in base64. Those lines are read one by one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import polars as pl

from divergence.executions.importers import blocks, otlp_arrow, otlp_spans, span_tree
from divergence.executions.importers.otlp_arrow import PLACE, NotPlainError, need
from divergence.executions.importers.otlp_mapping import EXPANDED, NOTED

SCOPE = "__scope"  # number of the resource and scope that a span stands in
DIGITS = r"^([0-9]{1,18}|[1-8][0-9]{18})$"  # what a column of 64 bits holds, whatever it is
FURTHER = frozenset({*EXPANDED, "langfuse.observation.completion_start_time"})
"""Attributes that have to be read further."""
VERBATIM = frozenset(
    {
        *("gen_ai.operation.name", "llm.request.type", "openinference.span.kind", "langfuse.observation.type"),
        *("gen_ai.agent.name", "agent.name", "gen_ai.conversation.id", "session.id", "logfire.span_type"),
        *("gen_ai.response.id", "gen_ai.system"),
    }
)
"""Attributes that are looked at as texts: others of their values are read one by one."""
IDS = ("traceId", "spanId", "parentSpanId")


@dataclasses.dataclass(frozen=True)
class SpanColumns:
    """What some lines say."""

    height: int
    """Number of spans."""
    tree: pl.DataFrame
    """Each span with what it names itself (`span_tree.TREE`)."""
    calls: blocks.GivenColumns
    """The calls among them, each with its number among the spans from 1."""
    unknown: set[str]
    """Names of attributes that nothing reads."""
    settings: Mapping[str, set[str]]
    """Values of `NOTED`, of the calls."""


def read(lines: Sequence[bytes]) -> SpanColumns | None:
    """The spans of lines of OTLP/JSON, or None where they have to be read one by one."""
    try:
        return _read(*_spans(otlp_arrow.parsed(lines)))
    except NotPlainError:
        return None


def _spans(documents: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, pl.Series]]:
    """One row a span, and what their resources and scopes say of each."""
    need(documents["resourceLogs"].null_count() == documents["resourceMetrics"].null_count() == documents.height)
    need(not documents["resourceSpans"].null_count())
    resources = otlp_arrow.members(documents.select("resourceSpans"), "resourceSpans").with_row_index(PLACE)
    need(resources["instrumentationLibrarySpans"].null_count() == resources.height)
    said = otlp_arrow.attributes(resources.select(PLACE, pl.col("resource").struct.field("attributes")))
    said = said.filter(pl.col("key").is_in(otlp_spans.RESOURCE))
    need(not said.select(PLACE, "key").is_duplicated().any())
    texts = otlp_arrow.texts(said, resources.height, frozenset(otlp_spans.RESOURCE))
    scopes = otlp_arrow.members(resources.select(PLACE, "scopeSpans"), "scopeSpans")
    shared = _of_scopes(texts, scopes.select(PLACE, pl.col("scope").struct.field("name")))
    spans = otlp_arrow.members(scopes.select("spans").with_row_index(SCOPE), "spans").with_row_index(PLACE)
    return spans, {name: column.gather(spans[SCOPE]) for name, column in shared.items()}


def _of_scopes(texts: Mapping[str, pl.Series], scopes: pl.DataFrame) -> dict[str, pl.Series]:
    """What all spans of each scope have in common, as `otlp_spans` words it; absent names are null."""
    said = [(f"resource.{name}", column.gather(scopes[PLACE]).to_list()) for name, column in texts.items()]
    made = []
    for place, scope in enumerate(scopes["name"].to_list()):
        given = {name: column[place] for name, column in said if column[place] is not None}
        made.append(otlp_spans.of_scope(given, scope))
    names = dict.fromkeys(name for one in made for name in one)
    return {name: pl.Series(name, [one.get(name) for one in made], pl.String) for name in names}


def _read(spans: pl.DataFrame, shared: dict[str, pl.Series]) -> SpanColumns:
    for name in IDS:
        need(bool(spans[name].str.len_chars().is_in([0, 16, 32]).fill_null(True).all()))
    spans = spans.with_columns(pl.when(pl.col(name) != "").then(name).alias(name) for name in IDS)
    attributes = otlp_arrow.attributes(spans.select(PLACE, "attributes"))
    attributes = attributes.with_columns(pl.col("key").cast(pl.Categorical(pl.Categories.random())))
    keys = attributes["key"]
    names = set(keys.unique().cast(pl.String))
    need(FURTHER.isdisjoint(names))
    need(not (attributes["value"].is_null() & keys.is_in(list(names & otlp_spans.ROLES.keys()))).any())
    known = attributes.filter(keys.is_in(list(names & otlp_spans.WANTED)))
    record = otlp_arrow.texts(known, spans.height, VERBATIM)
    need(all(record[name].dtype == pl.String for name in VERBATIM & record.keys()))
    record |= shared
    _times(spans, record)
    _events(spans, record)
    _engines(record)
    tree = pl.DataFrame(
        {
            **{to: spans[name] for to, name in zip(span_tree.TREE, IDS, strict=False)},
            span_tree.AGENT: _either(record, "gen_ai.agent.name", "agent.name"),
            span_tree.CONVERSATION: _either(record, "gen_ai.conversation.id", "session.id"),
        },
        schema=span_tree.TREE,
    )
    record |= {name: tree[name] for name in (span_tree.TRACE, span_tree.SPAN, span_tree.PARENT)}
    record["span.identity"] = spans.select(pl.concat_str("traceId", pl.lit(":"), "spanId")).to_series()
    record["span.name"] = spans["name"]
    failed = pl.when(pl.col("status").struct.field("code") == 2).then(pl.lit("error"))
    record["span.error"] = spans.select(failed).to_series()
    called = _are_calls(record)
    calls = {name: column.filter(called) for name, column in record.items()}
    _sampler(calls)
    settings = {name: set(calls[name].drop_nulls().unique()) for name in NOTED if name in calls}
    rows = spans[PLACE].filter(called).cast(pl.Int64) + 1
    return SpanColumns(spans.height, tree, blocks.GivenColumns(rows, calls), names - otlp_spans.ROLES.keys(), settings)


def _times(spans: pl.DataFrame, record: dict[str, pl.Series]) -> None:
    start, end = (pl.when(pl.col(name) != "0").then(name) for name in ("startTimeUnixNano", "endTimeUnixNano"))
    times = spans.select(start=start, end=end)
    for name in times.columns:
        need(bool(times[name].str.contains(DIGITS).fill_null(True).all()))
    record["span.start"] = times["start"]
    passed = pl.col("end").cast(pl.Int64) - pl.col("start").cast(pl.Int64)
    record["span.duration_s"] = _seconds(times.select(passed).to_series())


def _events(spans: pl.DataFrame, record: dict[str, pl.Series]) -> None:
    events = otlp_arrow.members(spans.select(PLACE, "events"), "events")
    exceptions = events.filter(pl.col("name") == "exception").unique(PLACE, keep="first", maintain_order=True)
    if exceptions.height:
        named = otlp_arrow.attributes(exceptions.select(PLACE, "attributes")).filter(pl.col("key") == "exception.type")
        named = named.unique(PLACE, keep="first", maintain_order=True).unnest("value")
        need(not named["stringValue"].null_count())
        record["span.exception"] = otlp_arrow.spread(named[PLACE], named["stringValue"], spans.height)
    tokens = events.filter(pl.col("name").is_in(otlp_spans.FIRST_TOKEN) & pl.col("timeUnixNano").is_not_null())
    if tokens.height:
        need(bool(tokens["timeUnixNano"].str.contains(DIGITS).all()))
        first = tokens.group_by(PLACE).agg(pl.col("timeUnixNano").cast(pl.Int64).min()).sort(PLACE)
        start = record["span.start"].gather(first[PLACE]).cast(pl.Int64)
        passed = [None if value is None else repr(value) for value in _seconds(first["timeUnixNano"] - start)]
        record["span.first_token_s"] = otlp_arrow.spread(first[PLACE], pl.Series(passed, dtype=pl.String), spans.height)


def _seconds(nanoseconds: pl.Series) -> pl.Series:
    """Divided as Python divides; Polars multiplies by the reciprocal, which may differ in the last bit."""
    return pl.Series(nanoseconds.fill_null(0).to_numpy() / 1e9).set(nanoseconds.is_null(), None)


def _engines(record: dict[str, pl.Series]) -> None:
    """The engine and the instance, where spans name them otherwise than by resource and scope."""
    frame = _frame(record, "span.engine", "span.instance", "server.address", "server.port", "gen_ai.latency.e2e")
    frame = frame.hstack(_frame(record, "resource.service.name"))
    own = pl.col("span.engine").is_not_null()
    asked = pl.concat_str("server.address", pl.lit(":"), "server.port")
    sglang = pl.col("resource.service.name").str.contains("sglang", literal=True).fill_null(False)
    meant = pl.when(pl.col("gen_ai.latency.e2e").is_not_null()).then(
        pl.when(sglang).then(pl.lit("sglang")).otherwise(pl.lit("vllm"))
    )
    found = frame.select(
        pl.when(own).then("span.instance").otherwise(asked).alias("span.instance"),
        pl.coalesce("span.engine", meant).alias("span.engine"),
    )
    record |= {name: found[name] for name in found.columns}


def _are_calls(record: Mapping[str, pl.Series]) -> pl.Series:
    """`otlp_spans.is_call` for all spans."""
    operation = _either(record, "gen_ai.operation.name", "llm.request.type").alias("operation")
    frame = _frame(record, "openinference.span.kind", "langfuse.observation.type", "gen_ai.latency.e2e", "span.name")
    frame = frame.hstack(_frame(record, "gen_ai.system", "gen_ai.request.model")).hstack([operation])
    kinds = pl.col("openinference.span.kind").is_in(otlp_spans.OPENINFERENCE_CALLS)
    kinds = kinds.fill_null(False) | pl.col("langfuse.observation.type").is_in(otlp_spans.LANGFUSE_CALLS).fill_null(False)
    engines = pl.col("gen_ai.latency.e2e").is_not_null() | (pl.col("span.name") == "llm_request").fill_null(False)
    plain = pl.col("gen_ai.system").is_not_null() & pl.col("gen_ai.request.model").is_not_null()
    stated = pl.col("operation").is_in(otlp_spans.CALLS)
    call = pl.when(pl.col("operation").is_not_null()).then(stated).otherwise(kinds | engines | plain)
    return frame.select(call).to_series()


def _sampler(calls: dict[str, pl.Series]) -> None:
    """The settings of each request as one label, worked out once for those that are alike."""
    paths = [path for path in otlp_spans.SETTING_OF if path in calls]
    if not paths:
        return
    settings = pl.DataFrame({path: calls[path] for path in paths})
    unlike = settings.unique(maintain_order=True)
    labels = [
        otlp_spans.sampler(tuple((otlp_spans.SETTING_OF[path], value) for path, value in row.items() if value is not None))
        for row in unlike.iter_rows(named=True)
    ]
    unlike = unlike.with_columns(pl.Series("label", labels, pl.String))
    calls["request.sampler"] = settings.join(unlike, on=paths, how="left", nulls_equal=True, maintain_order="left")["label"]


def _either(record: Mapping[str, pl.Series], one: str, other: str) -> pl.Series:
    """`record.get(one) or record.get(other)`: an empty text gives way, too."""
    frame = _frame(record, one, other)
    return frame.select(pl.when(pl.col(one) != "").then(one).otherwise(other)).to_series()


def _frame(record: Mapping[str, pl.Series], *names: str) -> pl.DataFrame:
    """Some columns of a record, empty ones for those that it has not."""
    height = len(record["span.start"])
    return pl.DataFrame({name: record.get(name, pl.repeat(None, height, dtype=pl.String, eager=True)) for name in names})
