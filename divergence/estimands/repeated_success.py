"""Success k times in a row, when every try stays in one serving context and when each meets a context anew.

    within = E_{c ~ Q} E_i p_ic^k,        across = E_i (E_{c ~ Q} p_ic)^k,        within - across >= 0

The difference is what item-by-context movement adds to all-k success when retries stay where they are. Both are unbiased
U-statistics of replicates: `p^j` of an item in a context is the share of its j-tuples of different replicates that all
succeeded, `(E_c p)^k` the sum over the ways to deal k tries to contexts. With copies (greedy decoding) a retry repeats
itself, and that is what is counted. Items: those with k replicates in every context of the law; new items by the
Bayesian bootstrap within tasks. Source: pass^k of Yao et al. 2024 (arXiv 2406.12045) with contexts.
"""

from __future__ import annotations

import math

import numpy as np

from divergence.cells.replicates import replicates
from divergence.estimands.rows import context_codes
from divergence.joint.posterior import Fit


def repeated_success(
    fit: Fit, model: int, contexts: np.ndarray, law: np.ndarray, k: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray] | str:
    """Draws of (within, across) of one model, each (S,), or the reason why the log does not identify them.

    `contexts` index `fit.design.contexts`; `law` has their weights.
    """
    used = law > 0
    data, items = replicates(fit.cells, model, context_codes(fit)[contexts[used]])
    whole = data.pooled()
    n, y = whole.n[:, 0], whole.y[:, 0]
    if k > 2 and (whole.pairs[:, 0] != n * (n - 1)).any():
        judges = len(
            np.unique(fit.cells.counts["scorer"][(fit.cells.counts["n"] > 0) & (fit.cells.counts["model"] == model)])
        )
        if judges > 1:
            return f"several scorers of one answer are no tries: success {k} times needs one scorer"
        return f"tries of one session are no replicates of each other: success {k} times needs rows without sessions"
    known = (whole.pairs[:, 0] > 0).all(0) if k == 2 else (n >= k).all(0)
    if known.sum() < 2:
        return (
            f"{known.sum()} items have {k} replicates in every deployment context of the model; success {k} times in a row "
            "needs two"
        )
    n, y, items = n[:, known], y[:, known], items[:, known]
    power = [np.ones_like(n), y / n]
    if k >= 2:
        power.append(whole.products[:, 0, known] / whole.pairs[:, 0, known])
    power += [_falling(y, j) / _falling(n, j) for j in range(3, k + 1)]
    within = law[used] @ power[k]
    weight = _bootstrap(items[0], len(fit.effects), rng)
    return weight @ within, weight @ _dealt(np.stack(power), law[used], k)


def _dealt(power: np.ndarray, law: np.ndarray, k: int) -> np.ndarray:
    """(E_c p)^k of each item, from `power` (k + 1, contexts, items): the coefficient of t^k of a product of polynomials."""
    series = [np.ones(power.shape[2])] + [np.zeros(power.shape[2])] * k
    for c, weight in enumerate(law):
        series = [
            np.sum([series[total - j] * weight**j * power[j, c] / math.factorial(j) for j in range(total + 1)], 0)
            for total in range(k + 1)
        ]
    return math.factorial(k) * series[k]


def _falling(x: np.ndarray, j: int) -> np.ndarray:
    return np.prod([x - i for i in range(j)], axis=0)


def _bootstrap(task: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Bayesian-bootstrap weights of items within tasks, tasks kept in their proportions, shape (draws, items)."""
    weight = rng.standard_exponential((draws, len(task)))
    for t in np.unique(task):
        mine = task == t
        weight[:, mine] *= mine.mean() / weight[:, mine].sum(1, keepdims=True)
    return weight
