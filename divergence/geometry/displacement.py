"""How far did the answers to the same items move, beyond what reruns move anyway?

For item i with runs x_1..x_R in evaluation and y_1..y_S in deployment,

    delta2_i = mean_{a != a'} x_a . x_a'  +  mean_{b != b'} y_b . y_b'  -  2 mean x . mean y

is unbiased for |E x_i - E y_i|^2: signed, and 0 in the mean where nothing moved (the noise of reruns cancels because no
run meets itself). With V the mean within-item variance of the evaluation runs (sum over dimensions),

    displacement (headline) = mean_i delta2_i / V         squared distance in noise floors: 1 = as far as reruns scatter
    squared      = mean_i delta2_i                        the same in squared units of the embedding
    replicate_variance = V
    raw          = mean_i mean_ab |x_a - y_b|^2           not corrected; its noise floor is 2 V, what reruns show

Identified for items with 2 runs on both sides; V needs 2 evaluation runs. Both sides must come from one embedder. The
jackknife leaves out clusters of whole items. Memory O(items * d).
Source: the cross-validated distance of Walther et al. 2016 without whitening.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from divergence.errors import InputError
from divergence.estimate import Estimate
from divergence.geometry.answer import Row, answer, refuse
from divergence.geometry.embedder import noted, one_embedder
from divergence.geometry.uncertainty import Jackknife, from_parts
from divergence.geometry.usable_rows import Labels, labels, scaled, table, usable

QUESTION, TEXT = "displacement", "squared movement of the same items, beyond reruns, in noise floors"
SQUARED = "squared distance"
ROWS = [
    Row(None, "ratio", False),
    Row("squared", SQUARED, False),
    Row("replicate_variance", SQUARED, False),
    Row("raw", SQUARED, False),
]


@dataclasses.dataclass(frozen=True)
class SideRuns:
    """The runs of one side, summed within items; I items, rows sorted by item key."""

    keys: np.ndarray
    """Item keys, (I,)."""
    count: np.ndarray
    """Runs, (I,)."""
    total: np.ndarray
    """Sum of the runs, (I, d) float64."""
    squares: np.ndarray
    """Sum of the squared lengths of the runs, (I,)."""
    cluster: np.ndarray
    """Cluster key, (I,)."""
    rejected: int
    """Rows set aside."""


def displacement(
    x: object, y: object, *, items: tuple[Labels, Labels], cluster: tuple[Labels, Labels] | None, unit_length: bool = False
) -> Estimate:
    """Replicate-corrected displacement of y (rows, d) against x (rows, d); rows in any order, several a item.

    `items` = (item of each row of x, of y). `cluster` = (of x, of y): a label that holds whole items, or None: items are
    independent. Raises InputError for other dimensions, no common item, or an item in two clusters.
    """
    made, x, y = one_embedder(x, y), table(x, "x"), table(y, "y")
    if x.shape[1] != y.shape[1]:
        raise InputError(f"x has {x.shape[1]} dimensions and y {y.shape[1]}: displacement needs one embedder on both sides")
    first, second = (
        runs(values, items[side], None if cluster is None else cluster[side], name, unit_length, x[:1])
        for side, (values, name) in enumerate(((x, "x"), (y, "y")))
    )
    common, left, right = np.intersect1d(first.keys, second.keys, return_indices=True)
    if not len(common):
        raise InputError("x and y have no item in common: displacement compares the same items, use mmd for other ones")
    x_runs, y_runs = take(first, left), take(second, right)
    if (x_runs.cluster != y_runs.cluster).any():
        raise InputError("an item has another cluster in x than in y: give a label that holds whole items, or None")
    rejected = first.rejected + second.rejected
    alone = len(first.keys) + len(second.keys) - 2 * len(common)
    counts = {
        "n_rows": int(x_runs.count.sum() + y_runs.count.sum()),
        "n_items": len(common),
        "n_sessions": len(np.unique(x_runs.cluster)),
    }
    weights, sums = per_item(x_runs, y_runs)
    reason = reason_against(weights, x_runs.cluster)
    if reason is not None:
        return refuse(QUESTION, TEXT, ROWS, reason, counts=counts, rejected=rejected)
    jack = over_clusters(weights, sums, x_runs.cluster)
    return answer(
        QUESTION,
        TEXT,
        ROWS,
        jack,
        counts=counts,
        rejected=rejected,
        noise_floor=floors(jack),
        note=noted(alone and f"{alone} items on one side only, not used", made),
    )


def floors(jack: Jackknife) -> np.ndarray:
    """What would be seen if nothing moved: 0 for corrected numbers, 2 V for the raw one."""
    return np.array([0.0, 0.0, np.nan, 2 * jack.value[2]])


def runs(
    values: np.ndarray, items: Labels, cluster: Labels | None, name: str, unit_length: bool, shift: np.ndarray
) -> SideRuns:
    """Sum the usable rows of one side within items, about a common shift (which keeps the digits of float32 rows)."""
    keep = usable(values, unit_length)
    keys = labels(items, len(values), f"items of {name}")[keep]
    groups = keys if cluster is None else labels(cluster, len(values), f"cluster of {name}")[keep]
    shift = np.zeros_like(shift) if unit_length or not usable(shift).all() else shift
    rows = scaled(values[keep], unit_length).astype(np.float64) - shift
    found, where, count = np.unique(keys, return_inverse=True, return_counts=True)
    total = np.zeros((len(found), values.shape[1]))
    np.add.at(total, where, rows)
    squares = np.bincount(where, np.einsum("ij,ij->i", rows, rows), minlength=len(found))
    home = np.zeros(len(found), np.uint64)
    home[where] = groups
    if (home[where] != groups).any():
        raise InputError(
            f"{len(np.unique(where[home[where] != groups]))} items of {name} lie in more than one cluster: "
            "give a label that holds whole items, or None"
        )
    return SideRuns(found, count, total, squares, home, int((~keep).sum()))


def take(side: SideRuns, index: np.ndarray) -> SideRuns:
    """Only these items."""
    fields = {f.name: getattr(side, f.name) for f in dataclasses.fields(SideRuns)}
    return SideRuns(**{name: value if name == "rejected" else value[index] for name, value in fields.items()})


def per_item(x: SideRuns, y: SideRuns) -> tuple[np.ndarray, np.ndarray]:
    """Weights (I, 3): does the item give delta2, V, raw? And its values (I, 3), 0 where it does not."""
    squared_x, squared_y = ((r.total**2).sum(1) for r in (x, y))
    mean_xy = (x.total * y.total).sum(1) / (x.count * y.count)
    pairs_x, pairs_y = (np.maximum(r.count * (r.count - 1), 1) for r in (x, y))
    delta2 = (squared_x - x.squares) / pairs_x + (squared_y - y.squares) / pairs_y - 2 * mean_xy
    variance = (x.squares - squared_x / x.count) / np.maximum(x.count - 1, 1)
    raw = x.squares / x.count + y.squares / y.count - 2 * mean_xy
    replicated = x.count >= 2
    weights = np.stack([replicated & (y.count >= 2), replicated, np.ones(len(raw), bool)], 1).astype(float)
    return weights, weights * np.stack([delta2, variance, raw], 1)


def reason_against(weights: np.ndarray, cluster: np.ndarray) -> str | None:
    """Why these items give no displacement, or None."""
    if not weights[:, 1].any():
        return "every item has one evaluation run: without reruns nobody knows how far an item moves by itself"
    if not weights[:, 0].any():
        return "no item has 2 runs on both sides: one run cannot be told from its own noise"
    if len(np.unique(cluster[weights[:, 0] > 0])) < 3:
        return "fewer than 3 clusters (items, with cluster=None) have 2 runs on both sides: an interval needs 3"
    return None


def over_clusters(weights: np.ndarray, sums: np.ndarray, cluster: np.ndarray) -> Jackknife:
    """Delete-one-cluster jackknife of (delta2 / V, delta2, V, raw), every cluster left out in turn."""
    _, where = np.unique(cluster, return_inverse=True)
    size = where.max() + 1
    group_weights, group_sums = (np.zeros((size, 3)) for _ in range(2))
    np.add.at(group_weights, where, weights)
    np.add.at(group_sums, where, sums)

    def statistic(total: np.ndarray, weight: np.ndarray) -> np.ndarray:
        means = np.divide(total, weight, out=np.full(total.shape, np.nan), where=weight > 0)
        ratio = np.divide(means[..., 0], means[..., 1], out=np.full(means.shape[:-1], np.nan), where=means[..., 1] > 0)
        return np.concatenate([ratio[..., None], means], -1)

    total, weight = group_sums.sum(0), group_weights.sum(0)
    without = statistic(total - group_sums, weight - group_weights)
    sizes = group_weights[:, 2]
    return from_parts(statistic(total, weight), without, sizes)
