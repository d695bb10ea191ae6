"""What joins bench and deployment in a log: the models and the items that have rows on both sides, judged or not.

Counted over all rows, since a log whose deployment nobody judged is joined all the same, and says so here first.
"""

from __future__ import annotations

import numpy as np

from divergence.cells import Cells
from divergence.cells.cells import MISSING
from divergence.cells.overlap import deployed_regimes
from divergence.numerics import combinations

MOST_NAMED = 4  # models that are named; the others are counted


def models_by_side(cells: Cells) -> tuple[set[str], set[str]]:
    """The models with rows of evaluation, and those with rows of deployment."""
    deployed = deployed_regimes(cells)[cells.counts["regime"]]
    names, code = cells.levels["model"], cells.counts["model"]
    bench, live = ({names[k] for k in np.unique(code[side]) if k != MISSING} for side in (~deployed, deployed))
    return bench, live


def joining(cells: Cells) -> tuple[str, ...]:
    """Sentences on models and items that both regimes have; none where the log has one regime."""
    bench, live = models_by_side(cells)
    if not bench or not live:
        return ()
    both = bench & live
    if both == bench | live:
        said = f"{_counted(both)} rows of both regimes: bench and deployment join by model."
    elif both:
        rest = [f"only {where} {_counted(names, '')}" for where, names in _sides(bench - both, live - both) if names]
        said = f"{_counted(both)} rows of both regimes; {', '.join(rest)}."
    else:
        (there, some), (here, others) = _sides(bench, live)
        said = f"No model has rows of both regimes: {there} {_counted(some, '')}, {here} {_counted(others, '')}."
    return said, _of_items(cells)


def _of_items(cells: Cells) -> str:
    counts = cells.counts.take(cells.counts["item"] != MISSING)
    deployed = deployed_regimes(cells)[counts["regime"]]
    _, item = combinations(counts["task"], counts["item"])
    bench, live = set(item[~deployed].tolist()), set(item[deployed].tolist())
    if not live:
        return "Rows of deployment name no item: levels can be compared, items not."
    both = len(bench & live)
    if not both:
        told = f"No item of the bench ({len(bench):,}) is one of deployment ({len(live):,})"
        return f"{told}: levels can be compared, items not."
    return f"{both:,} of the {len(bench):,} items of the bench are among the {len(live):,} of deployment."


def _sides(bench: set[str], live: set[str]) -> tuple[tuple[str, set[str]], tuple[str, set[str]]]:
    return ("on the bench", bench), ("in deployment", live)


def _counted(names: set[str], have: str = "has") -> str:
    listed = sorted(names)
    told = ", ".join(listed[:MOST_NAMED]) + (f" and {len(listed) - MOST_NAMED} more" if listed[MOST_NAMED:] else "")
    return f"{told} {'has' if len(listed) == 1 else 'have'}" if have else told
