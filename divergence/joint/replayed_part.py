"""Traffic that replays a part of the bench: its levels on all of the bench's items.

    M'_a = M_a + sum_i (pi_i - w_ai) m_bi      w_a: the arm's own item law, pi: the bench's in its tasks, m_b: the bench

the mean of the arm's own items, and what the model's bench says of those that it did not try: the difference estimator
(Cassel, Särndal and Wretman 1976). Less the bench level it is the mean difference over the items that both tried, whichever
they are: on the harder two thirds of its items, a context that does what the bench does had lain 12 points below it. Its
influence is that of three means, of the arm, of the bench, and of the bench on the arm's items. Of times and costs it is the
ratio of these means, which stays positive, where scores have the difference. Unit: outcome scale.
"""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import scipy.sparse as sp

from divergence.cells import Cells, Table
from divergence.cells.overlap import REPLAYED_MIN, replayed_shares
from divergence.numerics import combinations, size_of

LEAST = 8  # items that an arm and its model's bench both tried, as in `held_items`: of fewer their variance is hardly known

ALIKE = 1e-9  # relative: laws of items that differ by rounding

CARRIED = (
    "Some contexts tried a part of the bench's items only: what the bench says of the others is added to their levels, so "
    "that effects are those on the items that both tried."
)


@dataclasses.dataclass(frozen=True)
class Carried:
    """Rows from whose means levels follow: of R raw arms, and twice those of the bench for each that lacks items of it."""

    counts: Table
    """The rows."""
    raw: np.ndarray
    """Code of each row's arm, shape (rows,); from R on it is what the bench says: on all of its items, on those tried."""
    weight: np.ndarray
    """Weight of each row in its arm's mean, shape (rows,)."""
    carry: sp.csr_array
    """The map from these means to levels, shape (R, R and more)."""
    few: tuple[tuple[int, int], ...] = ()
    """Arms that share too few items with the bench to be carried, and how many."""


def replays_a_part(cells: Cells) -> np.ndarray:
    """Which models tried a part of the bench only in which contexts that replay it, shape (models, contexts)."""
    return replayed_shares(cells) < REPLAYED_MIN


def carried_to_the_bench(
    counts: Table, raw: np.ndarray, weight: np.ndarray, model: np.ndarray, deployed: np.ndarray, lacks: np.ndarray
) -> Carried:
    """Rows of `counts`, their raw arms and weights, with two more raw arms of the bench for each that `lacks` items of it.
    `model`, `deployed` and `lacks` (R,) are of raw arms.

    Nothing is added to arms whose items have the law of the bench's in their tasks, nor to those that share fewer than
    `LEAST` with it.
    """
    size = len(model)
    if not lacks.any():
        return Carried(counts, raw, weight, sp.csr_array(sp.eye_array(size)))
    (task_of_item, _), item = combinations(counts["task"], counts["item"])
    named = counts["item"] >= 0
    rows, arms, weights, carried, few = [np.arange(len(raw))], [raw], [weight], [], []
    order = np.argsort(raw, kind="stable")
    ends = np.searchsorted(raw[order], np.arange(size + 1))
    rows_of = [order[begin:end][named[order[begin:end]]] for begin, end in itertools.pairwise(ends)]
    of_benches = np.concatenate([rows[0][:0], *(rows_of[r] for r in np.flatnonzero(~deployed))])
    for mine in np.split(np.argsort(model, kind="stable"), np.cumsum(np.bincount(model))[:-1]):
        if not lacks[mine].any():
            continue
        # Of a model without a bench what others' benches say, or it would be asked harder questions than they are.
        bench = np.concatenate([rows_of[r] for r in mine if not deployed[r]] or [of_benches])
        tried, place, times = np.unique(item[bench], return_inverse=True, return_counts=True)
        task = task_of_item[tried] + 1
        for r in mine[lacks[mine]]:
            own = rows_of[r][np.isin(item[rows_of[r]], tried)]
            law = np.bincount(np.searchsorted(tried, item[own]), weight[own], len(tried))
            if (shared := int((law > 0).sum())) < LEAST:
                few.append((int(r), shared))
                continue
            mass = np.bincount(task, law)  # of the tasks that it tried
            there = mass[task] > 0
            each = np.bincount(task[there], minlength=len(mass))
            whole = mass[task] / np.maximum(each[task], 1)
            if np.allclose(law[there], whole[there], rtol=ALIKE, atol=0):
                continue
            known = there[place]
            for of_items in (whole, law):
                rows.append(bench[known])
                arms.append(np.full(known.sum(), size + 2 * len(carried) + (of_items is law)))
                share = (of_items / times)[place[known]]
                weights.append(share / share.sum())
            carried.append(r)
    count = len(carried)
    places = size + np.arange(2 * count)
    ones = sp.csr_array(
        (np.tile([1.0, -1.0], count), (np.repeat(carried, 2).astype(int), places)), shape=(size, size + 2 * count)
    )
    every = np.concatenate(rows)
    plain = sp.csr_array(sp.hstack([sp.eye_array(size), sp.csr_array((size, 2 * count))]))
    carry = sp.csr_array(plain + ones)
    return Carried(counts.take(every), np.concatenate(arms), np.concatenate(weights), carry, tuple(few))


def carried_notes(cells: Cells, parts: Carried, model: np.ndarray, context: np.ndarray) -> tuple[str, ...]:
    """What was carried, and what was not, in sentences; `model` and `context` (R,) are codes of raw arms."""
    notes = []
    size, whole = size_of(parts.carry)
    if whole > size:
        notes.append(CARRIED)
        of_law = (parts.raw >= size) & ((parts.raw - size) % 2 == 1) & (parts.weight > 0)
        tried = combinations(*(each[of_law] for each in (parts.raw, parts.counts["task"], parts.counts["item"])))[0]
        if len(cells.levels["task"]) > 1 and np.bincount(combinations(*tried[:2])[1]).min() < LEAST:
            notes.append(
                f"On a single task that is done only where traffic and bench share {LEAST} items of it; on others the level "
                "in deployment is that of the items tried."
            )
    if parts.few:
        arm, shared = min(parts.few, key=lambda each: each[1])
        where = f"{cells.levels['model'][model[arm]]} in {cells.levels['context'][context[arm]]}"
        others = len({(model[r], context[r]) for r, _ in parts.few}) - 1
        more = f" (and {others} more)" if others else ""
        notes.append(
            f"Too small a part of the bench: {where} tried {shared} of its items{more}, and from {LEAST} on what the bench "
            "says of the others is added. Such a level is that of the items tried, and its effect holds what these are."
        )
    return tuple(notes)


def carried_levels(carry: sp.csr_array, own: np.ndarray, as_ratios: bool) -> tuple[np.ndarray, sp.csr_array]:
    """Levels (R,) from the means of raw arms and of what they are carried with, and how these move them, shape (R, R and
    more): by differences as `carry` says, or by ratios."""
    size = size_of(carry)[0]
    if not as_ratios or size == len(own):
        return carry @ own, carry
    known = own > 0
    alone = sp.csr_array(sp.eye_array(size, len(own)))
    whole = np.asarray(abs(carry) @ ~known).ravel() == 0
    log = carry @ np.log(np.where(known, own, 1.0))
    level = np.where(whole & (np.diff(carry.indptr) > 1), np.exp(log), own[:size])
    moved = sp.diags_array(level) @ carry @ sp.diags_array(1 / np.where(known, own, 1.0))
    rows = sp.diags_array(whole.astype(float))
    return level, sp.csr_array(rows @ moved + (sp.eye_array(size) - rows) @ alone)
