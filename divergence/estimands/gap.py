"""How far does each model's score move from the bench to deployment?

    Delta_m = D_m - B_m

Rows with `statistic` = `A`, `B`, `C`, `B_context`, `B_residual` are its parts (`gap_split`); A + B + C is the gap.
Identified for models with rows in both regimes that the same scorer judged. Where bench and traffic share no item each
level stands on its own items, and the gap is marked as resting on the model. Unit: fraction (points are hundredths of it).
Source: Cai, Namkoong and Yadlowsky 2023 (arXiv 2303.02011) for the gap and its parts.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from divergence.estimands.gap_split import PARTS, splits
from divergence.estimands.rows import about, answer, answered, frame, logged_levels, models_with_rows, unit_of
from divergence.estimate import Estimate
from divergence.identification import needs
from divergence.identification.question import Question
from divergence.joint.laws import Law
from divergence.joint.posterior import Posterior

QUESTION, TEXT = "gap", "deployed level minus bench level of each model"


ROOM = Question(
    QUESTION,
    "gap between deployment and bench",
    TEXT,
    needs.compared,
    of_levels=True,
)


@answered(ROOM, unit_of)
def gap(posterior: Posterior, *, law: Law | None = None, outcome: str | None = None, items: str | None = None) -> Estimate:
    """One row a model, and one for each of its parts; refused by name for a model that lacks a regime."""
    posterior = about(posterior, items)
    whole = difference(posterior, QUESTION, TEXT, 1.0, law, outcome)
    if not whole.identified:
        return whole
    fit = posterior[outcome]
    bench, deployed = logged_levels(fit, "evaluation"), logged_levels(fit, "deployment", law)
    rows, draws, reasons = [], [], []
    known = [m for m, why in enumerate(whole.reason) if why is None]
    for m, (found, why) in zip(known, splits(fit, bench, deployed, whole.draws, known), strict=True):
        rows.append(frame(model=[bench.models[m]] * len(PARTS), statistic=list(PARTS)))
        draws.append(found.T)
        reasons += [why] * len(PARTS)
    return answer(
        fit,
        QUESTION,
        whole.text,
        whole.unit,
        pl.concat([whole.rows, *rows], how="diagonal"),
        np.concatenate([whole.draws, *draws], 1),
        reason=(*whole.reason, *reasons),
    )


def difference(
    posterior: Posterior, question: str, text: str, sign: float, law: Law | None, outcome: str | None
) -> Estimate:
    """`sign * (D_m - B_m)`; also what `evaluation_advantage` calls."""
    fit = posterior[outcome]
    unit = unit_of(fit)
    bench, deployed = logged_levels(fit, "evaluation"), logged_levels(fit, "deployment", law)
    both = models_with_rows(fit, True) & models_with_rows(fit, False)
    draws = sign * (deployed.mean() - bench.mean())
    draws[:, ~both] = np.nan
    reason = tuple(
        None if ok else f"{name} has no {'evaluation' if models_with_rows(fit, True)[m] else 'deployment'} rows"
        for m, (name, ok) in enumerate(zip(bench.models, both, strict=True))
    )
    if not fit.log_design.sharing.in_both:
        text += " (no model answered an item in both: model-based)"
    return answer(fit, question, text, unit, frame(model=list(bench.models)), draws, reason=reason)
