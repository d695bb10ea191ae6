"""All that is looked at beside the gates before a fit is believed: what the report and the run record show.

| kind | question | function |
|---|---|---|
| `predictive` | does the model produce levels like those seen? | `predictive_check` |
| `prior` | which standard deviations are the prior's doing? | `prior_sensitivity` |
| `new context` | how well do the terms of the fit predict a context that is left out? | `new_context_check` |
| `held items` | are context effects on items that were not seen predicted better than by plain means? | `held_items_check` |

None of them is a gate: each has its limit in its own module, and a number beyond it is told, with what it means.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import polars as pl

from divergence.errors import InputError, NotIdentifiedError
from divergence.joint.held_items import AS_GOOD, held_items_check, pooled_errors
from divergence.joint.methods import K_HAT_MAX
from divergence.joint.new_context_check import gain_in_all, new_context_check
from divergence.joint.posterior import Posterior
from divergence.joint.predictive_check import P_EXTREME, predictive_check
from divergence.joint.prior_sensitivity import SENSITIVE, prior_sensitivity
from divergence.numerics import one_blas_thread


@dataclasses.dataclass(frozen=True)
class ModelCheck:
    """One check of one fit."""

    kind: str
    """`predictive`, `prior`, `new context` or `held items`."""
    rows: pl.DataFrame
    """What was found, as the function returns it; empty where the log does not allow the check."""
    numbers: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """Limits, and numbers about all rows."""
    reason: str = ""
    """Why the log does not allow it."""


def model_checks(posterior: Posterior, *, outcome: str | None = None) -> tuple[ModelCheck, ...]:
    """The checks of one outcome's fit; held-out items of a 0/1 outcome only."""
    with one_blas_thread():
        found = [
            ModelCheck("predictive", predictive_check(posterior, outcome=outcome), {"limit": P_EXTREME}),
            ModelCheck("prior", prior_sensitivity(posterior, outcome=outcome), {"limit": SENSITIVE}),
        ]
        found.append(_new_context(posterior, outcome))
        if posterior[outcome].cells.kind == "binary":
            found.append(_held_items(posterior, outcome))
    return tuple(found)


def _new_context(posterior: Posterior, outcome: str | None) -> ModelCheck:
    try:
        contexts = new_context_check(posterior, outcome=outcome)
    except NotIdentifiedError as error:
        return ModelCheck("new context", pl.DataFrame(), reason=str(error))
    gain = gain_in_all(contexts)
    numbers = {"limit": K_HAT_MAX} | ({"gain": gain[0], "gain_error": gain[1]} if gain else {})
    return ModelCheck("new context", contexts, numbers)


def _held_items(posterior: Posterior, outcome: str | None) -> ModelCheck:
    try:
        halves = held_items_check(posterior, outcome=outcome)
    except (NotIdentifiedError, InputError) as error:  # half of a log may lack what a declared law names
        return ModelCheck("held items", pl.DataFrame(), reason=str(error))
    return ModelCheck("held items", halves, {"limit": AS_GOOD} | pooled_errors(halves))
