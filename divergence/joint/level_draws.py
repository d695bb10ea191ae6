"""Draws of every model's level in every context of the log: what `Fit` keeps of them, and what one asks of other servings.

    mu_mc = g^-1(z_mc b),    z_mc the loadings of model m in context c, b the draws of the effects, g the link

Those of the log's own contexts are made once a fit (`Fit.levels_of_new_items`, `Fit.levels_of_observed_items`): every
question starts from the same ones. Unit: that of the outcome.
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


def level_draws(fit: Fit) -> tuple[np.ndarray, np.ndarray]:
    """Draws of the levels of new items in the bench's contexts, and in those of deployment, (S, models, contexts) each."""
    return _kept(_on_outcome_scale(fit, False)), _kept(_on_outcome_scale(fit, True))


def observed_level_draws(fit: Fit) -> tuple[np.ndarray, np.ndarray]:
    """The same for the items of the log themselves; a context without rows has none, and keeps its level of new items."""
    seen, found = observed_item_levels(fit), []
    for deployed in (False, True):
        values, here = _on_outcome_scale(fit, deployed), fit.arms.deployed == deployed
        at = np.searchsorted(fit.design.contexts[fit.design.of_regime(deployed), 1], fit.arms.context[here])
        values[:, fit.arms.model[here], at] = seen[:, here]
        found.append(_kept(values))
    return found[0], found[1]


def _on_outcome_scale(fit: Fit, deployed: bool) -> np.ndarray:
    return from_link(link_levels(fit, fit.design.of_regime(deployed)), fit.arms.link)


def _kept(values: np.ndarray) -> np.ndarray:
    values.flags.writeable = False
    return values
