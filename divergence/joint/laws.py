"""How much each serving context counts: laws over contexts.

| law | weight of a context |
|---|---|
| `"logged"` | its share of the log's rows, common to all models that can be compared there |
| `"own"` | the same for each model's own rows |
| `"uniform"` | the same for each |
| `{context: share}` | as declared |
| `(factor, ((level, share), ...))` | declared shares of levels, dealt to the contexts that have them by logged rows |

Under `logged`, a model's level in a context that it never ran in is predicted from models that ran in both that context and
one of its own, through any chain of such models. Where no chain exists (each model in a context of its own), what the
context does cannot be told from what the model can, and the model's law keeps to the contexts that it is linked with.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from divergence.calling import nearest
from divergence.cells.cells import DeclaredLaw
from divergence.cells.overlap import in_regime
from divergence.errors import InputError
from divergence.identification.linked_contexts import linked_parts
from divergence.joint.posterior import Fit

NAMED = ("logged", "own", "uniform")
Law = str | Mapping[str, float] | DeclaredLaw
"""`logged`, `own`, `uniform`, shares of contexts, or a factor with shares of its levels."""


def law_weights(fit: Fit, regime: str, law: Law | None = None) -> np.ndarray:
    """Weights of the regime's contexts in their order in the design, shape (models, contexts), each row summing to one.
    `law` None = what the log declares. Raises InputError for a law over levels that it never saw, or has no rows of."""
    models, names = fit.design.n_models, context_names(fit, regime)
    if law is None:
        law = fit.cells.declared_law if regime == "deployment" else "logged"
    if law == "uniform":
        return np.full((models, len(names)), 1 / len(names))
    rows = _logged(fit, regime, names)
    if law == "logged":
        rows = np.repeat(rows.sum(0, keepdims=True), models, 0) * _linked(fit, regime)
    elif law != "own":
        if isinstance(law, str):
            raise InputError(f"the law {law!r} is not known; choose {', '.join(NAMED)}, or declare a share for each context")
        factor, shares = law if isinstance(law, tuple) else ("context", tuple(law.items()))
        rows = np.repeat(_declared(fit, regime, names, rows.sum(0), factor, dict(shares))[None], models, 0)
    rows = np.where(rows.sum(1, keepdims=True) > 0, rows, 1.0)
    return rows / rows.sum(1, keepdims=True)


def context_names(fit: Fit, regime: str) -> tuple[str, ...]:
    """Labels of the regime's contexts, in their order in the design."""
    mine = fit.design.of_regime(regime == "deployment")
    return tuple(fit.cells.levels["context"][c] for c in fit.design.contexts[mine, 1])


def _linked(fit: Fit, regime: str) -> np.ndarray:
    """Which models are linked with which contexts of the regime by models that ran in several, shape (models, contexts).

    A label that occurs in both regimes links them; a model links all the contexts that it ran in, on either side.
    """
    contexts = fit.design.contexts
    parts, labels = linked_parts(fit.arms.model, fit.arms.context)
    of_models = np.full(fit.design.n_models, -1)  # a model without rows is linked with nothing
    of_models[: len(parts)] = parts
    mine = contexts[contexts[:, 0] == (regime == "deployment"), 1]
    return of_models[:, None] == labels[mine][None]


def _logged(fit: Fit, regime: str, names: tuple[str, ...]) -> np.ndarray:
    """Log rows per model and context, shape (models, contexts)."""
    counts = fit.cells.counts
    place = {name: k for k, name in enumerate(names)}
    column = np.array([place.get(name, -1) for name in fit.cells.levels["context"]])[counts["context"]]
    keep = in_regime(fit.cells, regime) & (column >= 0)
    rows = np.zeros((fit.design.n_models, len(names)))
    np.add.at(rows, (counts["model"][keep], column[keep]), counts["rows"][keep])
    return rows


def _declared(
    fit: Fit, regime: str, names: tuple[str, ...], logged: np.ndarray, factor: str, shares: dict[str, float]
) -> np.ndarray:
    """Declared shares of levels, dealt to the contexts that have the level in proportion to their logged rows."""
    if factor == "context":
        member, levels = np.eye(len(names)), names
    elif factor in fit.design.mixtures:
        mine = fit.design.contexts[:, 0] == (regime == "deployment")
        member, levels = fit.design.mixtures[factor][mine], fit.design.levels[factor]
    else:
        near = nearest(factor, ("context", *fit.design.mixtures))
        raise InputError(f"the declared deployment law is over {factor!r}, which does not vary in this log{near}")
    unseen = sorted(set(shares) - set(levels))
    if unseen:
        raise InputError(
            f"the declared deployment law names {factor} = {unseen[0]!r}, which the log never saw"
            f"{nearest(unseen[0], levels)}; it has {', '.join(levels)}"
        )
    mass = member * logged[:, None]
    empty = [name for k, name in enumerate(levels) if shares.get(name, 0) > 0 and mass[:, k].sum() == 0]
    if empty:
        raise InputError(
            f"the declared deployment law gives weight to {factor} = {empty[0]!r}, which has no {regime} rows in this log"
        )
    share = np.array([shares.get(name, 0.0) for name in levels])
    return (mass / np.maximum(mass.sum(0), 1e-300)) @ share
