"""The answer of a comparison: verdict, difference, flips, what changed, and the same by model and task. Frozen."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import polars as pl

from divergence.comparison.changes import Change
from divergence.comparison.flips import AnswerChanges, Flips
from divergence.outcome_names import sign_of

if TYPE_CHECKING:
    import altair


@dataclasses.dataclass(frozen=True)
class Difference:
    """A paired difference AFTER - BEFORE, in the unit of the outcome."""

    estimate: float
    """Mean over items."""
    lower: float
    """Lower limit."""
    upper: float
    """Upper limit."""


@dataclasses.dataclass(frozen=True)
class Items:
    """How many items decide, and how many do not."""

    shared: int
    """Judged on both sides."""
    only_before: int
    """Judged in the first run only."""
    only_after: int
    """Judged in the second run only."""


@dataclasses.dataclass(frozen=True)
class Saturated:
    """Items that scored the same end of the scale in every run of both sides."""

    right: int
    """Items with the best score in every run: they can only get worse."""
    wrong: int
    """Items with the worst score in every run: they can only get better."""


@dataclasses.dataclass(frozen=True)
class Part:
    """The verdict on some of the pairs."""

    verdict: str
    """`no worse`, `worse` or `not settled`, by the interval at the asked confidence."""
    direction: str
    """`lower`, `higher` or `open`."""
    difference: Difference
    """The paired difference with its interval at the asked confidence."""
    items: Items
    """Items that decide, and that do not."""
    flips: Flips
    """Scores that changed."""
    answers_changed: AnswerChanges | None
    """Answers that changed; None where they are not logged on both sides."""
    items_needed: int | None
    """Shared items at which the verdict would be settled if the difference stays; None = no number up to ten million."""


@dataclasses.dataclass(frozen=True)
class Group(Part):
    """The verdict on one model and task."""

    model: str | None = None
    """The model."""
    task: str | None = None
    """The task; None where the log has none."""
    simultaneous: Difference | None = None
    """The difference with limits that hold for all groups at once."""
    verdict_simultaneous: str = ""
    """The verdict by those."""


@dataclasses.dataclass(frozen=True)
class Look:
    """Which look this is, where one may look again."""

    number: int
    """From 1."""
    widening: float
    """How much wider the limits are than a single look's, ratio."""
    new: bool
    """Did this look add executions?"""


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    """Did the second run get worse than the first? `compare` makes it; `print` shows the verdict.

    `verdict` is `no worse`, `worse` or `not settled` against `margin` (unit of the outcome), `difference` the paired one
    with its limits, `groups` the same by model and task, `table` one row an item; `to_dict()` is the JSON of the command.

    >>> import polars as pl
    >>> import divergence as dv
    >>> run = pl.DataFrame({"item": [str(i) for i in range(300)], "score": [1, 1, 0] * 100})
    >>> dv.compare(run, run.with_columns(score=0.0), margin=0.02).verdict
    'worse'
    """

    before: str
    """Name of the first run."""
    after: str
    """Name of the second run."""
    whole: Part
    """The verdict on all shared items."""
    groups: tuple[Group, ...]
    """The same by model and task."""
    margin: float
    """Loss that is accepted, in the unit of the outcome."""
    confidence: float
    """Confidence of the two-sided intervals."""
    outcome: str
    """Name of the outcome."""
    better: str
    """Which of its values are the better ones: the `higher` or the `lower`."""
    unit: str
    """`fraction` for scores between 0 and 1, else that of the outcome."""
    population: str
    """`new`: the answer is about new items of this source; `observed`: about these very items."""
    units: str
    """What the interval counts: `item`, or the column of the clusters."""
    saturated: Saturated | None
    """Items at an end of the scale; None for outcomes without one."""
    changed: tuple[Change, ...]
    """Run settings that differ."""
    scorers: dict[str, list[str]]
    """Scorers of both sides, `before` and `after`."""
    expected_false_worse: float
    """How many groups would be called `worse` at their single limits if all of them sat on the margin."""
    p_worse: float | None
    """One-sided p-value against "no worse than the margin"; None for observed items."""
    p_no_worse: float | None
    """One-sided p-value against "worse than the margin"; None for observed items."""
    p_same: float | None
    """Two-sided p-value against "no difference"; None for observed items."""
    look: Look | None
    """The look, where the state of earlier ones was given."""
    method: str
    """How the interval was made, in a few words."""
    notes: tuple[str, ...]
    """Sentences that a reader must know."""
    table: pl.DataFrame
    """One row a shared item: `model`, `task`, `item`, scores, replicates, answers and difference."""

    @property
    def sign(self) -> int:
        """1 where more of the outcome is better, -1 where less is."""
        return sign_of(self.better)

    @property
    def verdict(self) -> str:
        """`no worse`, `worse` or `not settled`."""
        return self.whole.verdict

    @property
    def direction(self) -> str:
        """`lower`, `higher` or `open`."""
        return self.whole.direction

    @property
    def difference(self) -> Difference:
        """The paired difference AFTER - BEFORE and its limits."""
        return self.whole.difference

    @property
    def items(self) -> Items:
        """Items that decide, and that do not."""
        return self.whole.items

    @property
    def flips(self) -> Flips:
        """Scores that changed."""
        return self.whole.flips

    @property
    def answers_changed(self) -> AnswerChanges | None:
        """Answers that changed; None where they are not logged."""
        return self.whole.answers_changed

    @property
    def items_needed(self) -> int | None:
        """Shared items that would settle it; None = no number does."""
        return self.whole.items_needed

    @property
    def exit_code(self) -> int:
        """Exit code of the command: 0 no worse, 4 worse, 5 not settled."""
        from divergence.comparison.verdicts import EXIT_CODES

        return EXIT_CODES[self.verdict]

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of the command."""
        head = _part(self.whole)
        found = {"verdict": head.pop("verdict"), "margin": self.margin, "confidence": self.confidence, **head}
        return found | {
            "changed": [dataclasses.asdict(change) for change in self.changed],
            "scorers": self.scorers,
            "groups": [
                {"model": g.model, "task": g.task, **_part(g)}
                | {
                    "simultaneous": dataclasses.asdict(g.simultaneous) if g.simultaneous else None,
                    "verdict_simultaneous": g.verdict_simultaneous,
                }
                for g in self.groups
            ],
            "expected_false_worse": self.expected_false_worse,
            "saturated": dataclasses.asdict(self.saturated) if self.saturated else None,
            "outcome": self.outcome,
            "unit": self.unit,
            "population": self.population,
            "units": self.units,
            "before": self.before,
            "after": self.after,
            "look": dataclasses.asdict(self.look) if self.look else None,
            "method": self.method,
            "notes": list(self.notes),
        }

    def to_frame(self) -> pl.DataFrame:
        """One row for the whole (`model` and `task` null) and one for every model and task, as numbers."""
        rows = []
        for part in (self.whole, *self.groups):
            rows.append(
                {
                    "model": getattr(part, "model", None),
                    "task": getattr(part, "task", None),
                    "verdict": part.verdict,
                    "direction": part.direction,
                    **dataclasses.asdict(part.difference),
                    "items": part.items.shared,
                    "flips": part.flips.observed,
                    "down": part.flips.down,
                    "up": part.flips.up,
                    "answers_changed": part.answers_changed.observed if part.answers_changed else None,
                    "items_needed": part.items_needed,
                    "unit": self.unit,
                    "confidence": self.confidence,
                }
            )
        numbers = dict.fromkeys(("estimate", "lower", "upper", "flips", "down", "up", "answers_changed"), pl.Float64)
        texts = dict.fromkeys(("model", "task"), pl.String)
        return pl.DataFrame(rows, schema_overrides={**numbers, **texts, "items_needed": pl.Int64})

    def plot(self) -> altair.LayerChart | altair.FacetChart:
        """The difference of every model and task with its limits and the margin, as an Altair chart."""
        from divergence.comparison.figure import forest

        return forest(self)

    def __repr__(self) -> str:
        from divergence.comparison.screen import screen

        return screen(self)

    def _repr_html_(self) -> str:
        from divergence.comparison.page import fragment

        return fragment(self)


def _part(part: Part) -> dict[str, Any]:
    """The keys that the whole and a group share, in the order of the contract."""
    answers = part.answers_changed
    return {
        "verdict": part.verdict,
        "direction": part.direction,
        "difference": dataclasses.asdict(part.difference),
        "items": dataclasses.asdict(part.items),
        "flips": dataclasses.asdict(part.flips),
        "answers_changed": dataclasses.asdict(answers) if answers else None,
        "items_needed": part.items_needed,
    }
