"""A fit as an ArviZ `DataTree` with named dimensions: posterior, prior, and what was observed.

Effects are on the link scale (logit for scores, log for times and costs). A dimension names what its effects belong to:
`model`, `context`, `FACTOR_level`. Prior draws are of the same terms before the log was seen, with the fit's seed: standard
deviations from their half-normal priors, effects from normals of those. Observed is one level an arm.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from divergence.random_streams import stream

if TYPE_CHECKING:
    from divergence.joint.design import Term
    from divergence.joint.posterior import Fit

Deviations = Callable[[np.ndarray], dict[str, np.ndarray]]
"""Coordinates (S, dims) to standard deviations by term."""

PRIOR_DRAWS = 1000


def to_arviz(fit: Fit, deviations: Deviations, centre: float):
    """The fit's groups `posterior`, `prior` and `observed_data`; `centre` is the prior mean of `alpha`."""
    from arviz_base import from_dict

    coords, dims = _coordinates(fit)
    scales, effects = prior_draws(fit, PRIOR_DRAWS, deviations, centre)
    spread = np.sqrt(fit.arms.variance)
    observed = {"level": fit.arms.level, "level_se": spread, "level_clusters": fit.arms.clusters}
    tree = from_dict(
        {
            "posterior": _variables(fit, fit.scales, fit.effects),
            "prior": _variables(fit, scales, effects),
            "observed_data": observed,
        },
        coords=coords,
        dims=dims,
        attrs={"/": {"method": fit.described_method, "outcome": fit.cells.outcome, "link": fit.arms.link}},
    )
    seen = tree["observed_data"]
    seen.dataset = seen.to_dataset().assign_coords(_arm_names(fit))
    return tree


def prior_draws(fit: Fit, count: int, deviations: Deviations, centre: float) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Standard deviations (as `Fit.scales`) and effects (count, P) from their priors."""
    design, rng = fit.design, stream(fit.seed, "prior draws")
    scales = deviations(rng.standard_normal((count, fit.x.shape[1])))
    unit = rng.standard_normal((count, design.size))
    bench, deployed = design.term("theta_E").columns, design.term("theta_D").columns
    rho = scales["rho"][:, None]
    unit[:, deployed] = rho * unit[:, bench] + np.sqrt(1 - rho**2) * unit[:, deployed]
    effects = np.empty_like(unit)
    for term in design.terms:
        sd = scales[term.name].reshape(count, -1) if term.name in scales else np.full((count, 1), term.width)
        wide = np.repeat(sd, (term.columns.stop - term.columns.start) // sd.shape[1], axis=1)
        effects[:, term.columns] = wide * unit[:, term.columns]
    effects[:, design.term("alpha").columns] += centre
    return scales, effects


def _named(term: str) -> str:
    return term.replace(":", "_")


def _variables(fit: Fit, scales: dict[str, np.ndarray], effects: np.ndarray) -> dict[str, np.ndarray]:
    """Every variable with a leading chain of one."""
    found = {f"sd_{_named(name)}": draws[None] for name, draws in scales.items()}
    for term in fit.design.terms:
        shape = tuple(len(names) for _, names in _axes(fit, term))
        found[_named(term.name)] = effects[None, :, term.columns].reshape(1, len(effects), *shape)
    return found


def _axes(fit: Fit, term: Term) -> list[tuple[str, list[str]]]:
    """Dimension and names along each axis of a term's effects; none for a single number."""
    return [(axis, _names(fit, axis)) for axis in term.kind.axes]


def _names(fit: Fit, axis: str) -> list[str]:
    design = fit.design
    if axis == "model":
        return list(fit.cells.levels["model"])
    if axis == "context":
        return [fit.cells.levels["context"][c] for c in np.unique(design.contexts[:, 1])]
    factor = axis.removesuffix("_level")
    return [level for k, level in enumerate(design.levels[factor]) if k != design.reference[factor]]


def _coordinates(fit: Fit) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Names along each dimension, and the dimensions of each variable."""
    coords: dict[str, list[str]] = {"arm": [f"arm {k}" for k in range(len(fit.arms))]}
    dims = {name: ["arm"] for name in ("level", "level_se", "level_clusters")}
    for term in fit.design.terms:
        axes = _axes(fit, term)
        coords |= dict(axes)
        dims[_named(term.name)] = [name for name, _ in axes]
    for name, draws in fit.scales.items():
        if draws.ndim > 1:  # levels, or models, with scales of their own
            axis = next(a for a in _axes(fit, fit.design.term(name)) if len(a[1]) == draws.shape[1])
            dims[f"sd_{_named(name)}"] = [axis[0]]
    return coords, dims


def _arm_names(fit: Fit) -> dict[str, tuple[str, list[str]]]:
    """Model, regime and context of each arm, as coordinates along `arm`."""
    levels, arms = fit.cells.levels, fit.arms
    return {
        "arm_model": ("arm", [levels["model"][m] for m in arms.model]),
        "arm_regime": ("arm", ["deployment" if d else "evaluation" for d in arms.deployed]),
        "arm_context": ("arm", [levels["context"][c] for c in arms.context]),
    }
