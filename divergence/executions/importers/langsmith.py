"""LangSmith: runs as JSON lines, as the SDK posts them (batch or multipart bodies), or from a bulk export in Parquet.

A run comes as a post and later a patch, or as one post with everything: they are merged by id, and what is given later
wins. One row is one run of a model (`run_type` llm). What must be known:

    Usage stands in `outputs` and in `extra.metadata`, and chains repeat it: it is read once, from the runs of models.
    A framework's run and the run of the wrapped client below it may be logged side by side, without one naming the other.
    Where a run of a framework spans the whole of a client's run of the same model, the client's run is the execution.
    `session_name` (`session_id` in exports) is the project; the conversation is `extra.metadata.session_id`.
    A run with `reference_example_id` belongs to an experiment: it is evaluation, and the example is its item.
"""

from __future__ import annotations

import email.parser
import email.policy
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from divergence.errors import InputError
from divergence.executions.importers import blocks, convert, factors, parquet_rows, span_tree, written
from divergence.executions.importers.feedback import Judged, attach, scored
from divergence.executions.importers.foreign_files import LINE_BYTES, head, opened
from divergence.executions.importers.format import Format
from divergence.executions.importers.groups import traces_by_folder
from divergence.executions.importers.json_documents import documents, json_or_text, objects
from divergence.executions.importers.mapping import Draft, Field, Outcome, Place
from divergence.executions.importers.trace_reading import TraceReading

METADATA = "extra.metadata"
USAGE = ("outputs.usage_metadata", f"{METADATA}.usage_metadata")
OLD_USAGE = "outputs.llm_output.token_usage"
FIELDS = (
    Field("execution_id", "id", convert.text, needed=True),
    Field(
        "model",
        f"{METADATA}.ls_model_name",
        convert.text,
        "the name asked for",
        True,
        aliases=("extra.invocation_params.model", "extra.invocation_params.model_name", "inputs.model", "outputs.model"),
    ),
    Field("regime", "derived.regime", convert.text, "evaluation where the run answers an example of a data set"),
    Field("item", "reference_example_id", convert.text, "the example of a data set"),
    Field("task", "derived.task", convert.label, "the project", aliases=("session_name",)),
    Field("session", f"{METADATA}.session_id", convert.text, "the conversation", aliases=(f"{METADATA}.thread_id",)),
    Field("session", f"{METADATA}.conversation_id", convert.text),
    Field("time", "start_time", written.utc),
    Field("latency_s", "derived.duration_s", written.amount, "end_time - start_time"),
    Field("ttft_s", "derived.first_token_s", written.amount, "first_token_time, or the first event `new_token`"),
    Field(
        "input_tokens",
        f"{USAGE[0]}.input_tokens",
        written.whole,
        "cached ones included",
        aliases=(f"{USAGE[1]}.input_tokens", f"{OLD_USAGE}.prompt_tokens", "prompt_tokens"),
    ),
    Field(
        "output_tokens",
        f"{USAGE[0]}.output_tokens",
        written.whole,
        "reasoning included",
        aliases=(f"{USAGE[1]}.output_tokens", f"{OLD_USAGE}.completion_tokens", "completion_tokens"),
    ),
    Field(
        "cached_tokens",
        f"{USAGE[0]}.input_token_details.cache_read",
        written.whole,
        aliases=(f"{USAGE[1]}.input_token_details.cache_read",),
    ),
    Field(
        "reasoning_tokens",
        f"{USAGE[0]}.output_token_details.reasoning",
        written.whole,
        aliases=(f"{USAGE[1]}.output_token_details.reasoning",),
    ),
    Field("cost_usd", "total_cost", written.amount, "of exports; text in some"),
    Field("error_type", "derived.error", convert.label, "class at the head of `error`"),
    Field("finish_reason", "derived.finish_reason", written.finish),
    Field(
        "engine_version",
        "outputs.model",
        convert.label,
        "the snapshot that was served",
        aliases=("outputs.llm_output.model_name",),
    ),
    Field("provider", f"{METADATA}.ls_provider", convert.label),
    Field("prompt_version", f"{METADATA}.lc_hub_commit_hash", convert.label, aliases=(f"{METADATA}.revision_id",)),
    Field("sampler", "derived.sampler", convert.label, "without the seed"),
)
FORMAT = Format(
    name="langsmith",
    title="LangSmith: runs as JSON lines, bodies of the SDK (batch and multipart), bulk export (Parquet)",
    versions="SDK 0.1 to 0.15; the bulk export from documentation",
    authority="langchain-ai/langsmith-sdk: python/langsmith/schemas.py",
    unit="a run of a model",
    fields=FIELDS,
    reads=(
        "error",
        "events",
        "end_time",
        "first_token_time",
        "feedback_stats",
        "run_type",
        "outputs.choices",
        "outputs.generations",
    ),
    regime="deployment",
    rank=30,
    notes=("Inputs and outputs are read for the names above only, and users are not read.",),
    apart=traces_by_folder,
)
KEPT = ("run_type", "trace_id", "parent_run_id", "error", "end_time", "first_token_time", "outputs.id", "derived.framework")
EXTRA = {name: pl.String() for name in ("outputs.id", "derived.framework")}
ERROR = re.compile(r"^\s*([A-Za-z_][\w.]*)\(")
BOUNDARY = re.compile(rb"^--([\w'()+,./:=?-]{8,70})\r?\n")
SERIALISED = ("inputs", "outputs", "extra", "events", "feedback_stats", "error_details")
PARTS = ("inputs", "outputs", "events", "extra", "serialized", "error")


def recognises(path: Path, start: bytes) -> bool:
    """Are these runs, by the first bytes?"""
    if start[:4] == b"PAR1":
        return path.suffix == ".parquet" and _is_export(path)
    if BOUNDARY.match(start):
        return b'name="post.' in start or b'name="patch.' in start
    begin = start.lstrip()[:20000]
    return begin[:1] in (b"{", b"[") and b'"dotted_order"' in begin and b'"run_type"' in begin


def read(paths: list[Path], primary: str | None, draft: Draft) -> None:
    """Add the runs of models in all files to the draft.

    Raises InputError where a file cannot be read, and where no feedback is named `primary`.
    """
    steps = blocks.steps_of({*blocks.paths_of(FIELDS), *KEPT})
    runs: dict[str, tuple[str, int, dict[str, Any]]] = {}
    for path in paths:
        draft.sources.append(path)
        file = convert.printable(path)
        for row, run in _runs(path, draft):
            identity = run.get("id") if isinstance(run, dict) else None
            if not isinstance(identity, str):
                draft.reject(Place(file, row), "record_readable", "The run is no object with an id.")
                continue
            values = blocks.nested(_record(run), steps)
            if "feedback_stats" in run:
                values["feedback_stats"] = run["feedback_stats"]
            known = runs.setdefault(identity, (file, row, {}))[2]
            known.update(values)
    reading, judged = TraceReading(draft, EXTRA), []
    for identity, (file, row, values) in runs.items():
        record = {**values, **_derived(values), "span.id": identity, "span.trace": values.get("trace_id")}
        record["span.parent"] = values.get("parent_run_id")
        conversation = values.get(f"{METADATA}.session_id") or values.get(f"{METADATA}.thread_id")
        reading.span(record, row, file, values.get("run_type") in ("llm", "embedding"), (None, conversation))
        judged += _feedback(identity, values.get("feedback_stats"))
    reading.flush()
    calls = reading.executions(_without_frameworks(reading.calls(), draft))
    outcomes = attach(judged, calls, ("span.id",), span_tree.TRACE, draft)
    draft.extend(scored(calls, outcomes, primary, draft))


def _is_export(path: Path) -> bool:
    return {"run_type", "dotted_order"} <= (parquet_rows.names(path) or set())


def _runs(path: Path, draft: Draft) -> Iterator[tuple[int, Any]]:
    start = head(path)
    if start[:4] == b"PAR1":
        for row, record in parquet_rows.records(path):
            yield row, {name: json_or_text(value) if name in SERIALISED else value for name, value in record.items()}
        return
    if BOUNDARY.match(start):
        yield from _multipart(path, start)
        return
    for row, document in documents(path, draft.reject):
        if isinstance(document, dict) and ("post" in document or "patch" in document):
            for part in ("post", "patch"):
                listed = document.get(part)
                yield from ((row, run) for run in (listed if isinstance(listed, list) else []))
        else:
            yield row, document


def _multipart(path: Path, start: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    """The runs of a multipart body, where each part is a run or one field of a run."""
    found = BOUNDARY.match(start)
    boundary = found[1] if found else b""
    with opened(path) as file:
        body = file.read(LINE_BYTES + 1)
    if len(body) > LINE_BYTES:
        raise InputError(f"{path} is a body of more than {LINE_BYTES // 2**20} MiB, which no client of LangSmith sends.")
    head_of = b"Content-Type: multipart/form-data; boundary=" + boundary + b"\r\n\r\n"
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head_of + body)
    runs: dict[tuple[str, str], dict[str, Any]] = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition") or ""
        event, _, rest = str(name).partition(".")
        identity, _, field = rest.partition(".")
        payload = part.get_payload(decode=True)
        content = json_or_text(payload.decode("utf-8", "replace")) if isinstance(payload, bytes) else None
        if event not in ("post", "patch") or not identity:
            continue
        run = runs.setdefault((event, identity), {"id": identity})
        if field in PARTS:
            run[field] = content
        elif isinstance(content, dict):
            run.update(content)
    yield from enumerate(runs.values(), start=1)


def _record(run: Mapping[str, Any]) -> dict[str, Any]:
    """What one message says of a run, with what follows from its nested parts."""
    outputs, extra = _part(run, "outputs"), _part(run, "extra")
    metadata = _part(extra, "metadata")
    derived: dict[str, Any] = {}
    if "ls_integration" in metadata and str(metadata["ls_integration"]).startswith("langchain"):
        derived["framework"] = "langchain"
    reasons = [choice.get("finish_reason") for choice in objects(outputs.get("choices"))]
    generations = outputs.get("generations")
    for group in generations if isinstance(generations, list) else []:
        reasons += [_part(entry, "generation_info").get("finish_reason") for entry in objects(group)]
    if any(isinstance(reason, str) for reason in reasons):
        derived["finish_reason"] = [reason for reason in reasons if isinstance(reason, str)]
    settings = {
        name.removeprefix("ls_"): metadata[name]
        for name in ("ls_temperature", "ls_max_tokens")
        if metadata.get(name) is not None
    }
    given = _part(metadata, "ls_invocation_params")
    label = factors.sampler_label(settings, {name: value for name, value in given.items() if name != "seed"})
    if label:
        derived["sampler"] = label
    first = next((event.get("time") for event in objects(run.get("events")) if event.get("name") == "new_token"), None)
    record = {**run, "outputs": outputs, "extra": extra, "derived": derived}
    return {**record, "first_token_time": run.get("first_token_time") or first}


def _derived(values: Mapping[str, Any]) -> dict[str, Any]:
    """What follows from the merged run: durations, the class of its error, and its regime."""
    found: dict[str, Any] = {}
    instants = {}
    for name in ("start_time", "end_time", "first_token_time"):
        try:
            instants[name] = written.utc(values[name]) if name in values else None
        except ValueError:
            instants[name] = None
    start = instants["start_time"]
    for column, name in (("duration_s", "end_time"), ("first_token_s", "first_token_time")):
        if start and instants[name]:
            found[f"derived.{column}"] = (instants[name] - start).total_seconds()
    error = values.get("error")
    if isinstance(error, str) and error:
        named = ERROR.match(error)
        found["derived.error"] = named[1] if named else "error"
    if values.get("reference_example_id"):
        found["derived.regime"] = "evaluation"
    return found


def _without_frameworks(calls: pl.DataFrame, draft: Draft) -> pl.DataFrame:
    """The calls without the runs of a framework that span a client's run of the same model."""
    ends = pl.col("time") + pl.duration(microseconds=(pl.col("latency_s") * 1e6).round().cast(pl.Int64))
    timed = calls.with_columns(ends=ends).filter(pl.col("ends").is_not_null())
    outer = timed.filter(pl.col("derived.framework").is_not_null()).sort("time")
    inner = timed.filter(pl.col("derived.framework").is_null()).sort("time")
    if not outer.height or not inner.height:
        return calls
    begun = outer.select("time", "model", outer_ends="ends", outer_id="execution_id")
    pairs = inner.join_asof(begun, on="time", by="model", strategy="backward", check_sortedness=False)
    wrapped = pairs.filter(pl.col("ends") <= pl.col("outer_ends"))["outer_id"].unique()
    if len(wrapped):
        draft.note(f"{len(wrapped)} runs of LangChain span a run of the client that they called, and are not counted again.")
    return calls.filter(~pl.col("execution_id").is_in(wrapped.implode()))


def _feedback(identity: str, stats: Any) -> Iterator[Judged]:
    for name, stat in stats.items() if isinstance(stats, dict) else ():
        average = stat.get("avg") if isinstance(stat, dict) else None
        if isinstance(average, int | float) and abs(average) <= convert.LARGEST_NUMBER:
            yield Judged(Outcome(name, float(average), None, "feedback"), call=identity)


def _part(value: Any, name: str) -> Mapping[str, Any]:
    part = value.get(name) if isinstance(value, dict) else None
    return part if isinstance(part, dict) else {}
