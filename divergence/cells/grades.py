"""An ordinal outcome at a threshold: P(at least this grade) as a binary outcome of its own.

    1{grade >= k},    E(grade) / best = mean over k of P(grade >= k)

Counts by grade add up, so every threshold comes from the same cells, with its sessions and copies, without looking at a
row again. No proportional odds are assumed: each threshold may move in its own way. Unit: probability.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from divergence.cells.cells import Cells, Table
from divergence.errors import InputError
from divergence.numerics import together


def grade_totals(cells: Cells) -> dict[str, float]:
    """Judged trials by grade, the worst first."""
    names = np.array(cells.levels["grade"])[cells.grades["grade"]]
    return {grade: float(cells.grades["n"][names == grade].sum()) for grade in cells.grade_names}


def grade_notes(cells: Cells) -> tuple[str, ...]:
    """A sentence on the scale of an ordinal outcome, and one on grades that no answer has."""
    if not cells.grade_names:
        return ()
    never = [grade for grade, total in grade_totals(cells).items() if total == 0]
    scale = (
        f"{cells.outcome} has the grades {', '.join(cells.grade_names)}: its level is the expected place among them, "
        f"from 0 ({cells.grade_names[0]}) to 1 ({cells.grade_names[-1]})."
    )
    return (scale, f"No answer has the grade {', '.join(never)} of {cells.outcome}.") if never else (scale,)


def at_least(cells: Cells, grade: str) -> Cells:
    """The cells of the binary outcome "at least this grade".

    Raises InputError for cells without grades, for the worst grade (which every answer reaches), for one that is not
    declared, and for one that no answer of the log has.
    """
    names = cells.grade_names
    if not names:
        raise InputError(f"the outcome {cells.outcome} has no grades (it is {cells.kind}); declare them with grades")
    if grade not in names[1:]:
        raise InputError(
            f"there is no threshold at the grade {grade!r} of {cells.outcome}; choose one of {', '.join(names[1:])}"
        )
    totals = grade_totals(cells)
    if totals[grade] == 0:
        seen = ", ".join(name for name, total in totals.items() if total)
        raise InputError(f"no answer of the log has the grade {grade!r} of {cells.outcome}; seen are {seen}")
    reached = np.array([names.index(name) >= names.index(grade) for name in cells.levels["grade"]])
    counts = _counted(cells.counts, cells.grades, reached)
    sessions = _counted(cells.sessions, cells.session_grades, reached) if len(cells.sessions) else cells.sessions
    nothing = {name: getattr(cells, name).take(np.zeros(0, np.int64)) for name in ("grades", "session_grades")}
    return dataclasses.replace(
        cells,
        outcome=f"{cells.outcome} >= {grade}",
        kind="binary",
        counts=counts,
        sessions=sessions,
        grade_names=(),
        **nothing,
    )


def _counted(table: Table, grades: Table, reached: np.ndarray) -> Table:
    """The table with the trials that reached the grade as its sum."""
    code = together(*(np.concatenate([table[key], grades[key]]) for key in table.keys))
    place = np.empty(code.max(initial=-1) + 1, dtype=np.int64)
    place[code[: len(table)]] = np.arange(len(table))
    y = np.bincount(place[code[len(table) :]], grades["n"] * reached[grades["grade"]], len(table))
    return Table(table.keys, table.sums | {"y": y, "yy": y})
