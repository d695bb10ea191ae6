"""Runs of an item behind its judgements: several scorers of one answer are judges of it and no repetitions.

A row has one scorer, so an answer that three scorers judged stands in three rows. What repeats are rows of one scorer; of
runs that were dealt to scorers, each judged by another, nothing tells that from one run that all of them judged.
"""

from __future__ import annotations

import numpy as np

from divergence.cells.cells import Cells, Table
from divergence.numerics import combinations, together

ANSWER = ("model", "regime", "context", "task", "item")


def trials_by_scorer(counts: Table) -> tuple[np.ndarray, np.ndarray]:
    """Trials and their sums, each (scorers, items), of one combination's `counts`; 0 where a scorer has none."""
    _, item = combinations(counts["task"], counts["item"])
    _, scorer = np.unique(counts["scorer"], return_inverse=True)
    n = np.zeros((int(scorer.max(initial=-1)) + 1, int(item.max(initial=-1)) + 1))
    y = np.zeros_like(n)
    np.add.at(n, (scorer.ravel(), item), counts["n"])
    np.add.at(y, (scorer.ravel(), item), counts["y"])
    return n, y


def answers_once(cells: Cells) -> Table:
    """The log's answers, each as often as it was given: an answer that several scorers judged is logged once a scorer."""
    table = cells.answers
    counts = cells.counts.take((cells.counts["n"] > 0) & (cells.counts["item"] >= 0))
    if not len(table) or len(np.unique(counts["scorer"])) < 2:
        return table
    keys = together(*(np.concatenate([counts[k], table[k]]) for k in ANSWER))
    of_counts, of_answers = keys[: len(counts)], keys[len(counts) :]
    pairs, pair = combinations(of_counts, counts["scorer"])
    trials = np.bincount(pair, counts["n"], pairs.shape[1])
    most, whole = np.zeros((2, int(keys.max()) + 1))
    np.maximum.at(most, pairs[0], trials)
    np.add.at(whole, pairs[0], trials)
    judges = np.where(most > 0, whole / np.where(most > 0, most, 1.0), 1.0)
    return Table(table.keys, table.sums | {"n": table["n"] / judges[of_answers]})
