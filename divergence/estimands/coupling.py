"""How much of what separates the models depends on the context? (evaluation context coupling, relative)

    ECC = s2_mc / (s2_m + s2_mc)  =  1 - E rho^2

`s2_m` is the variance of the models' means over contexts, `s2_mc` that of what is left after model and context means:
components of the levels themselves, models uniform over the log's list, contexts by the deployment law, item and
replicate noise removed. 0: contexts never change the ranking; 1: the ranking is the context's. With models that are all
alike `s2_m` is 0 and the ratio is 1 by construction. Identified by two deployment contexts and two models. No unit.
Rows with `statistic` = `anova...` are the second version, from unbiased variance components of raw levels: see
`coupling_anova`, which answers from the cells alone. `spearman`, `spearman_raw`, `kendall_raw` compare the orders of the
models in two contexts, the bench included (`context_orders`).
Source: generalizability theory (Cronbach et al. 1972, Brennan 2001); finite-population form after Gelman 2005.
"""

from __future__ import annotations

import numpy as np

from divergence.estimands.context_orders import context_orders
from divergence.estimands.coupling_anova import INCOMPLETE, STATISTICS, draw_shares, grids_of
from divergence.estimands.generalizability import dependability, relative
from divergence.estimands.rows import about, answer, answered, deployed_contexts, frame, models_with_rows, refuse
from divergence.estimate import Estimate
from divergence.identification import needs
from divergence.identification.question import Question
from divergence.joint.laws import Law
from divergence.joint.posterior import Fit, Posterior
from divergence.joint.predict import Levels

QUESTION, TEXT = "coupling", "share of the variance between models that depends on the context (0: none)"

ALIKE = 0.01  # sd of the models' levels below which there is no ranking to couple: one point


ROOM = Question(
    QUESTION,
    "coupling of ranking and context",
    TEXT,
    needs.crossed,
    of_levels=True,
)


@answered(ROOM, "ratio")
def coupling(
    posterior: Posterior, *, law: Law | None = None, outcome: str | None = None, items: str | None = None
) -> Estimate:
    """One number for the log (`statistic` null), and the ANOVA versions."""
    posterior = about(posterior, items)
    fit, mu, reason = crossed_levels(posterior, outcome, law)
    if mu is None:
        return refuse(fit, QUESTION, TEXT, "ratio", reason)
    variances = components(mu)
    ratio = 1 - relative(variances, {"c": 1})
    grids = grids_of(fit.arms)
    second = np.full((len(ratio), len(STATISTICS)), np.nan)
    if grids is not None:
        drawn = draw_shares(grids, fit.seed)
        second = drawn[np.arange(len(ratio)) % len(drawn)]
    orders = list(context_orders(fit))
    one, other, names, drawn = map(list, zip(*orders, strict=True)) if orders else ([], [], [], [])
    reasons = (None, *[INCOMPLETE if grids is None else None] * len(STATISTICS), *[None] * len(orders))
    text = TEXT + (
        f": the models are alike (less than {ALIKE:.0%} apart), so it is near 1 by construction"
        if np.median(variances["m"]) < (ALIKE * _scale(fit, mu)) ** 2
        else ""
    )
    return answer(
        fit,
        QUESTION,
        text,
        "ratio",
        frame(
            model=[None] * (5 + len(orders)),
            context=[None] * 5 + one,
            context_b=[None] * 5 + other,
            statistic=[None, *STATISTICS, *names],
        ),
        np.column_stack([ratio, second, *drawn]),
        reason=reasons,
    )


def _scale(fit: Fit, mu: Levels) -> float:
    """The size of a level that a percentage is of: 1 for scores, the mean for times, costs and counts."""
    return float(mu.draws.mean()) if fit.cells.kind == "positive" else 1.0


def absolute(posterior: Posterior, question: str, text: str, law: Law | None, outcome: str | None) -> Estimate:
    """The absolute coupling; what `coupling_absolute` calls."""
    fit, mu, reason = crossed_levels(posterior, outcome, law)
    if mu is None:
        return refuse(fit, question, text, "ratio", reason)
    return answer(fit, question, text, "ratio", frame(model=[None]), (1 - dependability(components(mu), {"c": 1}))[:, None])


def crossed_levels(posterior: Posterior, outcome: str | None, law: Law | None) -> tuple[Fit, Levels | None, str]:
    """Levels of the deployed models, two of which share two contexts; else why the given law has too few of them."""
    fit, mu, reason = deployed_contexts(posterior, outcome, law, 2)
    if mu is None:
        return fit, None, reason
    need = needs.crossed(fit.log_design)
    if not need.met:  # of questions that ask for less, and give this as a part
        return fit, None, need.sentence
    mu = mu.of_models(models_with_rows(fit, True))
    return fit, mu, ""


def components(mu: Levels) -> dict[str, np.ndarray]:
    """Variances between models (`m`), between contexts (`c`), and of their interaction (`mc`), each (S,).

    They add up to the variance of `mu` under the law.
    """
    weight = mu.law.mean(0)
    model = mu.draws @ weight
    context = mu.draws.mean(1)
    grand = model.mean(1)
    left = mu.draws - model[:, :, None] - context[:, None, :] + grand[:, None, None]
    return {"m": model.var(1), "c": ((context - grand[:, None]) ** 2) @ weight, "mc": (left**2).mean(1) @ weight}
