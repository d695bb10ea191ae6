"""What bench and traffic have in common: items and scorers."""

from __future__ import annotations

import numpy as np

from divergence.cells.cells import Cells


def share_items(cells: Cells) -> bool:
    """Is any item judged in both regimes?"""
    return len(np.intersect1d(_items(cells, "evaluation"), _items(cells, "deployment"))) > 0


def replays(cells: Cells) -> bool:
    """Are all items of the traffic items of the bench?"""
    counts = cells.counts.take(cells.counts["n"] > 0)
    deployed = deployed_regimes(cells)[counts["regime"]]
    traffic = counts["item"][deployed]
    return bool(len(traffic) and (traffic >= 0).all() and np.isin(traffic, counts["item"][~deployed]).all())


def scorers(cells: Cells) -> dict[str, set[str]]:
    """Names of the scorers of each regime; rows without a scorer name none."""
    names = cells.levels["scorer"]
    return {
        regime: {names[k] for k in np.unique(cells.counts["scorer"][in_regime(cells, regime)]) if k >= 0}
        for regime in ("evaluation", "deployment")
    }


def scorer_conflict(cells: Cells) -> str | None:
    """Why the regimes cannot be compared, where no scorer judged rows of both; None where one did or none is named."""
    judges = scorers(cells)
    if not all(judges.values()) or judges["evaluation"] & judges["deployment"]:
        return None
    names = [", ".join(sorted(judges[regime])) for regime in ("evaluation", "deployment")]
    return f"the regimes were judged by different scorers ({names[0]} against {names[1]}) and no rows carry both"


def deployed_regimes(cells: Cells) -> np.ndarray:
    """Which regime codes are deployment, shape (regimes,)."""
    return np.array([name == "deployment" for name in cells.levels["regime"]], bool)


def in_regime(cells: Cells, regime: str) -> np.ndarray:
    """Rows of `counts` of that regime, shape (rows,)."""
    return np.array([name == regime for name in cells.levels["regime"]], bool)[cells.counts["regime"]]


def _items(cells: Cells, regime: str) -> np.ndarray:
    rows = in_regime(cells, regime) & (cells.counts["item"] >= 0) & (cells.counts["n"] > 0)
    return np.unique(cells.counts["item"][rows])
