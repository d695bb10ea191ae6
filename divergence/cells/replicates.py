"""Replicates as dense arrays: what two runs of the same item say about each other.

For one model, arrays over (context, wave, item): n trials, y their sum, and the sums over sessions of n_s^2 and y_s^2
(a row without a session is a session of its own). Two trials are a pair of replicates when they are not of one session:

    sum over pairs y_r y_r' = y^2 - sum_s y_s^2,      number of pairs = n^2 - sum_s n_s^2.

Where `sessions` is thinned, n and y of a cell with sessions are those of the sessions that are kept.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from divergence.cells.cells import Cells, Table
from divergence.numerics import combinations, together


@dataclasses.dataclass(frozen=True)
class Replicates:
    """One model's replicates of one outcome or one answer label; arrays of shape (contexts, waves, items)."""

    n: np.ndarray
    """Trials."""
    y: np.ndarray
    """Their sum."""
    yy: np.ndarray
    """The sum of their squares."""
    pairs: np.ndarray
    """Ordered pairs of replicates from different sessions."""
    products: np.ndarray
    """Sum of y y' over these pairs."""

    def pooled(self) -> Replicates:
        """All waves as one, shape (contexts, 1, items): pairs across waves count too."""

        def total(a: np.ndarray) -> np.ndarray:
            return a.sum(1, keepdims=True)

        n, y = total(self.n), total(self.y)
        within_n = total(self.n**2 - self.pairs)
        within_y = total(self.y**2 - self.products)
        return Replicates(n, y, total(self.yy), n**2 - within_n, y**2 - within_y)


def replicates(cells: Cells, model: int, contexts: np.ndarray) -> tuple[Replicates, np.ndarray]:
    """Replicates of the outcome, and the (task, item) codes of the item axis, shape (2, items).

    `contexts`: (regime code, context code) pairs, shape (contexts, 2).
    """
    counts = _with_items(cells, model)
    items, item = combinations(counts["task"], counts["item"])
    waves, wave = np.unique(counts["wave"], return_inverse=True)
    shape = (len(contexts), len(waves), items.shape[1])

    def spread(table: Table, values: np.ndarray, where: tuple) -> np.ndarray:
        out = np.zeros(shape)
        row = context_rows(table, contexts)
        ok = row >= 0
        np.add.at(out, (row[ok], where[0][ok], where[1][ok]), values[ok])
        return out

    every = cells.every("sessions")
    sessions = cells.sessions.of_model(model)
    sessions = sessions.take(sessions["item"] >= 0)
    total = [np.zeros(shape) for _ in range(5)]
    # Several judgements of one answer are no repetitions of it: pairs are those that one scorer judged.
    for scorer in np.unique(np.concatenate([counts["scorer"], sessions["scorer"]])):
        mine, pick = counts["scorer"] == scorer, sessions["scorer"] == scorer
        own, place = counts.take(mine), (wave.ravel()[mine], item[mine])
        part = np.ones(len(own)) if every == 1 else (own["grouped"] == 0).astype(float)
        n, y, yy = (spread(own, own[name] * part, place) for name in ("n", "y", "yy"))
        table = sessions.take(pick)
        if len(table):
            both = together(*(np.concatenate([items[k], table[name]]) for k, name in enumerate(("task", "item"))))
            where = (np.searchsorted(waves, table["wave"]), both[items.shape[1] :])  # `items` are sorted: 0, 1, ..
            if every > 1:
                n, y, yy = (a + spread(table, table[name], where) for a, name in ((n, "n"), (y, "y"), (yy, "yy")))
        same_n, same_y = n.copy(), yy.copy()
        if len(table):
            same_n += spread(table, table["n"] ** 2 - table["n"], where)
            same_y += spread(table, table["y"] ** 2 - table["yy"], where)
        for sum_, value in zip(total, (n, y, yy, n**2 - same_n, y**2 - same_y), strict=True):
            sum_ += value
    return Replicates(*total), items


def _with_items(cells: Cells, model: int) -> Table:
    counts = cells.counts.of_model(model)
    return counts.take((counts["item"] >= 0) & (counts["n"] > 0))


def contexts_with_items(cells: Cells, model: int, contexts: np.ndarray) -> np.ndarray:
    """Which of the contexts a model has judged rows of items in, indices in order."""
    found = np.unique(context_rows(_with_items(cells, model), contexts))
    return found[found >= 0]


def context_rows(table: Table, contexts: np.ndarray) -> np.ndarray:
    """Index into `contexts` of each row of a table, -1 where it is none of them."""
    place = np.full(
        (
            max(table["regime"].max(initial=0), contexts[:, 0].max(initial=0)) + 1,
            max(table["context"].max(initial=0), contexts[:, 1].max(initial=0)) + 1,
        ),
        -1,
    )
    place[contexts[:, 0], contexts[:, 1]] = np.arange(len(contexts))
    return place[table["regime"], table["context"]]


def answer_pairs(table: Table, contexts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Answer labels of one model's `answers`: agreement within contexts, label shares, the (task, item) codes of the items.

    Agreement is the share of equal pairs of replicates, shape (contexts, items), NaN where there is no pair; shares have
    shape (contexts, items, labels), NaN where an item was not answered. Labels are numbered within each item.
    """
    items, item = combinations(table["task"], table["item"])
    _, code = combinations(item, table["answer"])
    first = np.full(items.shape[1], len(table))
    np.minimum.at(first, item, code)
    label = code - first[item]
    row = context_rows(table, contexts)
    shape = (len(contexts), items.shape[1], label.max() + 1 if len(label) else 0)
    n, nn = np.zeros(shape), np.zeros(shape)
    ok = row >= 0
    np.add.at(n, (row[ok], item[ok], label[ok]), table["n"][ok])
    # Pairs inside one session are not replicates; a row without a session is a session of its own.
    inside = np.where(table["session"] >= 0, table["n"] ** 2, table["n"])
    np.add.at(nn, (row[ok], item[ok], label[ok]), inside[ok])
    trials = n.sum(2)
    with np.errstate(invalid="ignore", divide="ignore"):
        agree = (n**2 - nn).sum(2) / (trials**2 - nn.sum(2))
        share = n / trials[:, :, None]
    return agree, share, items
