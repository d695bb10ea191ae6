"""The resolved configuration: what the server and the router say about themselves, and when it changed.

A text column with few levels in the reference (engine version, sampler, cache configuration, model served) is remembered
with its levels. A level that the reference did not have is a change of a setting: it is told apart from drift, because it is
known. Where more than one setting changed, no single cause is named. `wave` (a measuring campaign) and a changed set of
histogram buckets are changes of the instrument.
"""

from __future__ import annotations

import dataclasses

import polars as pl

FEW = 20
"""Levels above which a text column is content (answers, prompts), not a setting."""
INSTRUMENT = ("wave", "scorer", "buckets")
"""Columns that say how was measured, not what."""
_CONTENT = ("answer", "gold", "item", "session", "execution_id", "parent_id", "file", "task", "error_type", "finish_reason")


@dataclasses.dataclass(frozen=True)
class Changed:
    """A setting that took a value which the reference did not have."""

    column: str
    """Its column."""
    before: str
    """Its usual level in the reference."""
    after: str
    """The new level."""
    time: int
    """When it was first seen, microseconds."""

    @property
    def instrument(self) -> bool:
        """Is it the measuring that changed?"""
        return self.column in INSTRUMENT

    @property
    def sentence(self) -> str:
        """What changed, in words."""
        from divergence.drift.ordering import shown

        what = "the instrument changed" if self.instrument else "a setting changed"
        return f"{what}: {self.column} {self.before} -> {self.after} from {shown(self.time)}"


def settings(reference: pl.DataFrame) -> dict[str, tuple[str, ...]]:
    """Levels of the setting columns of the reference, the most frequent first."""
    out = {}
    for name in reference.columns:
        if reference[name].dtype == pl.String and name not in _CONTENT and not name.startswith("__"):
            counts = (
                reference[name].drop_nulls().value_counts(name="__count").sort("__count", name, descending=[True, False])
            )
            if 0 < counts.height <= FEW:
                out[name] = tuple(counts[name].to_list())
    return out


def changes(frame: pl.DataFrame, known: dict[str, tuple[str, ...]]) -> list[Changed]:
    """New levels of the known settings in these rows; the first time of each."""
    out = []
    for name, levels in known.items():
        if name in frame.columns and frame[name].dtype == pl.String:
            fresh = frame.select("time", name).filter(pl.col(name).is_not_null() & ~pl.col(name).is_in(list(levels)))
            first = fresh.group_by(name).agg(pl.col("time").min()).sort("time", name)
            moments = first["time"].dt.cast_time_unit("us").to_physical().to_list()
            out += [
                Changed(name, levels[0], level, when)
                for level, when in zip(first[name].to_list()[:FEW], moments, strict=False)
            ]
    return out


def cause(changed: list[Changed]) -> str | None:
    """The sentence about causes; None where no setting changed."""
    named = sorted({c.column for c in changed if not c.instrument})
    if not named:
        return None
    if len(named) == 1:
        return f"One setting changed, {named[0]}: the drift goes with it, which is an association, not yet a cause."
    return f"More than one setting changed ({', '.join(named)}): no single cause is named."
