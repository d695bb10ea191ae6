"""Levels of every model in every context, on the outcome scale: every estimand starts here and re-derives nothing."""

from __future__ import annotations

import dataclasses

import numpy as np

from divergence.errors import InputError
from divergence.joint.laws import Law, context_names, law_weights
from divergence.joint.posterior import Fit
from divergence.joint.unseen_context import unseen_levels

POPULATIONS = ("new", "observed")
"""Of items: like those of the log, or these very ones."""
NO_POPULATION = 'items="observed" in contexts="new" is no population of this log: its items were not tried there'


@dataclasses.dataclass(frozen=True)
class Levels:
    """Draws of `mu_mc` and the law over contexts."""

    draws: np.ndarray
    """Levels, shape (S, models, contexts), on the outcome scale; read only."""
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
    | `observed` | `logged` | the items of the log themselves; where traffic replays a part of a bench, all of the bench's |
    | `new` | `new` | `count` deployment contexts that the log never saw, drawn anew in each draw, of equal weight |

    `items` = None: what the log's configuration declares; new contexts have new items, and `law` says nothing of
    them. Raises InputError for any other population.
    """
    if items is None:
        items = fit.cells.items if contexts == "logged" else "new"
    _check_population(regime, items, contexts, count)
    known = in_logged_contexts(fit, regime, law, items)
    if known is None or contexts == "logged":
        return known
    shape, labels = (len(known.models), count), tuple(f"(new {k + 1})" for k in range(count))
    return Levels(unseen_levels(fit, count), known.models, labels, np.full(shape, 1 / count), np.zeros(shape, bool))


def in_logged_contexts(fit: Fit, regime: str, law: Law | None = None, items: str | None = None) -> Levels | None:
    """`levels` in the contexts of the log, which is what most questions ask."""
    mine = fit.design.of_regime(regime == "deployment")
    if not len(mine):
        return None
    weights, models = law_weights(fit, regime, law), fit.cells.levels["model"]
    items = items or fit.cells.items
    both = fit.levels_of_observed_items if items == "observed" else fit.levels_of_new_items
    observed = np.zeros((len(models), len(mine)), bool)
    here = fit.arms.deployed == (regime == "deployment")
    observed[fit.arms.model[here], np.searchsorted(fit.design.contexts[mine, 1], fit.arms.context[here])] = True
    return Levels(both[regime == "deployment"], models, context_names(fit, regime), weights, observed)


def _check_population(regime: str, items: str, contexts: str, count: int) -> None:
    for name, seen, choices in (("items", items, POPULATIONS), ("contexts", contexts, ("logged", "new"))):
        if seen not in choices:
            raise InputError(f"the population {name}={seen!r} is not known; choose {' or '.join(map(repr, choices))}")
    if contexts == "new" and items == "observed":
        raise InputError(NO_POPULATION)
    if contexts == "new" and regime != "deployment":
        raise InputError(f'contexts="new" are deployment contexts, seen regime {regime!r}')
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise InputError(f"count is how many new contexts a draw has, a whole number from 1 on, seen {count!r}")
