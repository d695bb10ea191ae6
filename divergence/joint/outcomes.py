"""The outcome of a log, and beside it what its executions took: time, tokens, money.

The primary outcome comes first; grades are followed by P(at least each of them). A further outcome is there for the
reader who wants more: where it cannot be fitted, or a gate of its fit fails, it is left out with a sentence, and the
primary one stands as it is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from divergence.cells.further_outcomes import further_outcomes
from divergence.errors import InputError
from divergence.joint.fit import fit
from divergence.joint.importance import Importance
from divergence.joint.posterior import Fit, Posterior


def fit_outcomes(
    log, *, seed: int = 0, method: Importance | None = None, progress: Callable[[str], None] | None = None
) -> Posterior:
    """The joint posterior of a log (`Executions`): its outcome, its grades' thresholds, and what serving took.

    `method`: how all are fitted; None = as `fit` chooses for the outcome itself. `progress` is told each step in a few
    words. Raises InputError where the primary outcome cannot be fitted.
    """
    tell = progress or (lambda _: None)
    tell("collapsing rows to cells")
    cells = log.cells
    posterior = fit(cells, method=method, seed=seed, progress=tell)
    fits, notes, seconds = [*posterior.fits], [], posterior.provenance["cpu_seconds"]
    for outcome, make in further_outcomes(log, cells).items():
        tell(f"fitting {outcome}")
        try:
            further = fit(make(), spec=posterior.spec, method=method or Importance(), seed=seed)
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


def _with_notes(fitted: Fit, notes: tuple[str, ...]) -> Fit:
    return dataclasses.replace(fitted, cells=dataclasses.replace(fitted.cells, notes=(*fitted.cells.notes, *notes)))
