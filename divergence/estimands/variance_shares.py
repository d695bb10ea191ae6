"""How much of what moves levels between contexts does each serving factor account for, when factors go together?

    mu_c = x_1c + ... + x_Fc + rest_c,        v(F) = Var_{c ~ Q} sum_{f in F} x_fc / Var_{c ~ Q} mu_c

`x_fc` is the effect of the level that factor f has in context c. A factor's share is what v gains when it is added, and
where factors are correlated over the contexts of a log that depends on which were added before it. So it is given as the
mean over all orders (the Shapley value, here `Cov(x_f, mu) / Var(mu)`; shares and the rest add up to 1) between the
smallest and the largest gain over orders. A share is negative where a factor works against what moves the rest.
Factors that the design cannot tell apart have no share of their own: between nothing (added last) and what their levels
alone could account for (added first, an R^2).
Source: Shapley 1953; Owen 2014 (of a variance); Groemping 2007 (averaging over orders).
"""

from __future__ import annotations

import numpy as np


def shares(parts: np.ndarray, level: np.ndarray, law: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, smallest and largest gain of each part over orders, each (S, parts).

    `parts` (S, parts, contexts) add up to `level` (S, contexts) up to a constant; `law` (contexts,).
    """
    centred = parts - (parts @ law)[..., None]
    total = level - (level @ law)[:, None]
    scale = _positive((total**2) @ law)[:, None]
    covariance = np.einsum("sfc,sgc,c->sfg", centred, centred, law)
    own = np.einsum("sff->sf", covariance)
    others = covariance - own[:, :, None] * np.eye(parts.shape[1])
    mean = np.einsum("sfc,sc,c->sf", centred, total, law)
    least, most = own + 2 * np.minimum(others, 0).sum(2), own + 2 * np.maximum(others, 0).sum(2)
    return mean / scale, least / scale, most / scale


def alone(level: np.ndarray, law: np.ndarray, mixture: np.ndarray) -> np.ndarray:
    """Share of the variance of `level` (S, contexts) that a factor's levels (contexts, levels) could account for, (S,)."""
    root = np.sqrt(law)
    scaled = (level - (level @ law)[:, None]) * root
    left, size, _ = np.linalg.svd((mixture - law @ mixture) * root[:, None], full_matrices=False)
    return ((scaled @ left[:, size > 1e-9]) ** 2).sum(1) / _positive((scaled**2).sum(1))


def _positive(variance: np.ndarray) -> np.ndarray:
    return np.where(variance > 0, variance, 1.0)
