"""How far does a model's score move over the contexts it is deployed in?

    kappa_m = sqrt(Var_{c ~ Q_D} mu_mc)

A standard deviation in points that does not depend on which other models are in the log. The evaluation context is not
one of the contexts. Identified by two deployment contexts or more; sampling noise is taken out by the joint model, so a
log in which nothing moves has a kappa near 0, never exactly 0. Unit: fraction (points are hundredths of it).
Source: Gelman 2005 (finite-population standard deviations); Brennan 2001.
"""

from __future__ import annotations

import numpy as np

from divergence.estimands.rows import about, answer, answered, deployed_contexts, frame, models_with_rows, refuse, unit_of
from divergence.estimate import Estimate
from divergence.identification import needs
from divergence.identification.question import Question
from divergence.joint.laws import Law
from divergence.joint.posterior import Posterior
from divergence.joint.predict import Levels

QUESTION, TEXT = "kappa", "standard deviation of each model's level over the deployment contexts"


ROOM = Question(
    QUESTION,
    "spread over deployment contexts",
    TEXT,
    needs.moves_over_contexts,
    of_levels=True,
)


@answered(ROOM, unit_of)
def kappa(posterior: Posterior, *, law: Law | None = None, outcome: str | None = None, items: str | None = None) -> Estimate:
    """One row a model with deployment rows."""
    posterior = about(posterior, items)
    fit, mu, reason = deployed_contexts(posterior, outcome, law, 2)
    if mu is None:
        return refuse(fit, QUESTION, TEXT, unit_of(fit), reason)
    seen = np.flatnonzero(models_with_rows(fit, True))
    reasons = tuple(
        None
        if (mu.observed[m] & (mu.law[m] > 0)).sum() > 1
        else f"{mu.models[m]} was logged in one deployment context of the law; how its score moves needs two"
        for m in seen
    )
    draws = np.sqrt(context_variance(mu))[:, seen]
    draws[:, [r is not None for r in reasons]] = np.nan
    return answer(fit, QUESTION, TEXT, unit_of(fit), frame(model=[mu.models[m] for m in seen]), draws, reason=reasons)


def context_variance(mu: Levels) -> np.ndarray:
    """Variance of each model's level under its law over contexts, shape (S, models)."""
    centred = mu.draws - mu.mean()[:, :, None]
    return np.einsum("smc,mc->sm", centred**2, mu.law)
