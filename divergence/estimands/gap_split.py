"""What a gap is made of: items that only the bench has, items that only the traffic has, other behaviour on the same items.

With item laws pi_E, pi_D, mean outcomes f_E, f_D of an item in each regime, and the shared law
s_i proportional to pi_E pi_D / (pi_E + pi_D),

    A = E_s f_E - E_E f_E      bench items that traffic does not have
    B = E_s f_D - E_s f_E      the same items, other behaviour
    C = E_D f_D - E_s f_D      traffic that the bench does not have          A + B + C = Delta, exactly

and `B_context` is what the model's context terms (factors, contexts) do to the bench's behaviour, `B_residual` the rest of
B: a part that the additive model reads, not the items (model-based). Identified by items answered in both regimes whose
shared law has an effective size 1 / sum s_i^2 of `SHARED_MIN`; of traffic that replays the bench A = C = 0, but for
tasks that it lacks. Contexts that replay a part of the bench beside others with items of their own have levels on all of the
bench's items (`joint.replayed_part`), and these are their items here.
Items are a sample (Bayesian bootstrap), and B takes what A and C leave of the posterior's gap, draws of which are matched to
the bootstrap's by rank, so that parts and whole move together. Unit: points. Source: Cai, Namkoong and Yadlowsky 2023
(arXiv 2303.02011).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from divergence.cells.overlap import deployed_regimes, replays
from divergence.joint.link import from_link
from divergence.joint.posterior import Fit
from divergence.joint.predict import Levels
from divergence.joint.replayed_part import replays_a_part
from divergence.joint.weights import item_weights
from divergence.numerics import combinations
from divergence.random_streams import stream

PARTS = ("A", "B", "C", "B_context", "B_residual")
SHARED_MIN = 10.0  # effective shared items: below it one item carries a tenth of the answer
CHUNK = 2_000_000  # weights drawn at once, 16 MB


@dataclasses.dataclass(frozen=True)
class ItemLaws:
    """One model's items, each array of shape (items,)."""

    bench: np.ndarray
    """`pi_E`, summing to one."""
    traffic: np.ndarray
    """`pi_D`."""
    on_bench: np.ndarray
    """`f_E`, 0 where the bench does not have the item."""
    in_traffic: np.ndarray
    """`f_D`."""
    carried: np.ndarray
    """What of `pi_D` is of contexts whose levels are on the bench's items."""
    in_carried: np.ndarray
    """`f_D` of that part."""
    task: np.ndarray
    """Code of each item's task."""

    @property
    def shared(self) -> np.ndarray:
        """`s`, summing to one where any item is shared."""
        total = self.bench + self.traffic
        mass = np.where(total > 0, self.bench * self.traffic / np.where(total > 0, total, 1.0), 0.0)
        return mass / max(mass.sum(), 1e-300)

    @property
    def effective(self) -> float:
        """Effective number of shared items."""
        shared = self.shared
        return float(1 / (shared**2).sum()) if shared.any() else 0.0


def item_laws(fit: Fit, bench: Levels, deployed: Levels, model: int, carried: np.ndarray) -> ItemLaws:
    """Item laws and mean outcomes of a model, contexts weighed by their laws; a row without an item is its own item.

    `carried`: contexts whose levels are on the bench's items, shape (contexts,).
    """
    cells = fit.cells
    rows = cells.counts.of_model(model)
    rows = rows.take(rows["n"] > 0)
    live = deployed_regimes(cells)[rows["regime"]]
    _, arm = combinations(rows["regime"], rows["context"])
    weight, _ = item_weights(cells, rows, arm, cells.weights_of(rows))
    law = np.zeros((2, len(cells.levels["context"])))
    for side, mu in enumerate((bench, deployed)):
        law[side, [cells.levels["context"].index(name) for name in mu.contexts]] = mu.law[model]
    weight = weight * law[live.astype(int), rows["context"]]
    own = np.where(rows["item"] < 0, -2 - np.arange(len(rows)), rows["item"])
    (task, _), item = combinations(rows["task"], own)
    size = item.max() + 1 if len(item) else 0
    mean = rows["y"] / rows["n"]
    arrays: list[np.ndarray] = []
    for side in (~live, live, live & carried[rows["context"]]):
        mass = np.bincount(item, weight * side, size)
        arrays += [mass, np.bincount(item, weight * side * mean, size) / np.where(mass > 0, mass, 1.0)]
    bench_mass, on_bench, traffic, in_traffic, of_carried, in_carried = arrays
    whole = max(traffic.sum(), 1e-300)
    bench_law = bench_mass / max(bench_mass.sum(), 1e-300)
    return ItemLaws(bench_law, traffic / whole, on_bench, in_traffic, of_carried / whole, in_carried, task)


def on_the_bench(laws: ItemLaws) -> ItemLaws:
    """With the items that carried levels are of: the bench's, in each task that was tried, at the bench's own outcomes. What
    is left of A and C of traffic that replays the bench is that some contexts lack whole tasks."""
    if not laws.carried.any():
        return laws
    task = np.unique(laws.task, return_inverse=True)[1]
    bench, carried = np.bincount(task, laws.bench), np.bincount(task, laws.carried)
    known = (bench > 0)[task]
    law = np.where(known, laws.bench * (carried / np.where(bench > 0, bench, 1.0))[task], laws.carried)
    rest = np.maximum(laws.traffic - laws.carried, 0.0)
    total = rest + law
    summed = laws.traffic * laws.in_traffic - laws.carried * laws.in_carried
    summed = np.where(rest > 0, summed, 0.0) + law * np.where(known, laws.on_bench, laws.in_carried)
    return dataclasses.replace(laws, traffic=total, in_traffic=summed / np.where(total > 0, total, 1.0))


def parts(laws: Sequence[ItemLaws], weight: np.ndarray) -> np.ndarray:
    """A, B, C of models with as many items each, for every row of item weights (draws, items), shape (models, 3, draws);
    weights of one give the plain split."""
    sums = np.stack(
        [
            column
            for one in laws
            for shared in (one.shared,)
            for column in (
                one.bench,
                one.traffic,
                shared,
                one.bench * one.on_bench,
                one.traffic * one.in_traffic,
                shared * one.on_bench,
                shared * one.in_traffic,
            )
        ],
        1,
    )
    bench, traffic, both, on_bench, in_traffic, before, after = (weight @ sums).reshape(len(weight), len(laws), 7).T
    bench, traffic, both = (np.maximum(mass, 1e-300) for mass in (bench, traffic, both))
    return np.stack([before / both - on_bench / bench, (after - before) / both, in_traffic / traffic - after / both], 1)


def splits(
    fit: Fit, bench: Levels, deployed: Levels, delta: np.ndarray, models: Sequence[int]
) -> list[tuple[np.ndarray, str | None]]:
    """Draws of `PARTS` of each of these models, shape (5, S), given the posterior's gaps (S, all models); and why there are
    none. Models with the same items share the items' weights."""
    carried = replays_a_part(fit.cells) | replays(fit.cells)
    laws = {m: item_laws(fit, bench, deployed, m, carried[m]) for m in models}
    effective = {m: one.effective for m, one in laws.items()}
    split = [m for m in models if effective[m] >= SHARED_MIN]
    laws = {m: on_the_bench(one) for m, one in laws.items()}
    drawn: dict[int, np.ndarray] = {}
    for size in {len(laws[m].bench) for m in split}:
        alike = [m for m in split if len(laws[m].bench) == size]
        rng = stream(fit.seed, "parts of a gap")
        step = max(1, CHUNK // size)
        weights = (rng.standard_exponential((min(step, len(delta) - k), size)) for k in range(0, len(delta), step))
        found = np.concatenate([parts([laws[m] for m in alike], one) for one in weights], axis=2)
        drawn |= dict(zip(alike, found, strict=True))
    return [
        (_beside(drawn[m], delta[:, m], _context_part(fit, bench, deployed, m)), None)
        if m in drawn
        else (
            np.full((len(PARTS), len(delta)), np.nan),
            f"bench and traffic of {bench.models[m]} share {effective[m]:.1f} effective items; the split needs "
            f"{SHARED_MIN:g}",
        )
        for m in models
    ]


def _beside(drawn: np.ndarray, delta: np.ndarray, context: np.ndarray) -> np.ndarray:
    """`PARTS` (5, S): the bootstrap's A and C matched by rank to the gap's draws, B what they leave of it."""
    a, _, c = drawn[:, np.argsort(drawn.sum(0))][:, np.argsort(np.argsort(delta))]
    b = delta - a - c
    return np.stack([a, b, c, context, b - context])


def _context_part(fit: Fit, bench: Levels, deployed: Levels, model: int) -> np.ndarray:
    """What the deployment contexts' own terms would do to the bench's behaviour of the model, (S,)."""
    mine = np.flatnonzero(fit.design.contexts[:, 0] == 1)
    z = fit.design.sparse_loadings(np.full(len(mine), model), np.zeros(len(mine), bool), mine)
    used = np.unique(z.indices)  # a few effects of each context: not those of all other models
    moved = from_link(fit.effects[:, used] @ z[:, used].toarray().T, fit.arms.link)
    return moved @ deployed.law[model] - bench.mean()[:, model]
