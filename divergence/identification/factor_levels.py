"""How serving factors vary over the contexts of a log: shares of levels in each context, and what cannot be told apart.

A context label may stand for several combinations of levels; then it has a share of each. What a factor does is looked for
in contexts that differ in it, so these shares decide which effects a log identifies.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from divergence.cells import Cells
from divergence.cells.overlap import deployed_regimes
from divergence.identification.arm_counts import ArmCounts


@dataclasses.dataclass(frozen=True, eq=False)
class FactorLevels:
    """One serving factor over the contexts with judged rows."""

    levels: tuple[str, ...]
    """Names of the levels in use."""
    shares: np.ndarray
    """Share of each level in each context, shape (contexts, levels)."""
    within_model: int
    """Most levels that one model has within one regime."""
    why_not: str | None
    """Why its own effect is not identified; None where it is."""
    together: tuple[str, ...] = ()
    """Factors that change exactly together with it, itself among them; empty where none does."""
    fixed_by: tuple[str, ...] = ()
    """Finer factors whose level fixes this one's."""
    mixed: bool = False
    """Are the contexts of each regime mixed much alike in it, so that only rows within a context tell its effect?"""


def context_shares(cells: Cells, contexts: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, tuple[str, ...]]]:
    """Shares of factor levels per (deployed, context) row of `contexts`, and the names of the levels.

    Factors that do not vary over these contexts are left out.
    """
    regimes = deployed_regimes(cells)
    table = cells.designs
    place = {tuple(k): j for j, k in enumerate(contexts)}
    row = np.array(
        [place.get((int(regimes[r]), int(c)), -1) for r, c in zip(table["regime"], table["context"], strict=True)], dtype=int
    )
    shares, names = {}, {}
    for code, factor in enumerate(cells.factors):
        mine = (table["factor"] == code) & (row >= 0)
        used = np.unique(table["level"][mine])
        share = np.zeros((len(contexts), len(used)))
        np.add.at(share, (row[mine], np.searchsorted(used, table["level"][mine])), table["n"][mine])
        share /= share.sum(1, keepdims=True)
        if len(used) > 1 and np.ptp(share, axis=0).max() > 0:
            shares[factor] = share
            names[factor] = tuple(cells.levels["level"][k] for k in used)
    return shares, names


def aliases(shares: dict[str, np.ndarray], factor: str) -> list[str]:
    """The other factors from whose levels this one's can be told in every context."""
    mine = shares[factor]
    others = {f: m for f, m in shares.items() if f != factor}
    if not others:
        return []
    single = [f for f, m in others.items() if spanned(mine, [m])]
    if single:
        return single
    return list(others) if spanned(mine, list(others.values())) else []


def spanned(mine: np.ndarray, others: list[np.ndarray]) -> bool:
    """Are these shares a linear combination of the others and a constant?"""
    base = np.concatenate([np.ones((len(mine), 1)), *others], 1)
    return np.linalg.matrix_rank(np.concatenate([base, mine], 1)) == np.linalg.matrix_rank(base)


def varies_within_a_regime(shares: dict[str, np.ndarray], deployed: np.ndarray, factor: str) -> bool:
    """Does the factor vary over the contexts of one regime? A bare context label is compared with the bench itself."""
    return factor == "context" or any(np.ptp(shares[factor][deployed == r], axis=0).max() > 0 for r in np.unique(deployed))


def moved_together(shares: dict[str, np.ndarray], deployed: np.ndarray) -> list[tuple[str, ...]]:
    """Groups of factors that change exactly together and within a regime: their combination has an effect."""
    groups: list[tuple[str, ...]] = []
    for factor, mine in shares.items():
        same = tuple(f for f, other in shares.items() if f == factor or (spanned(mine, [other]) and spanned(other, [mine])))
        if len(same) > 1 and same not in groups and varies_within_a_regime(shares, deployed, factor):
            groups.append(same)
    return groups


MIXED = 0.5  # contexts of one regime whose shares of a level differ by less tell more of each other than of the factor


def mixed_alike(share: np.ndarray, deployed: np.ndarray) -> bool:
    """Has a context several levels, and differ those of one regime by less than half in every share?"""
    widest = max(float(np.ptp(share[deployed == r], axis=0).max()) for r in np.unique(deployed))
    return bool(((share > 0) & (share < 1)).any()) and widest < MIXED


def why_unknown(shares: dict[str, np.ndarray], deployed: np.ndarray, factor: str) -> str | None:
    """Why a factor's own effect is not identified, or None."""
    if mixed_alike(shares[factor], deployed):
        return (
            f"{factor} varies within contexts, and their mixes of it differ by less than half: what contexts show is not "
            "its effect"
        )
    others = aliases(shares, factor)
    if others:
        return f"{factor} changes only together with {' and '.join(others)}: their effects cannot be told apart"
    if not varies_within_a_regime(shares, deployed, factor):
        return f"{factor} differs only between the regimes: its effect cannot be told from deployment's"
    return None


def factor_levels(cells: Cells, arms: ArmCounts) -> dict[str, FactorLevels]:
    """Every factor that varies over the contexts with judged rows."""
    contexts = np.unique(np.stack([arms.deployed.astype(int), arms.context], 1), axis=0)
    shares, names = context_shares(cells, contexts)
    deployed = contexts[:, 0]
    place = {tuple(k): j for j, k in enumerate(contexts)}
    row = np.array([place[int(d), int(c)] for d, c in zip(arms.deployed, arms.context, strict=True)], int)
    groups = moved_together(shares, deployed)
    models, sides = set(arms.model.tolist()), set(zip(arms.model.tolist(), arms.deployed.tolist(), strict=True))

    def seen(share: np.ndarray, mask: np.ndarray) -> int:
        return int((share[row[mask]] > 0).any(0).sum())

    return {
        factor: FactorLevels(
            levels=names[factor],
            shares=share,
            within_model=max(seen(share, (arms.model == m) & (arms.deployed == d)) for m, d in sides),
            why_not=f"{factor} differs only between models: its effect cannot be told from theirs"
            if max(seen(share, arms.model == m) for m in models) < 2
            else why_unknown(shares, deployed, factor),
            together=next((g for g in groups if factor in g and not any(mixed_alike(shares[f], deployed) for f in g)), ()),
            fixed_by=tuple(
                f for f, other in shares.items() if f != factor and spanned(share, [other]) and not spanned(other, [share])
            ),
            mixed=mixed_alike(share, deployed),
        )
        for factor, share in shares.items()
    }
