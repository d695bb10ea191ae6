"""What OTLP says beside single spans: events, and what follows from several columns or several spans of one call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from divergence.executions.importers import blocks, otlp_spans, span_tree
from divergence.executions.importers.feedback import Judged, attach, number_or_label
from divergence.executions.importers.mapping import Draft, Outcome

EVALUATION = "gen_ai.evaluation.result"
DETAILS = "gen_ai.client.inference.operation.details"
LOGFIRE_KEYS = (span_tree.TRACE, span_tree.PARENT, "model")
"""What the two spans of one stream share in Logfire."""
LENGTH = r"max_tokens=(\d+)"


def evaluation(entry: Mapping[str, Any]) -> Judged | None:
    """The judgement of a log record; None where it is none, or names no metric. Raises one of `UNREADABLE`."""
    values = {pair["key"]: otlp_spans.value_of(pair["value"]) for pair in entry.get("attributes") or ()}
    metric = values.get("gen_ai.evaluation.name")
    if (entry.get("eventName") or values.get("event.name")) != EVALUATION or not isinstance(metric, str):
        return None
    value, _ = number_or_label(values.get("gen_ai.evaluation.score.value"))
    _, label = number_or_label(values.get("gen_ai.evaluation.score.label"))
    if value is None and label is None:
        return None
    trace, span = entry.get("traceId"), entry.get("spanId")
    call = values.get("gen_ai.response.id") or f"{trace}:{span}"
    return Judged(Outcome(metric, value, label, "gen_ai.evaluation"), call=str(call), trace=trace)


def details(entry: Mapping[str, Any], shared: Mapping[str, Any], unknown: set[str]) -> dict[str, Any] | None:
    """The call that an event of operation details describes, as a flat record; None for another event."""
    named = entry.get("eventName") or next(
        (otlp_spans.value_of(pair["value"]) for pair in entry.get("attributes") or () if pair["key"] == "event.name"), None
    )
    if named != DETAILS:
        return None
    instant = entry.get("timeUnixNano") or entry.get("observedTimeUnixNano")
    span = {**entry, "startTimeUnixNano": instant, "endTimeUnixNano": None, "name": named, "events": None, "status": None}
    return otlp_spans.flat_span(span, shared, unknown)


def outcomes(judged: list[Judged], calls: pl.DataFrame, draft: Draft) -> list[tuple[str, Outcome]]:
    """The evaluations of calls that are in the import, which name the response or the span."""
    return attach(judged, calls, ("gen_ai.response.id",), span_tree.TRACE, draft)


def streams_of_logfire(calls: pl.DataFrame, draft: Draft) -> pl.DataFrame:
    """The calls with the two spans of a stream as one: begun by the first, with usage and end of the second."""
    closing = (pl.col("logfire.span_type") == "log") & pl.col("duration").is_not_null()
    opening = (
        (pl.col("logfire.span_type") == "span") & pl.col("gen_ai.response.id").is_null() & pl.col("error_type").is_null()
    )
    ends, starts = calls.filter(closing), calls.filter(opening)
    if not ends.height or not starts.height:
        return calls
    keys = [pl.col(name).fill_null("").alias(f"__{name}") for name in LOGFIRE_KEYS]
    begun = starts.select("time", *keys, begun="time", opened="execution_id", first="span.id").sort("time")
    paired = ends.with_columns(*keys).sort("time")
    paired = paired.join_asof(
        begun, on="time", by=[f"__{name}" for name in LOGFIRE_KEYS], strategy="backward", check_sortedness=False
    )
    paired = paired.filter(pl.col("opened").is_not_null()).unique("opened", keep="first", maintain_order=True)
    merged = paired.with_columns(
        latency_s=blocks.seconds_between(pl.col("begun"), pl.col("time")),
        closed=pl.col("execution_id"),
        execution_id=pl.col("opened"),
        time=pl.col("begun"),
    ).with_columns(pl.col("first").alias(span_tree.SPAN))
    gone = pl.concat([merged["opened"], merged["closed"]])
    if merged.height:
        draft.note(f"{merged.height} streams of Logfire stand in two spans each, and are one call each.")
    alone = calls.filter(~pl.col("execution_id").is_in(gone.implode()))
    return pl.concat([alone, merged.select(calls.columns)])


def derived(calls: pl.DataFrame) -> pl.DataFrame:
    """The calls with what follows from several of their columns.

    Time per output token after the first: decoding time as an engine logs it, else from the first token to the end. An
    answer that ended with an error has failed, whatever its status. A failed call has no price, whatever was written.
    """
    further = pl.when(pl.col("output_tokens") > 1).then(pl.col("output_tokens") - 1)
    decoding = pl.coalesce("gen_ai.latency.time_in_model_decode", pl.col("latency_s") - pl.col("ttft_s"))
    failed = pl.coalesce("error_type", pl.when(pl.col("finish_reason") == "error").then(pl.lit("finish_reason:error")))
    client = pl.when(pl.col("engine").is_null()).then(pl.coalesce(span_tree.AGENT, "resource.service"))
    return calls.with_columns(
        tpot_s=pl.when(decoding >= 0).then(decoding / further),
        error_type=failed,
        cost_usd=pl.when(~((pl.col("cost_usd") == 0) & failed.is_not_null())).then("cost_usd"),
        scaffold=pl.coalesce("scaffold", client),
    )


def without_varied_lengths(calls: pl.DataFrame, draft: Draft) -> pl.DataFrame:
    """The calls with `max_tokens` out of the sampler where it is set anew with the requests.

    It then belongs to the work and not to the serving, and would put every request into a context of its own. It does
    where its values are more than the square root of the calls: so few calls a value tell nothing about one of them.
    """
    lengths = calls["sampler"].str.extract(LENGTH)
    if lengths.drop_nulls().n_unique() ** 2 <= calls.height:
        return calls
    draft.note(
        f"max_tokens has {lengths.drop_nulls().n_unique()} values in {calls.height} calls, and is left out of the sampler."
    )
    rest = pl.col("sampler").str.replace(LENGTH, "").str.strip_chars(",").str.replace(",,", ",", literal=True)
    return calls.with_columns(sampler=pl.when(rest != "").then(rest))
