"""Rules about costs and times: zeros that mean nothing was metered, columns that contradict each other."""

from __future__ import annotations

from divergence.cells.blocks import block_sums
from divergence.identification.finding import Finding
from divergence.identification.log_design import REGIMES, LogDesign
from divergence.identification.rules_of_outcomes import listed

OTHER_UNIT = 300.0  # ratio of mean times that no serving stack explains and milliseconds read as seconds (1,000) do


def unmetered(design: LogDesign) -> Finding | None:
    """Combinations whose cost is 0 in every row: read as not metered unless `zero_cost = "free"` is declared."""
    names = [
        f"{design.cells.levels['model'][m]} in {design.cells.levels['context'][c]}" for _, m, c in design.cells.unmetered
    ]
    if not names:
        return None
    return Finding(
        "unmetered",
        "caution",
        f"The logged cost is 0 in every row of {listed(names)}: it is read as not metered, so nothing is said of its cost.",
        'Declare zero_cost = "free" if it is really free.',
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
        first, whole = means.get(("ttft_s", regime)), means.get(("latency_s", regime))
        if first is not None and whole is not None and first > whole:
            told.append(f"in {regime} the first token comes after {first:.3g} s and the whole answer after {whole:.3g} s")
    for name in ("latency_s", "ttft_s"):
        bench, live = (means.get((name, regime), 0.0) for regime in REGIMES)
        if bench and live and not 1 / OTHER_UNIT < bench / live < OTHER_UNIT:
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
