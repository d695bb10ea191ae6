"""What were the requests that a risk model was made from? How risky they were, and what plain rates say of their strata.

    risks   `SHARES` even quantiles of the risk over deployed rows: the scale of `audit`
    rates   failures over trials of each deployed (model, context, stratum); where there were none, of the model, else of all

Unit: probability.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from divergence.cells import Cells
from divergence.risk.model import RiskModel

SHARES = 400


def traffic_of(model: RiskModel, cells: Cells) -> dict[str, list[float]]:
    """`risks` and `rates` of the deployed rows of a log's cells."""
    regime = np.array([name == "deployment" for name in cells.levels["regime"]], bool)
    counts = cells.counts.take(regime[cells.counts["regime"]])
    names = {
        key: pa.DictionaryArray.from_arrays(
            pa.array(counts[key], mask=counts[key] < 0), pa.array(cells.levels[key], pa.string())
        )
        for key in ("model", "context", "task", "item")
    }
    batch = pa.record_batch(names)
    scores, _ = model.answer(batch)
    risk, weight = scores.column("risk").to_numpy(), counts["rows"]
    order = np.argsort(risk, kind="stable")
    reached = np.cumsum(weight[order]) / weight.sum()
    risks = risk[order][np.minimum(np.searchsorted(reached, (np.arange(SHARES) + 0.5) / SHARES), len(order) - 1)]
    rows, size = model.rows(batch), len(model.table["risk"])
    n, y = (np.bincount(rows, counts[name], size) for name in ("n", "y"))
    shape = (len(model.levels["model"]) + 1, -1)
    with np.errstate(invalid="ignore"):
        of_model = np.broadcast_to(
            1 - y.reshape(shape).sum(1, keepdims=True) / n.reshape(shape).sum(1, keepdims=True), n.reshape(shape).shape
        ).ravel()
        rates = np.where(n > 0, 1 - y / n, np.where(np.isnan(of_model), 1 - y.sum() / n.sum(), of_model))
    return {"risks": risks.tolist(), "rates": rates.tolist()}
