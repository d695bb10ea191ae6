"""The outcome of a log, and beside it what its executions took: time, tokens, money.

The primary outcome comes first; grades are followed by P(at least each of them). A further outcome is there for the
reader who wants more: where it cannot be fitted, or a gate of its fit fails, it is left out with a sentence, and the
primary one stands as it is.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

from divergence.cells import Cells, collapse_beside
from divergence.cells.grades import at_least, grade_totals
from divergence.errors import InputError
from divergence.joint.fit import fit
from divergence.joint.importance import Importance
from divergence.joint.posterior import Fit, Posterior

SHAPE = ("latency_s", "output_tokens", "cost_usd")
"""What serving changes beside the score, fitted where the log has it."""


def fit_outcomes(log, *, seed: int = 0, progress: Callable[[str], None] | None = None) -> Posterior:
    """The joint posterior of a log (`Executions`): its outcome, its grades' thresholds, and the ones of `SHAPE` that it has.

    `progress` is told each step in a few words. Raises InputError where the primary outcome cannot be fitted.
    """
    tell = progress or (lambda _: None)
    tell("collapsing rows to cells")
    cells = log.cells
    posterior = fit(cells, seed=seed, progress=tell)
    fits, notes, seconds = [*posterior.fits], [], posterior.provenance["cpu_seconds"]
    for outcome, make in _further(log, cells).items():
        tell(f"fitting {outcome}")
        try:
            further = fit(make(), spec=posterior.spec, method=Importance(), seed=seed)
        except InputError as error:
            notes.append(f"{outcome} is not fitted: {error}")
            continue
        seconds += further.provenance["cpu_seconds"]
        failed = [d for d in further.diagnostics if not d.passed]
        if failed:
            notes.append(
                f"{outcome} is left out, because a diagnostic of its fit failed ({failed[0].name} "
                f"{failed[0].value:.3g}, limit {failed[0].threshold:g})"
            )
        else:
            fits += further.fits
    fits[0] = _with_notes(fits[0], tuple(notes))
    provenance = posterior.provenance | {"cpu_seconds": round(seconds, 3)}
    return dataclasses.replace(posterior, fits=tuple(fits), provenance=provenance)


def _further(log, cells: Cells) -> dict[str, Callable[[], Cells]]:
    """Further outcomes by name, and what makes their cells: the thresholds of grades, and what `SHAPE` names."""
    seen = [grade for grade, total in grade_totals(cells).items() if total]
    found = {f"{cells.outcome} >= {grade}": functools.partial(at_least, cells, grade) for grade in seen if grade != seen[0]}
    shape = [name for name in SHAPE if name != cells.outcome and _measured(cells, name)]
    return found | {name: functools.partial(collapse_beside, log, cells, name) for name in shape}


def _measured(cells: Cells, measure: str) -> bool:
    """Does any row have more than nothing of it?"""
    if measure not in cells.levels["measure"]:
        return False
    rows = cells.measures["measure"] == cells.levels["measure"].index(measure)
    return bool(cells.measures["y"][rows].sum() > 0)


def _with_notes(fitted: Fit, notes: tuple[str, ...]) -> Fit:
    return dataclasses.replace(fitted, cells=dataclasses.replace(fitted.cells, notes=(*fitted.cells.notes, *notes)))
