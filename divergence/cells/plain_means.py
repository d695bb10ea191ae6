"""What did the rows themselves say? The plain mean of a model's judged trials in a regime, to stand beside its level.

A level weighs contexts by a law and fills those that the model was never judged in; the mean of its own rows does neither.
"""

from __future__ import annotations

import numpy as np

from divergence.cells.cells import Cells

KINDS = ("binary", "fraction")  # whose sums are in the unit of the levels


def plain_means(cells: Cells, regime: str) -> dict[str, tuple[float, int, int]]:
    """Model -> mean over its judged trials in a regime, whatever their task and scorer; the contexts in which it was judged;
    and those in which any model was. Empty for outcomes that are summed on another scale than their levels have."""
    if cells.kind not in KINDS or regime not in cells.levels["regime"]:
        return {}
    counts = cells.counts
    here = counts.take((counts["regime"] == cells.levels["regime"].index(regime)) & (counts["n"] > 0))
    found = {}
    for code in np.unique(here["model"]):
        own = here.take(here["model"] == code)
        mean = float(own["y"].sum() / own["n"].sum())
        found[cells.levels["model"][code]] = (mean, len(np.unique(own["context"])), len(np.unique(here["context"])))
    return found
