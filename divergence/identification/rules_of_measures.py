"""Rules about costs and times: zeros that mean nothing was metered, columns that contradict each other."""

from __future__ import annotations

import collections

import numpy as np

from divergence.cells.random_blocks import block_sums
from divergence.identification.finding import Finding
from divergence.identification.log_design import REGIMES, LogDesign
from divergence.identification.rules_of_outcomes import listed

ROWS_MIN = 5  # rows with a time, of one model in one context, below which a mean is an accident
OTHER_UNIT = 300.0  # ratio of mean times that no serving stack explains and milliseconds read as seconds (1,000) do


def unmetered(design: LogDesign) -> Finding | None:
    """Combinations whose cost is 0 in every row: read as not metered unless `zero_cost = "free"` is declared."""
    levels = design.cells.levels
    pairs = [(f"{levels['model'][m]} in {levels['context'][c]}", levels["regime"][r]) for r, m, c in design.cells.unmetered]
    shared = {name for name, number in collections.Counter(name for name, _ in pairs).items() if number > 1}
    names = [f"{name} ({regime})" if name in shared else name for name, regime in pairs]
    if not names:
        return None
    return Finding(
        "unmetered",
        "caution",
        f"The logged cost is 0 in every row of {listed(names)}: it is read as not metered, so nothing is said of its cost.",
        'Declare `zero_cost = "free"` if it is really free.',
        ("cost_per_success", "cost_ledger", "coherence", "best_combination"),
    )


def times_disagree(design: LogDesign) -> Finding | None:
    """A first token that comes after the last one, or a regime whose times lie in another unit."""
    means = {}
    for name in ("latency_s", "ttft_s"):
        for regime in REGIMES:
            sums = block_sums(design.cells, name, regime)
            if sums.n.sum():
                means[name, regime] = sums.y.sum() / sums.n.sum()
    told = []
    for regime in REGIMES:
        first, whole = _first_and_whole(design, regime)
        if first > whole:
            told.append(f"in {regime} the first token comes after {first:.3g} s and the whole answer after {whole:.3g} s")
    for name in ("latency_s", "ttft_s"):
        bench, live = (means.get((name, regime), 0.0) for regime in REGIMES)
        other = _other_unit(design, name)
        if other:
            told.append(other)
        elif bench and live and not 1 / OTHER_UNIT < bench / live < OTHER_UNIT:
            told.append(f"{name} is {bench:.3g} on average in evaluation and {live:.3g} in deployment")
    if not told:
        return None
    text = "; ".join(told)
    return Finding(
        "times_disagree",
        "caution",
        f"Times contradict each other ({text}): one of them is in another unit, or is another quantity.",
        "Times are seconds: correct the column, or leave it out.",
        ("coherence", "best_combination"),
    )


def _other_unit(design: LogDesign, name: str) -> str | None:
    """Two contexts of a regime in which one model's mean times lie in different units; None where all lie in one."""
    levels = design.cells.levels
    for regime in REGIMES:
        sums = block_sums(design.cells, name, regime)
        rows, total = sums.n.sum(0), sums.y.sum(0)
        for m in range(len(rows)):
            known = np.flatnonzero((rows[m] >= ROWS_MIN) & (total[m] > 0))
            means = sorted((float(total[m, c] / rows[m, c]), levels["context"][c]) for c in known)
            if means and means[-1][0] > OTHER_UNIT * means[0][0]:
                (least, fast), (most, slow) = means[0], means[-1]
                return f"{name} of {levels['model'][m]} is {least:.3g} on average in {fast} and {most:.3g} in {slow}"
    return None


def _first_and_whole(design: LogDesign, regime: str) -> tuple[float, float]:
    """Mean time to the first token and to the last (s), of groups of rows that all have both; (0, 0) where none has.

    A log may give the first only where answers are streamed, and those may be the long ones.
    """
    first, whole = (block_sums(design.cells, name, regime) for name in ("ttft_s", "latency_s"))
    both = (first.n > 0) & (first.n == whole.n)
    if not both.any():
        return 0.0, 0.0
    rows = first.n[both].sum()
    return float(first.y[both].sum() / rows), float(whole.y[both].sum() / rows)
