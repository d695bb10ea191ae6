"""Langfuse: traces as the UI downloads them, observations and scores of the API (JSON), and exports (JSON lines, Parquet).

What the SDK sends itself is OTLP (`otlp`). One row is one observation of type GENERATION or EMBEDDING. What must be known:

    An observation's `latency` is in milliseconds and a trace's in seconds: both are left alone, and times are subtracted.
    `total` of usage repeats its parts; an agent or a span above repeats the usage of its generations: leaves are counted.
    A `totalCost` of 0 with tokens is a price that Langfuse does not know.
    Names of usage differ by API and by version; the aliases below are tried in their order.
    Its tables in ClickHouse hold every version of an observation until they are merged: the newest counts, if not deleted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from divergence.executions.importers import blocks, convert, factors, parquet_rows, span_tree, written
from divergence.executions.importers.feedback import Judged, attach, number_or_label, scored
from divergence.executions.importers.foreign_files import head
from divergence.executions.importers.format import Format
from divergence.executions.importers.groups import traces_by_folder
from divergence.executions.importers.json_documents import documents, json_or_text, objects
from divergence.executions.importers.mapping import Draft, Field, Outcome, Place
from divergence.executions.importers.trace_reading import TraceReading

USAGE, COST = "usageDetails", "costDetails"
FIELDS = (
    Field("execution_id", "id", convert.text, "the observation", True),
    Field(
        "model", "model", convert.text, "as logged: often the snapshot that was served", True, aliases=("providedModelName",)
    ),
    Field("regime", "derived.regime", convert.text, "evaluation where the observation belongs to an experiment"),
    Field("item", "experimentItemId", convert.text, "item of a data set", since="4"),
    Field("task", "derived.trace_name", convert.label, "name of the trace"),
    Field("session", "sessionId", convert.text, "of the trace; else the trace, where it holds several calls"),
    Field("time", "startTime", written.utc),
    Field("latency_s", "derived.duration_s", written.amount, "endTime - startTime"),
    Field("ttft_s", "derived.first_token_s", written.amount, "completionStartTime - startTime"),
    Field(
        "input_tokens",
        f"{USAGE}.input",
        written.whole,
        "",
        aliases=(f"{USAGE}.prompt_tokens", f"{USAGE}.input_tokens", "inputUsage"),
    ),
    Field(
        "output_tokens",
        f"{USAGE}.output",
        written.whole,
        "",
        aliases=(f"{USAGE}.completion_tokens", f"{USAGE}.output_tokens", "outputUsage"),
    ),
    Field(
        "cached_tokens",
        f"{USAGE}.input_cache_read",
        written.whole,
        aliases=(
            *(f"{USAGE}.prompt_details.cache_read", f"{USAGE}.input_cached_tokens", f"{USAGE}.cache_read_input_tokens"),
            f"{USAGE}.prompt_tokens_details.cached_tokens",
        ),
    ),
    Field(
        "reasoning_tokens",
        f"{USAGE}.output_reasoning",
        written.whole,
        aliases=(f"{USAGE}.completion_details.reasoning", f"{USAGE}.output_reasoning_tokens"),
    ),
    Field("cost_usd", f"{COST}.total", written.amount, "0 with tokens is an unknown price: empty", aliases=("totalCost",)),
    Field("error_type", "derived.error", convert.label, "level ERROR"),
    Field("prompt_version", "derived.prompt", convert.label, "name and version of the prompt"),
    Field("scaffold", "derived.release", convert.label, "release and version of the application"),
    Field("sampler", "derived.sampler", convert.label, "of modelParameters, without the seed"),
)
FORMAT = Format(
    name="langfuse",
    title="Langfuse: traces of the UI, observations and scores of the API, exports (JSON lines, Parquet)",
    versions="3 and 4; the Parquet export from documentation, written by ClickHouse",
    authority="langfuse/langfuse: packages/shared/clickhouse/migrations, the API's reference",
    unit="an observation of type GENERATION or EMBEDDING",
    fields=FIELDS,
    reads=(
        *("type", "level", "latency", "scores", "modelParameters", "endTime", "completionStartTime"),
        *("promptName", "promptVersion", "release", "version", "environment", "traceName", "eventTs", "isDeleted"),
    ),
    regime="deployment",
    rank=30,
    notes=("Columns of exports are written with underscores (`start_time`), and are the same fields.",),
    apart=traces_by_folder,
)
CALLS = ("GENERATION", "EMBEDDING")
DROPPED = (
    "input",
    "output",
    "userId",
    "user",
    "metadata",
    "comment",
    "authorUserId",
    "statusMessage",
    "public",
    "bookmarked",
    "projectId",
)
JSON_COLUMNS = (USAGE, COST, "modelParameters", "scores")

VERSION, DELETED = "table.version", "table.deleted"
"""When a row of ClickHouse's table was written (seconds since 1970), and whether it says that the observation is gone."""
OWN_ENVIRONMENT = "langfuse"
"""The beginning of environments that Langfuse keeps for itself, as `langfuse-llm-as-a-judge`: calls of judges."""
JUDGING = "An observation of Langfuse's own judges is no execution, and is left out"


def recognises(path: Path, start: bytes) -> bool:
    """Are these traces, observations or scores of Langfuse, by the first bytes?"""
    if start[:4] == b"PAR1":
        return path.suffix == ".parquet" and _is_export(path)
    begin = start.lstrip()
    if begin[:1] not in (b"{", b"["):
        return False
    snake = b'"trace_id"' in begin and (b'"usage_details"' in begin or b'"data_type"' in begin)
    trace = b'"trace"' in begin[:100] and b'"projectId"' in begin
    observations = b'"traceId"' in begin and b'"parentObservationId"' in begin
    scores = b'"traceId"' in begin and b'"dataType"' in begin and b'"name"' in begin
    return snake or trace or observations or scores


def read(paths: list[Path], primary: str | None, draft: Draft) -> None:
    """Add the generations of all files to the draft, judged by the scores in them.

    Raises InputError where a file cannot be read, and where no score is named `primary`.
    """
    reading, judged, names = TraceReading(draft, {VERSION: pl.Float64(), DELETED: pl.Float64()}), [], set()
    steps = blocks.steps_of(blocks.paths_of(FIELDS))
    for path in paths:
        draft.sources.append(path)
        file = convert.printable(path)
        for row, trace, record in _records(path, draft):
            if not isinstance(record, dict):
                draft.reject(Place(file, row), "record_readable", "The entry is no object.")
                continue
            entry = {_camel(name): value for name, value in record.items()}
            if "dataType" in entry:
                judged += judgement(entry)
                continue
            if str(entry.get("environment") or trace.get("environment")).startswith(OWN_ENVIRONMENT):
                draft.count(JUDGING)
                continue
            names |= entry.keys()
            values = blocks.nested(_record(entry, trace), steps)
            values |= {
                "span.trace": entry.get("traceId"),
                "span.id": entry.get("id"),
                "span.parent": entry.get("parentObservationId"),
                **_version(entry),
            }
            reading.span(values, row, file, entry.get("type") in CALLS, (None, values.get("sessionId")))
    reading.flush()
    calls = _priced(reading.executions(reading.calls(lambda calls: _newest(calls, draft))), draft)
    outcomes = attach(judged, calls, ("span.id",), span_tree.TRACE, draft)
    draft.extend(scored(calls, outcomes, primary, draft))
    read_names = {path.partition(".")[0] for path in (*steps, *FORMAT.reads)} | {
        *DROPPED,
        "traceId",
        "parentObservationId",
        "name",
    }
    draft.unmapped |= names - read_names


def _version(entry: Mapping[str, Any]) -> dict[str, float]:
    try:
        written_at = written.utc(entry.get("eventTs")) if "isDeleted" in entry else None
    except ValueError:
        written_at = None
    return {} if written_at is None else {VERSION: written_at.timestamp(), DELETED: float(entry["isDeleted"] in (1, "1"))}


def _newest(calls: pl.DataFrame, draft: Draft) -> pl.DataFrame:
    """Of the versions of each observation in a table the newest one, where that is not deleted."""
    newest = pl.col(VERSION).is_null() | (pl.col(VERSION) == pl.col(VERSION).max().over("execution_id"))
    kept = calls.filter(newest)
    found = kept.filter((pl.col(DELETED) != 1).fill_null(True))
    if older := calls.height - kept.height:
        draft.note(f"{older} rows of the table are older versions of observations that it holds, and are left out.")
    if gone := kept.height - found.height:
        draft.note(f"{gone} observations are deleted in the table, and are left out.")
    return found


def _is_export(path: Path) -> bool:
    names = parquet_rows.names(path) or set()
    return {"trace_id", "usage_details"} <= names or {"trace_id", "data_type", "value", "name"} <= names


def _records(path: Path, draft: Draft) -> Iterator[tuple[int, Mapping[str, Any], Any]]:
    """(row, trace, observation or score) of a file; the trace is empty where the file does not hold it."""
    if head(path)[:4] == b"PAR1":
        read = parquet_rows.records(path, lambda name: _camel(name) not in DROPPED)
        yield from ((row, {}, record) for row, record in read)
        return
    for row, document in documents(path, draft.reject):
        trace = document.get("trace") if isinstance(document, dict) else None
        if isinstance(document, dict) and isinstance(document.get("observations"), list):
            trace = trace if isinstance(trace, dict) else document
            yield from ((place, trace, entry) for place, entry in enumerate(document["observations"], start=1))
            yield from ((row, trace, entry) for entry in objects(trace.get("scores")))
        elif isinstance(document, dict) and isinstance(document.get("data"), list):
            yield from ((place, {}, entry) for place, entry in enumerate(document["data"], start=1))
        else:
            yield row, {}, document


def _camel(name: str) -> str:
    first, *rest = str(name).split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in rest) if rest else str(name)


def _record(entry: Mapping[str, Any], trace: Mapping[str, Any]) -> dict[str, Any]:
    """One observation with its JSON texts read, and what follows from several of its fields."""
    record = {name: _json(value) if name in JSON_COLUMNS else value for name, value in entry.items() if name not in DROPPED}
    usage = record.get(USAGE)
    if isinstance(usage, dict):  # flat names with dots inside, of OpenInference
        record[USAGE] = {**usage, **_unfolded(usage)}
    derived: dict[str, Any] = {"trace_name": trace.get("name") or entry.get("traceName")}
    instants = {}
    for name in ("startTime", "endTime", "completionStartTime"):
        try:
            instants[name] = written.utc(entry[name]) if entry.get(name) is not None else None
        except ValueError:
            instants[name] = None
    for column, name in (("duration_s", "endTime"), ("first_token_s", "completionStartTime")):
        if instants["startTime"] and instants[name]:
            derived[column] = (instants[name] - instants["startTime"]).total_seconds()
    if entry.get("level") == "ERROR":
        derived["error"] = "error"
    parts = (entry.get("promptName"), entry.get("promptVersion"))
    derived["prompt"] = " ".join(str(part) for part in parts if part is not None) or None
    parts = (trace.get("release") or entry.get("release"), trace.get("version") or entry.get("version"))
    derived["release"] = " ".join(str(part) for part in parts if part) or None
    parameters = record.get("modelParameters")
    given = parameters if isinstance(parameters, dict) else {}
    derived["sampler"] = factors.sampler_label(
        {n: v for n, v in given.items() if n != "seed" and v not in ("Infinity", None)}
    )
    if entry.get("experimentId") or entry.get("experimentItemId"):
        derived["regime"] = "evaluation"
    record["sessionId"] = entry.get("sessionId") or trace.get("sessionId")
    return {**record, "derived": derived}


def _unfolded(usage: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for name, value in usage.items():
        above, dot, below = str(name).partition(".")
        if dot:
            found.setdefault(above, {})[below] = value
    return found


def _priced(calls: pl.DataFrame, draft: Draft) -> pl.DataFrame:
    read = pl.col("input_tokens").fill_null(0) + pl.col("output_tokens").fill_null(0) > 0
    unpriced = (pl.col("cost_usd") == 0) & (read | pl.col("error_type").is_not_null())
    count = calls.filter(unpriced).height
    if count:
        draft.note(
            f"{count} generations have tokens or an error and a cost of 0, a price that is not known: cost_usd is empty."
        )
    return calls.with_columns(cost_usd=pl.when(~unpriced).then("cost_usd"))


def judgement(entry: Mapping[str, Any]) -> Iterator[Judged]:
    """The judgement of a score, as the SDK posts it and the API gives it."""
    value, label = number_or_label(entry.get("value"))
    kind, text = entry.get("dataType"), entry.get("stringValue")
    if kind == "CATEGORICAL":
        value, label = None, label or number_or_label(text)[1]
    name, source = entry.get("name"), entry.get("source")
    if isinstance(name, str) and (value is not None or label is not None):
        who = str(source).lower() if source else None
        trace = entry.get("traceId")
        yield Judged(
            Outcome(name, value, label, who),
            call=entry.get("observationId"),
            trace=trace if isinstance(trace, str) else None,
        )


def _json(value: Any) -> Any:
    if isinstance(value, list) and value and isinstance(value[0], dict) and set(value[0]) == {"key", "value"}:
        return {pair["key"]: pair["value"] for pair in value}  # a map, as Parquet keeps it
    return json_or_text(value)
