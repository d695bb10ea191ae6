"""How well risks tell requests apart, beside plain rates: a table of what was measured when the risk model was made."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from divergence.report import tables

ROWS = {
    "brier": "Brier score",
    "log_loss": "log loss, nats",
    "auc": "AUC",
    "capture_0.01": "failures in the riskiest 1 %",
    "capture_0.05": "failures in the riskiest 5 %",
    "capture_0.1": "failures in the riskiest 10 %",
    "resolution": "resolution",
    "uncertainty": "uncertainty",
}
KINDS = {"seen": "item seen", "unseen": "item not seen"}
CAPTION = (
    "Risks and plain rates on rows that took part in nothing else, 90 % limits with items left out whole. Item seen: a cell "
    "that was left out, from the item's other cells, beside the rate of the model's other answers to it. Item not seen: the "
    "rate of model, context and task."
)


def limits(values: list) -> str:
    """A value with its limits.

    >>> limits([0.0912, 0.08, 0.11]), limits([None, None, None])
    ('0.091 (0.080 to 0.110)', '')
    """
    value, low, high = values
    if value is None:
        return ""
    return f"{value:.3f}" if low is None else f"{value:.3f} ({low:.3f} to {high:.3f})"


def table(found: Mapping):
    """One row a measure of seen and of unseen items; None where nothing was measured."""
    rows = [
        {"items": KINDS[kind], "measure": words, **{side: limits(found[kind][name][side]) for side in found[kind][name]}}
        for kind in KINDS
        if found.get(kind)
        for name, words in ROWS.items()
    ]
    labels = {"items": "items", "measure": "measure", "score": "risk", "plain": "plain rate", "difference": "difference"}
    return tables.plain(pl.DataFrame(rows), labels, ("score", "plain", "difference")) if rows else None
