"""How well is a serving context predicted that was not seen? Leave-one-context-out, for every deployment context.

The arms of one context are held out together. Given the standard deviations the rest predicts them exactly,

    y_c | y_-c, x ~ N( y_c - (L_cc)^-1 (L y)_c,  (L_cc)^-1 ),    L = S(x)^-1,

and the draws of x are reweighted by 1 / p(y_c | y_-c, x), Pareto-smoothed (Vehtari, Gelman and Gabry 2017), so nothing is
fitted again. `elpd` is the log predictive density of the held-out levels; `covered` the share of them inside their 90 %
predictive intervals, sampling noise included; `k_hat` says whether the reweighting can be trusted. The items are known from
the other contexts, only the context is new. Needs three deployment contexts. Unit: nats; share.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from scipy.special import logsumexp, ndtr

from divergence.errors import NotIdentifiedError
from divergence.joint.methods import K_HAT_MAX
from divergence.joint.pareto import smoothed_weights
from divergence.joint.posterior import Posterior, hierarchy_of

DRAWS = 500  # of x: the predictive law is a mixture of that many normal laws
CONTEXTS_MIN = 3


def new_context_check(posterior: Posterior, *, outcome: str | None = None) -> pl.DataFrame:
    """One row a held-out deployment context: context, arms, elpd, covered, rmse (link scale), k_hat, trusted.

    Raises NotIdentifiedError below three deployment contexts.
    """
    fit = posterior[outcome]
    contexts = np.unique(fit.arms.context[fit.arms.deployed])
    if len(contexts) < CONTEXTS_MIN:
        raise NotIdentifiedError(f"the log has {len(contexts)} deployment contexts; to predict one from the others takes "
                                 f"{CONTEXTS_MIN}")
    target = hierarchy_of(fit)
    x = fit.x[np.linspace(0, len(fit.x) - 1, min(DRAWS, len(fit.x))).astype(int)]
    precision = np.linalg.inv(target.covariances(x))
    pulled = precision @ target.value
    rows = []
    for c in contexts:
        held = np.flatnonzero((fit.arms.context == c) & fit.arms.deployed)
        block = np.linalg.inv(precision[:, held[:, None], held])
        left = np.einsum("sab,sb->sa", block, pulled[:, held])  # y_c minus its prediction
        log_p = -0.5 * ((left * pulled[:, held]).sum(1) + np.linalg.slogdet(2 * np.pi * block)[1])
        weight, k_hat = smoothed_weights(-log_p)
        spread = np.sqrt(np.einsum("saa->sa", block))
        below = weight @ ndtr(left / spread)  # predictive probability below the observed level
        rows.append({
            "context": fit.cells.levels["context"][c], "arms": len(held),
            "elpd": float(logsumexp(log_p, b=weight)), "covered": float(((below > 0.05) & (below < 0.95)).mean()),
            "rmse": float(np.sqrt(np.mean((weight @ left) ** 2))), "k_hat": k_hat, "trusted": k_hat < K_HAT_MAX,
        })
    return pl.DataFrame(rows)
