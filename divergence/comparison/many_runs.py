"""Several runs after one: which got worse, once for all of them together, and who differs from whom?

Every run is compared with the first on the items that both have. Holm's step-down correction (Scandinavian Journal of
Statistics 6 (1979) 65) then keeps the chance of any false `worse` among all runs below (1 - confidence) / 2, and the same
for `no worse`; who differs from whom is Holm over all pairs at 1 - confidence. Unit: that of the outcome.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from divergence.calling import sentences
from divergence.comparison import verdicts
from divergence.comparison.comparison import Comparison, Difference
from divergence.comparison.opening import SideOptions
from divergence.comparison.sides import Side
from divergence.comparison.two_runs import Asked, between, named
from divergence.errors import InputError


@dataclasses.dataclass(frozen=True)
class Contrast:
    """Two runs beside each other."""

    first: str
    """Name of the one."""
    second: str
    """Name of the other."""
    difference: Difference
    """Second less first, with the single interval, in the unit of the outcome."""
    p: float
    """Two-sided p-value against no difference, corrected over all pairs."""
    differs: bool
    """Do they differ, at 1 - confidence over all pairs?"""


@dataclasses.dataclass(frozen=True, eq=False)
class Comparisons:
    """Several runs against the first one: `compare_runs` makes it, `print` shows it.

    `runs` are `Comparison`s, each as if alone; `verdicts` hold for all of them at once (Holm's correction over the runs).

    >>> import polars as pl
    >>> import divergence as dv
    >>> run = pl.DataFrame({"item": [str(i) for i in range(300)], "score": [1, 1, 0] * 100})
    >>> len(dv.compare_runs(run, [run, run]).runs)
    2
    """

    runs: tuple[Comparison, ...]
    """Each against the first, with its own interval and verdict."""
    verdicts: tuple[str, ...]
    """The verdict of each after Holm's correction over the runs."""
    p_worse: tuple[float, ...]
    """Corrected one-sided p-values against "no worse than the margin"."""
    p_no_worse: tuple[float, ...]
    """Corrected one-sided p-values against "worse than the margin"."""
    contrasts: tuple[Contrast, ...]
    """Every two runs, the first one included."""

    @property
    def verdict(self) -> str:
        """The worst verdict among the runs."""
        order = (verdicts.WORSE, verdicts.NOT_SETTLED, verdicts.NO_WORSE)
        return next(found for found in order if found in self.verdicts)

    @property
    def exit_code(self) -> int:
        """Exit code of the command: 0 no worse, 4 worse, 5 not settled."""
        return verdicts.EXIT_CODES[self.verdict]

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of the command."""
        made = zip(self.runs, self.verdicts, self.p_worse, self.p_no_worse, strict=True)
        return {
            "verdict": self.verdict,
            "margin": self.runs[0].margin,
            "confidence": self.runs[0].confidence,
            "runs": [
                {"run": run.after, "verdict": holm, "verdict_alone": run.verdict, "p_worse": worse, "p_no_worse": fine}
                | {name: value for name, value in run.to_dict().items() if name != "verdict"}
                for run, holm, worse, fine in made
            ],
            "contrasts": [dataclasses.asdict(contrast) for contrast in self.contrasts],
        }

    def __repr__(self) -> str:
        from divergence.comparison.screen import screens

        return screens(self)


@sentences
def compare_runs(
    before: object, after: Mapping[str, object] | Sequence[object], *, margin: float | None = None, confidence: float = 0.95
) -> Comparisons:
    """Did any of several runs get worse than the first? Each is compared with it, item by item.

    `before`: what `compare` takes. `after`: a list of such runs, or a dictionary of them by name. `margin`: the loss that
    is accepted, in the unit of the outcome. `confidence` (0..1): of the two-sided intervals. Returns `Comparisons`, with
    verdicts corrected for the number of runs. Raises InputError or NotIdentifiedError as `compare` does.

    >>> import polars as pl
    >>> run = pl.DataFrame({"item": [str(i) for i in range(300)], "score": [1, 1, 0] * 100})
    >>> compare_runs(run, {"monday": run, "tuesday": run}).verdicts
    ('no worse', 'no worse')
    """
    reading = SideOptions()
    names = list(after) if isinstance(after, Mapping) else None
    sources = list(after.values()) if isinstance(after, Mapping) else list(after)
    sides = [named(source, f"AFTER {k + 1}", reading) for k, source in enumerate(sources)]
    if names is not None:
        sides = [dataclasses.replace(side, name=name) for side, name in zip(sides, names, strict=True)]
    return among(named(before, "BEFORE", reading), sides, Asked(margin, confidence))


def among(before: Side, after: Sequence[Side], asked: Asked) -> Comparisons:
    """The comparisons of several sides that are read. Raises InputError for what only two runs can answer."""
    if not after:
        raise InputError("Name at least one run after the first.")
    if asked.state is not None or asked.items != "new":
        raise InputError("--state and --items observed are about two runs: compare them one at a time.")
    runs = tuple(between(before, side, asked) for side in after)
    level = (1 - asked.confidence) / 2
    worse = holm([run.p_worse or 0.0 for run in runs])
    fine = holm([run.p_no_worse or 0.0 for run in runs])
    judged = tuple(
        verdicts.WORSE if w <= level else verdicts.NO_WORSE if f <= level else verdicts.NOT_SETTLED
        for w, f in zip(worse, fine, strict=True)
    )
    pairs = list(itertools.combinations([before, *after], 2))
    found = [*runs, *(between(one, other, asked) for one, other in pairs[len(runs) :])]
    corrected = holm([pair.p_same or 0.0 for pair in found])
    contrasts = tuple(
        Contrast(one.name, other.name, pair.difference, p, p <= 1 - asked.confidence)
        for (one, other), pair, p in zip(pairs, found, corrected, strict=True)
    )
    return Comparisons(runs, judged, tuple(worse), tuple(fine), contrasts)


def holm(p: Sequence[float]) -> list[float]:
    """Holm's corrected p-values in the given order; holm([0.01, 0.04, 0.03]) = [0.03, 0.06, 0.06]."""
    order = np.argsort(p)
    steps = np.maximum.accumulate(np.sort(p) * np.arange(len(p), 0, -1))
    found = np.empty(len(p))
    found[order] = np.minimum(steps, 1.0)
    return [float(value) for value in found]
