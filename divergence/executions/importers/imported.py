"""What an import gives, and how it is written: canonical tables, and everything that could not be carried over."""

from __future__ import annotations

import dataclasses
import datetime
import difflib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from divergence.errors import InputError
from divergence.executions import schema
from divergence.executions.importers import convert
from divergence.executions.importers.mapping import Draft

IDENTITY = ("regime", "model", "item", "score", "execution_id")  # kept in the table even where every value is null
REJECTED = pl.Schema({"file": pl.String(), "row": pl.Int64(), "rule": pl.String(), "sentence": pl.String()})
METADATA = "divergence.import"  # the key in the Parquet metadata: format and sources as JSON


@dataclasses.dataclass(frozen=True)
class Imported:
    """A foreign log as canonical tables."""

    executions: pl.DataFrame
    """One row an execution; canonical columns only, those that the log fills."""
    outcomes: pl.DataFrame
    """Every judgement of every execution: execution_id, metric, value, label, scorer."""
    format: str
    """Name of the foreign format."""
    rejected: pl.DataFrame
    """What was set aside: file, row (line, or position in the log, from 1), rule, sentence."""
    unmapped: tuple[str, ...]
    """Foreign fields that carried data and have no canonical column, sorted."""
    missing: tuple[str, ...]
    """Canonical columns that the log does not fill."""
    notes: tuple[str, ...]
    """Sentences that a reader of the import must know."""
    sources: dict[str, str]
    """The files read, with the SHA-256 of each."""


def assemble(draft: Draft, format: str) -> Imported:
    """The tables of a finished draft, in canonical types.

    Scores that leave the range 0 to 1 anywhere in a task are kept as outcomes only, for the whole of that task and
    scorer: a selection of rows by their value would bias what is left.
    """
    executions = pl.DataFrame(draft.rows, schema=schema.polars_schema(), orient="row")
    executions = _within_unit(executions, draft)
    executions = executions.with_columns(**_constants(draft.constants))
    filled = [name for name in executions.columns if executions[name].null_count() < executions.height]
    missing = tuple(name for name in executions.columns if name not in filled and name not in draft.constants)
    kept = [name for name in executions.columns if name in filled or name in IDENTITY]
    return Imported(
        executions=executions.select(kept),
        outcomes=pl.DataFrame(draft.outcomes, schema=schema.polars_schema("outcomes"), orient="row"),
        format=format,
        rejected=pl.DataFrame(draft.rejected, schema=REJECTED, orient="row"),
        unmapped=tuple(sorted(draft.unmapped)),
        missing=missing,
        notes=draft.sentences(),
        sources={convert.printable(path): _sha256(path) for path in draft.sources},
    )


def _within_unit(executions: pl.DataFrame, draft: Draft) -> pl.DataFrame:
    group = ["task", "scorer"]
    beyond = executions.filter(~pl.col("score").is_between(0, 1))
    for (task, scorer), rows in beyond.group_by(group, maintain_order=True):
        draft.note(
            f"{scorer} of task {task} gives values from {rows['score'].min():g} to {rows['score'].max():g} outside 0 to"
            " 1: it is kept in the outcomes, and score is null for the whole task."
        )
    if not beyond.height:
        return executions
    inside = pl.col("score").is_between(0, 1).all().over(group)
    return executions.with_columns(score=pl.when(inside).then("score"))


def checked_constants(constants: Mapping[str, str]) -> dict[str, str]:
    """Constants whose names and values the canonical table can hold; InputError otherwise."""
    allowed = [name for name in schema.COLUMNS if name not in ("execution_id", "embedding", "prompt_embedding")]
    for name, value in constants.items():
        if name not in allowed:
            near = difflib.get_close_matches(name, allowed, 1)
            hint = f"; did you mean {near[0]}?" if near else f". Choose from: {', '.join(allowed)}."
            raise InputError(f"{name!r} cannot be set: it is not a canonical column of one value{hint}")
        if name == "regime" and value not in schema.REGIMES:
            raise InputError(f"regime cannot be set to {value!r}: choose {' or '.join(schema.REGIMES)}.")
    _constants(constants)
    return {"regime": "evaluation", **constants}


def _constants(constants: Mapping[str, str]) -> dict[str, pl.Expr]:
    return {name: pl.lit(_typed(name, value), schema.COLUMNS[name].dtype) for name, value in constants.items()}


def _typed(name: str, value: str) -> Any:
    column = schema.COLUMNS[name]
    try:
        if isinstance(column.dtype, pl.Datetime):
            instant = convert.moment(value)
            return instant.astimezone(datetime.UTC) if instant else None
        if column.dtype.is_integer():
            return convert.count(int(value))
        return convert.amount(float(value)) if column.dtype.is_float() else convert.text(value)
    except ValueError as error:
        raise InputError(f"{name} cannot be set to {value!r}: the column holds {column.dtype} values.") from error


def several_outcomes(imported: Imported) -> bool:
    """Do the outcomes hold more than the score column: further metrics, or values that no score holds?"""
    return imported.outcomes.height > imported.executions["score"].count()


def write(imported: Imported, path: Path) -> tuple[Path, ...]:
    """Write the executions as Parquet, and `<stem>.outcomes.parquet` beside them where there are several outcomes.

    Each file is written under a temporary name and put in place as a whole. Format and source hashes stand in the
    Parquet metadata. Returns the files written; InputError where the path cannot be written.
    """
    path = Path(path)
    if path.suffix != ".parquet":
        raise InputError(f"An import is written as Parquet, and {path.name!r} does not end in .parquet: name it so.")
    beside = path.with_name(f"{path.stem}.outcomes.parquet")
    tables = {path: imported.executions}
    if several_outcomes(imported):
        tables[beside] = imported.outcomes
    metadata = {METADATA: json.dumps({"format": imported.format, "sources": imported.sources})}
    drafts = {target: target.with_name(f".{target.name}.{os.getpid()}.tmp") for target in tables}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for target, table in tables.items():
            table.write_parquet(drafts[target], metadata=metadata)
        for target, draft in drafts.items():
            os.replace(draft, target)
        if beside not in tables and _is_import(beside):
            beside.unlink()  # outcomes of an earlier import under this name, whose executions are gone
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}.") from error
    finally:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)
    return tuple(tables)


def _is_import(path: Path) -> bool:
    try:
        return path.is_file() and METADATA in pl.read_parquet_metadata(path)
    except (pl.exceptions.PolarsError, OSError):
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
