"""Which signals a stream has, and which statistics of a chunk are made of them.

A signal is a numeric column (tokens, seconds, a gauge, a score) or a class column (route, task, replica, answer). Each
statistic belongs to a family (`surface`: what one column does alone; `structural`: how columns go together), to a kind, and
to an edge: the signal, or the pair of signals, that it describes. Learnt from the reference, then fixed.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl

from divergence.errors import InputError

SURFACE, STRUCTURAL = "surface", "structural"
FAMILIES = (SURFACE, STRUCTURAL)
"""The two families; each has half of the budget for false alarms."""
LAGS = (1, 2, 3, 4, 5)
"""Rows by which one signal may lead another (phase offset)."""
LEVELS = 8
"""Levels of a class that are told apart; rarer ones are one level together."""
RARE = 0.03
"""Share of the reference below which a level is too rare for statistics of a chunk and joins `OTHER`."""
_CONSTANT = "is constant"
OTHER = "(other)"
ATOM = 0.1
"""Share of one value above which a signal has no joint tail: a tenth of the ranks would fall inside one tie."""
MOST_SIGNALS = 64
"""Numeric signals at most: 2,016 pairs are more than a person reads, and the evidence of each shrinks with their number."""
_ENOUGH = 50_000  # rows from which the share of one value is known well enough
_NAMES = (
    "time",
    "regime",
    "wave",
    "scorer",
    "probability",
    "outcome",
    "context",
    "execution_id",
    "parent_id",
    "session",
    "item",
    "trial",
    "turn",
    "file",
    "row",
    "gold",
    "embedding",
)


@dataclasses.dataclass(frozen=True)
class Statistic:
    """One number a chunk."""

    family: str
    """`surface` or `structural`."""
    kind: str
    """What it measures: location, scale, tail_upper, correlation, lagged, level, association, ..."""
    a: str
    """The signal, or the first (or leading) one of a pair."""
    b: str | None = None
    """The other signal of a pair."""
    detail: str | None = None
    """The level of a class, the pair of levels, or the lag in rows."""

    @property
    def edge(self) -> tuple[str, ...]:
        """The signal or the pair of signals, in alphabetical order."""
        return (self.a,) if self.b is None else tuple(sorted((self.a, self.b)))


@dataclasses.dataclass(frozen=True)
class Layout:
    """The signals of a stream."""

    numeric: tuple[str, ...]
    """Numeric signals."""
    classes: tuple[tuple[str, tuple[str, ...]], ...]
    """Class signals with their levels, the most frequent first; `OTHER` last where rarer ones were joined."""
    smooth: tuple[bool, ...]
    """Has the numeric signal no value that a tenth of the rows share (then it has an upper quantile and joint tails)?"""
    spread: tuple[bool, ...]
    """Has the numeric signal more than two values (then it has a scale)?"""
    dimensions: int = 0
    """Directions of the embedding that are followed; 0: no embedding."""
    flips: bool = False
    """Are there items whose earlier answers are known?"""
    two_answers: bool = False
    """Are there two answer classes and their right ones: bias and competence?"""
    timed: bool = True
    """Is the rate of arrivals a signal?"""
    aggregated: bool = False
    """Is each row an aggregate, and a chunk of its own?"""

    def statistics(self) -> tuple[Statistic, ...]:
        """All statistics of a chunk, in the order in which they are computed."""
        return tuple(_surface(self) if self.aggregated else [*_surface(self), *_structural(self)])


def _surface(layout: Layout) -> list[Statistic]:
    out = [Statistic(SURFACE, "location", name) for name in layout.numeric]
    if not layout.aggregated:
        wide = [name for name, spread in zip(layout.numeric, layout.spread, strict=True) if spread]
        out += [Statistic(SURFACE, "scale", name) for name in wide]
        smooth = [name for name, one in zip(layout.numeric, layout.smooth, strict=True) if one]
        out += [Statistic(SURFACE, "upper_quantile", name) for name in smooth]
        out += [Statistic(SURFACE, "missing", name) for name in layout.numeric]
        out += [Statistic(SURFACE, "missing", name) for name, _ in layout.classes]
        for name, levels in layout.classes:
            out += [Statistic(SURFACE, "share", name, detail=level) for level in told_apart(levels)]
        out += [Statistic(SURFACE, "rate", "arrivals")] * layout.timed
        out += [Statistic(SURFACE, kind, kind) for kind in ("answer_bias", "competence") if layout.two_answers]
        out += [Statistic(SURFACE, "embedding_location", "embedding", detail=str(n + 1)) for n in range(layout.dimensions)]
    return out


def _structural(layout: Layout) -> list[Statistic]:
    names, classes = layout.numeric, layout.classes
    pairs = [(i, j) for i in range(len(names)) for j in range(i + 1, len(names))]
    out = [Statistic(STRUCTURAL, "correlation", names[i], names[j]) for i, j in pairs]
    tails = [(i, j) for i, j in pairs if layout.smooth[i] and layout.smooth[j]]
    for kind in ("tail_both", "tail_upper", "tail_lower"):
        out += [Statistic(STRUCTURAL, kind, names[i], names[j]) for i, j in tails]
    for lag in LAGS:
        both = [(i, j) for i in range(len(names)) for j in range(len(names)) if i != j]
        out += [Statistic(STRUCTURAL, "lagged", names[i], names[j], f"+{lag}") for i, j in both]
    for name in names:
        for other, levels in classes:
            out += [Statistic(STRUCTURAL, "level", name, other, level) for level in told_apart(levels)]
    for place, (name, levels) in enumerate(classes):
        for other, theirs in classes[place + 1 :]:
            for level in told_apart(levels):
                cells = [f"{level} x {their}" for their in told_apart(theirs)]
                out += [Statistic(STRUCTURAL, "association", name, other, cell) for cell in cells]
    out += [Statistic(STRUCTURAL, "spectrum", "embedding", detail=str(n + 1)) for n in range(layout.dimensions)]
    out += [Statistic(STRUCTURAL, "spectrum", "embedding", detail="outside")] * (layout.dimensions > 0)
    out += [Statistic(STRUCTURAL, "item_flips", "item")] * layout.flips
    return out


def told_apart(levels: tuple[str, ...]) -> tuple[str, ...]:
    """The levels that have statistics: of two levels one says everything."""
    return levels[:1] if len(levels) == 2 else levels


def learn(reference: pl.DataFrame, signals: tuple[str, ...] | None = None) -> tuple[Layout, list[str]]:
    """The layout of the reference rows, and a sentence for each column that cannot be a signal."""
    known = [name for name in reference.columns if not name.startswith("__")]
    if signals is not None and (missing := [name for name in signals if name not in known]):
        raise InputError(f"The stream has no column {', '.join(missing)}: it has {', '.join(known)}.")
    chosen = signals or tuple(name for name in known if name not in _NAMES)
    numeric, smooth, spread, classes, notes, constant = [], [], [], [], [], []
    for name in chosen:
        column, reason = reference[name], None
        given = column.drop_nulls()
        if column.dtype.is_numeric() or column.dtype == pl.Boolean:
            given = given.cast(pl.Float64)
            given = given.filter(given.is_finite())
            some = given.head(_ENOUGH)
            largest = int(some.value_counts(name="__count")["__count"].to_numpy().max()) if len(given) else 0
            if not len(given):
                reason = "has no value in the reference"
            elif given.min() == given.max():
                constant.append(f"{name} = {given[0]:g}")
            else:
                numeric.append(name)
                smooth.append(largest <= ATOM * len(some))
                spread.append(given.n_unique() > 2 if some.n_unique() <= 2 else True)
        elif column.dtype == pl.String or column.dtype in (pl.Categorical, pl.Enum):
            levels, reason = _levels(given.cast(pl.String), len(reference))
            if reason == _CONSTANT:
                constant.append(f"{name} = {given[0]}")
                reason = None
            classes += [(name, levels)] if levels else []
        else:
            reason = f"has the type {column.dtype}"
        if reason:
            notes.append(f"{name} {reason} and is not followed")
    if constant:
        notes.append(f"constant in the reference and not followed: {', '.join(constant)}")
    if not numeric and not classes:
        raise InputError(f"No column of the stream can be followed: {'; '.join(notes) or 'there is none beside the time'}.")
    if len(numeric) > MOST_SIGNALS:
        raise InputError(
            f"The stream has {len(numeric)} numeric signals, at most {MOST_SIGNALS} are followed together: name those that "
            "matter with --signal NAME."
        )
    return Layout(tuple(numeric), tuple(classes), tuple(smooth), tuple(spread)), notes


def _levels(given: pl.Series, rows: int) -> tuple[tuple[str, ...], str | None]:
    counts = given.value_counts(name="__count").sort("__count", given.name, descending=[True, False])
    frequent = counts.filter(pl.col("__count") >= RARE * rows)[given.name].to_list()[:LEVELS]
    if counts.height < 2:
        return (), _CONSTANT if counts.height else "has no value in the reference"
    if not frequent:
        return (), f"has {counts.height} levels, none with {RARE:.0%} of the rows"
    rest = int(counts["__count"].to_numpy()[len(frequent) :].sum())
    levels = (*frequent, OTHER) if rest else tuple(frequent)
    if len(levels) < 2 or (len(levels) == 2 and levels[1] == OTHER and rest < RARE * rows):
        return (), f"is nearly constant in the reference ({frequent[0]})"
    return levels, None


def weights_of(statistics: tuple[Statistic, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Family and kind of every statistic, as arrays of names."""
    return np.array([s.family for s in statistics]), np.array([s.kind for s in statistics])
