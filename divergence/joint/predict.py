"""Levels of every model in every context, on the outcome scale: every estimand starts here and re-derives nothing."""

from __future__ import annotations

import dataclasses

import numpy as np

from divergence.errors import InputError
from divergence.joint.laws import Law, law_weights
from divergence.joint.link import from_link
from divergence.joint.populations import observed_item_levels
from divergence.joint.posterior import Fit
from divergence.joint.unseen_context import unseen_link


@dataclasses.dataclass(frozen=True)
class Levels:
    """Draws of `mu_mc` and the law over contexts."""

    draws: np.ndarray
    """Levels, shape (S, models, contexts), on the outcome scale."""
    models: tuple[str, ...]
    """Model names."""
    contexts: tuple[str, ...]
    """Context labels of this regime."""
    law: np.ndarray
    """Weights of the contexts, shape (models, contexts), each row summing to one."""
    observed: np.ndarray
    """Cells with judged rows; the others are filled by the model. Shape (models, contexts)."""

    def of_models(self, keep: np.ndarray) -> Levels:
        """The same for some models, `keep` a mask (models,)."""
        names = tuple(name for name, kept in zip(self.models, keep, strict=True) if kept)
        return Levels(self.draws[:, keep], names, self.contexts, self.law[keep], self.observed[keep])

    def mean(self) -> np.ndarray:
        """Level of each model under the law, shape (S, models)."""
        return np.einsum("smc,mc->sm", self.draws, self.law)


def levels(
    fit: Fit, regime: str, law: Law | None = None, *, items: str | None = None, contexts: str = "logged", count: int = 1
) -> Levels | None:
    """Levels in a regime's contexts; None when the log has no row of that regime. `law` overrides the log's own.

    | `items` | `contexts` | population |
    |---|---|---|
    | `new` | `logged` | items are a sample, contexts are those of the log (the default) |
    | `observed` | `logged` | the items of the log themselves |
    | `new` | `new` | `count` deployment contexts that the log never saw, drawn anew in each draw, of equal weight |

    `items` = None: what the log's configuration declares; new contexts have new items, and `law` says nothing of
    them. Raises InputError for any other population.
    """
    if items is None:
        items = fit.cells.items if contexts == "logged" else "new"
    _check_population(regime, items, contexts, count)
    design = fit.design
    mine = np.flatnonzero(design.contexts[:, 0] == (regime == "deployment"))
    if not len(mine):
        return None
    link = link_levels(fit, mine)
    names = tuple(fit.cells.levels["context"][c] for c in design.contexts[mine, 1])
    observed = np.zeros((design.n_models, len(mine)), bool)
    here = fit.arms.deployed == (regime == "deployment")
    observed[fit.arms.model[here], np.searchsorted(design.contexts[mine, 1], fit.arms.context[here])] = True
    values = from_link(link, fit.arms.link)
    if items == "observed":
        at = np.searchsorted(design.contexts[mine, 1], fit.arms.context[here])
        values[:, fit.arms.model[here], at] = observed_item_levels(fit)[:, here]
    chosen = law if law is not None else (fit.cells.declared_law if regime == "deployment" else "logged")
    weights = law_weights(fit, regime, names, chosen)
    if contexts == "new":
        shape = (design.n_models, count)
        return Levels(
            from_link(unseen_link(fit, link, count), fit.arms.link),
            fit.cells.levels["model"],
            tuple(f"(new {k + 1})" for k in range(count)),
            np.full(shape, 1 / count),
            np.zeros(shape, bool),
        )
    return Levels(values, fit.cells.levels["model"], names, weights, observed)


def _check_population(regime: str, items: str, contexts: str, count: int) -> None:
    for name, seen, choices in (("items", items, ("new", "observed")), ("contexts", contexts, ("logged", "new"))):
        if seen not in choices:
            raise InputError(f"the population {name}={seen!r} is not known; choose {' or '.join(map(repr, choices))}")
    if contexts == "new" and items == "observed":
        raise InputError('items="observed" in contexts="new" is no population of this log: its items were not tried there')
    if contexts == "new" and regime != "deployment":
        raise InputError(f'contexts="new" are deployment contexts, seen regime {regime!r}')
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise InputError(f"count is how many new contexts a draw has, a whole number from 1 on, seen {count!r}")


def link_levels(fit: Fit, contexts: np.ndarray, mixtures: dict[str, np.ndarray] | None = None) -> np.ndarray:
    """Draws of `eta` of every model in these contexts (indices into `design.contexts`), shape (S, models, contexts)."""
    design, count = fit.design, fit.design.n_models
    models = np.repeat(np.arange(count), len(contexts))
    where = np.tile(contexts, count)
    spread = {f: np.tile(m, (count, 1)) for f, m in mixtures.items()} if mixtures else None
    make = design.loadings if fit.arms.covariance is not None else design.sparse_loadings
    z = make(models, design.contexts[where, 0] == 1, where, spread)
    return (fit.effects @ z.T).reshape(len(fit.effects), count, len(contexts))
