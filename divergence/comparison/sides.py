"""One side of a comparison: the judged rows of one run, its settings, and what a reader must know about it.

A side is one model in one setting, or several that both sides have. Rows without a usable score are counted and left out:
items that only one side judged decide nothing, which a reader must see when requests failed on one side.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import polars as pl

from divergence.comparison.opening import Opened, SideOptions, fingerprint, opened
from divergence.errors import InputError, NotIdentifiedError
from divergence.executions.contexts import NOT_LOGGED
from divergence.executions.schema import COLUMNS, SERVING_FACTORS
from divergence.outcome_names import sign_of

BOUNDED = ("binary", "proportion", "fraction")
"""Kinds of outcome that lie between 0 and 1."""
KEPT = (
    *("model", "task", "item", "trial", "scorer", "answer", "gold", "regime", "session", "wave", "context"),
    *("execution_id", "error_type", "outcome"),
)
"""Columns of the canonical table that a comparison uses, beside the serving factors."""


@dataclasses.dataclass(frozen=True, eq=False)
class Side:
    """The judged rows of one run."""

    name: str
    """What it is called in sentences: a path, or a level."""
    rows: pl.DataFrame
    """Judged rows: the columns of `KEPT`, the serving factors that the log has, `file`, `row`, and columns asked for."""
    unjudged: pl.DataFrame
    """Rows without a usable score, the same columns."""
    settings: Mapping[str, str] | None
    """Settings of the whole run as another tool wrote them, name -> value; None for tables, whose columns say them."""
    context_given: bool
    """Does the log name its contexts itself?"""
    identified: bool
    """Does the log name its executions itself?"""
    factors: tuple[str, ...]
    """Columns that say how it was served: the serving factors that the log has, and those that the user declared."""
    kind: str
    """Kind of the outcome, as `Executions.kind`."""
    better: str
    """Which values of the outcome are the better ones, the `higher` or the `lower`."""
    outcome: str
    """Name of the outcome."""
    files: Mapping[str, str]
    """Files behind it with their SHA-256."""
    notes: tuple[str, ...]
    """Sentences about the reading."""

    @property
    def sign(self) -> int:
        """1 where more of the outcome is better, -1 where less is."""
        return sign_of(self.better)

    @property
    def fingerprint(self) -> str:
        """A hash of its judgements, whatever their order."""
        return fingerprint(self.rows.select("model", "task", "item", "trial", "answer", "execution_id", "outcome"))


def side(source: object, name: str, reading: SideOptions) -> Side:
    """Read one side. Raises InputError or NotIdentifiedError, with a sentence that names the side."""
    try:
        return _side(opened(source, reading), name, reading, None)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


def sides_by(source: object, by: tuple[str, str, str], reading: SideOptions) -> tuple[Side, Side]:
    """Both sides out of one log: the rows with one level of a column, and those with another."""
    column, before, after = by
    if before == after:
        raise InputError(f"--before and --after are both {before!r}: name two levels of {column}.")
    log = opened(source, dataclasses.replace(reading, columns=(*reading.columns, column)))
    frame = log.log.valid
    if column not in frame.columns or column in ("outcome", "file", "row"):
        raise InputError(f"The log has no column {column} to compare by: it has {', '.join(frame.columns)}.")
    levels = frame[column].cast(pl.String).unique().sort().to_list()
    for level in (before, after):
        if level not in levels:
            raise InputError(f"{column} has no level {level!r}: choose from {_some(levels)}.")
    made = [_side(log, level, reading, (column, level)) for level in (before, after)]
    return made[0], made[1]


def _side(log: Opened, name: str, reading: SideOptions, level: tuple[str, str] | None) -> Side:
    frame = log.log.valid
    if level is not None:
        frame = frame.filter(pl.col(level[0]).cast(pl.String) == level[1])
    frame = _scored_by(frame, reading.scorer, name, log)
    own = [name for name in log.log.factors if name not in COLUMNS and name not in reading.columns]
    factors = [factor for factor in (*SERVING_FACTORS, *own) if factor in frame.columns]
    extra = [column for column in reading.columns if column in frame.columns]
    absent = [pl.lit(None, pl.String).alias(column) for column in KEPT if column not in frame.columns]
    wanted = list(dict.fromkeys([*KEPT, *factors, *extra, "file", "row"]))
    frame = frame.with_columns(absent).select(wanted)
    declared = [column for column in extra if column not in COLUMNS]  # reading writes a label where one is missing
    frame = frame.with_columns(pl.when(pl.col(column) != NOT_LOGGED).then(column) for column in declared)
    rows = frame.filter(pl.col("outcome").is_not_null())
    if not rows.height:
        raise NotIdentifiedError(
            f"{name} has {frame.height} rows and none carries the outcome {log.log.outcome}: judge them first, or name "
            "another outcome with --outcome."
        )
    return Side(
        name=name,
        rows=rows,
        unjudged=frame.filter(pl.col("outcome").is_null()),
        settings=log.settings,
        context_given="context" in log.log.present,
        identified="execution_id" in log.log.present,
        factors=tuple(factors),
        kind=log.log.kind,
        better=log.log.better,
        outcome=log.log.outcome,
        files=log.files,
        notes=log.notes,
    )


def _scored_by(frame: pl.DataFrame, scorer: str | None, name: str, log: Opened) -> pl.DataFrame:
    if scorer is None or log.settings is not None:
        return frame  # an importer has picked it already
    known = frame["scorer"].drop_nulls().unique().sort().to_list()
    if scorer not in known:
        raise InputError(f"{name} has no scorer {scorer!r}: choose from {_some(known) or 'none, the log names no scorer'}.")
    return frame.filter(pl.col("scorer") == scorer)


def settings_of(side: Side, rows: pl.DataFrame, apart: tuple[str, ...] = ()) -> dict[str, str]:
    """Settings of a run: those that its tool wrote, else the levels of the serving factors in these rows of it."""
    if side.settings is not None:
        return dict(side.settings)
    found = {}
    for factor in side.factors:
        levels = rows[factor].drop_nulls().unique().sort().to_list()
        if levels not in ([], [NOT_LOGGED]) and factor not in apart:
            found[factor] = " | ".join(levels)
    return found


def _some(levels: list[str], most: int = 8) -> str:
    shown = ", ".join(map(str, levels[:most]))
    return shown + (f" and {len(levels) - most} more" if len(levels) > most else "")
