"""What the hierarchy is conditioned on: where levels are linearised, and which combinations it must let stand apart.

The working response depends on fitted levels, these on the standard deviations, these on the working response: a few rounds
at the mode settle it (`link`). Then one combination after the other that stands apart gets a scale of its own.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from divergence.joint.arms import Arms
from divergence.joint.design import Design
from divergence.joint.hierarchy import Hierarchy
from divergence.joint.importance import climb
from divergence.joint.link import Response, from_link, linearise, start
from divergence.joint.posterior import arm_loadings, prior_centre, standard_deviations
from divergence.joint.problem import draw_effects, problem
from divergence.joint.spec import Spec
from divergence.joint.standing_apart import standing_apart

LINEARISATIONS = 2  # refinements of the working response; a third moved bench levels by at most .07 of their sd
LOGIT_MAX = 7.0  # a fitted level outside .001 .. .999 is not told apart from these by any log of this size


@dataclasses.dataclass(frozen=True)
class Linearisation:
    """A design, the working response of its arms, and what made it so."""

    design: Design
    """With the combinations that stand apart."""
    loadings: np.ndarray
    """Z of the arms, shape (A, P)."""
    response: Response
    """Of the last linearisation."""
    residuals: tuple[float, ...]
    """Of the combinations that stand apart: residuals in standard errors when they were found."""


def linearisation(design: Design, arms: Arms, spec: Spec) -> Linearisation:
    """From arm levels to what the density of the standard deviations is made of."""
    mu, residuals = start(arms), []
    while True:
        loadings, x = arm_loadings(design, arms), None
        for _ in range(LINEARISATIONS):
            response = linearise(arms, mu)
            target = Hierarchy.of(problem(design, response, loadings, prior_centre(arms)))
            x = climb(target, np.zeros(target.dims) if x is None else x)
            mu = _fitted(design, arms, response, loadings, x)
        found = standing_apart(design, arms, target, x) if x is not None and spec.apart > 0 else None
        if found is None:
            return Linearisation(design, loadings, linearise(arms, mu), tuple(residuals))
        cell, residual = found
        residuals.append(residual)
        design = design.with_apart((cell,), spec.apart)


def _fitted(design: Design, arms: Arms, response: Response, loadings: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Levels of the arms at the mode x, outcome scale, shape (A,)."""
    scales = standard_deviations(design, x[None])
    link = loadings @ draw_effects(design, response, loadings, scales, None, prior_centre(arms))[0]
    return from_link(np.clip(link, -LOGIT_MAX, LOGIT_MAX) if arms.link == "logit" else link, arms.link)
