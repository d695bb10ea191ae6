"""What a log measures: the bench level of each model, and what each of its other contexts moves, paired item by item.

    V_m  ~  c 11' + l l' + diag(d)          one model m, its arms;  l = d = 0 for its bench

`c` is the variance of its bench level, `d + l^2` those of its contrasts with the bench, item by item and session by session:
contexts whose answers are copies of the bench's have hardly any. A bench that was lucky lies high, and all contrasts with it
low. Read at its word, that takes contexts that all lie lower for a lucky bench, which on held-out items of real logs was far
worse than no model (`benchmarks/heldout.md`). So it is used between models only: that one model's contrasts lie lower than
those of the others says in part that its bench was lucky (`bench_luck`). What bench levels share (easy items), what one
context's contrasts share over models (items that move with it), and what a model's contrasts share beyond that luck enter
through mean correlations; the last in logs of several models only, as of one nothing tells luck from what all contexts do.
Without a bench, or with several, the mean over a model's arms takes its place, and each arm's deviation that of a contrast.

This covariance rules the standard deviations, and how far effects are drawn to each other. But where contexts have nothing
but a label, or one model tells all, what a context does to all models is drawn to what others do as if its law were `LIMIT`
times as wide: a translation limited as in Efron and Morris (1972), who give up little of what shrinkage gains on average for
not losing much on any single one. How sure an answer is follows from neither: the error of a linear estimate `K y` is
`(K Z - 1) b + K e`, with all that items and sessions say about `e` (`root`), whatever `K` was made with. There answers that
are copies cancel by construction.

A contrast that was never seen to flip is not known to be zero: `FLIPS` flips are added to what was seen, which at none of n
makes 90 % limits of z^2 / n, the width of Tango's score interval. Unit: link scale, flips on the outcome scale.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Protocol, TypeVar

import numpy as np
import scipy.sparse as sp

from divergence.numerics import column_squares, size_of

M = TypeVar("M", np.ndarray, sp.csr_array)
FLIPS = 2.7  # z^2 at 90 %: Tango's interval for 0 flips of n items is z^2 / (n + z^2) wide to either side
TRUST = 0.05  # of them in the gain: an effect measured as nothing is not drawn to what other contexts do
# Times the variance of what a context does to all models, in the gain. On held-out items 3 to 10 lie within two per cent of
# each other; at 1 (no limit) a log of one model is up to 6 % worse than its plain paired means.
LIMIT = 10.0
UNEVEN = 1.25  # times the items of the bench, from which on an arm's noise is no longer the bench's and a contrast's
# Times the sd that the luck of all benches has in a mean contrast: so much is added at most to keep it from moving benches.
# On held-out items benches of six models lie within .6 points of the raw ones; at 1 less, at .5 .9; a ceiling wants less.
ALIKE = 0.7
# Of the variance of what a contrast is taken with: below it there is only rounding, whose correlations mean nothing. The
# difference of two numbers is as far off as 1e-16 of them, its square as 1e-32; roots of covariances have the square root.
ROUNDING = 1e-12
SHARED_MAX = 0.9  # of a correlation, so that every contrast keeps noise of its own


@dataclasses.dataclass(frozen=True)
class Measured:
    """The covariance in its parts, and the root of the whole noise."""

    own: np.ndarray
    """`d`: variance of each arm's contrast that is its own, shape (A,); 0 for the bench arm of a model."""
    anchor: np.ndarray
    """Sd of the noise of the model's bench level that is its own, as each arm has it in it, shape (A,)."""
    easy: np.ndarray
    """The part of it that models have in common, as a sd at each arm, shape (A,)."""
    moved: np.ndarray
    """What contrasts of one context have in common over models, as a sd at each arm, shape (A,)."""
    luck: np.ndarray
    """What contrasts of one model have in common, as a sd at each arm, shape (A,)."""
    root: np.ndarray | sp.csr_array
    """The whole noise of the arms is `g @ root` with g standard normal, shape (R, A)."""
    model: np.ndarray
    """Code of each arm's model, shape (A,)."""
    place: np.ndarray
    """Code of each arm's regime and context, shape (A,)."""

    @property
    def variance(self) -> np.ndarray:
        """Variances of the parts together, shape (A,)."""
        return self.own + self.anchor**2 + self.easy**2 + self.moved**2 + self.luck**2

    def covariance(self) -> np.ndarray:
        """The parts together, shape (A, A)."""
        model, place = self.model, self.place
        alike, there = model[:, None] == model, place[:, None] == place
        total = np.diag(self.own) + np.outer(self.easy, self.easy)
        total += alike * (np.outer(self.anchor, self.anchor) + np.outer(self.luck, self.luck))
        return total + there * np.outer(self.moved, self.moved)


def bench_arms(model: np.ndarray, deployed: np.ndarray) -> np.ndarray:
    """The bench arm of each model, -1 where it has none or several, shape (models,)."""
    bench = np.flatnonzero(~deployed)
    times = np.bincount(model[bench], minlength=int(model.max()) + 1)
    out = np.full(len(times), -1)
    out[model[bench]] = bench
    return np.where(times == 1, out, -1)


def measure(
    root: np.ndarray | sp.csr_array,
    model: np.ndarray,
    deployed: np.ndarray,
    place: np.ndarray,
    least: np.ndarray,
    steady: np.ndarray,
    clusters: np.ndarray | None = None,
) -> Measured:
    """From the root of the arms' noise on the link scale (R, A). A sparse root, of thousands of arms, makes nothing of arms
    times arms, and that of the whole noise stays as sparse.

    `clusters`: items behind each level, where they may be uneven (`carried`).
    `least` is what `FLIPS` flips are worth for each arm's contrast, `steady` the variance that each arm's level has at
    least (`link`), both (A,).
    """
    given = model, deployed, place, least, steady, clusters
    return _measured(_Dense(), root, *given) if isinstance(root, np.ndarray) else _measured(_Sparse(), root, *given)


def _measured(
    algebra: _Algebra[M],
    root: M,
    model: np.ndarray,
    deployed: np.ndarray,
    place: np.ndarray,
    least: np.ndarray,
    steady: np.ndarray,
    clusters: np.ndarray | None,
) -> Measured:
    models = int(model.max()) + 1
    count = np.bincount(model, minlength=models)
    bench = bench_arms(model, deployed)
    known = bench >= 0
    plain = np.zeros(len(model), bool)
    plain[bench[known]] = True
    centre = algebra.centres(root, model, bench, count)  # noise of what contrasts are taken with
    anchor, at_arms = column_squares(centre), algebra.columns(centre, model)
    carry = np.ones(len(model))
    if clusters is not None:
        carry = carried(algebra.products(root, at_arms), anchor, model, bench, clusters)
    contrast = algebra.contrasts(root, at_arms, carry, plain)
    few = np.where(known, 1.0, count / np.maximum(count - 1, 1))[model]  # a deviation from a mean that it is part of
    spread = np.where(plain, 0.0, column_squares(contrast) * few + TRUST * least)
    spread = np.where(spread > ROUNDING * anchor[model], spread, 0.0)
    lift = lifted(model, bench, count, steady, column_squares(root))
    of_anchor = anchor + lift
    if not known.all():  # deviations add to the mean's noise what is their own: it is no part of what is common
        inside = np.bincount(model, spread, models) / np.maximum(count, 1) ** 2
        of_anchor = np.where(known, of_anchor, np.maximum(of_anchor - inside, 1e-3 * of_anchor))
    across = _mean_correlation(algebra, contrast, spread, place, ~plain)
    between = _mean_correlation(algebra, centre, anchor, np.zeros(models, int), np.ones(models, bool))
    several = (count > 0).sum() > 1
    within = _mean_correlation(algebra, contrast, spread, model, ~plain) if several else 0.0
    bound = ~plain & known[model] & (carry == 1) & (spread > 0) & (anchor > 0)[model]
    turned = _with_bench(algebra, contrast, spread, centre, anchor, model, bound)
    luck, alike = bench_luck(turned, between, len(np.unique(model[bound])))
    left = np.where(bound, max(within - luck**2, 0.0), within)
    # The lift of a bench is common to all of its model's arms: no contrast has it.
    told = luck * np.sqrt(np.where(bound, spread, 0.0) * (anchor / np.where(of_anchor > 0, of_anchor, 1.0))[model])
    taken = (1 + alike**2) * told**2
    room = np.maximum(SHARED_MAX * spread - taken, 0.0)  # at its limit luck leaves nothing, up to rounding
    fits = np.minimum(1.0, room / np.maximum((across + left) * spread, 1e-300))
    across, within = fits * across, fits * left
    common = sp.csr_array((np.sqrt(lift)[model] * carry, (model, np.arange(len(model)))), shape=(models, len(model)))
    common.eliminate_zeros()
    alone = sp.csr_array(sp.diags_array(np.sqrt(np.where(plain, 0.0, least))))
    return Measured(
        (1 - across - within) * spread - taken,
        carry * np.sqrt((1 - between) * of_anchor)[model] - told,
        carry * np.sqrt(between * of_anchor)[model] + alike * told,
        np.sqrt(across * spread),
        np.sqrt(within * spread),
        algebra.stacked(root, common[lift > 0], alone[(least > 0) & ~plain]),
        model,
        place,
    )


def _with_bench(
    algebra: _Algebra[M],
    contrast: M,
    spread: np.ndarray,
    centre: M,
    anchor: np.ndarray,
    model: np.ndarray,
    bound: np.ndarray,
) -> float:
    """Mean correlation of contrasts with the bench of their own model less that with others' benches, the sign turned; of
    those that are `bound` to it."""
    mine = np.bincount(model, bound, len(anchor)) > 0
    if mine.sum() < 2:
        return 0.0
    each = np.where(bound, 1 / np.sqrt(np.where(bound, spread, 1.0)), 0.0)
    unit = np.where(mine, 1 / np.sqrt(np.where(mine, anchor, 1.0)), 0.0)
    own = (algebra.products(contrast, algebra.columns(centre, model)) * each * unit[model]).sum()
    every = np.asarray(contrast @ each).ravel() @ np.asarray(centre @ unit).ravel()
    return float((every - own) / (bound.sum() * (mine.sum() - 1)) - own / bound.sum())


def bench_luck(turned: float, between: float, models: int) -> tuple[float, float]:
    """How much of a contrast's sd is the luck of its own bench, and how much of that enters again, the same for all models.

    With z the bench's own noise and y what benches share, a contrast has `luck sd (alike y - z)` in it. Its covariance with
    the mean bench of all models would be `-luck sd own / models`; `alike` takes that away, so that what all contrasts have
    in common moves no bench. Where benches share little of their noise (`between`) that would take more of it than there is:
    then less, as far as `ALIKE` allows, and nearly nothing where they share none.
    """
    if models < 2:
        return 0.0, 0.0
    wanted = np.sqrt((1 - between) / (max(between, 1e-12) * models))
    alike = float(min(wanted, ALIKE**2 / wanted) / np.sqrt(models))
    most = np.sqrt(SHARED_MAX / (1 + alike**2))
    return float(np.clip(turned / np.sqrt(1 - between), -most, most)), alike


class _Algebra(Protocol[M]):
    """What `measure` asks of a root (R, A)."""

    def centres(self, root: M, model: np.ndarray, bench: np.ndarray, count: np.ndarray) -> M:
        """The column of each model's bench, or the mean of its columns, shape (R, models)."""
        ...

    def columns(self, centre: M, model: np.ndarray) -> M:
        """Each arm's centre, shape (R, A)."""
        ...

    def products(self, root: M, at_arms: M) -> np.ndarray:
        """Of each column with its own centre, shape (A,)."""
        ...

    def contrasts(self, root: M, at_arms: M, carry: np.ndarray, plain: np.ndarray) -> M:
        """The columns less what they carry of their centres; none where `plain`."""
        ...

    def crossed(self, noise: M, variance: np.ndarray, keep: np.ndarray, group: np.ndarray) -> float:
        """Sum of the products of unlike columns of one group, those that are kept, each over its standard deviation."""
        ...

    def stacked(self, root: M, *parts: sp.csr_array) -> M:
        """A root of their sum."""
        ...


class _Dense:
    """Of few arms, a plain matrix: the whole root has no more rows than arms."""

    def centres(self, root: np.ndarray, model: np.ndarray, bench: np.ndarray, count: np.ndarray) -> np.ndarray:
        out = np.zeros((len(count), len(root)))
        np.add.at(out, model, root.T)
        out /= np.maximum(count, 1)[:, None]
        out[bench >= 0] = root[:, bench[bench >= 0]].T
        return out.T

    def columns(self, centre: np.ndarray, model: np.ndarray) -> np.ndarray:
        return centre.T[model].T

    def products(self, root: np.ndarray, at_arms: np.ndarray) -> np.ndarray:
        return np.einsum("ra,ar->a", root, at_arms.T)

    def contrasts(self, root: np.ndarray, at_arms: np.ndarray, carry: np.ndarray, plain: np.ndarray) -> np.ndarray:
        out = root - carry * at_arms
        out[:, plain] = 0.0
        return out

    def crossed(self, noise: np.ndarray, variance: np.ndarray, keep: np.ndarray, group: np.ndarray) -> float:
        unit = np.where(keep, noise / np.sqrt(np.where(variance > 0, variance, 1.0)), 0.0)
        sums = np.zeros((int(group.max()) + 1, len(noise)))
        np.add.at(sums, group, unit.T)
        return np.square(sums).sum() - np.square(unit).sum()

    def stacked(self, root: np.ndarray, *parts: sp.csr_array) -> np.ndarray:
        whole = np.concatenate([root, *(part.toarray() for part in parts)])
        return np.asarray(np.linalg.qr(whole, mode="r")) if len(whole) > whole.shape[1] else whole


class _Sparse:
    """Of thousands of arms, sparse: all are sums of squares of the root's columns, or of sums of columns of one group."""

    def centres(self, root: sp.csr_array, model: np.ndarray, bench: np.ndarray, count: np.ndarray) -> sp.csr_array:
        size = len(model)
        weight = np.where(bench[model] >= 0, (bench[model] == np.arange(size)).astype(float), 1 / count[model])
        return sp.csr_array(root @ sp.csr_array((weight, (np.arange(size), model)), shape=(size, len(count))))

    def columns(self, centre: sp.csr_array, model: np.ndarray) -> sp.csr_array:
        size = len(model)
        return sp.csr_array(
            centre @ sp.csr_array((np.ones(size), (model, np.arange(size))), shape=(size_of(centre)[1], size))
        )

    def products(self, root: sp.csr_array, at_arms: sp.csr_array) -> np.ndarray:
        return np.asarray(root.multiply(at_arms).sum(0)).ravel()

    def contrasts(self, root: sp.csr_array, at_arms: sp.csr_array, carry: np.ndarray, plain: np.ndarray) -> sp.csr_array:
        return sp.csr_array((root - at_arms @ sp.diags_array(carry)) @ sp.diags_array(np.where(plain, 0.0, 1.0)))

    def crossed(self, noise: sp.csr_array, variance: np.ndarray, keep: np.ndarray, group: np.ndarray) -> float:
        size = len(group)
        scale = np.where(keep, 1 / np.sqrt(np.where(variance > 0, variance, 1.0)), 0.0)
        unit = sp.csr_array(noise @ sp.diags_array(scale))
        sums = unit @ sp.csr_array((np.ones(size), (np.arange(size), group)), shape=(size, int(group.max()) + 1))
        return np.square(sums.data).sum() - np.square(unit.data).sum()

    def stacked(self, root: sp.csr_array, *parts: sp.csr_array) -> sp.csr_array:
        return sp.csr_array(sp.vstack([root, *parts]))


def _mean_correlation(algebra: _Algebra[M], noise: M, variance: np.ndarray, group: np.ndarray, keep: np.ndarray) -> float:
    """Mean correlation of pairs of one group from squares of sums, 0..`SHARED_MAX`; `noise` has shape (R, K)."""
    keep = (variance > 0) & keep
    size = np.bincount(group, keep)
    pairs = (size * (size - 1)).sum()
    shared = algebra.crossed(noise, variance, keep, group) / pairs if pairs else 0.0
    return float(np.clip(shared, 0.0, SHARED_MAX))


def carried(
    shared: np.ndarray, anchor: np.ndarray, model: np.ndarray, bench: np.ndarray, clusters: np.ndarray
) -> np.ndarray:
    """How much of its centre's noise each arm has in it, 0..1, shape (A,); 1 where both rest on about as many items.

    `shared` is the covariance of each arm's noise with its centre's (A,), `anchor` the centres' variance (models,). An arm
    of many more items than the bench holds the luck of the shared ones diluted: taken as a contrast with all of the
    bench's noise it would never become surer than the bench.
    """
    count = np.bincount(model, minlength=len(bench))
    usual = np.bincount(model, 1 / np.maximum(clusters, 1e-300), len(bench))
    behind = np.where(bench >= 0, clusters[bench], count / np.maximum(usual, 1e-300))[model]
    variance = anchor[model]
    share = np.clip(np.where(variance > 0, shared / np.where(variance > 0, variance, 1.0), 1.0), 0.0, 1.0)
    return np.where(clusters > UNEVEN * behind, share, 1.0)


def lifted(model: np.ndarray, bench: np.ndarray, count: np.ndarray, steady: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """What the variance of each model's level lacks to the steadied one, shape (models,): common to all of its arms."""
    lift = np.zeros(len(count))
    known = bench >= 0
    lift[known] = np.maximum(steady - seen, 0.0)[bench[known]]
    least = np.full(len(count), np.inf)
    np.minimum.at(least, model, np.maximum(steady - seen, 0.0))
    return np.where(known | (count == 0), lift, least)


def flip_rates(
    model: np.ndarray,
    deployed: np.ndarray,
    level: np.ndarray,
    covariance: Callable[[np.ndarray], np.ndarray],
    clusters: np.ndarray,
) -> np.ndarray:
    """Mean squared difference of an item's outcome from the bench's (or the mean over the model's arms), shape (A,).

    With one trial an item it is the share of items that flip, one more of them than was seen; 0 for the bench. Arms on
    items of their own have what two draws of items differ by: all alike. `covariance` gives that of one model's arms.
    """
    bench, out = bench_arms(model, deployed), np.zeros(len(model))
    order = np.argsort(model, kind="stable")
    for mine in np.split(order, np.flatnonzero(np.diff(model[order])) + 1):
        m = model[mine[0]]
        if len(mine) < 2:
            continue
        plain = mine == bench[m]
        weight = plain.astype(float) if bench[m] >= 0 else np.full(len(mine), 1 / len(mine))
        block = covariance(mine) * np.sqrt(np.outer(clusters[mine], clusters[mine]))
        each = np.diag(block) + weight @ block @ weight - 2 * block @ weight
        each += (level[mine] - weight @ level[mine]) ** 2 + 1 / clusters[mine]
        out[mine] = np.where(plain, 0.0, each) * (1.0 if bench[m] >= 0 else len(mine) / (len(mine) - 1))
    return out
