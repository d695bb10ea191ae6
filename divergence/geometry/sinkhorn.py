"""How much mass must move how far to turn evaluation's behaviour into deployment's?

Sinkhorn divergence with squared Euclidean cost, the entropic dual value (other libraries give the transport cost under the
same name: another number):

    S(a, b) = OT_eps(a, b) - OT_eps(a, a) / 2 - OT_eps(b, b) / 2        squared distance; 0 only if a = b

Above 512 rows a side the rows are counted at 512 common k-means centres, which hold the share of variance that `method`
names. `epsilon` is in squared units too; by default .05 of the mean cost, and named in `method`. Mass that moves far costs
more here than in `mmd`: it says how far, not whether, and has no p-value. S is above 0 even where nothing differs; the
noise floor is S between random halves of the evaluation sessions (half the rows, so on the high side).

The interval is a jackknife over sessions of the first-order change of S, dS/da = f_ab - f_aa with f the dual potentials:
no problem is solved twice. At S near its floor that change vanishes: compare with the floor instead. Needs one embedder
and the extra `ot`. Source: Genevay, Peyre and Cuturi 2018; Feydy et al. 2019; solved by ott-jax.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
from collections.abc import Callable

import numpy as np

from divergence.errors import InputError
from divergence.estimate import Estimate
from divergence.geometry.answer import Row, answer, refuse
from divergence.geometry.embedder import noted, one_embedder
from divergence.geometry.kernels import Sample, sample, squared_distances
from divergence.geometry.uncertainty import Jackknife, from_parts
from divergence.geometry.usable_rows import Labels

QUESTION, TEXT = "sinkhorn", "cost of moving evaluation's behaviour to deployment's (Sinkhorn divergence)"
ROWS = [Row(None, "squared distance", False)]
CENTRES = 512  # three problems of 512 x 512 solve in seconds, whatever the number of rows
SHARE = 0.05  # of the mean cost: small enough to see clusters, large enough to converge in a few hundred steps
THRESHOLD = 1e-9  # of the marginals: S is then right to more than six digits
STEPS = 20_000  # before a solver is given up
SPLITS = 5  # random halves for the floor: each is a problem to solve


@dataclasses.dataclass(frozen=True)
class Histogram:
    """One side as weighted points: the rows themselves, or counts at common centres."""

    points: np.ndarray
    """(K, d) float64."""
    counts: np.ndarray
    """Rows of each of G sessions at each point, (G, K)."""

    def weights(self) -> np.ndarray:
        """Share of the rows at each point, (K,)."""
        total = self.counts.sum(0)
        return total / total.sum()


def sinkhorn(
    x: object,
    y: object,
    *,
    cluster: tuple[Labels, Labels] | None,
    epsilon: float | None = None,
    centres: int = CENTRES,
    seed: int = 0,
    unit_length: bool = False,
) -> Estimate:
    """Sinkhorn divergence between x (n, d; evaluation) and y (m, d), with interval and floor.

    `cluster` = (sessions of x, of y), or None: rows are independent. Raises InputError for tables that cannot be compared,
    or where the extra `ot` is missing.
    """
    if importlib.util.find_spec("ott") is None:
        raise InputError(
            "The Sinkhorn divergence needs the missing package ott-jax: pip install 'eval-divergence[ot]'. "
            "`mmd` compares the same rows without it."
        )
    clusters = (None, None) if cluster is None else cluster
    first, second = (sample(v, c, name, unit_length) for v, c, name in zip((x, y), clusters, "xy", strict=True))
    made = one_embedder(first, second)
    if first.rows.shape[1] != second.rows.shape[1]:
        raise InputError(
            f"x has {first.rows.shape[1]} dimensions and y {second.rows.shape[1]}: "
            "rows are compared in one space, embed both with one embedder"
        )
    if centres < 2:
        raise InputError(f"centres is {centres}: rows are counted at 2 or more")
    left, right, held = histograms(first, second, centres, seed)
    counts = {
        "n_rows": len(first.rows) + len(second.rows),
        "n_sessions": sum(s.sessions.size or len(s.rows) for s in (first, second)),
    }
    rejected = first.rejected + second.rejected
    if min(len(left.counts), len(right.counts)) < 2:
        return refuse(
            QUESTION,
            TEXT,
            ROWS,
            "one session on a side: an interval needs 2 (or cluster=None, if rows are independent)",
            counts=counts,
            rejected=rejected,
        )
    if epsilon is None:
        mean_cost = left.weights() @ squared_distances(left.points, right.points) @ right.weights()
        epsilon = SHARE * float(mean_cost)
    if not epsilon > 0:
        raise InputError(
            f"epsilon is {epsilon}: give a positive cost, in squared units of the embedding (rows that are all "
            "the same have no cost to take a share of)"
        )
    value, slopes, converged = divergence(left, right, epsilon)
    if not converged:
        reason = f"the solver did not converge in {STEPS} steps at epsilon {epsilon:.3g}: choose a larger one"
        return refuse(QUESTION, TEXT, ROWS, reason, counts=counts, rejected=rejected)
    points = "every row" if held is None else f"{centres} centres hold {held:.1%} of the variance"
    note = noted(f"epsilon {epsilon:.4g}", points, made)
    return answer(
        QUESTION,
        TEXT,
        ROWS,
        first_order(value, slopes, (left, right)),
        counts=counts,
        rejected=rejected,
        noise_floor=np.array([floor(left, epsilon, seed)]),
        note=note,
    )


def histograms(first: Sample, second: Sample, centres: int, seed: int) -> tuple[Histogram, Histogram, float | None]:
    """Both sides as weighted points, and the share of variance between centres (None: every row is its own point)."""
    sides, rows = (first, second), [s.rows.astype(np.float64) for s in (first, second)]
    if max(len(r) for r in rows) <= centres:
        left, right = (Histogram(r, _by_session(s, np.arange(len(r)), len(r))) for s, r in zip(sides, rows, strict=True))
        return left, right, None
    from sklearn.cluster import MiniBatchKMeans

    pooled = np.concatenate(rows)
    fit = MiniBatchKMeans(min(centres, len(pooled)), random_state=seed, batch_size=4096).set_params(n_init=1).fit(pooled)
    middles, nearest = np.asarray(fit.cluster_centers_), np.asarray(fit.predict(pooled))
    held = 1 - ((pooled - middles[nearest]) ** 2).sum() / ((pooled - pooled.mean(0)) ** 2).sum()
    out = []
    for s, where in zip(sides, np.split(nearest, [len(rows[0])]), strict=True):
        out.append(Histogram(middles, _by_session(s, where, len(middles))))
    return out[0], out[1], float(held)


def _by_session(side: Sample, where: np.ndarray, points: int) -> np.ndarray:
    found, group = np.unique(side.keys, return_inverse=True)
    counts = np.zeros((len(found), points))
    np.add.at(counts, (group, where), 1)
    return counts


def divergence(left: Histogram, right: Histogram, epsilon: float) -> tuple[float, tuple[np.ndarray, np.ndarray], bool]:
    """(S, its slopes in the weights of both sides, did all three problems converge).

    Points without rows stay, with weight and slope 0: halves of one side then have one shape, and compile once.
    """
    import jax

    a, b = left.weights(), right.weights()
    centre = (left.points.mean(0) + right.points.mean(0)) / 2
    with jax.enable_x64(True):
        value, potentials, converged = _solver()(left.points - centre, right.points - centre, a, b, epsilon)
        (f, g), (f_self, _), (g_self, _) = potentials
        f, f_self, g, g_self = (np.where(w > 0, p, 0.0) for p, w in ((f, a), (f_self, a), (g, b), (g_self, b)))
        return float(value), (f - f_self, g - g_self), all(bool(c) for c in converged)


@functools.cache
def _solver() -> Callable:
    """The three problems of a divergence as one compiled function: once a shape, where ott alone compiles at every call."""
    import jax
    from ott.geometry.pointcloud import PointCloud  # pyright: ignore[reportMissingImports]
    from ott.tools.sinkhorn_divergence import sinkhorn_divergence  # pyright: ignore[reportMissingImports]

    def solve(x, y, a, b, epsilon):
        value, out = sinkhorn_divergence(
            PointCloud, x, y, a=a, b=b, epsilon=epsilon, solve_kwargs={"threshold": THRESHOLD, "max_iterations": STEPS}
        )
        return value, tuple(tuple(pair) for pair in out.potentials), tuple(out.converged)

    return jax.jit(solve)


def first_order(value: float, slopes: tuple[np.ndarray, np.ndarray], sides: tuple[Histogram, Histogram]) -> Jackknife:
    """Delete-one-session jackknife of S along its slopes; the sides are independent samples."""
    parts = []
    for slope, histogram in zip(slopes, sides, strict=True):
        sizes = histogram.counts.sum(1)
        mean = histogram.weights() @ slope
        own = histogram.counts @ slope
        without = value + (own.sum() - own) / (sizes.sum() - sizes) - mean
        parts.append(from_parts(np.array([value]), without[:, None], sizes))
    return Jackknife(
        np.array([value]), np.array([value]), parts[0].covariance + parts[1].covariance, min(p.blocks for p in parts)
    )


def floor(side: Histogram, epsilon: float, seed: int) -> float:
    """Mean S between random halves of the sessions of one side; NaN below 4 sessions."""
    groups, generator, values = len(side.counts), np.random.default_rng(seed), []
    if groups < 4:
        return np.nan
    for _ in range(SPLITS):
        order = generator.permutation(groups)
        halves = [Histogram(side.points, side.counts[part]) for part in (order[: groups // 2], order[groups // 2 :])]
        values.append(divergence(halves[0], halves[1], epsilon)[0])
    return float(np.mean(values))
