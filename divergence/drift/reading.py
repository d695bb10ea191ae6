"""From what a user names to a stream: executions, telemetry, or both, as one frame with `time` and signals.

Executions are rows as they are, typed as everywhere (`executions.columns`), without asking for what drift does not need: a
regime, a model or a score may be missing. Where a log has deployment rows, bench rows are no part of the stream. Telemetry
becomes one row a window; counters (`_total`, `_sum`, `_count`, `_bucket`) become rates per second, and a counter that falls
has been reset, which is no drift. With both, each execution gets the last window before it, of its own instance where a
column of the log names instances.
"""

from __future__ import annotations

import dataclasses

import polars as pl

from divergence.configuration import Configuration, nearest
from divergence.drift.telemetry import joined_telemetry, windows
from divergence.errors import InputError
from divergence.executions.columns import canonical, renamed
from divergence.executions.embedded_texts import NEEDED, joined
from divergence.executions.files import Source, open_sources
from divergence.executions.names import ROW
from divergence.executions.schema import COLUMNS, TABLES, Column
from divergence.executions.unchanged import unchanged

_ASIDE = ("trial", "turn", "scale", "prompt_embedding", "embedder", "embedder_sha256", "task_length", "score_n")
WITHOUT_TIME = 0.05
"""Share of rows without a time above which the log is misread rather than dirty (as for rejected rows)."""


@dataclasses.dataclass(frozen=True)
class Stream:
    """Rows of a stream in the order of the files."""

    frame: pl.DataFrame
    """`time` and the signals."""
    notes: tuple[str, ...]
    """Sentences for a reader."""


def read_stream(
    paths: list[str] | list[object],
    configuration: Configuration,
    *,
    zone: str | None = None,
    signals: tuple[str, ...] = (),
    telemetry: bool = True,
) -> Stream:
    """Read a stream. `zone`: the zone of times that name none; `signals`: further columns of the files that are signals."""
    opened = [open_sources(path) for path in paths]
    sources = [source for found, _ in opened for source in found]
    notes = [f"{file}: {reason}; skipped" for _, left in opened for file, reason in left]
    with unchanged(sources):
        return _read(sources, notes, configuration, zone, signals, telemetry)


def _read(
    sources: list[Source],
    notes: list[str],
    configuration: Configuration,
    zone: str | None,
    signals: tuple[str, ...],
    telemetry: bool,
) -> Stream:
    tables = _tables(sources, configuration)
    notes += [f"{source.file}: no time and no telemetry; skipped" for source in tables["other"] if tables["stream"]]
    scraped = None
    if tables["telemetry"] and (telemetry or not tables["stream"]):
        table = pl.concat([_typed(source, "telemetry", zone) for source in tables["telemetry"]])
        scraped, said = windows(table)
        notes += said
    if not tables["stream"]:
        if scraped is None:
            raise InputError(_nothing(sources, configuration))
        return Stream(scraped, tuple(notes))
    frame, said = _executions(tables["stream"], configuration, zone, signals)
    notes += said
    if tables["embeddings"] and {"answer"} <= set(frame.columns):
        vectors = pl.concat([source.frame.select(source.columns).collect() for source in tables["embeddings"]])
        frame = joined(frame, vectors).drop("prompt_embedding", strict=False)
    if scraped is not None:
        frame, said = joined_telemetry(frame, table)
        notes += said
    return Stream(frame, tuple(notes))


def _tables(sources: list[Source], configuration: Configuration) -> dict[str, list[Source]]:
    tables: dict[str, list[Source]] = {"stream": [], "telemetry": [], "embeddings": [], "other": []}
    for source in sources:
        names = {*renamed(source, configuration), *configuration.constants}
        if {"window_start", "metric", "value"} <= names:
            tables["telemetry"].append(source)
        elif names >= NEEDED:
            tables["embeddings"].append(source)
        elif "time" in names:
            tables["stream"].append(source)
        else:
            tables["other"].append(source)
    return tables


def _nothing(sources: list[Source], configuration: Configuration) -> str:
    seen = list(dict.fromkeys(name for source in sources for name in renamed(source, configuration)))
    if not seen:
        return "There is no stream: no file was found; name a log of executions, or a table of telemetry."
    return (
        f"The stream has no column time{nearest('time', seen)}, only {', '.join(seen[:20])}: drift is a matter of order; "
        "name its column with --map time=NAME."
    )


def _zoned(source: Source, raw: str, zone: str | None) -> Source:
    """The source with the zone of its times, where it is said and they have none."""
    dtype = source.schema[raw]
    if zone is None or (isinstance(dtype, pl.Datetime) and dtype.time_zone is not None):
        return source
    column = pl.col(raw)
    if dtype == pl.String:
        texts = column.str.strip_chars()
        column = pl.coalesce(
            texts.str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False).dt.replace_time_zone(None),
            texts.str.to_datetime(time_unit="us", strict=False, format="%Y-%m-%d %H:%M:%S%.f"),
            texts.str.to_datetime(time_unit="us", strict=False, format="%Y-%m-%dT%H:%M:%S%.f"),
            texts.str.to_date(strict=False, format="%Y-%m-%d").cast(pl.Datetime("us")),
        )
    elif dtype == pl.Date:
        column = column.cast(pl.Datetime("us"))
    elif not isinstance(dtype, pl.Datetime):
        return source
    zoned = column.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    return dataclasses.replace(source, frame=source.frame.with_columns(zoned.dt.convert_time_zone("UTC").alias(raw)))


def _executions(
    sources: list[Source], configuration: Configuration, zone: str | None, signals: tuple[str, ...]
) -> tuple[pl.DataFrame, list[str]]:
    frames, notes = [], []
    known = dict.fromkeys(name for source in sources for name in renamed(source, configuration))
    for name in signals:
        if name not in known:
            raise InputError(f"--signal {name}: no file of the stream has such a column{nearest(name, list(known))}.")
    for number, source in enumerate(sources):
        names = renamed(source, configuration)
        zoned = _zoned(source, names["time"], zone)
        where = {name: levels for name, levels in configuration.where.items() if name in names or name in source.columns}
        made = {name: value for name, value in configuration.constants.items() if name not in names}
        own = dataclasses.replace(configuration, constants=made)
        extra = {name: _extra(name, source.schema[names[name]]) for name in signals if name in names and name not in COLUMNS}
        extra |= {
            name: Column(name, pl.String(), "a declared factor") for name in configuration.factors or () if name in names
        }
        frame = canonical(zoned, number, own, {name: c for name, c in extra.items() if name not in COLUMNS}, where)
        frames.append(frame.select(pl.all().exclude("^__.*$")).collect())
    frame = pl.concat(frames, how="diagonal")
    if not len(frame):
        raise InputError("The stream has no rows where the conditions hold: check the levels of --where.")
    frame, said = _timed(frame, known)
    notes += said
    if "regime" in frame.columns and (frame["regime"] == "deployment").any():
        bench = int((frame["regime"] != "deployment").fill_null(False).sum())
        notes += [f"{bench} bench rows are no part of the stream"] * (bench > 0)
        frame = frame.filter(pl.col("regime").is_null() | (pl.col("regime") == "deployment"))
    if "error_type" in frame.columns:
        frame = frame.with_columns(pl.col("error_type").fill_null("served"))
    return frame.drop(*_ASIDE, ROW, "file", "row", "regime", strict=False), notes


def _extra(name: str, dtype: pl.DataType) -> Column:
    kind = pl.Float64() if dtype.is_numeric() or dtype == pl.Boolean else pl.String()
    return Column(name, kind, "a declared signal")


def _timed(frame: pl.DataFrame, known: dict[str, None]) -> tuple[pl.DataFrame, list[str]]:
    missing = frame["time"].null_count()
    if missing == len(frame):
        raise InputError(
            "No row of the stream has a time that is an instant with its zone, for example 2026-11-25T02:37:25Z: say the "
            f"zone of times without one with --zone UTC, or name another column with --map time=NAME; columns are "
            f"{', '.join(list(known)[:20])}."
        )
    if missing > WITHOUT_TIME * len(frame):
        raise InputError(f"{missing} of {len(frame)} rows have no time that can be read, accepted are {WITHOUT_TIME:.0%}.")
    return frame.filter(pl.col("time").is_not_null()), [f"{missing} rows without a time set aside"] * (missing > 0)


def _typed(source: Source, table: str, zone: str | None) -> pl.DataFrame:
    zoned = _zoned(source, "window_start", zone)
    columns = [column for column in TABLES[table]]
    from divergence.executions.columns import typed

    expressions = [
        typed(column, column.name, zoned.schema[column.name])[0]
        if column.name in zoned.columns
        else pl.lit(None, column.dtype).alias(column.name)
        for column in columns
    ]
    frame = zoned.frame.select(expressions).collect()
    usable = frame.filter(pl.col("window_start").is_not_null() & pl.col("metric").is_not_null())
    if not len(usable):
        raise InputError(f"{source.file}: no row of the telemetry has a window_start with its zone: say it with --zone UTC.")
    return usable
