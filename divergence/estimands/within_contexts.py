"""What does a serving factor do within contexts, where rows of one context have several of its levels?

    sum_s h_s (m_s(level) - m_s(reference)) / sum_s h_s,      h_s = n_s(level) n_s(reference) / (n_s(level) + n_s(reference))

over strata s of one model, regime, context and task that have both levels; `m` are means of rows, `h` the weights of least
variance. Nothing that is special to a context, model or task is in it. Clusters are sessions, else items, else rows:
intervals are those of the Bayesian bootstrap over random groups of them (`random_blocks`). Identified by a stratum with ten
judged rows at each of two levels. It is a cause where rows came to their levels by chance.
Source: Mantel and Haenszel 1959 for the weights.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from divergence.cells import Cells
from divergence.cells.random_blocks import BLOCKS, block_numbers, block_weights
from divergence.identification.factor_levels import FactorLevels, spanned
from divergence.joint.posterior import Fit
from divergence.numerics import combinations

ROWS_MIN = 10  # judged rows at each of two levels in one stratum: below, the bootstrap says little of the error


@dataclasses.dataclass(frozen=True, eq=False)
class WithinContexts:
    """One factor's rows by stratum."""

    factor: str
    """Its name."""
    levels: tuple[str, ...]
    """Its levels that are compared, the reference first: the one with most rows."""
    model: np.ndarray
    """Code of the model of each stratum, shape (strata,)."""
    n: np.ndarray
    """Judged trials, shape (blocks, levels, strata)."""
    y: np.ndarray
    """Sums of the outcome, the same shape."""
    why_not: str | None = None
    """Why it has no effect of its own; None where it has."""

    @property
    def told(self) -> str:
        """What it rests on, in a sentence."""
        rows = self.n[:, :, np.any([self.both(k) for k in range(1, len(self.levels))], axis=0)].sum()
        return f"{self.factor} has {len(self.levels)} levels within contexts ({rows:,.0f} rows)."

    def both(self, level: int) -> np.ndarray:
        """Strata with enough rows at a level and at the reference, shape (strata,)."""
        count = self.n.sum(0)
        return (count[level] >= ROWS_MIN) & (count[0] >= ROWS_MIN)


def within_contexts(cells: Cells) -> dict[str, WithinContexts]:
    """Factors with two levels in one stratum, by name."""
    table = cells.mixed
    found = {}
    for code in np.unique(table["factor"]):
        mine = table.take(table["factor"] == code)
        level, at = np.unique(mine["level"], return_inverse=True)
        strata, stratum = combinations(*(mine[key] for key in ("model", "regime", "context", "task")))
        shape = (BLOCKS, len(level), strata.shape[1])
        where = np.ravel_multi_index((block_numbers(cells)[mine["block"]], at.ravel(), stratum), shape)
        n, y = (np.bincount(where, mine[name], int(np.prod(shape))).reshape(shape) for name in ("n", "y"))
        order = np.argsort(-n.sum((0, 2)), kind="stable")
        names = tuple(cells.levels["level"][level[k]] for k in order)
        one = WithinContexts(cells.levels["factor"][code], names, strata[0], n[:, order], y[:, order])
        known = [0, *(k for k in range(1, len(names)) if one.both(k).any())]
        if len(known) > 1:
            kept = tuple(names[k] for k in known)
            found[one.factor] = dataclasses.replace(one, levels=kept, n=one.n[:, known], y=one.y[:, known])
    return found


def replacing(cells: Cells, between: Mapping[str, FactorLevels]) -> dict[str, WithinContexts]:
    """The factors whose effect is that within contexts: those that do not differ between them, or hardly (`mixed`)."""
    every = within_contexts(cells)
    found = {name: one for name, one in every.items() if name not in between or between[name].mixed}
    for name, one in found.items():
        others = [other for other in every if other != name and spanned(_dealt(one), [_dealt(every[other])])]
        if others:
            why = f"{name} changes only together with {' and '.join(others)} within contexts"
            found[name] = dataclasses.replace(one, why_not=f"{why}: their effects cannot be told apart")
    return found


def _dealt(one: WithinContexts) -> np.ndarray:
    """Rows by level in every block and stratum, shape (blocks x strata, levels)."""
    return one.n.transpose(0, 2, 1).reshape(-1, one.n.shape[1])


def contrast_within(fit: Fit, found: WithinContexts, level: int, model: int | None = None) -> np.ndarray | None:
    """Draws of what a level (a place in `found.levels`) does against the reference, (S,); None without a stratum for it."""
    used = found.both(level) if model is None else found.both(level) & (found.model == model)
    if not used.any():
        return None
    weight = block_weights(len(fit.effects), fit.seed)
    (n0, y0), (n1, y1) = (
        tuple(weight @ part[:, k][:, used] for part in (found.n, found.y)) for k in (0, level)
    )  # each (draws, strata)
    share = n0 * n1 / (n0 + n1)
    return (share * (y1 / n1 - y0 / n0)).sum(1) / share.sum(1)
