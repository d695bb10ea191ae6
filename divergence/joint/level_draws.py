"""Draws of every model's level in every context of the log: what `Fit` keeps of them, and what one asks of other servings.

    mu_mc = g^-1(z_mc b),    z_mc the loadings of model m in context c, b the draws of the effects, g the link

The levels that the log declares are made once a fit (`Fit.bench_levels`, `Fit.deployed_levels`): every question starts from
the same ones. Unit: that of the outcome.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from divergence.joint.link import from_link
from divergence.joint.populations import observed_item_levels

if TYPE_CHECKING:
    from divergence.joint.posterior import Fit


def link_levels(fit: Fit, contexts: np.ndarray, mixtures: dict[str, np.ndarray] | None = None) -> np.ndarray:
    """Draws of `eta` of every model in these contexts (indices into `design.contexts`), shape (S, models, contexts)."""
    design, count = fit.design, fit.design.n_models
    models = np.repeat(np.arange(count), len(contexts))
    where = np.tile(contexts, count)
    spread = {f: np.tile(m, (count, 1)) for f, m in mixtures.items()} if mixtures else None
    make = design.loadings if fit.arms.covariance is not None else design.sparse_loadings
    z = make(models, design.contexts[where, 0] == 1, where, spread)
    return (fit.effects @ z.T).reshape(len(fit.effects), count, len(contexts))


def level_draws(fit: Fit, deployed: bool, items: str) -> np.ndarray:
    """Draws of the levels in a regime's contexts, for `new` items or the `observed` ones, shape (S, models, contexts)."""
    mine = fit.design.of_regime(deployed)
    values = from_link(link_levels(fit, mine), fit.arms.link)
    if items == "observed":
        here = fit.arms.deployed == deployed
        at = np.searchsorted(fit.design.contexts[mine, 1], fit.arms.context[here])
        values[:, fit.arms.model[here], at] = observed_item_levels(fit)[:, here]
    values.flags.writeable = False
    return values
