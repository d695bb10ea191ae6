"""How much of a standard deviation's posterior is the prior's doing? Power-scaling (Kallioinen et al. 2023).

    p_alpha(x | data)  ~  p(data | x) p(x_k)^alpha        the prior of one scale raised to a power near 1
    D = ( d(p_alpha, p) + d(p_1/alpha, p) ) / (2 log2 alpha),   alpha = 1.25

with `d` the cumulative Jensen-Shannon distance of the scale's own posterior, from the fit's draws by importance weights.
The same with the likelihood raised to the power says how much the data have to say. D of the prior above `SENSITIVE` is a
warning: *weak data* where the likelihood's is below it (with two contexts the scale over contexts is the prior, and so
are predictive intervals for new contexts), *both* where both are above: the data speak, and the declared width still moves
the answer. The prior that is scaled is the declared one, of the standard deviation itself: a power of a half-normal law is
again one, of another width, which is the question that a user asks. The correlation has no width, and a density without
bound at 1, and theta_D is a ratio to theta_E: the normal laws of their coordinates are scaled. Unit: none.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from divergence.joint.coordinates import half_normal
from divergence.joint.design import free_terms, layout_of
from divergence.joint.pareto import smoothed_weights
from divergence.joint.posterior import Posterior, hierarchy_of

SENSITIVE = 0.05  # Kallioinen, Paananen, Buerkner and Vehtari 2023: a normal mean moved by .3 sd when the prior doubles
ALPHA = 1.25


def prior_sensitivity(posterior: Posterior, *, outcome: str | None = None) -> pl.DataFrame:
    """One row a scale: scale, levels, prior, likelihood (both D), verdict (null, `weak data` or `both`)."""
    fit = posterior[outcome]
    target, x = hierarchy_of(fit), fit.x
    log_likelihood = target.density(x) + 0.5 * np.square(x).sum(1)
    rows = []
    for name, k in _coordinates(fit):
        prior = _distance(x[:, k], _declared(name, x[:, k]))
        data = _distance(x[:, k], log_likelihood)
        verdict = None if prior <= SENSITIVE else "weak data" if data <= SENSITIVE else "both"
        rows.append({"scale": name, "levels": _levels(fit, name), "prior": prior, "likelihood": data, "verdict": verdict})
    return pl.DataFrame(rows, schema_overrides={"verdict": pl.String})


def _declared(name: str, x: np.ndarray) -> np.ndarray:
    """Log density of the declared prior at the scale itself, up to a constant, at coordinates x (S,)."""
    return -0.5 * (x if name in ("rho", "theta_D") else half_normal(x, 1.0)) ** 2


def _coordinates(fit) -> list[tuple[str, int]]:
    layout = layout_of(fit.design)
    names = [("theta_E", 0), ("theta_D", 1), ("rho", 2)]
    names += [(term.name, layout.term(k)) for k, term in enumerate(free_terms(fit.design))]
    return [*names, ("tau_s", layout.spread)] if fit.design.instability > 0 else names


def _levels(fit, name: str) -> int:
    """Effects (or scales) that the scale rules."""
    if name == "tau_s":
        return fit.design.n_models
    columns = fit.design.term("theta_E" if name == "rho" else name).columns
    return columns.stop - columns.start


def _distance(draws: np.ndarray, log_density: np.ndarray) -> float:
    parts = []
    for power in (ALPHA, 1 / ALPHA):
        weight, _ = smoothed_weights((power - 1) * log_density)
        parts.append(cumulative_jensen_shannon(draws, weight))
    return float(sum(parts) / (2 * np.log2(ALPHA)))


def cumulative_jensen_shannon(draws: np.ndarray, weight: np.ndarray) -> float:
    """Distance of the weighted from the unweighted draws, 0..1, symmetric in the direction of the axis.

    sqrt( (CJS(P, Q) + CJS(Q, P)) / (int P + int Q) ) of distribution functions (Nguyen and Vreeken 2015), the larger one
    of the axis and its mirror.
    """
    return max(_one_sided(draws, weight), _one_sided(-draws, weight))


def _one_sided(draws: np.ndarray, weight: np.ndarray) -> float:
    order = np.argsort(draws, kind="stable")
    width = np.diff(draws[order])
    p = np.arange(1, len(draws)) / len(draws)
    q = np.minimum(np.cumsum(weight[order])[:-1], 1.0)
    total = (width * (p + q)).sum()
    if total <= 0:
        return 0.0

    def part(a: np.ndarray, b: np.ndarray) -> float:
        mixed = 0.5 * (a + b)
        terms = np.where(a > 0, a * np.log2(np.where(a > 0, a, 1.0) / np.where(mixed > 0, mixed, 1.0)), 0.0)
        return float((width * terms).sum() + 0.5 / np.log(2) * (width * (b - a)).sum())

    return float(np.sqrt(max(part(p, q) + part(q, p), 0.0) / total))
