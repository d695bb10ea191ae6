"""Which tasks share a metric: tasks that one scorer judged, directly or over a chain of other tasks.

A mean over tasks without a common scorer mixes unlike things: a share of right answers, a share of answers at all, a share
of code that runs. One scorer that two of many tasks share makes these two alike, and no others; scorers whose names say
that an answer is right are one metric (`cells.metric_kinds`).
"""

from __future__ import annotations

import numpy as np

from divergence.cells import Cells
from divergence.cells.cells import MISSING
from divergence.cells.metric_kinds import metric_codes
from divergence.cells.overlap import in_regime
from divergence.identification.linked_contexts import linked_parts
from divergence.numerics import combinations

SHARE_MIN = 0.1  # of a task's judged rows: a scorer of fewer is a stray row, and makes no two tasks alike


def task_metrics(cells: Cells, regime: str) -> tuple[dict[str, tuple[str, ...]], ...]:
    """Groups of the regime's tasks that share a metric, each with the scorers of its tasks, in the order of their names.

    Rows without a task or a scorer are left out: what judged them is not known.
    """
    counts = cells.counts.take((cells.counts["n"] > 0) & in_regime(cells, regime) & (cells.counts["task"] >= 0))
    if not len(counts):
        return ()
    (task, scorer), place = combinations(counts["task"], counts["scorer"])
    rows = np.bincount(place, counts["rows"] - counts["unjudged"], len(task))
    metric = np.append(metric_codes(cells), MISSING)[scorer]
    tasks, t = np.unique(task, return_inverse=True)
    kept = (scorer >= 0) & (rows >= SHARE_MIN * np.bincount(t, rows)[t])
    part, _ = linked_parts(t[kept], metric[kept])
    groups: dict[int, dict[str, tuple[str, ...]]] = {}
    for k, code in enumerate(tasks):
        mine = tuple(cells.levels["scorer"][s] for s in scorer[kept & (t == k)])
        if mine:
            groups.setdefault(int(part[k]), {})[cells.levels["task"][code]] = mine
    return tuple(groups.values())
