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
import uuid
from pathlib import Path

import polars as pl

from divergence.errors import InputError
from divergence.executions.importers.imported import Imported
from divergence.executions.importers.one_import import (
    BESIDE,
    EXECUTIONS,
    LISTED,
    METADATA,
    TOGETHER,
    beside,
    finish,
    in_order,
    said,
)
from divergence.plain_files import not_read
from divergence.staging import alone, several


def several_outcomes(imported: Imported) -> bool:
    """Do the outcomes hold more than the score column: further metrics, or values that no score holds?"""
    judged = imported.judged.select(pl.len()).collect(engine="streaming").item()
    return judged > imported.frame.select(pl.col("score").count()).collect(engine="streaming").item()


def write(imported: Imported, path: Path) -> tuple[Path, ...]:
    """Write the executions as Parquet, and the further tables that there are beside them.

    Each file is written under a temporary name and put in place as a whole. Format and source hashes stand in the Parquet
    metadata, and where there are several files what tells a reader, whenever this run is killed, which of the files there
    belong together (see `one_import`). Two imports to one place wait for one another. Windows of telemetry without
    executions are written alone. Returns the files written; InputError where the path cannot be written, and where there
    is nothing to write.
    """
    path = Path(path)
    if path.suffix != ".parquet":
        raise InputError(f"An import is written as Parquet, and {path.name!r} does not end in .parquet: name it so.")
    not_read(path, imported.sources)
    if not imported.rows and not imported.telemetry.height:
        raise InputError(_nothing(imported))
    further = beside(path)
    tables = {path: imported.frame} if imported.rows else {}
    if several_outcomes(imported):
        tables[further["outcomes"]] = imported.judged
    tables |= {further[name]: table.lazy() for name in BESIDE[1:] if (table := getattr(imported, name)).height}
    about: dict[str, object] = {"format": imported.format, "sources": imported.sources}
    if list(tables) != [path]:
        names = {path: EXECUTIONS} | {place: name for name, place in further.items()}
        about |= {TOGETHER: uuid.uuid4().hex, LISTED: [names[place] for place in tables]}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with alone(path.with_name(f".{path.name}.divergence-lock"), path):
            finish(path)
            # those of an earlier import under this name, whose executions go
            gone = [other for other in (path, *further.values()) if other not in tables and said(other)]
            places = in_order(tables, path)
            with several(places, gone) as parts:
                for part, place in zip(parts, places, strict=True):
                    tables[place].sink_parquet(part, metadata={METADATA: json.dumps(about)}, maintain_order=True)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(f"{path} cannot be written: {getattr(error, 'strerror', None) or error}.") from error
    return tuple(tables)


def _nothing(imported: Imported) -> str:
    """Why no file is written, in the words of the first row or file that was set aside."""
    said = f"Nothing was written: these logs of {imported.format} hold no execution"
    if not imported.rejected.height:
        return f"{said}{'; ' + imported.notes[0][0].lower() + imported.notes[0][1:] if imported.notes else '.'}"
    first = imported.rejected.row(0, named=True)
    place = f"{Path(first['file'] or '').name}{'' if first['row'] is None else ' row ' + str(first['row'])}"
    return f"{said} that could be read. {imported.rejected.height} were set aside, for example {place}: {first['sentence']}"
