"""What else of a log is fitted beside its outcome: the thresholds of grades, and what serving took.

The report fits these, and `check` asks their designs; so both know them from here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from divergence.cells.cells import Cells
from divergence.cells.collapse import collapse_beside, design_beside
from divergence.cells.grades import at_least, grade_totals
from divergence.executions import Executions

SHAPE = ("latency_s", "output_tokens", "cost_usd")
"""What serving changes beside the score, fitted where the log has it."""


def further_outcomes(log: Executions, cells: Cells, *, design: bool = False) -> dict[str, Callable[[], Cells]]:
    """Further outcomes by name, and what makes their cells: the thresholds of grades, and what `SHAPE` names.

    `design`: of `collapse_design`, not of a whole collapse.
    """
    seen = [grade for grade, total in grade_totals(cells).items() if total]
    found = {f"{cells.outcome} >= {grade}": functools.partial(at_least, cells, grade) for grade in seen if grade != seen[0]}
    beside = design_beside if design else collapse_beside
    shape = [name for name in SHAPE if name != cells.outcome and _measured(cells, name)]
    return found | {name: functools.partial(beside, log, cells, name) for name in shape}


def _measured(cells: Cells, measure: str) -> bool:
    """Does any row have more than nothing of it?"""
    if measure not in cells.levels["measure"]:
        return False
    rows = cells.measures["measure"] == cells.levels["measure"].index(measure)
    return bool(cells.measures["y"][rows].sum() > 0)
