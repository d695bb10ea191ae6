"""OpenRouter: the activity export of an account, CSV with one row a generation.

Times are written without a zone and are UTC. Parts of the cost (a negative one for what the cache saved) are inside the
total. A generation of a free variant costs 0 in truth.
"""

from __future__ import annotations

from pathlib import Path

from divergence.executions.importers import blocks, convert, delimited, written
from divergence.executions.importers.feedback import without_judgements
from divergence.executions.importers.format import Format
from divergence.executions.importers.groups import by_file
from divergence.executions.importers.mapping import Draft, Field

FIELDS = (
    Field("execution_id", "generation_id", convert.text, needed=True),
    Field("model", "model_permaslug", convert.text, "with the author in front", True),
    Field("time", "created_at", written.utc, "UTC, though it is written without a zone"),
    Field("latency_s", "generation_time_ms", written.milliseconds, unit="ms"),
    Field("ttft_s", "time_to_first_token_ms", written.milliseconds, "of streams", unit="ms"),
    Field("input_tokens", "tokens_prompt", written.whole, "cached ones included"),
    Field("output_tokens", "tokens_completion", written.whole, "reasoning included"),
    Field("cached_tokens", "tokens_cached", written.whole),
    Field("reasoning_tokens", "tokens_reasoning", written.whole),
    Field("cost_usd", "cost_total", written.amount, "0 is free"),
    Field("error_type", "derived.cancelled", convert.label, "cancelled, where the client gave up"),
    Field("finish_reason", "finish_reason_normalized", written.finish, aliases=("finish_reason_raw",)),
    Field("provider", "provider_name", convert.label, "who served it behind OpenRouter"),
    Field("router", "derived.router", convert.label),
    Field("quantization", "variant", convert.label, "the variant asked for, where it is not `standard`"),
    Field("scaffold", "app_name", convert.label),
)
FORMAT = Format(
    name="openrouter",
    title="OpenRouter: activity export of an account (CSV)",
    versions="the 24 columns of 2026",
    authority="the header that users of the export report",
    unit="a generation",
    fields=FIELDS,
    reads=("cancelled",),
    genuine=False,
    regime="deployment",
    rank=30,
    notes=("Users and names of keys are not read.",),
    apart=by_file,
)
DROPPED = ("user", "api_key_name", "api_key_disabled", "cancelled")
HEADER = (b"generation_id", b"model_permaslug", b"tokens_prompt")


def recognises(_path: Path, start: bytes) -> bool:
    """Is this the export, by the names in its first line?"""
    return all(name in start.split(b"\n", 1)[0] for name in HEADER)


def read(paths: list[Path], primary: str | None, draft: Draft) -> None:
    """Add the generations of all files to the draft."""
    without_judgements(primary, "OpenRouter")
    steps = blocks.steps_of(blocks.paths_of(FIELDS))
    gathered = blocks.Gathered(steps)
    for path in paths:
        draft.sources.append(path)
        file = convert.printable(path)
        for row, cells in delimited.csv_rows(path, draft):
            derived = {"router": "openrouter", "cancelled": "cancelled" if cells.get("cancelled") == "true" else None}
            record = {**cells, "variant": None if cells.get("variant") == "standard" else cells.get("variant")}
            given = {name: value for name, value in record.items() if value}
            gathered.add(row, blocks.nested({**given, "derived": derived}, steps), file)
            draft.unmapped |= given.keys() - {*steps, *DROPPED}
            if len(gathered) >= blocks.RECORDS:
                draft.extend(blocks.mapped(draft, gathered))
                gathered = blocks.Gathered(steps)
    draft.extend(blocks.mapped(draft, gathered))
