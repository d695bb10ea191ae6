"""The true values of a simulated world's estimands, for new items by quadrature and for the items of one log by summing.

Item terms that a context shares with every other (`b + zeta`) are the outer integral, what moves an item with the
context (`e + xi`) the inner one; sessions and waves are integrated inside `p`.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit, ndtr, ndtri

from divergence.simulate.worlds import Effects, World

NODES = 41


def normal_nodes(count: int = NODES) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Hermite nodes and weights of a standard normal law."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(count)
    return nodes, weights / weights.sum()


def probabilities(spec: World, effects: Effects) -> np.ndarray:
    """`p` of an item, shape (models, contexts, shared nodes, moving nodes), marginal over sessions and waves."""
    nodes, _ = normal_nodes()
    shared = np.hypot(spec.difficulty, spec.model_item) * effects.shared[:, None] * nodes
    eta = effects.eta[:, :, None, None] + shared[:, :, None] + effects.item_context[None, :, None, None] * nodes
    return _marginal(spec, effects, eta)


def _marginal(spec: World, effects: Effects, eta: np.ndarray) -> np.ndarray:
    """Chance of success over new sessions and the log's waves; `eta` has shape (models, contexts, ...)."""
    nodes, weights = normal_nodes()
    p = np.zeros_like(eta)
    for shift in effects.waves:
        if spec.session:
            inside = np.zeros_like(eta)
            for z, w in zip(nodes, weights, strict=True):
                inside += w * expit(eta + shift + spec.session * z)
            plain = expit(eta + shift)
            inside[:, 0] = plain[:, 0]  # the bench has no sessions
        else:
            inside = expit(eta + shift)
        p += inside / len(effects.waves)
    return p


def truth(spec: World, effects: Effects) -> dict[str, np.ndarray]:
    """Levels, gap, context effects, kappa, coupling and excess flips.

    Shapes: `level` (models, contexts) with column 0 the bench; `gap`, `kappa` (models,); `context_effect`
    (models, deployment contexts); `coupling` scalar; `excess_flips` (models, deployment contexts) against the bench.
    """
    _, weights = normal_nodes()
    p = probabilities(spec, effects)
    values = {**of_levels(np.einsum("mcij,i,j->mc", p, weights, weights)), "instrument": _instrument(spec, effects)}
    if spec.kind != "no_overlap":
        values["excess_flips"] = _excess_flips(spec, p, weights)
    return values


def observed_truth(spec: World, effects: Effects, eta: np.ndarray, answers: np.ndarray) -> dict[str, np.ndarray]:
    """The same, of the items of one log: levels, gap, context effects, kappa and coupling.

    `eta` (models, contexts, items) holds the items' own terms; `answers` (models, contexts, items) counts in a world of
    copies, where an answer that repeats itself is its own probability.
    """
    p = answers if spec.kind == "copies" else _marginal(spec, effects, eta)
    return of_levels(p.mean(2))


def of_levels(level: np.ndarray) -> dict[str, np.ndarray]:
    """What levels (models, contexts) with column 0 the bench say by themselves."""
    deployed = level[:, 1:]
    kappa = deployed.std(1)
    model = deployed.mean(1)
    interaction = deployed - model[:, None] - deployed.mean(0) + deployed.mean()
    s2_mc, s2_m = (interaction**2).mean(), ((model - model.mean()) ** 2).mean()
    return {
        "level": level,
        "gap": deployed.mean(1) - level[:, 0],
        "context_effect": deployed - level[:, :1],
        "kappa": kappa,
        "coupling": np.array(s2_mc / (s2_m + s2_mc) if s2_m + s2_mc > 0 else np.nan),
    }


def _excess_flips(spec: World, p: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """E_i (p_ic - p_ic')^2 of every deployment context against the bench, shape (models, contexts)."""
    mean = np.einsum("mcij,j->mci", p, weights)
    square = np.einsum("mcij,j->mci", p**2, weights)
    if spec.kind == "copies":  # the answer itself is the probability: p is 0 or 1
        return _disagreement(spec, p, weights)
    return np.einsum("mci,i->mc", square[:, :1] + square[:, 1:] - 2 * mean[:, :1] * mean[:, 1:], weights)


def _disagreement(spec: World, p: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """P(y_c != y_c') for answers that share one latent factor with correlation `spec.copula`."""
    nodes, node_weights = normal_nodes(81)
    cut = ndtri(np.clip(p, 1e-12, 1 - 1e-12))
    agree = np.zeros(p.shape[:3])
    for z, w in zip(nodes, node_weights, strict=True):
        chance = ndtr((cut - np.sqrt(spec.copula) * z) / np.sqrt(1 - spec.copula))
        mean = np.einsum("mcij,j->mci", chance, weights)
        agree += w * (mean[:, :1] * mean + (1 - mean[:, :1]) * (1 - mean))
    return 1 - np.einsum("mci,i->mc", agree[:, 1:], weights)


def _instrument(spec: World, effects: Effects) -> np.ndarray:
    """Points of each wave minus the mean over waves, averaged over models and contexts, regimes alike."""
    nodes, weights = normal_nodes()
    sd = np.sqrt((spec.difficulty**2 + spec.model_item**2) * effects.shared**2 + effects.item_context**2)
    levels = np.stack(
        [
            np.einsum("mci,i->mc", expit(effects.eta[..., None] + shift + sd[None, :, None] * nodes), weights)
            for shift in effects.waves
        ]
    )
    per_wave = (levels[:, :, 0].mean(1) + levels[:, :, 1:].mean((1, 2))) / 2
    return per_wave - per_wave.mean()
