"""LiteLLM's proxy: the table `LiteLLM_SpendLogs`, as CSV, JSON lines, COPY text, a dump, or from its PostgreSQL server.

One row is one request to the proxy. What must be known:

    A failed request carries an estimate of its tokens, which nobody read: it has none here.
    An answer from the proxy's cache repeats the tokens of the request that filled it, and no model ran: it has none here,
    and its engine is the cache.
    A spend of 0 for tokens that a model read is a price that LiteLLM does not know: it is not metered here.
    A request that fell back is one row; what failed before is in `attempts`.

So the sums here are what models read and wrote; what was left out is said with its numbers, and adds up to the table's.
"""

from __future__ import annotations

import datetime
import importlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from divergence.errors import InputError
from divergence.executions.importers import blocks, convert, delimited, written
from divergence.executions.importers.feedback import without_judgements
from divergence.executions.importers.foreign_files import head
from divergence.executions.importers.format import Format
from divergence.executions.importers.groups import traces_by_folder
from divergence.executions.importers.json_documents import documents
from divergence.executions.importers.mapping import Draft, Field, Place
from divergence.executions.importers.registry import ADDRESS

USAGE = "metadata.usage_object"
FIELDS = (
    Field("execution_id", "request_id", convert.text, "a hit of the cache has a name of its own", True),
    Field(
        "model", "model", convert.text, "the deployment's model, with the provider in front", True, aliases=("model_group",)
    ),
    Field("task", "call_type", convert.text, "acompletion, aembedding, aresponses, ..."),
    Field("session", "session_id", convert.text, "where several requests share it; LiteLLM makes one up for each otherwise"),
    Field("time", "startTime", written.utc, "UTC, though it is written without a zone"),
    Field("latency_s", "request_duration_ms", written.milliseconds, unit="ms", since="1.60"),
    Field("latency_s", "derived.duration_s", written.amount, "endTime - startTime, in older versions"),
    Field("ttft_s", "derived.first_token_s", written.amount, "where completionStartTime is before endTime: of streams"),
    Field("input_tokens", "prompt_tokens", written.whole, "cached ones included; empty for failures and hits of the cache"),
    Field("output_tokens", "completion_tokens", written.whole, "empty for failures and hits of the cache"),
    Field("cached_tokens", f"{USAGE}.prompt_tokens_details.cached_tokens", written.whole),
    Field("reasoning_tokens", f"{USAGE}.completion_tokens_details.reasoning_tokens", written.whole),
    Field("cost_usd", "spend", written.amount, "0 for tokens that were read is an unknown price: empty"),
    Field("retries", "metadata.attempted_retries", written.whole),
    Field("attempts", "derived.attempts", written.whole, "fallbacks and the request that was answered"),
    Field("error_type", "metadata.error_information.error_class", convert.label),
    Field("error_type", "derived.failure", convert.label),
    Field("finish_reason", "derived.finish_reason", written.finish),
    Field("engine", "derived.cache", convert.label, "`response cache` for hits of the proxy's cache"),
    Field("provider", "custom_llm_provider", convert.label),
    Field("router", "model_group", convert.label, "the public name, behind which LiteLLM chose the deployment"),
    Field("scaffold", "agent_id", convert.label, since="1.80"),
)
FORMAT = Format(
    name="litellm",
    title="LiteLLM proxy: rows of `LiteLLM_SpendLogs` as CSV, JSON lines, COPY text, `pg_dump`, or from PostgreSQL itself",
    versions="1.40 to 1.108",
    authority="BerriAI/litellm: schema.prisma, model LiteLLM_SpendLogs",
    unit="a request to the proxy",
    fields=FIELDS,
    reads=(
        "status",
        "cache_hit",
        "endTime",
        "completionStartTime",
        "total_tokens",
        "response.choices",
        "metadata.attempted_fallbacks",
    ),
    regime="deployment",
    rank=30,
    notes=(
        "`divergence import postgresql://user@host/database` reads the server; it needs the extra `postgres`.",
        "Keys, users, teams, addresses, prompts and answers are not read.",
    ),
    apart=traces_by_folder,
)
DROPPED = (
    *("api_key", "user", "end_user", "team_id", "organization_id", "requester_ip_address", "messages", "cache_key"),
    *("proxy_server_request", "request_tags", "user_agent", "litellm_call_id", "created_at", "updated_at"),
)
QUERY = 'SELECT * FROM "LiteLLM_SpendLogs" ORDER BY "startTime"'
HEADER = (b"request_id", b"startTime", b"spend")
NOTED = ("api_base", "model_id")
"""What was behind a request and has no column; where it differs that is said."""
EXTRA = {"cache_hit": pl.String(), "status": pl.String()}
ROWS = 10_000  # rows that are fetched from a server at once


def recognises(path: Path, start: bytes) -> bool:
    """Are these rows of the table, by the names in the first bytes, or is it the address of a PostgreSQL server?"""
    if ADDRESS.match(str(path)):
        return True
    if b"LiteLLM_SpendLogs" in start and b"COPY " in start:
        return True
    if start[:1] == b"[":
        return False  # its first member tells
    if start[:1] == b"{":
        return _is_row(start)
    return all(name in start.partition(b"\n")[0] for name in HEADER)


def _is_row(start: bytes) -> bool:
    """Is the first document a row of the table, and not the payload of a callback, which names the same in its metadata?"""
    try:
        row, _ = json.JSONDecoder().raw_decode(start.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return b"\n" not in start.rstrip() and all(name in start[:20000] for name in HEADER)  # longer than the head
    return isinstance(row, dict) and all(name.decode() in row for name in HEADER)


def read(paths: list[Path], primary: str | None, draft: Draft) -> None:
    """Add the rows of all files and servers to the draft. Raises InputError where a server cannot be read."""
    without_judgements(primary, "LiteLLM")
    steps = blocks.steps_of({*blocks.paths_of(FIELDS), *EXTRA})
    frames, names, settings = [], set(), {name: set() for name in NOTED}
    gathered = blocks.Gathered(steps)
    for path in paths:
        if not ADDRESS.match(str(path)):
            draft.sources.append(path)
        file = _named(path)
        for row, record in _rows(path, draft):
            if not isinstance(record, dict):
                draft.reject(Place(file, row), "record_readable", "The row is no object.")
                continue
            names |= record.keys()
            for name in NOTED:
                settings[name].add(record.get(name))
            gathered.add(row, blocks.nested(_record(record), steps), file)
            if len(gathered) >= blocks.RECORDS:
                frames.append(blocks.mapped(draft, gathered, EXTRA))
                gathered = blocks.Gathered(steps)
    frames.append(blocks.mapped(draft, gathered, EXTRA))
    rows = draft.distinct(pl.concat([blocks.canonical(EXTRA), *frames], how="diagonal"))
    draft.in_traces(rows["session"])
    draft.extend(_in_sessions(_metered(rows, draft)))
    draft.unmapped |= names - {path.partition(".")[0] for path in (*steps, *FORMAT.reads)} - {*DROPPED}
    differing = sorted(name for name, values in settings.items() if len(values - {None, ""}) > 1)
    if differing:
        draft.note(f"Settings that differ between requests and stand in no column: {', '.join(differing)}.")


def _rows(path: Path, draft: Draft) -> Iterator[tuple[int, Any]]:
    if ADDRESS.match(str(path)):
        yield from _of_server(path, draft)
        return
    start = head(path).lstrip()
    if start[:1] in (b"{", b"["):
        yield from documents(path, draft.reject)
    elif b"COPY " in start or b"\t" in start.split(b"\n", 1)[0]:
        yield from delimited.copied_rows(path, draft)
    else:
        yield from delimited.csv_rows(path, draft)


def _of_server(path: Path, draft: Draft) -> Iterator[tuple[int, dict[str, Any]]]:
    address = ADDRESS.sub("postgresql://", str(path))
    try:
        dbapi = importlib.import_module("adbc_driver_postgresql.dbapi")
    except ImportError as error:
        raise InputError("Reading PostgreSQL needs adbc-driver-postgresql: install eval-divergence[postgres].") from error
    try:
        with dbapi.connect(address) as connection:
            batches = pl.read_database(QUERY, connection, iter_batches=True, batch_size=ROWS)
            number = 0
            for batch in batches:
                for record in batch.iter_rows(named=True):
                    number += 1
                    yield number, record
    except dbapi.Error as error:
        raise InputError(f"{_named(path)} cannot be read: {convert.named(str(error).splitlines()[0])}.") from error
    draft.note(f"{number} rows were read from {_named(path)}.")


def _named(path: Path) -> str:
    """A path as it may be shown: of an address the host and the database, without user and password."""
    found = ADDRESS.match(str(path))
    if not found:
        return convert.printable(path)
    return "postgresql://" + str(path)[found.end() :].rsplit("@", 1)[-1].split("?", 1)[0]


def _record(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with its JSON columns read, words for nothing taken out, and what follows from several columns."""
    record = {name: value for name, value in row.items() if name not in DROPPED and value not in (None, "", "None")}
    for name in ("metadata", "response"):
        record[name] = _json(record.get(name))
    metadata, failed = record["metadata"], record.get("status") == "failure"
    derived: dict[str, Any] = {"finish_reason": _finish(record.pop("response"))}
    fallbacks = metadata.get("attempted_fallbacks")
    derived["attempts"] = 1 + fallbacks if isinstance(fallbacks, int) and fallbacks > 0 else None
    derived["failure"] = "failure" if failed else None
    derived["cache"] = "response cache" if record.get("cache_hit") == "True" else None
    start, end, first = (_instant(record.get(name)) for name in ("startTime", "endTime", "completionStartTime"))
    if start and end:
        derived["duration_s"] = (end - start).total_seconds()
    if start and end and first and first < end:
        derived["first_token_s"] = (first - start).total_seconds()
    return {**record, "derived": derived}


def _instant(value: Any) -> datetime.datetime | None:
    try:
        return None if value is None else written.utc(value)
    except ValueError:
        return None  # startTime is mapped by itself too, where what is wrong with it is said


def _json(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    return value if isinstance(value, dict) else {}


def _finish(response: Mapping[str, Any]) -> list[Any] | None:
    choices = response.get("choices")
    reasons = (
        [choice.get("finish_reason") for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []
    )
    return reasons or None


def _metered(rows: pl.DataFrame, draft: Draft) -> pl.DataFrame:
    """The rows with tokens that a model read or wrote, and costs that were priced; what is taken out is said."""
    failed, cached = pl.col("error_type").is_not_null(), pl.col("engine").is_not_null()
    read = pl.col("input_tokens").fill_null(0) + pl.col("output_tokens").fill_null(0)
    free = (pl.col("cost_usd") == 0) & ~cached & ((read > 0) | failed)
    for what, which in (("failed requests carry estimates of", failed), ("hits of the cache repeat", cached & ~failed)):
        taken = rows.filter(which & (read > 0))
        if taken.height:
            sums = f"{taken['input_tokens'].sum()} input and {taken['output_tokens'].sum()} output tokens"
            draft.note(f"{taken.height} {what} {sums}, which no model read: they are left out.")
    unpriced = rows.filter(free & ~failed).height
    if unpriced:
        draft.note(
            f"{unpriced} requests have tokens and a spend of 0, a price that LiteLLM does not know: cost_usd is empty."
        )
    ran = ~(failed | cached)
    tokens = ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens")
    return rows.with_columns(
        *(pl.when(ran).then(name).alias(name) for name in tokens), cost_usd=pl.when(~free).then("cost_usd")
    )


def _in_sessions(rows: pl.DataFrame) -> pl.DataFrame:
    several = pl.col("session").is_not_null() & (pl.len().over("session") > 1)
    order = pl.struct("time", blocks.ROW).rank("ordinal").over("session") - 1
    return rows.with_columns(session=pl.when(several).then("session"), turn=pl.when(several).then(order.cast(pl.Int64)))
