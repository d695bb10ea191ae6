"""The arrays that the joint model is conditioned on, padded so that alike logs share one compilation."""

from __future__ import annotations

import numpy as np

from divergence.joint.arms import Arms
from divergence.joint.design import Design

ARM_BUCKETS = (8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
TERM_BUCKET = 4


def problem(design: Design, arms: Arms, loadings: np.ndarray) -> dict[str, np.ndarray]:
    """The `data` of `model.joint_model`. Padded arms are independent of all others, padded terms do nothing."""
    value = arms.value - _centre(arms)
    size = next((b for b in ARM_BUCKETS if b >= len(arms)), len(arms))

    def product(name: str, other: str | None = None) -> np.ndarray:
        first = loadings[:, design.term(name).columns]
        second = loadings[:, design.term(other).columns] if other else first
        out = np.zeros((size, size))
        out[: len(arms), : len(arms)] = first @ second.T
        return out

    free = free_terms(design)
    count = -(-max(len(free), 1) // TERM_BUCKET) * TERM_BUCKET
    products = np.zeros((count, size, size))
    widths = np.ones(count)
    for k, term in enumerate(free):
        products[k], widths[k] = product(term.name), term.width
    fixed = sum(design.term(name).width ** 2 * product(name) for name in ("alpha", "shift") if design.has(name))
    covariance = np.eye(size)
    covariance[: len(arms), : len(arms)] = arms.covariance
    cross = product("theta_E", "theta_D")
    return {
        "value": np.r_[value, np.zeros(size - len(arms))], "covariance": covariance, "products": products,
        "widths": widths, "fixed": fixed, "bench": product("theta_E"), "deployed": product("theta_D"),
        "cross": cross + cross.T, "ability": np.array(design.term("theta_E").width),
    }


def _centre(arms: Arms) -> float:
    """Where the prior of alpha is centred: 0 on the logit scale; times and costs have no natural unit, so their mean."""
    return 0.0 if arms.link == "logit" else float(arms.value.mean())


def free_terms(design: Design) -> list:
    """Terms whose standard deviation is sampled, in the order of the coordinates after theta's three."""
    return [t for t in design.terms if t.name not in ("alpha", "shift", "theta_E", "theta_D")]


def draw_effects(design: Design, arms: Arms, loadings: np.ndarray, sd: dict[str, np.ndarray],
                 rng: np.random.Generator) -> np.ndarray:
    """Effects given standard deviations, one draw each, shape (S, P): exact (Matheron's rule).

    `sd` maps term names to draws (S,), and `rho` to those of the correlation of theta_E and theta_D.
    """
    draws = len(sd["rho"])
    out = np.empty((draws, design.size))
    root = np.linalg.cholesky(arms.covariance)
    centre = np.zeros(design.size)
    centre[design.term("alpha").columns] = _centre(arms)
    bench, deployed = design.term("theta_E").columns, design.term("theta_D").columns
    for start in range(0, draws, 250):  # bounds memory at 250 A x A systems
        part = slice(start, min(start + 250, draws))
        count = part.stop - part.start
        scale = np.empty((count, design.size))
        for term in design.terms:
            scale[:, term.columns] = sd[term.name][part, None] if term.name in sd else term.width
        rho = sd["rho"][part, None]
        unit = rng.standard_normal((count, design.size))
        unit[:, deployed] = rho * unit[:, bench] + np.sqrt(1 - rho**2) * unit[:, deployed]
        prior = scale * unit
        noise = rng.standard_normal((count, len(arms))) @ root.T
        gap = arms.value - centre @ loadings.T - prior @ loadings.T - noise
        weighted = scale[:, None, :] * loadings  # (count, A, P)
        total = weighted @ np.swapaxes(weighted, 1, 2) + arms.covariance
        mixed = rho[:, :, None] * weighted[:, :, bench] @ np.swapaxes(weighted[:, :, deployed], 1, 2)
        total += mixed + np.swapaxes(mixed, 1, 2)
        solved = np.linalg.solve(total, gap[:, :, None])[:, :, 0]
        pull = np.einsum("sap,sa->sp", weighted, solved)
        twisted = pull.copy()
        twisted[:, bench] += rho * pull[:, deployed]
        twisted[:, deployed] += rho * pull[:, bench]
        out[part] = centre + prior + scale * twisted
    return out
