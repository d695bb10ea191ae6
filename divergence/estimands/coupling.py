"""How much of what separates the models depends on the context? (evaluation context coupling, relative)

    ECC = s2_mc / (s2_m + s2_mc)  =  1 - E rho^2

`s2_m` is the variance of the models' means over contexts, `s2_mc` that of what is left after model and context means:
components of the levels themselves, models uniform over the log's list, contexts by the deployment law, item and
replicate noise removed. 0: contexts never change the ranking; 1: the ranking is the context's. With models that are all
alike `s2_m` is 0 and the ratio is 1 by construction. Identified by two deployment contexts and two models. No unit.
Source: generalizability theory (Cronbach et al. 1972, Brennan 2001); finite-population form after Gelman 2005.
"""

from __future__ import annotations

import numpy as np

from divergence.estimands.rows import answer, deployed_contexts, frame, models_with_rows, refuse
from divergence.estimate import Estimate
from divergence.joint.posterior import Posterior
from divergence.joint.predict import Levels

QUESTION, TEXT = "coupling", "share of the variance between models that depends on the context (0: none)"


def coupling(posterior: Posterior, *, law: object = None, outcome: str | None = None) -> Estimate:
    """One number for the log."""
    return share(posterior, QUESTION, TEXT, False, law, outcome)


def share(posterior: Posterior, question: str, text: str, absolute: bool, law: object, outcome: str | None) -> Estimate:
    """The relative or the absolute coupling; also what `coupling_absolute` calls."""
    fit, mu, reason = deployed_contexts(posterior, outcome, law, 2)
    if mu is not None:
        mu = mu.of_models(models_with_rows(fit, True))
        shared = mu.observed.astype(int) @ mu.observed.T.astype(int)
        if len(mu.models) < 2:
            reason = f"the log has one deployed model ({mu.models[0]}); what separates models needs at least two"
        elif shared[~np.eye(len(shared), dtype=bool)].max() < 2:
            reason = "no two models were deployed in the same two contexts: what is the context's cannot be told"
    if reason:
        return refuse(fit, question, text, "ratio", reason)
    model, context, interaction = components(mu)
    part = interaction + context if absolute else interaction
    return answer(fit, question, text, "ratio", frame(model=[None]), (part / (model + part))[:, None])


def components(mu: Levels) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Variances between models, between contexts, and of their interaction, each (S,); they add up to that of `mu`."""
    weight = mu.law.mean(0)
    model = mu.draws @ weight
    context = mu.draws.mean(1)
    grand = model.mean(1)
    left = mu.draws - model[:, :, None] - context[:, None, :] + grand[:, None, None]
    return (model.var(1), ((context - grand[:, None]) ** 2) @ weight, (left**2).mean(1) @ weight)
