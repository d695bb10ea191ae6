"""Logs of other tools among the files that a user names: they are imported, and read on as tables.

A file is a foreign log where an importer recognises its content and where it is no execution log as it stands, under the
columns that the user declared. Files of one regime are imported together, since tries of a task and runs of a model are
told apart only side by side.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from divergence.addresses import shown
from divergence.configuration import Configuration
from divergence.errors import InputError
from divergence.executions.files import DAMAGED, Source, expanded, format_of, open_sources, table_kind
from divergence.executions.importers.from_stores import in_a_store, is_address
from divergence.executions.json_records import first_records
from divergence.executions.names import LOGGED_TWICE, ROW, SEEN, UNREAD
from divergence.executions.recognise import recognise
from divergence.executions.schema import COLUMNS

if TYPE_CHECKING:
    from divergence.executions.importers import Imported

TABULAR = ("parquet", "arrow", "csv")
"""Kinds of file that are an execution log more often than a foreign one: their columns are looked at first."""


@dataclasses.dataclass(frozen=True)
class Foreign:
    """The foreign logs among what was named."""

    sources: tuple[Source, ...] = ()
    """Their rows, judgements and telemetry as tables."""
    notes: tuple[str, ...] = ()
    """What the imports have to say."""
    rejected: pl.DataFrame | None = None
    """Rows that the imports set aside: file, row, rule, sentence, value."""


def among(entries: object, regime: str | None, configuration: Configuration) -> list[str | Path]:
    """The foreign logs among the files, folders, patterns and addresses that were named.

    What an address holds is not looked at: it is a foreign log where its name is of no kind that is read from afar.
    """
    named = entries if isinstance(entries, list | tuple) else [entries]
    given = [str(entry) for entry in named if isinstance(entry, str | Path)]
    files = dict.fromkeys(
        path for entry in given if not (is_address(entry) or table_kind(entry)) for path, _ in expanded(entry)
    )
    found: list[str | Path] = [path for path in files if is_foreign(path, regime, configuration)]
    return found + [entry for entry in given if in_a_store(entry) and format_of(entry) in (None, "json")]


def is_foreign(path: Path, regime: str | None, configuration: Configuration) -> bool:
    """Is this file a foreign log, rather than a table of this project's or of the user's own making?"""
    from divergence.executions.importers import detect

    if path.suffix == ".toml" or (format_of(path.name) in TABULAR and _is_table(path, regime, configuration)):
        return False
    return detect(path) is not None and not _is_table(path, regime, configuration)


def _is_table(path: Path, regime: str | None, configuration: Configuration) -> bool:
    if format_of(path.name) is None or path.stat().st_size == 0:
        return False
    try:
        tables, _ = recognise(_sources(path, regime), configuration)
    except (*DAMAGED, ArithmeticError):
        return False
    return any(tables.values())


def _sources(path: Path, regime: str | None) -> list[Source]:
    """The file as a table: of lines of JSON the first, which tell what it is, as they do to `detect`."""
    first = first_records(path) if format_of(path.name) == "ndjson" else None
    return open_sources(path, regime)[0] if first is None else [Source(str(path), first, regime, path)]


def imported(paths: Mapping[str | None, list[str | Path]], configuration: Configuration, accept_rejected: float) -> Foreign:
    """Import foreign logs by the regime that the user gave them. Raises InputError as `read` and `import_log` do."""
    from divergence.executions.importers import Privacy, import_log

    constants = {name: value for name, value in configuration.constants.items() if name in COLUMNS}
    sources: list[Source] = []
    notes: list[str] = []
    rejected: list[pl.DataFrame] = []
    for regime, files in paths.items():
        if not files:
            continue
        given = {**constants, "regime": regime} if regime else constants
        log = import_log(files, constants=given, privacy=Privacy(lenient=True))
        _refuse(log, accept_rejected)
        name = shown(str(files[0])) if len(files) == 1 else f"{shown(str(files[0]))} and {len(files) - 1} more"
        size = sum(Path(path).stat().st_size for path in files if not is_address(path))
        sources += sources_of(log, name, regime, size, tuple(constants))  # constants are put in again, as for every file
        notes += [f"{log.rows} rows imported from {log.format}.", *log.notes]
        rejected.append(log.rejected.with_columns(value=pl.lit(None, pl.String)))
    return Foreign(tuple(sources), tuple(notes), pl.concat(rejected) if rejected else None)


def refuse_unread(log: Imported, accepted: float) -> None:
    """Raise InputError where a file cannot be read: all of it is rejected, whatever the others hold."""
    unread = log.rejected.filter(pl.col("rule") == UNREAD)
    if unread.height and accepted < 1:
        raise InputError(
            f"{unread['sentence'][0]} {'It was' if unread.height == 1 else f'{unread.height} files were'} left out: correct"
            " that, or go on without with --accept-rejected 1."
        )


def _refuse(log: Imported, accepted: float) -> None:
    """Raise InputError where a file cannot be read, or too many rows were set aside; copies of rows are no loss."""
    refuse_unread(log, accepted)
    bad = log.rejected.filter(~pl.col("rule").is_in([UNREAD, SEEN, LOGGED_TWICE]))
    share = bad.height / max(1, bad.height + log.rows)
    if share > accepted:
        first = bad.row(0, named=True)
        raise InputError(
            f"{bad.height} of {bad.height + log.rows} rows of {log.format} are rejected on import "
            f"({share:.1%}, accepted are {accepted:.1%}); for example row {first['row']} of {first['file']}: "
            f"{first['sentence']} Correct them, or accept them with --accept-rejected FRACTION."
        )


def sources_of(
    log: Imported, name: str, regime: str | None = None, size: int | None = None, without: tuple[str, ...] = ()
) -> list[Source]:
    """The tables of an import as the tables of a log, the executions without some of their columns."""
    frames = [log.frame.drop(without, strict=False)]
    frames += [log.judged] if log.judged.select(pl.len()).collect(engine="streaming").item() else []
    frames += [log.telemetry.lazy()] if log.telemetry.height else []
    return [Source(name, frame.with_row_index(ROW, offset=1), regime, bytes=size, holds=log) for frame in frames]
