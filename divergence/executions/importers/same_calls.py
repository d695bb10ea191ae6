"""Is one traffic logged by two tools, a client's spans and a gateway's table, say? Together they would count it twice.

Ids do not tell: each tool names a call in its own way. What both know is how many tokens went in and out, and when. For two
formats of an import, each call of the smaller one is looked for in the other:

    match       equal input and output tokens, and starts at most `APART_S` apart
    by chance   the same with the other log moved by `MOVED_S`, both ways; the larger count

Where at least `SHARE` of the calls with tokens match, and at least twice as many as by chance, it is the same traffic, and
nothing is imported until the user says what is meant: `first` keeps the calls of the format named first and sets their
likes in the other aside, `both` counts all. Where chance alone would match as many, the logs cannot tell, which is a note.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import polars as pl

from divergence.errors import InputError
from divergence.executions.importers import convert
from divergence.executions.importers.imported import Imported
from divergence.executions.names import LOGGED_TWICE

CHOICES = ("refuse", "first", "both")
APART_S = 2.0
"""Seconds between the starts that a client and the gateway behind it log: what lies between them, and their clocks."""
MOVED_S = 37.0
"""Seconds by which a log is moved to see what agrees by chance: beyond `APART_S`, and no multiple of a minute's jobs."""
SHARE = 0.5
"""Of the calls of the smaller log: a gateway also logs what reaches no model, and a client what never arrives."""
LARGEST = 2_000_000  # calls of the smaller log that are looked for: more tell nothing new
TOKENS = ("input_tokens", "output_tokens")


@dataclasses.dataclass(frozen=True)
class Overlap:
    """How far the calls of two formats agree."""

    first: Imported
    """The format that was named first."""
    second: Imported
    """The other one."""
    calls: int
    """Calls with tokens and a time in the smaller of the two."""
    matched: int
    """How many of them agree with a call of the larger one."""
    chance: int
    """How many do by chance."""

    @property
    def said(self) -> str:
        """The numbers as the beginning of a sentence."""
        return (
            f"{self.matched} of {self.calls} calls of {self.first.format} and {self.second.format} agree in tokens and, to"
            f" {APART_S:g} s, in time"
        )


def apart(parts: Sequence[Imported], wanted: str) -> list[Imported]:
    """The imports of several formats with each call once, as far as the user's choice and the logs tell.

    Raises InputError where the same traffic stands in two formats and `wanted` does not say what is meant.
    """
    if wanted not in CHOICES:
        raise InputError(f"{wanted!r} is no way to take calls that two tools log: choose from {', '.join(CHOICES)}.")
    kept = list(parts)
    if wanted == "both":
        return kept
    for one, other in itertools.combinations(range(len(kept)), 2):
        found = _overlap(kept[one], kept[other])
        if found is None or found.matched < SHARE * found.calls:
            continue
        if found.matched < 2 * found.chance:
            note = f"{found.said}, but {found.chance} would by chance: whether both logged the same traffic cannot be told."
            kept[other] = dataclasses.replace(kept[other], notes=(*kept[other].notes, note))
        elif wanted == "refuse":
            raise InputError(
                f"{found.said}: the same traffic, logged by two tools, would count twice. Name one of them, or say what is"
                " meant with divergence import --same-calls first (those of the format named first) or --same-calls both."
            )
        else:
            kept[other] = _without(kept[other], kept[one])
    return kept


def _calls(imported: Imported) -> pl.LazyFrame | None:
    present = imported.frame.collect_schema()
    if not {"time", *TOKENS} <= set(present):
        return None
    return imported.frame.select("execution_id", "time", *(pl.col(name).fill_null(-1) for name in TOKENS)).drop_nulls("time")


def _overlap(first: Imported, second: Imported) -> Overlap | None:
    calls = [table for table in (_calls(first), _calls(second)) if table is not None]
    if len(calls) < 2:
        return None
    known = [table.filter(pl.col("input_tokens") >= 0).collect(engine="streaming") for table in calls]
    small, large = sorted(known, key=lambda table: table.height)
    small = small.head(LARGEST)
    if not small.height:
        return None
    matched, *chance = (_matches(small, large, moved).height for moved in (0.0, MOVED_S, -MOVED_S))
    return Overlap(first, second, small.height, matched, max(chance))


def _matches(small: pl.DataFrame, large: pl.DataFrame, moved: float = 0.0) -> pl.DataFrame:
    """The calls of `small` with the nearest call of equal tokens in `large`, each of those once."""
    other = large.select(*TOKENS, time=pl.col("time") + pl.duration(microseconds=round(moved * 1e6)), other="execution_id")
    found = small.sort("time").join_asof(
        other.sort("time"),
        on="time",
        by=list(TOKENS),
        strategy="nearest",
        tolerance=f"{round(APART_S * 1e6)}us",
        check_sortedness=False,
    )
    return found.drop_nulls("other").unique("other", keep="first", maintain_order=True)


def _without(second: Imported, first: Imported) -> Imported:
    """The second import without the calls that the first one has, which are set aside; calls without tokens go by time."""
    calls, others = _calls(second), _calls(first)
    assert calls is not None and others is not None
    again = _matches(calls.collect(engine="streaming"), others.collect(engine="streaming"))["execution_id"]
    sentence = f"The call is in the log of {first.format} too, which was named first."
    rows = [(second.format, None, LOGGED_TWICE, f"{sentence} It is {convert.named(name)} here.") for name in again]
    rejected = pl.concat([second.rejected, pl.DataFrame(rows, schema=second.rejected.schema, orient="row")])
    left = again.implode()
    return dataclasses.replace(
        second,
        frame=second.frame.filter(~pl.col("execution_id").is_in(left)),
        judged=second.judged.filter(~pl.col("execution_id").is_in(left)),
        rows=second.rows - len(again),
        rejected=rejected,
        notes=(*second.notes, f"{len(again)} calls of {second.format} are those of {first.format}, and are set aside."),
    )
