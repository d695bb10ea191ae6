"""What OTLP says beside single spans: events, and what follows from several columns or several spans of one call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from divergence.executions.importers import blocks, otlp_spans, span_tree
from divergence.executions.importers.drafted_rows import RESPONSE
from divergence.executions.importers.feedback import Judged, attach, named_by, number_or_label
from divergence.executions.importers.mapping import Draft, Outcome

EVALUATION = "gen_ai.evaluation.result"
DETAILS = "gen_ai.client.inference.operation.details"
LOGFIRE_KEYS = (span_tree.TRACE, span_tree.PARENT, "streamed")
"""What the two spans of one stream share in Logfire."""
LENGTH = r"max_tokens=(\d+)"
NAMES = ("gen_ai.response.id",)
"""Columns under which an evaluation names a call, beside its id."""


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
    return Judged(Outcome(metric, value, label, metric), call=str(call), trace=trace)


def details(entry: Mapping[str, Any], shared: Mapping[str, Any], unknown: set[str]) -> dict[str, Any] | None:
    """The call that an event of operation details describes, as a flat record; None for another event."""
    named = entry.get("eventName") or next(
        (otlp_spans.value_of(pair["value"]) for pair in entry.get("attributes") or () if pair["key"] == "event.name"), None
    )
    if named != DETAILS:
        return None
    instant = entry.get("timeUnixNano") or entry.get("observedTimeUnixNano")
    span = {**entry, "startTimeUnixNano": instant, "endTimeUnixNano": None, "name": named, "events": None, "status": None}
    return otlp_spans.with_sampler(otlp_spans.flat_span(span, shared, unknown))


def judged(evaluations: list[Judged], calls: pl.DataFrame) -> pl.DataFrame:
    """Of some calls those that an evaluation may name."""
    return named_by(evaluations, calls, NAMES, span_tree.TRACE)


def outcomes(evaluations: list[Judged], calls: list[pl.DataFrame], draft: Draft) -> list[tuple[str, Outcome]]:
    """The evaluations of calls that are in the import, which name the response or the span; `calls` are of `judged`."""
    named = ("execution_id", *NAMES, span_tree.TRACE)
    nothing = pl.DataFrame(schema={**dict.fromkeys(named, pl.String()), "time": pl.Datetime("us", "UTC")})
    return attach(evaluations, pl.concat([nothing, *calls]), NAMES, span_tree.TRACE, draft)


def narrow(names: pl.DataType) -> list[pl.Expr]:
    """Of whole calls what is looked at over all of them, beside the keys of their spans; names become the given type."""
    kind, ended = pl.col("logfire.span_type"), pl.col("duration").is_not_null()
    answered = pl.col("gen_ai.response.id").is_not_null() | pl.col("error_type").is_not_null()
    opening, closing = (kind == "span") & ~answered, (kind == "log") & ended
    return [
        opening.fill_null(False).alias("opening"),
        closing.fill_null(False).alias("closing"),
        pl.when(opening).then(span_tree.SPAN).cast(names).alias("first"),
        pl.when(opening | closing).then(pl.col("model").fill_null("")).cast(names).alias("streamed"),
        pl.col("sampler").str.extract(LENGTH).cast(names).alias("length"),
        pl.col("task").str.to_lowercase().str.contains("embedding").fill_null(False).alias("embeds"),
    ]


class LogfireStreams:
    """The two spans of each stream as one call."""

    def __init__(self) -> None:
        self.merged = 0

    def joined(self, found: pl.DataFrame) -> pl.DataFrame:
        """The narrow calls of whole traces, those of a stream as one, in the place of the second, `begun` with the first.

        `found` has the keys of `span_tree` and the columns of `narrow`.
        """
        found = found.with_columns(begun=pl.lit(None, found.schema["time"]))
        starts, ends = (found.filter(name).sort("time", maintain_order=True) for name in ("opening", "closing"))
        if ends.height and starts.height:
            begun = starts.select(
                "time", *LOGFIRE_KEYS, begun_at="time", opened=span_tree.PLACE, span=span_tree.SPAN, of="first"
            )
            paired = ends.join_asof(begun, on="time", by=LOGFIRE_KEYS, strategy="backward", check_sortedness=False)
            paired = paired.filter(pl.col("opened").is_not_null()).unique("opened", keep="first", maintain_order=True)
            merged = paired.with_columns(
                pl.col("span").alias(span_tree.SPAN), pl.col("of").alias("first"), begun="begun_at", time="begun_at"
            )
            gone = pl.concat([merged["opened"], merged[span_tree.PLACE]]).implode()
            self.merged += merged.height
            alone = found.filter(~pl.col(span_tree.PLACE).is_in(gone))
            found = pl.concat([alone, merged.select(found.columns)]).sort(span_tree.PLACE)
        return found.drop("opening", "closing", "streamed")

    def say(self, draft: Draft) -> None:
        """Say how many there were."""
        if self.merged:
            draft.note(f"{self.merged} streams of Logfire stand in two spans each, and are one call each.")


def as_streamed(calls: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """Whole calls with beginning, length and identity of the streams that stand in two spans."""
    if not found["begun"].is_not_null().any():
        return calls
    calls = calls.hstack(found.select("begun", first=pl.col("first").cast(pl.String)))
    stream = pl.col("begun").is_not_null()
    changed = {
        "latency_s": blocks.seconds_between(pl.col("begun"), pl.col("time")),
        "time": pl.col("begun"),
        "execution_id": pl.concat_str(span_tree.TRACE, pl.lit(":"), "first"),
        span_tree.SPAN: pl.col("first"),
    }
    calls = calls.with_columns(pl.when(stream).then(value).otherwise(name).alias(name) for name, value in changed.items())
    return calls.drop("begun", "first")


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
        **({RESPONSE: "gen_ai.response.id"} if "gen_ai.response.id" in calls.columns else {}),
    )


def varied_lengths(found: pl.DataFrame, draft: Draft) -> bool:
    """Is `max_tokens` set anew with the requests?

    It then belongs to the work and not to the serving, and would put every request into a context of its own. It does
    where its values are more than the square root of the calls: so few calls a value tell nothing about one of them.
    """
    values = found["length"].drop_nulls().n_unique()
    if values**2 <= found.height:
        return False
    draft.note(f"max_tokens has {values} values in {found.height} calls, and is left out of the sampler.")
    return True


def without_lengths(calls: pl.DataFrame) -> pl.DataFrame:
    """The calls with `max_tokens` out of the sampler."""
    rest = pl.col("sampler").str.replace(LENGTH, "").str.strip_chars(",").str.replace(",,", ",", literal=True)
    return calls.with_columns(sampler=pl.when(rest != "").then(rest))
