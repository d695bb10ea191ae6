"""Did this re-served model get worse? The whole of one comparison: read both sides, pair them, judge.

    difference = mean over shared items of (score AFTER - score BEFORE), items with equal weight

`no worse` and `worse` are claims against a margin, at the limits of `moves`; the whole decides, and every (model, task)
stands beside it with its own limits and with limits that hold for all of them at once (Bonferroni).

Identification: shared items, judged by the same scorer on both sides. Unit: that of the outcome.
Source: Miller 2411.00640 for paired differences of evaluations; Tango 1998 for the interval.
"""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from divergence.calling import sentences
from divergence.comparison import anytime, same_items, state, verdicts
from divergence.comparison.changes import changes, sentence
from divergence.comparison.comparison import Comparison, Difference, Group, Items, Look, Part, Saturated
from divergence.comparison.flips import agreement, answer_changes, flips
from divergence.comparison.items_needed import items_needed
from divergence.comparison.moves import MOVED_SHARE_MAX, Moves, limits, moves, p_value
from divergence.comparison.opening import SideOptions
from divergence.comparison.pairs import Pairs, paired
from divergence.comparison.sides import BOUNDED, Side, side, sides_by
from divergence.errors import InputError, NotIdentifiedError
from divergence.executions.schema import COLUMNS

UNITS_MIN = 2  # of which one mean difference has an error at all
SATURATED_SHARE = 0.95  # of items right in every run: what is left to move could not rank models
POPULATIONS = ("new", "observed")


@dataclasses.dataclass(frozen=True)
class Asked:
    """What is asked of two runs."""

    margin: float | None = None
    """Loss that is accepted, in the unit of the outcome; None = two points of a score."""
    confidence: float = 0.95
    """Confidence of the two-sided interval."""
    cluster: str | None = None
    """Column whose levels are the units; None = items."""
    items: str = "new"
    """`new`: about new items of this source; `observed`: about these very items."""
    state: Path | None = None
    """File that repeated looks share; None = one look."""
    apart: str | None = None
    """The column that told the sides of one log apart."""


@sentences
def compare(
    before: object,
    after: object = None,
    *,
    margin: float | None = None,
    confidence: float = 0.95,
    by: tuple[str, str, str] | None = None,
    cluster: str | None = None,
    outcome: str | None = None,
    scorer: str | None = None,
    items: str = "new",
    state: str | Path | None = None,
) -> Comparison:
    """Did the second run get worse than the first? Compare two runs item by item.

    `before` and `after` are what `read` or an import takes: a file, a folder, a glob, a frame, a log that was read. One log
    is compared with itself by `by=(column, level before, level after)`. `margin` is the loss that is accepted, in the unit
    of the outcome (two points of a score by default). `cluster` names the column whose levels are the units. `items` is
    `new` or `observed`. `state` names a file that repeated looks share: the limits then hold over all of them. `confidence`
    (0..1) is that of the two-sided interval. `outcome` is what is compared (default: the score), `scorer` whose judgement.

    Returns a `Comparison`: `verdict`, `difference` (after minus before, with limits), `exit_code` for CI. Raises InputError
    for what cannot be read, NotIdentifiedError where no item is shared or different scorers judged the sides.

    >>> import polars as pl
    >>> run = pl.DataFrame({"item": [str(i) for i in range(300)], "score": [1, 1, 0] * 100})
    >>> compare(run, run, margin=0.02).verdict
    'no worse'
    """
    columns = (cluster,) if cluster else ()
    reading = SideOptions(outcome=outcome, scorer=scorer, columns=columns)
    if by is not None:
        if after is not None:
            raise InputError("One log is compared with itself with by=(column, before, after); leave `after` out.")
        sides = sides_by(before, by, reading)
    elif after is None:
        raise InputError("Name two runs, or compare one log with itself with by=(column, level before, level after).")
    else:
        sides = named(before, "BEFORE", reading), named(after, "AFTER", reading)
    place = Path(state) if state is not None else None
    return between(*sides, Asked(margin, confidence, cluster, items, place, by[0] if by else None))


def named(source: object, name: str, reading: SideOptions) -> Side:
    """A side under the name of its path, or under the given one where it has none."""
    return side(source, f"{name} ({source})" if isinstance(source, str | Path) else name, reading)


def between(before: Side, after: Side, asked: Asked) -> Comparison:
    """The comparison of two sides that are read."""
    if asked.items not in POPULATIONS:
        raise InputError(f"items is one of {', '.join(POPULATIONS)}, seen {asked.items!r}.")
    bounded = _same_scale(before, after)
    margin = verdicts.checked(asked.margin, asked.confidence, bounded, before.outcome)
    found = _same_scorers(before, after)
    notes = [f"{s.name}: {note}" for s in (before, after) for note in s.notes]
    notes += [*_scorer_unknown(found), *_same_rows(before, after)]
    kept, fresh, now = None, True, {}
    tonight = (before, after)
    if asked.state is not None:
        if asked.items == "observed":
            raise InputError("Repeated looks (--state) are about new items: leave --items observed out.")
        kept = state.load(asked.state)
        now = state.about(tonight, asked.confidence, asked.cluster)
        state.check(kept, now)
        (before, one), (after, two) = kept.merged(before, "before"), kept.merged(after, "after")
        fresh = one or two
    pairs = paired(before, after, asked.cluster)
    notes += pairs.notes
    difference = (pairs.table["after"] - pairs.table["before"]).to_numpy()
    cluster = None if pairs.table["cluster"].null_count() else pairs.table["cluster"].to_numpy()
    scale = 1.0 if bounded else None
    whole = moves(difference, None, cluster, scale)
    if whole.effective[0] < UNITS_MIN and asked.items == "new":
        raise NotIdentifiedError(
            f"{int(whole.units[0])} {pairs.clusters or 'item'} is shared: from one unit no error can be told. Compare more."
        )
    wide, later, look = 1.0, None, None
    if kept is not None:
        level = anytime.information(whole)
        first = kept.first_information or level
        wide = float(anytime.widening(level, first, asked.confidence))
        later = functools.partial(_later, level, first, asked.confidence)
        look = Look(len(kept.looks) + fresh, wide, fresh)
    judge = _Judge(pairs, agreement(pairs), asked, margin, wide, later, scale, before.sign)
    group, names = _groups(pairs.table)
    if asked.items == "observed":
        notes.append(same_items.repeats(pairs, before, after))
    settings = changes(before, after, pairs, asked.apart)
    p = [float(p_value(whole, d)[0]) if asked.items == "new" else None for d in (-margin * judge.sign, 0.0)]
    p_worse, p_no_worse = _one_sided(p[0], float(whole.estimate[0]) * judge.sign, margin)
    head = judge.parts(np.zeros(len(difference), np.int64))[0]
    head = dataclasses.replace(head, items=Items(len(difference), pairs.lone_before.height, pairs.lone_after.height))
    comparison = Comparison(
        before=before.name,
        after=after.name,
        whole=head,
        groups=tuple(judge.groups(group, names)),
        margin=margin,
        confidence=asked.confidence,
        outcome=before.outcome,
        better=before.better,
        unit="fraction" if bounded else _unit(before.outcome),
        population=asked.items,
        units=pairs.clusters or "item",
        saturated=_saturated(pairs) if bounded else None,
        changed=settings,
        scorers=found,
        expected_false_worse=len(names) * (1 - asked.confidence) / 2,
        p_worse=p_worse,
        p_no_worse=p_no_worse,
        p_same=p[1],
        look=look,
        method=judge.method(whole),
        notes=(),
        table=_item_table(pairs, judge.agreed),
    )
    notes = [sentence(settings), *notes, *_tells(comparison)]
    if kept is not None and look is not None:
        notes += _kept(kept, tonight, (before, after), now, comparison, anytime.information(whole))
    return dataclasses.replace(comparison, notes=tuple(dict.fromkeys(notes)))


@dataclasses.dataclass(frozen=True, eq=False)
class _Judge:
    """The interval and everything beside it, for any division of the pairs into groups."""

    pairs: Pairs
    agreed: pl.DataFrame
    asked: Asked
    margin: float
    widening: float
    later: Callable[[np.ndarray], np.ndarray] | None
    scale: float | None
    sign: int

    def parts(self, group: np.ndarray) -> list[Part]:
        seen, low, high = self._limits(group, self.asked.confidence)
        needed: list[int | None] = [None] * len(low)
        if self.asked.items == "new":
            turned = dataclasses.replace(seen, total=seen.total * self.sign)
            needed = items_needed(turned, self.margin, self.asked.confidence, self.later)
        flipped = flips(self.pairs, group, self.asked.confidence)
        answers = answer_changes(self.agreed, group)
        items = np.bincount(group)
        return [
            Part(
                verdict=verdicts.verdict(low[k], high[k], self.margin, self.sign),
                direction=verdicts.direction(low[k], high[k]),
                difference=Difference(float(seen.estimate[k]), float(low[k]), float(high[k])),
                items=Items(int(items[k]), 0, 0),
                flips=flipped[k],
                answers_changed=answers[k],
                items_needed=needed[k],
            )
            for k in range(len(low))
        ]

    def groups(self, group: np.ndarray, names: list[tuple[str, str | None]]) -> list[Group]:
        every = 1 - (1 - self.asked.confidence) / len(names)
        seen, low, high = self._limits(group, every)
        lone = [
            Counter(side.select("model", "task").iter_rows()) for side in (self.pairs.lone_before, self.pairs.lone_after)
        ]
        return [
            Group(
                verdict=part.verdict,
                direction=part.direction,
                difference=part.difference,
                items=Items(part.items.shared, lone[0][model, task], lone[1][model, task]),
                flips=part.flips,
                answers_changed=part.answers_changed,
                items_needed=part.items_needed,
                model=model,
                task=task,
                simultaneous=Difference(float(seen.estimate[k]), float(low[k]), float(high[k])),
                verdict_simultaneous=verdicts.verdict(low[k], high[k], self.margin, self.sign),
            )
            for k, (part, (model, task)) in enumerate(zip(self.parts(group), names, strict=True))
        ]

    def _limits(self, group: np.ndarray, confidence: float) -> tuple[Moves, np.ndarray, np.ndarray]:
        table = self.pairs.table
        cluster = None if table["cluster"].null_count() else table["cluster"].to_numpy()
        seen = moves((table["after"] - table["before"]).to_numpy(), group, cluster, self.scale)
        if self.asked.items == "observed":
            return seen, *same_items.limits(self.pairs, group, confidence)
        low, high = limits(seen, confidence, self.widening)
        alone = seen.effective < UNITS_MIN  # one unit has no error: its limits are those of the scale
        bound = np.inf if self.scale is None else self.scale
        return seen, np.where(alone, -bound, low), np.where(alone, bound, high)

    def method(self, whole: Moves) -> str:
        if self.asked.items == "observed":
            return "these very items: error of replicates only"
        if self.pairs.binary and self.pairs.single and self.pairs.clusters is None:
            return "Tango's score interval of a paired difference"
        clusters = self.pairs.clusters
        units = "items" if clusters in (None, "item") else f"clusters of one {clusters}"
        counted = whole.moved[0] <= MOVED_SHARE_MAX * whole.units[0]
        return f"{'score interval of the effective flips' if counted else 'Student t'}, by {units}"


def _later(information: float, first: float, confidence: float, times: np.ndarray) -> np.ndarray:
    """The widening of a look with so many times the information of this one."""
    return anytime.widening(information * times, first, confidence)


def _groups(table: pl.DataFrame) -> tuple[np.ndarray, list[tuple[str, str | None]]]:
    named = table.select("model", "task").unique().sort("model", "task").with_row_index("group")
    number = table.join(named, on=["model", "task"], how="left", nulls_equal=True, maintain_order="left")["group"]
    return number.to_numpy().astype(np.int64), list(named.select("model", "task").iter_rows())


def _same_scale(before: Side, after: Side) -> bool:
    """Do scores lie between 0 and 1 on both sides? Raises InputError where the sides are on different scales."""
    bounded = [s.kind in BOUNDED for s in (before, after)]
    if before.outcome != after.outcome or bounded[0] != bounded[1]:
        spans = [f"{s.name} {s.rows['outcome'].min():g} to {s.rows['outcome'].max():g}" for s in (before, after)]
        raise InputError(
            f"{before.outcome} is on another scale on the two sides ({', '.join(spans)}): bring both to one scale first."
        )
    return all(bounded)


def _same_scorers(before: Side, after: Side) -> dict[str, list[str]]:
    """Scorers of both sides. Raises NotIdentifiedError where a shared task was judged differently."""
    by_task = [
        {t: set(s) for t, s in side.rows.group_by("task").agg(pl.col("scorer").drop_nulls().unique()).iter_rows()}
        for side in (before, after)
    ]
    for task in by_task[0].keys() & by_task[1].keys():
        first, second = by_task[0][task], by_task[1][task]
        if first and second and first != second:
            shared = sorted(first & second)
            advice = f"--scorer {shared[0]}" if shared else "--scorer NAME, if one judged both"
            raise NotIdentifiedError(
                f"The sides were judged differently{f' in {task}' if task else ''} ({', '.join(sorted(first))} against "
                f"{', '.join(sorted(second))}): a difference of judges is no difference of models. Choose {advice}."
            )
    return {
        name: side.rows["scorer"].drop_nulls().unique().sort().to_list()
        for name, side in (("before", before), ("after", after))
    }


def _scorer_unknown(found: dict[str, list[str]]) -> list[str]:
    """A sentence where only one side says what judged."""
    if bool(found["before"]) == bool(found["after"]):
        return []
    silent, named = ("BEFORE", "after") if found["after"] else ("AFTER", "before")
    return [f"{silent} does not say what judged it; the other side was judged by {', '.join(found[named])}."]


def _same_rows(before: Side, after: Side) -> list[str]:
    """A sentence where both sides are the same thing, or share executions."""
    if before.fingerprint == after.fingerprint:
        if before.files and sorted(before.files.values()) == sorted(after.files.values()):
            return ["BEFORE and AFTER are the same files: an A/A of a run with itself, which says nothing about a change."]
        return ["BEFORE and AFTER hold the same rows: a run beside itself, or one that repeated itself exactly (A/A)."]
    if not (before.identified and after.identified):
        return []
    said = ["item", "answer", "outcome"]
    both = before.rows.select("execution_id", *said).join(after.rows.select("execution_id", *said), on="execution_id")
    same = both.select(pl.all_horizontal(pl.col(name).eq_missing(pl.col(f"{name}_right")) for name in said)).to_series()
    if not both.height or not same.all():  # ids that name other answers on the other side are numbers of rows
        return []
    return [f"{both.height} executions stand on both sides, taken over from one run by the other: they cannot differ."]


def _one_sided(p: float | None, estimate: float, margin: float) -> tuple[float | None, float | None]:
    if p is None:
        return None, None
    return (p / 2, 1 - p / 2) if estimate < -margin else (1 - p / 2, p / 2)


def _saturated(pairs: Pairs) -> Saturated:
    low = pairs.table.select(pl.min_horizontal("before", "after")).to_series()
    high = pairs.table.select(pl.max_horizontal("before", "after")).to_series()
    return Saturated(int((low == 1).sum()), int((high == 0).sum()))


def _unit(outcome: str) -> str:
    return COLUMNS[outcome].unit if outcome in COLUMNS and COLUMNS[outcome].unit else outcome


def _item_table(pairs: Pairs, agreed: pl.DataFrame) -> pl.DataFrame:
    changed = agreed.select("pair", answers_changed="changed")
    table = pairs.table.join(changed, on="pair", how="left", maintain_order="left")
    names = ["model", *pairs.strata, "task", "item", "cluster", "before", "before_n", "after", "after_n", "difference"]
    table = table.with_columns(difference=pl.col("after") - pl.col("before"))
    return table.select([*names, "gold", "answer_before", "answer_after", "answers_changed"])


def _tells(found: Comparison) -> list[str]:
    """Whether this set can tell at all."""
    said = []
    n, saturated = found.items.shared, found.saturated
    if saturated is not None and saturated.right >= SATURATED_SHARE * n:
        said.append(f"{saturated.right} of {n} items are right in every run: this set shows losses, and cannot rank models.")
    if found.verdict == verdicts.NOT_SETTLED and found.population == "new":
        if found.items_needed is None:
            said.append("The difference sits on the margin: no number of items settles it. Choose another margin.")
        else:
            said.append(f"About {found.items_needed:,} shared items would settle it, if the difference stays.")
    if found.units == "item" and not found.table["cluster"].null_count():
        said.append(f"{n:,} pairs of {found.table['cluster'].n_unique():,} items: an item under several models is one unit.")
    if len(found.groups) > 1:
        said.append(
            f"{len(found.groups)} groups: at their single limits {found.expected_false_worse:.2g} would be called worse by "
            "chance if all sat on the margin; the simultaneous limits hold for all at once."
        )
    return said


def _kept(
    kept: state.State,
    tonight: tuple[Side, Side],
    sides: tuple[Side, Side],
    about: dict,
    found: Comparison,
    information: float,
) -> list[str]:
    """Add this look to the state, and say which it is."""
    if found.look is None or not found.look.new:
        return ["Both sides were looked at before: nothing was added to the state, and the limits are those of that look."]
    look = {
        "look": found.look.number,
        "before": tonight[0].fingerprint,
        "after": tonight[1].fingerprint,
        "information": information,
        "verdict": found.verdict,
        **dataclasses.asdict(found.difference),
    }
    kept.after(sides, about, look).save()
    return [
        f"Look {found.look.number}: the limits hold over all looks at this change, and are {found.look.widening:.2f} times "
        "as wide as those of a single one."
    ]
