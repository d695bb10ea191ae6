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
from collections.abc import Iterable
from pathlib import Path

import polars as pl

from divergence.errors import InputError
from divergence.executions.importers.imported import Imported
from divergence.staging import several

METADATA = "divergence.import"  # the key in the Parquet metadata: format and sources as JSON
TOGETHER = "together"  # the files of one import have the same value
BESIDE = ("outcomes", "telemetry", "texts")


def several_outcomes(imported: Imported) -> bool:
    """Do the outcomes hold more than the score column: further metrics, or values that no score holds?"""
    judged = imported.judged.select(pl.len()).collect(engine="streaming").item()
    return judged > imported.frame.select(pl.col("score").count()).collect(engine="streaming").item()


def write(imported: Imported, path: Path) -> tuple[Path, ...]:
    """Write the executions as Parquet, and the further tables that there are beside them.

    Each file is written under a temporary name and put in place as a whole, the executions last. Format and source hashes
    stand in the Parquet metadata, and where there are several files a name that they share (see `check_together`). Returns
    the files written; InputError where the path cannot be written, and where there is nothing to write. Windows of telemetry
    without executions are written alone.
    """
    path = Path(path)
    if path.suffix != ".parquet":
        raise InputError(f"An import is written as Parquet, and {path.name!r} does not end in .parquet: name it so.")
    for source in imported.sources:
        if path.exists() and Path(source).exists() and path.samefile(source):  # by whatever link
            raise InputError(f"{path} is one of the logs that are imported ({source}): name another file with -o.")
    if not imported.rows and not imported.telemetry.height:
        raise InputError(_nothing(imported))
    beside = {name: path.with_name(f"{path.stem}.{name}.parquet") for name in BESIDE}
    tables = [(path, imported.frame)] if imported.rows else []
    if several_outcomes(imported):
        tables.append((beside["outcomes"], imported.judged))
    tables += [(beside[name], table.lazy()) for name in BESIDE[1:] if (table := getattr(imported, name)).height]
    said = {"format": imported.format, "sources": imported.sources} | ({TOGETHER: uuid.uuid4().hex} if tables[1:] else {})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # those of an earlier import under this name, whose executions go
        gone = [other for other in (path, *beside.values()) if other not in dict(tables) and _metadata(other)]
        with several([target for target, _ in tables], gone) as parts:
            for part, (_, table) in zip(parts, tables, strict=True):
                table.sink_parquet(part, metadata={METADATA: json.dumps(said)}, maintain_order=True)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(f"{path} cannot be written: {getattr(error, 'strerror', None) or error}.") from error
    return tuple(target for target, _ in tables)


def _nothing(imported: Imported) -> str:
    """Why no file is written, in the words of the first row or file that was set aside."""
    said = f"Nothing was written: these logs of {imported.format} hold no execution"
    if not imported.rejected.height:
        return f"{said}{'; ' + imported.notes[0][0].lower() + imported.notes[0][1:] if imported.notes else '.'}"
    first = imported.rejected.row(0, named=True)
    place = f"{Path(first['file'] or '').name}{'' if first['row'] is None else ' row ' + str(first['row'])}"
    return f"{said} that could be read. {imported.rejected.height} were set aside, for example {place}: {first['sentence']}"


def check_together(paths: Iterable[Path | None]) -> None:
    """InputError where a further table lies beside the executions of another import, as a kill between the two leaves it."""
    tables = [path for path in paths if path is not None and path.suffix == ".parquet"]
    known = set(tables)
    for path in tables:
        stem, _, name = path.stem.rpartition(".")
        executions = path.with_name(f"{stem}.parquet")
        if name in BESIDE and executions in known and _metadata(path).get(TOGETHER) != _metadata(executions).get(TOGETHER):
            raise InputError(f"{path.name} and {executions.name} are of two imports ({path.parent}): import the logs again.")


def _metadata(path: Path) -> dict:
    """What an import says of itself in the metadata of a file; empty for other files."""
    try:
        found = json.loads(pl.read_parquet_metadata(path).get(METADATA, "{}")) if path.is_file() else {}
    except (pl.exceptions.PolarsError, OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
