"""An import on disk: the executions, and the further tables beside them under the same stem.

| file | holds |
|---|---|
| `NAME.parquet` | the executions |
| `NAME.outcomes.parquet` | every judgement, where there are more than the score column holds |
| `NAME.telemetry.parquet` | numbers of windows, where the log has them |
| `NAME.texts.parquet` | prompts and completions, where they were asked for |
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import polars as pl

from divergence.errors import InputError
from divergence.executions.importers.imported import Imported

METADATA = "divergence.import"  # the key in the Parquet metadata: format and sources as JSON
BESIDE = ("outcomes", "telemetry", "texts")


def several_outcomes(imported: Imported) -> bool:
    """Do the outcomes hold more than the score column: further metrics, or values that no score holds?"""
    judged = imported.judged.select(pl.len()).collect(engine="streaming").item()
    return judged > imported.frame.select(pl.col("score").count()).collect(engine="streaming").item()


def write(imported: Imported, path: Path) -> tuple[Path, ...]:
    """Write the executions as Parquet, and the further tables that there are beside them.

    Each file is written under a temporary name and put in place as a whole. Format and source hashes stand in the
    Parquet metadata. Returns the files written; InputError where the path cannot be written.
    """
    path = Path(path)
    if path.suffix != ".parquet":
        raise InputError(f"An import is written as Parquet, and {path.name!r} does not end in .parquet: name it so.")
    beside = {name: path.with_name(f"{path.stem}.{name}.parquet") for name in BESIDE}
    tables = {path: imported.frame}
    if several_outcomes(imported):
        tables[beside["outcomes"]] = imported.judged
    tables |= {beside[name]: table.lazy() for name in BESIDE[1:] if (table := getattr(imported, name)).height}
    metadata = {METADATA: json.dumps({"format": imported.format, "sources": imported.sources})}
    drafts = {target: target.with_name(f".{target.name}.{os.getpid()}.tmp") for target in tables}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for target, table in tables.items():
            table.sink_parquet(drafts[target], metadata=metadata, maintain_order=True)
        for target, draft in drafts.items():
            os.replace(draft, target)
        for other in beside.values():
            if other not in tables and _is_import(other):
                other.unlink()  # of an earlier import under this name, whose executions are gone
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
