"""Which tables of risks does the posterior hold possible? Draws of all risks at once, not one by one.

    risk_s(m, c, t) = sigma(-(eta_s(m, c) + d_s(m, c, t))),      their mean is the table's `risk`

eta_s is a draw of the joint model, d_s one of the strata given the log (`strata`). What all cells share, such as the
sample of items of a task, is off in all of them at once: intervals of single cells cannot say so, these draws can. They make
the null of a calibration error that no sampling of outcomes explains (`reliability`). Unit: probability.
"""

from __future__ import annotations

import numpy as np

from divergence.joint.posterior import Posterior
from divergence.numerics import expit
from divergence.random_streams import stream
from divergence.risk.strata import measure_strata
from divergence.risk.summaries import link_draws, targets

DRAWS = 400  # the 95 % point of a null that mixes them has a Monte Carlo error of a percent of itself
NUMBERS_MAX = 100_000_000  # draws times combinations: 800 MB are no price for a check


def plausible_risks(posterior: Posterior, outcome: str | None = None, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """Draws of the table of risks before calibration, shape (draws, models + 1, contexts + 1, strata + 1)."""
    fit = posterior[outcome]
    strata = measure_strata(fit)
    labels = np.unique(fit.design.contexts[:, 1])
    eta = link_draws(fit, labels)
    rng = stream(seed, "risk draws")
    size = eta[0].size * (len(strata.tasks) + 1)
    draws = int(min(draws, len(eta), max(NUMBERS_MAX // size, 20)))
    eta = eta[rng.permutation(len(eta))[:draws]]
    if not strata.tasks:
        return expit(-eta[..., None])
    d = strata.draw(*targets(fit, labels), draws, rng)
    return expit(-(eta[..., None] + d.reshape(*eta.shape, -1)))
