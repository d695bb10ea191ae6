"""Can what serving took answer a question that the log's own outcome cannot?

Making the design of a latency or a cost is one more pass over the log. It is worth it where rows that the outcome lacks may
decide: a combination of model, regime and context that has the measure and no judged row, items of which some have no
score, an outcome that never varies, trials whose number goes with it, judges or metrics in conflict. Elsewhere the measure
lies in rows that are judged, in combinations that are known, and answers no more than the outcome does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from divergence.cells.cells import Cells, Table
from divergence.cells.further_outcomes import SHAPE
from divergence.cells.overlap import scorer_conflict
from divergence.errors import InputError
from divergence.identification.log_design import REGIMES, LogDesign, log_design
from divergence.numerics import combinations


def further_designs(design: LogDesign, further: Mapping[str, Callable[[], Cells]]) -> Iterator[tuple[str, LogDesign]]:
    """Names and designs of what is fitted beside the log's own outcome and may answer more, each made when it is asked for.

    `further`: what makes their cells, by name (`cells.further_outcomes`).
    """
    for name, make in further.items():
        if name in SHAPE and not worth_asking(design, name):
            continue
        with contextlib.suppress(InputError):  # it has no usable value: it is not fitted either
            yield name, log_design(make(), priced=design.priced)


def worth_asking(design: LogDesign, measure: str) -> bool:
    """May this measure be fitted where the log's outcome cannot be?"""
    cells = design.cells
    if design.constant is not None or design.driven_trials or any(design.model_judges.values()):
        return True
    if (
        scorer_conflict(cells)
        or design.context_judges["deployment"]
        or any(len(groups) > 1 for groups in design.task_metrics.values())
    ):
        return True
    counts = cells.counts
    mine = cells.measures.take(cells.measures["measure"] == cells.levels["measure"].index(measure))
    if _arms(mine, mine["n"] > 0) - _arms(counts, counts["n"] > 0):
        return True
    return not all(design.rows[regime] == 0 or _items(design, regime) for regime in REGIMES)


def _arms(table: Table, keep: np.ndarray) -> set[tuple[int, ...]]:
    """The combinations of model, regime and context in some rows of a table."""
    keys, _ = combinations(*(table[key][keep] for key in ("model", "regime", "context")))
    return set(map(tuple, keys.T.tolist()))


def _items(design: LogDesign, regime: str) -> bool:
    """Has every item of a model and context that was asked in this regime a judged row there?"""
    counts, names = design.cells.counts, design.cells.levels["regime"]
    mine = counts.take((counts["regime"] == names.index(regime)) & (counts["item"] >= 0))
    keys, place = combinations(*(mine[k] for k in ("model", "context", "task", "item")))
    return bool((np.bincount(place, mine["n"], keys.shape[1]) > 0).all())
