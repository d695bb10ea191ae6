"""Did the measuring instrument move?

    points of wave w minus the mean over waves, averaged over models, items, contexts and both regimes

A wave in which every context moves together is a change of the test set or the grader, not of the models. One in which
single contexts move and the others stay is theirs: the instrument's shift is that of the others, and where these are no
majority it is refused (`identification.wave_agreement`). Identified by two waves or more that share (model, context)
combinations and move more than half of them alike. Unit: fraction (points are hundredths of it).
"""

from __future__ import annotations

import numpy as np

from divergence.estimands.rows import answer, answered, frame, unit_of
from divergence.estimate import Estimate
from divergence.identification.log_design import LogDesign
from divergence.identification.question import Need, Question
from divergence.joint.level_draws import link_levels
from divergence.joint.link import from_link
from divergence.joint.posterior import Posterior

QUESTION, TEXT = "instrument", "shift of each measuring wave against the mean over waves"


def wave_needs(design: LogDesign) -> Need:
    """Two waves that measured the same model in the same context."""
    if design.waves < 2:
        return Need(False, f"It needs two waves; this log has {design.waves}.")
    if not design.waves_connected:
        return Need(
            False,
            "It needs waves that measured the same model in the same context, directly or through other waves; not all "
            f"of the {design.waves} waves do.",
        )
    agreement = design.wave_agreement
    if not agreement.common:
        return Need(
            False,
            f"It needs waves that moved alike: {agreement.changed.sum()} of the {agreement.measured.sum()} combinations "
            "of model and context that were measured in several waves moved by themselves, so no shift is common to all.",
        )
    return Need(True, f"{design.waves} waves; up to {design.most_waves()} measured the same model in the same context.")


ROOM = Question(
    QUESTION,
    "drift of the instrument",
    TEXT,
    wave_needs,
    example_log="waves",
)


@answered(ROOM, unit_of)
def instrument(posterior: Posterior, *, outcome: str | None = None) -> Estimate:
    """One row a wave: `factor` = wave, `level` = its name."""
    fit = posterior[outcome]
    unit = unit_of(fit)
    names = fit.cells.levels["wave"]
    link = link_levels(fit, np.arange(len(fit.design.contexts)))
    regime = fit.design.contexts[:, 0]
    shifted = []
    for w in range(fit.wave.shape[1]):
        points = from_link(link + fit.wave[:, w, None, None], fit.arms.link).mean(1)
        shifted.append(np.mean([points[:, regime == r].mean(1) for r in np.unique(regime)], axis=0))
    draws = np.stack(shifted, 1)
    draws -= draws.mean(1, keepdims=True)
    labels = [names[w] if w >= 0 else "(none)" for w in np.unique(fit.cells.counts["wave"][fit.cells.counts["n"] > 0])]
    return answer(fit, QUESTION, TEXT, unit, frame(factor=["wave"] * len(labels), level=labels), draws)
