"""Do two sets of embeddings, of any items, come from one distribution, and if not how far apart are they?

Maximum mean discrepancy with the mean of Gaussian kernels at several bandwidths (about the median distance). With rows
in sessions, sums over pairs of rows of *different* sessions only:

    MMD2 (headline) = mean k(x, x') + mean k(y, y') - 2 mean k(x, y)        between -2 and 2, 0 in the mean if equal
    biased          = the same with all pairs, a row with itself too: what other libraries report, never below 0
    p_value         = (1 + #{permuted >= observed}) / (1 + permutations)

Rows of one session resemble each other, so pairs within it would make MMD2 positive where nothing differs, and sessions,
never rows, are permuted: with an intra-session correlation of .1 a permutation of rows rejects 23 % of true null
hypotheses at the 5 % level. The test statistic is the largest MMD2 over the bandwidths, each in units of its spread over
the permutations, with the observed labels as one line of the same batch: one p-value, nothing to correct for. The noise
floor is the 95 % point of the permuted MMD2. A difference may be another mix of prompts as well as other behaviour: this
is a statement about the rows, not about its cause.

Identified from 2 sessions a side (an interval from 3); sessions of both sides are exchangeable under the null hypothesis
if their sizes are alike. Rows of the same items on both sides are not independent samples: ask `displacement` for those.
Source: Gretton et al. 2012; Biggs, Schrab and Gretton 2023 for several bandwidths in one test; Phipson and Smyth 2010
for p.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from divergence.errors import InputError
from divergence.estimate import Estimate
from divergence.geometry.answer import OUTCOME, Row, frame, method, refuse
from divergence.geometry.embedder import noted, one_embedder
from divergence.geometry.kernels import (
    FeatureSums,
    Sample,
    feature_gram,
    kernel_for,
    sample,
    session_gram,
    sums_of,
)
from divergence.geometry.uncertainty import METHOD, Jackknife, from_parts
from divergence.geometry.usable_rows import Labels

QUESTION, TEXT = "mmd", "difference of two sets of embeddings (squared maximum mean discrepancy)"
ROWS = [Row(None, "ratio", False), Row("biased", "ratio", False), Row("p_value", "probability", False)]
EXACT_ROWS = 4000  # up to here every pair of rows costs less than the features
FEATURES = 1024
PERMUTATIONS = 2000


@dataclasses.dataclass(frozen=True)
class Groups:
    """Kernel sums between the groups (sessions) of both sides; the first `first` of the G groups are x."""

    gram: np.ndarray
    """(W, G, G): sums of the kernel over pairs of rows."""
    n: np.ndarray
    """Rows of each group, (G,)."""
    first: int
    """Groups of x."""

    @property
    def observed(self) -> np.ndarray:
        """1 for the groups of x, 0 for those of y."""
        return (np.arange(len(self.n)) < self.first).astype(float)


def mmd(
    x: object,
    y: object,
    *,
    cluster: tuple[Labels, Labels] | None,
    bandwidths: tuple[float, ...] | None = None,
    features: int | None = None,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
    unit_length: bool = False,
) -> Estimate:
    """MMD2 between x (n, d) and y (m, d) with interval, floor and a permutation p-value; one embedder on both sides.

    `cluster` = (sessions of x, of y), or None: rows are independent. A label on both sides is two sessions. `bandwidths`
    in the unit of the embedding. `features`: random features a bandwidth, 0 = every pair of rows, None = every pair up to
    4000 rows and 1024 features above. Raises InputError for tables that cannot be compared.
    """
    clusters = (None, None) if cluster is None else cluster
    first, second = (sample(v, c, name, unit_length) for v, c, name in zip((x, y), clusters, "xy", strict=True))
    if first.rows.shape[1] != second.rows.shape[1]:
        raise InputError(
            f"x has {first.rows.shape[1]} dimensions and y {second.rows.shape[1]}: "
            "rows are compared in one space, embed both with one embedder"
        )
    if (first.sessions.size == 0) != (second.sessions.size == 0):
        raise InputError("cluster is None for one side only: give sessions for both, or cluster=None")
    rows = len(first.rows) + len(second.rows)
    if features is None:
        features = 0 if rows <= EXACT_ROWS else FEATURES
    kernel = kernel_for(first.rows, second.rows, bandwidths=bandwidths, features=features or 2, seed=seed)
    if features == 0:
        sizes = [np.unique(side.keys, return_counts=True)[1].astype(float) for side in (first, second)]
        groups = Groups(session_gram(first, second, kernel.bandwidths), np.concatenate(sizes), len(sizes[0]))
        return _answer(groups, (first, second), "every pair of rows", permutations, seed)
    return mmd_of_sums(sums_of(first, kernel), sums_of(second, kernel), permutations=permutations, seed=seed)


def mmd_of_sums(
    evaluation: FeatureSums, deployment: FeatureSums, *, permutations: int = PERMUTATIONS, seed: int = 0
) -> Estimate:
    """The same answer from feature sums by session, made with one kernel, shard by shard where rows are many."""
    groups = Groups(feature_gram(evaluation, deployment), np.concatenate([evaluation.n, deployment.n]), len(evaluation.n))
    how = f"{evaluation.kernel.features} random features a bandwidth"
    return _answer(groups, (evaluation, deployment), how, permutations, seed)


def _answer(groups: Groups, sides: tuple[Sample | FeatureSums, ...], how: str, permutations: int, seed: int) -> Estimate:
    if permutations < 1:
        raise InputError(f"permutations is {permutations}: a p-value needs at least 1, and 199 to get below .01")
    made, sessions = one_embedder(*sides), [side.sessions.size for side in sides]
    rejected = sum(side.rejected for side in sides)
    counts = {"n_rows": int(groups.n.sum()), "n_sessions": sum(sessions) or int(groups.n.sum())}
    sizes = groups.first, len(groups.n) - groups.first
    if min(sizes) < 2:
        reason = f"{sizes[0]} and {sizes[1]} sessions: differences within and between sessions need 2 on each side"
        return refuse(QUESTION, TEXT, ROWS, reason, counts=counts, rejected=rejected)
    jack = jackknife(groups)
    p_value, null = permutation_test(groups, permutations, seed)
    draws = jack.draws(np.zeros(2, bool), seed)
    draws = np.concatenate([draws, np.full((len(draws), 1), p_value)], 1)
    arrangements = math.comb(sum(sizes), sizes[0])
    few = f"only {arrangements} arrangements of sessions" if arrangements < 200 else ""
    note = noted(how, f"{permutations} permutations of sessions", few, made)
    reason = (None, None, None)
    if min(sizes) == 2:  # leaving one out leaves one, which has no partner to be compared with
        reason = ("2 sessions on a side: the interval needs 3 (the p-value stands)",) * 2 + (None,)
        draws[:, :2] = np.nan
    return Estimate(
        QUESTION,
        TEXT,
        "ratio",
        frame(ROWS),
        draws,
        OUTCOME,
        reason=reason,
        counts=counts,
        noise_floor=np.array([np.quantile(null, 0.95), np.nan, np.nan]),
        method=method(METHOD, rejected, note),
    )


def discrepancies(groups: Groups, sides: np.ndarray) -> np.ndarray:
    """MMD2 without pairs of one group for each line of `sides` (B, G; 1 = x), by bandwidth: (W, B)."""
    n = groups.n
    rows_x, rows_y = sides @ n, (1 - sides) @ n
    pairs_x, pairs_y = rows_x**2 - sides @ n**2, rows_y**2 - (1 - sides) @ n**2
    result = np.empty((len(groups.gram), len(sides)))
    for w, gram in enumerate(groups.gram):
        between = gram - np.diag(np.diag(gram))
        every = between.sum(1)
        xx = np.einsum("bg,bg->b", sides @ between, sides)
        toward_x = sides @ every
        result[w] = xx / pairs_x + (every.sum() - 2 * toward_x + xx) / pairs_y - 2 * (toward_x - xx) / (rows_x * rows_y)
    return result


def permutation_test(groups: Groups, permutations: int, seed: int) -> tuple[float, np.ndarray]:
    """(p-value over all bandwidths, permuted MMD2 of the mean kernel); the observed labels are line 0 of the batch."""
    generator = np.random.default_rng(seed)
    sides = np.tile(groups.observed, (permutations + 1, 1))
    sides[1:] = generator.permuted(sides[1:], axis=1)
    values = discrepancies(groups, sides)
    spread = np.maximum(values.std(1, keepdims=True), 1e-300)
    largest = (values / spread).max(0)
    # the same arrangement may round differently on another line: an equal value counts as reaching the observed one
    reached = largest[1:] >= largest[0] - 1e-9 * (1 + abs(largest[0]))
    return (1 + int(reached.sum())) / (permutations + 1), values[:, 1:].mean(0)


def statistics(gram: np.ndarray, n: np.ndarray, side: np.ndarray) -> np.ndarray:
    """(MMD2 without pairs of one group, with all pairs) of the mean kernel `gram` (G, G); groups of weight 0 are out."""
    x, y = side * (n > 0), (1 - side) * (n > 0)
    rows_x, rows_y, own = x @ n, y @ n, np.diag(gram)
    xx, yy, xy = x @ gram @ x, y @ gram @ y, x @ gram @ y
    unbiased = (xx - own @ x) / (rows_x**2 - x @ n**2) + (yy - own @ y) / (rows_y**2 - y @ n**2)
    return np.array([unbiased - 2 * xy / (rows_x * rows_y), xx / rows_x**2 + yy / rows_y**2 - 2 * xy / (rows_x * rows_y)])


def jackknife(groups: Groups) -> Jackknife:
    """Delete-one-group jackknife of both statistics; the sides are independent samples."""
    gram, n, side = groups.gram.mean(0), groups.n, groups.observed
    value, without = statistics(gram, n, side), np.full((len(n), 2), np.nan)
    for g in range(len(n)):
        rest = n.copy()
        rest[g] = 0
        if min((rest[side > 0] > 0).sum(), (rest[side == 0] > 0).sum()) >= 2:
            without[g] = statistics(gram, rest, side)
    parts = [from_parts(value, without[side == s], n[side == s]) for s in (1, 0)]
    return Jackknife(
        value,
        parts[0].corrected + parts[1].corrected - value,
        parts[0].covariance + parts[1].covariance,
        min(parts[0].blocks, parts[1].blocks),
    )
