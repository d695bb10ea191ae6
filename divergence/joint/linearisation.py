"""What the hierarchy is conditioned on: where levels are linearised, and what it must let stand apart.

The working response depends on fitted levels, these on the standard deviations, these on the working response: a few rounds
at the mode settle it (`link`). Then one combination after the other that stands apart gets a scale of its own, and models
that deployment treats unlike all others keep their effects (`unlike_models`).
"""

from __future__ import annotations

import dataclasses

import numpy as np

from divergence.joint.arms import Arms, prior_centre
from divergence.joint.block_hierarchy import BlockHierarchy
from divergence.joint.design import Design, arm_loadings
from divergence.joint.hierarchy import Hierarchy
from divergence.joint.importance import climb
from divergence.joint.link import Response, from_link, linearise, start
from divergence.joint.posterior import standard_deviations
from divergence.joint.problem import Loadings, density_of, draw_effects, target_data
from divergence.joint.spec import Spec
from divergence.joint.standing_apart import standing_apart
from divergence.joint.unlike_models import Unlike, unlike_models

Density = Hierarchy | BlockHierarchy
Peak = tuple[np.ndarray, np.ndarray]
"""A mode (dims,) and what its search took for the inverse of the curvature (dims, dims)."""
LINEARISATIONS = 2  # refinements of the working response; a third moved bench levels by at most .07 of their sd
LOGIT_MAX = 7.0  # a fitted level outside .001 .. .999 is not told apart from these by any log of this size


@dataclasses.dataclass(frozen=True)
class Linearisation:
    """A design, the working response of its arms, and what made it so."""

    design: Design
    """With the combinations that stand apart."""
    loadings: Loadings
    """Z of the arms, shape (A, P)."""
    telling: Loadings
    """The same in the density of the standard deviations (`Design.telling`)."""
    response: Response
    """Of the last linearisation."""
    residuals: tuple[float, ...]
    """Of the combinations that stand apart: residuals in standard errors when they were found."""
    own: Unlike
    """Which models deployment treats unlike all others."""
    mode: np.ndarray
    """Of the coordinates, at the last linearisation but one, shape (dims,)."""


def linearisation(design: Design, arms: Arms, spec: Spec) -> Linearisation:
    """From arm levels to what the density of the standard deviations is made of."""
    cells, residuals, peak = _apart(design, arms, spec) if spec.apart > 0 and design.has("delta") else ((), (), None)
    design = design.with_apart(cells, spec.apart)
    target, peak, mu = _settled(design, arms, start(arms), peak)
    loadings, telling, response = arm_loadings(design, arms), arm_loadings(design, arms, telling=True), linearise(arms, mu)
    nobody = Unlike.nothing(design.n_models)
    own = unlike_models(design, telling, target, peak[0]) if spec.apart > 0 else nobody
    return Linearisation(design, loadings, telling, response, residuals, own, peak[0])


def _apart(design: Design, arms: Arms, spec: Spec) -> tuple[tuple[tuple[int, int, int], ...], tuple[float, ...], Peak]:
    """The combinations that stand apart, one after the other, their residuals when they were found, and the last peak.

    Looked for as if all combinations could do alike much: one that changes many answers would else be expected to.
    """
    plain, residuals, mu = dataclasses.replace(design, moved=None, telling=None, hinged=False), [], start(arms)
    peak = None
    while True:
        target, peak, mu = _settled(plain, arms, mu, peak)
        found = standing_apart(plain, arms, target, peak[0])
        if found is None:
            return plain.apart, tuple(residuals), peak
        residuals.append(found[1])
        plain = plain.with_apart((found[0],), spec.apart)


def _settled(design: Design, arms: Arms, mu: np.ndarray, peak: Peak | None) -> tuple[Density, Peak, np.ndarray]:
    """The density of the last linearisation, its peak, and the levels fitted there, outcome scale, shape (A,).

    `peak`: of an alike density, where there was one.
    """
    loadings, telling = arm_loadings(design, arms), arm_loadings(design, arms, telling=True)

    def step(mu: np.ndarray, peak: Peak | None) -> tuple[Density, Peak, np.ndarray]:
        response = linearise(arms, mu)
        target = density_of(target_data(design, response, telling, prior_centre(arms)))
        alike = peak is not None and len(peak[0]) == target.dims  # a combination that stands apart has a coordinate more
        peak = climb(target, *peak) if peak is not None and alike else climb(target, np.zeros(target.dims))
        return target, peak, _fitted(design, arms, response, loadings, peak[0])

    target, peak, mu = step(mu, peak)
    for _ in range(LINEARISATIONS - 1):
        target, peak, mu = step(mu, peak)
    return target, peak, mu


def _fitted(design: Design, arms: Arms, response: Response, loadings: Loadings, x: np.ndarray) -> np.ndarray:
    """Levels of the arms at the mode x, outcome scale, shape (A,)."""
    scales = standard_deviations(design, x[None])
    link = loadings @ draw_effects(design, response, loadings, scales, None, prior_centre(arms))[0]
    return from_link(np.clip(link, -LOGIT_MAX, LOGIT_MAX) if arms.link == "logit" else link, arms.link)
