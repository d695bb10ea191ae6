"""How probable is it that a number, or a difference of two, lies above a value, below it, or within a margin of nothing?

    P(x > value),   P(x < value),   P(low <= x <= high)        over the draws of any answer

Equivalence is stated, not failed to be rejected: a difference whose draws lie within the margin with high probability is
small, one whose interval contains 0 may only be unknown. Differences are draw by draw, so what two numbers share cancels.
What an answer does not identify stays refused with its reason. Unit: probability; differences keep that of the answer.
"""

from __future__ import annotations

import itertools

import numpy as np
import polars as pl

from divergence.calling import sentences, shown
from divergence.errors import ArgumentError
from divergence.estimate import COORDINATES, Estimate
from divergence.numerics import is_finite

QUESTION, TEXT = "hypotheses", "probability that each number is above {value:g}, below it{margin}"
WORDS = "hypotheses of one's own"
PAIRS_MAX = 200  # more pairs than anybody reads


@sentences
def hypotheses(
    estimate: Estimate,
    *,
    value: float = 0.0,
    equivalence: tuple[float, float] | None = None,
    pairwise: bool = False,
) -> Estimate:
    """How probable is it that each number of an answer lies above a value, below it, or within a margin?

    `estimate`: the answer of any question, or some of its rows (`estimate.where(...)`). `value`: what is compared with, in
    the unit of the answer. `equivalence`: (low, high) in that unit, as (-.02, .02) for two points; None = not asked.
    `pairwise`: ask it of the difference of every two numbers instead, draw by draw.

    Returns an Estimate with rows of `statistic` = `above`, `below` and `equivalent`, unit probability (0..1); with
    `pairwise` also `difference`, in the unit of the answer. Numbers that are not identified, and bounds, stay refused.
    Raises InputError for margins that are none, for more than 200 pairs, and for numbers of several units.

    >>> import numpy as np, polars as pl
    >>> import divergence as dv
    >>> draws = np.linspace([-0.01, 0.03], [0.01, 0.05], 101)
    >>> gap = dv.Estimate("gap", "a gap", "fraction", pl.DataFrame({"model": ["a", "b"]}), draws)
    >>> dv.hypotheses(gap, equivalence=(-0.02, 0.02)).where(statistic="equivalent").to_frame()["mean"].to_list()
    [1.0, 0.0]
    """
    value, margin = _checked(estimate, value, equivalence)
    rows = [{c: row.get(c) for c in COORDINATES} for row in estimate.rows.iter_rows(named=True)]
    reasons = [
        reason or ("it is a bound, not a number" if bound else None)
        for reason, bound in zip(estimate.reason, estimate.bounds, strict=True)
    ]
    draws, unit = estimate.draws, _unit(estimate)
    if pairwise:
        rows, draws, reasons = _differences(rows, draws, reasons)
    asked = {"above": draws > value, "below": draws < value}
    if margin is not None:
        asked["equivalent"] = (draws >= margin[0]) & (draws <= margin[1])
    parts: list[tuple[str, str, np.ndarray]] = [("difference", unit, draws)] if pairwise else []
    parts += [(name, "probability", held.astype(float)) for name, held in asked.items()]
    places, found, why = [], [], []
    for name, of, values in parts:
        for k, row in enumerate(rows):
            statistic = name if row["statistic"] is None else f"{row['statistic']}: {name}"
            places.append({**row, "statistic": statistic, "unit": of})
            found.append(np.full(len(draws), np.nan) if reasons[k] else values[:, k])
            why.append(reasons[k])
    told = TEXT.format(value=value, margin="" if margin is None else f", or within {margin[0]:g} to {margin[1]:g}")
    return Estimate(
        QUESTION,
        f"{told}: {'differences of ' if pairwise else ''}{estimate.text}",
        "probability",
        pl.DataFrame(places, schema={**dict.fromkeys(COORDINATES, pl.String), "unit": pl.String}),
        np.stack(found, 1),
        outcome=estimate.outcome,
        reason=tuple(why),
        counts=estimate.counts,
        words=WORDS,
        method=estimate.method,
    )


def _checked(estimate: Estimate, value: float, equivalence: object) -> tuple[float, tuple[float, float] | None]:
    """The value and the margin as numbers."""
    if not is_finite(value):
        raise ArgumentError(f"value is a number in the unit of the answer, seen {shown(value)}.")
    if not estimate.rows.height:
        raise ArgumentError(f"there is nothing to ask: this answer of {estimate.question} has no rows.")
    if equivalence is None:
        return float(value), None
    ends = list(equivalence) if isinstance(equivalence, list | tuple) else []
    if len(ends) != 2 or not all(isinstance(e, int | float) and is_finite(e) for e in ends) or not ends[0] < ends[1]:
        raise ArgumentError(
            f"equivalence is (low, high) in the unit of the answer, such as (-0.02, 0.02), seen {equivalence!r}."
        )
    return float(value), (float(ends[0]), float(ends[1]))


def _unit(estimate: Estimate) -> str:
    """The one unit of the answer's numbers."""
    units = estimate.to_frame()["unit"].unique(maintain_order=True).to_list()
    if len(units) > 1:
        raise ArgumentError(
            f"the numbers of this answer have several units ({', '.join(units)}): keep those of one with "
            "estimate.where(statistic=...)."
        )
    return units[0]


def _differences(rows: list[dict], draws: np.ndarray, reasons: list[str | None]) -> tuple[list[dict], np.ndarray, list]:
    """Every two rows as one: coordinates that both share, `model_b` and `context_b` for those that differ, and `axis`."""
    pairs = list(itertools.combinations(range(len(rows)), 2))
    if not pairs:
        raise ArgumentError("pairwise needs two numbers; this answer has one.")
    if len(pairs) > PAIRS_MAX:
        raise ArgumentError(f"{len(rows)} numbers make {len(pairs)} pairs: keep fewer with estimate.where(...).")
    places, why = [], []
    for i, j in pairs:
        one, other = rows[i], rows[j]
        differing = [c for c in COORDINATES if one[c] != other[c]]
        place = {c: one[c] if c not in differing else None for c in COORDINATES}
        if set(differing) <= {"model", "context"}:
            place |= {c: one[c] for c in differing} | {f"{c}_b": other[c] for c in differing}
        names = [" ".join(str(r[c]) for c in differing if r[c] is not None) or "the whole" for r in (one, other)]
        places.append(place | {"axis": f"{names[0]} minus {names[1]}"})
        why.append(reasons[i] or reasons[j])
    return places, np.stack([draws[:, i] - draws[:, j] for i, j in pairs], 1), why
