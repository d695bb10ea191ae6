"""What stands behind a path that a user names: a log of another tool, or a table of executions; its rows, and its settings.

A file or folder in which an importer recognises a format is imported; everything else goes through `read`. A comparison
needs no regime, and no model where a log holds one: the columns that are absent are filled with one level.
"""

from __future__ import annotations

import dataclasses
import glob
import hashlib
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from divergence.comparison import logged_settings
from divergence.configuration import Configuration
from divergence.errors import InputError
from divergence.executions import Executions, read
from divergence.executions.columns import renamed
from divergence.executions.files import open_sources
from divergence.executions.foreign import refuse_unread
from divergence.executions.importers import Privacy, detect, import_log
from divergence.executions.schema import COLUMNS

ONE_MODEL = "model"
"""Name of the model of a table that names none."""


@dataclasses.dataclass(frozen=True)
class SideOptions:
    """How both sides are read."""

    configuration: Configuration | None = None
    """Declarations of the user; None = the `divergence.toml` beside the log."""
    outcome: str | None = None
    """Name of the outcome; None = that of the configuration."""
    scorer: str | None = None
    """The scorer or metric to compare by; None = the one of the log."""
    columns: tuple[str, ...] = ()
    """Columns beyond the schema to keep (clusters, the column that tells two runs apart)."""
    accept_rejected: float = 0.05
    """Largest share of rows that may break a rule, fraction."""


@dataclasses.dataclass(frozen=True, eq=False)
class Opened:
    """One log, read."""

    log: Executions
    """Its rows."""
    files: Mapping[str, str]
    """Files behind it with their SHA-256; empty for frames."""
    settings: Mapping[str, str] | None
    """Settings of the run as the other tool wrote them; None for tables, whose columns say it."""
    notes: tuple[str, ...]
    """What a reader of the comparison must know about the reading."""


def opened(source: object, reading: SideOptions) -> Opened:
    """Read one log. Raises InputError, with a sentence, for what cannot be read."""
    if isinstance(source, Executions):
        return Opened(source, _hashes(source), None, _rejections(source))
    entries = list(source) if isinstance(source, list | tuple) else [source]
    paths = [path for entry in entries for path in _paths(entry)]
    foreign = [path for path in paths if _is_foreign(path)]
    if paths and foreign and len(foreign) == len(paths):
        return _imported(foreign, reading)
    if foreign:
        raise InputError(
            f"{foreign[0]} is a log of another tool and {next(p for p in paths if p not in foreign)} is not: one side is "
            "one kind of log; name them apart, or turn them into one table with divergence import."
        )
    return _table(source, paths, reading)


def _paths(entry: object) -> list[Path]:
    if not isinstance(entry, str | Path) or "://" in str(entry):
        return []
    path = Path(entry)
    if path.exists() or not glob.has_magic(str(entry)):
        return [path]
    return [Path(match) for match in sorted(glob.glob(str(entry), recursive=True))]


def _is_foreign(path: Path) -> bool:
    if path.is_dir():
        return any(detect(file) is not None for file in sorted(path.rglob("*")) if file.is_file())
    return path.is_file() and detect(path) is not None


def _chosen(paths: list[Path], reading: SideOptions, constants: Mapping[str, str]) -> Configuration:
    given = reading.configuration or Configuration.beside(paths)
    columns = [c for c in (*(given.factors or ()), *reading.columns) if c not in COLUMNS or given.factors]
    return dataclasses.replace(
        given.about(reading.outcome),
        factors=tuple(dict.fromkeys(columns)) or None,
        constants={**constants, **given.constants},
    )


def _imported(paths: list[Path], reading: SideOptions) -> Opened:
    given = reading.configuration or Configuration.beside(paths)
    if given.columns:
        raise InputError(f"--map renames columns of tables; {paths[0]} is a log of another tool, whose fields have names.")
    constants = {name: str(value) for name, value in given.constants.items()}
    imported = import_log(paths, None, constants, reading.scorer, Privacy(lenient=True))
    refuse_unread(imported, reading.accept_rejected)
    if not imported.executions.height:
        why = f": {imported.rejected['sentence'][0]}" if imported.rejected.height else "."
        raise InputError(f"{paths[0]} holds no row that can be compared{why}")
    notes = list(imported.notes)
    for (rule,), rows in imported.rejected.group_by("rule", maintain_order=True):
        notes.append(f"{rows.height} rows were set aside ({rule}), for example: {rows['sentence'][0]}")
    missing = [column for column in reading.columns if column not in COLUMNS]
    if missing:
        raise InputError(
            f"A log of {imported.format} has no column {missing[0]}: name a column of the canonical table "
            "(item, session, task, wave, ...), or add yours to the table that divergence import writes."
        )
    frames = [imported.executions, *([imported.outcomes] if imported.outcomes.height else [])]
    configuration = dataclasses.replace(_chosen(paths, reading, {}), constants={}, columns={})
    log = read(frames, configuration=configuration, accept_rejected=reading.accept_rejected)
    settings = logged_settings.settings(imported.format, imported.sources)
    return Opened(log, imported.sources, settings, (*notes, *log.notes))


def _table(source: object, paths: list[Path], reading: SideOptions) -> Opened:
    configuration = _chosen(paths, reading, {})
    sources, _ = open_sources(source)
    names = [set(renamed(entry, configuration)) | set(configuration.constants) for entry in sources]
    filled = {}
    if configuration.regime is None and not any("regime" in columns for columns in names):
        filled["regime"] = "evaluation"
    if not any("model" in columns for columns in names):
        filled["model"] = ONE_MODEL
    configuration = dataclasses.replace(configuration, constants={**filled, **configuration.constants})
    log = read(source, configuration=configuration, accept_rejected=reading.accept_rejected)
    notes = [f"{name} is not used: {reason}" for name, reason in log.unused]
    return Opened(log, _hashes(log), None, (*_rejections(log), *notes, *log.notes))


def _hashes(log: Executions) -> dict[str, str]:
    return {source.file: source.sha256 for source in log.sources if source.path is not None and source.sha256}


def _rejections(log: Executions) -> tuple[str, ...]:
    return tuple(f"{number} rows were set aside ({rule})." for rule, number in log.counts.rejected.items() if number)


def fingerprint(rows: pl.DataFrame) -> str:
    """A hash of the rows as a set: the same executions give the same one, in whatever order they stand."""
    number = rows.hash_rows(seed=0).sort()
    return hashlib.sha256(number.to_numpy().tobytes()).hexdigest()[:32]
