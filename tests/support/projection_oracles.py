"""The true amplifier of a simulated world, by loops over pairs of models: what bench gaps are worth in deployment.

Everything is a function of the true levels (`truth.truth`'s `level`, column 0 the bench), contexts with equal weights as
`draw` logs them. Written the slow and obvious way, as an oracle for the estimands.
"""

from __future__ import annotations

import itertools

import numpy as np

from divergence.numerics import NORMAL_95


def projection_truth(level: np.ndarray) -> dict[str, float]:
    """`tau_p`, `beta`, `PI0`, `g_05`, `leverage` (at the root mean square bench gap), `kendall`, `regret` of levels
    (models, 1 + contexts); `g_05` is infinite where the bench does not order deployment.
    """
    bench, deployed = level[:, 0], level[:, 1:].mean(1)
    gaps = [(bench[i] - bench[j], deployed[i] - deployed[j]) for i, j in itertools.combinations(range(len(level)), 2)]
    beta = sum(e * d for e, d in gaps) / sum(e * e for e, _ in gaps)
    tau = np.sqrt(np.mean([(d - beta * e) ** 2 for e, d in gaps]))
    square = np.mean([e * e for e, _ in gaps])
    return {
        "tau_p": float(tau),
        "beta": float(beta),
        "PI0": float(tau * np.sqrt(2 / np.pi)),
        "g_05": float(NORMAL_95 * tau / beta) if beta > 0 else np.inf,
        "leverage": float(tau**2 / (tau**2 + beta**2 * square)),
        "kendall": float(np.mean([np.sign(e) * np.sign(d) for e, d in gaps])),
        "regret": float(deployed.max() - deployed[bench.argmax()]),
    }


def stability_truth(level: np.ndarray, eps: float, tail: float = 0.1) -> dict[str, np.ndarray]:
    """Per model: `stability` (share of contexts within eps of the mean), `quantile` and `cvar` of the worst `tail`."""
    deployed = level[:, 1:]
    count = deployed.shape[1]
    inside = np.array([np.mean([abs(v - row.mean()) <= eps for v in row]) for row in deployed])
    low, worst = [], []
    for row in np.sort(deployed, 1):
        low.append(next(v for k, v in enumerate(row, 1) if k / count >= tail - 1e-12))
        left, total = tail, 0.0
        for v in row:  # the worst contexts, until a probability of `tail` is used up
            part = min(left, 1 / count)
            total, left = total + part * v, left - part
        worst.append(total / tail)
    return {"stability": inside, "quantile": np.array(low), "cvar": np.array(worst)}


def repeat_truth(p: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Success twice in a row per model, both times in one context and in two drawn anew.

    `p`: `truth.probabilities`, shape (models, 1 + contexts, shared nodes, moving nodes); what moves an item with the context
    is drawn anew in every context.
    """
    deployed = p[:, 1:]
    count = deployed.shape[1]
    square = np.einsum("mcij,i,j->mc", deployed**2, weights, weights)
    mean = np.einsum("mcij,j->mci", deployed, weights)
    across = np.zeros(len(p))
    for c in range(count):
        for d in range(count):
            both = square[:, c] if c == d else np.einsum("mi,mi,i->m", mean[:, c], mean[:, d], weights)
            across += both / count**2
    return {"within": square.mean(1), "across": across}


def dependability_truth(level: np.ndarray, required: float) -> float:
    """Phi(lambda) of the deployment contexts, from variance components written out."""
    deployed = level[:, 1:]
    grand = deployed.mean()
    model = [row.mean() - grand for row in deployed]
    context = [column.mean() - grand for column in deployed.T]
    left = [deployed[m, c] - grand - model[m] - context[c] for m in range(len(model)) for c in range(len(context))]
    signal = np.mean(np.square(model)) + (grand - required) ** 2
    return float(signal / (signal + np.mean(np.square(context)) + np.mean(np.square(left))))
