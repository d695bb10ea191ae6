"""Random groups of whole clusters: joint uncertainty of rates, costs and quantiles in memory that rows do not grow.

A cluster is a session where the row names one, else an item, else the row itself. A hash puts it into one of 128 blocks,
the same one in every model, context and measure. So a Bayesian bootstrap over blocks,

    w_b ~ Exp(1),    sum_b w_b y_b / sum_b w_b n_b,

gives joint draws of success, cost and latency quantiles of all combinations: what shares a cluster moves together, and
rows of one session count as one piece of evidence (random groups: Wolter 2007, chapter 2; Rubin 1981 for the weights).
With B filled blocks the standard error of a mean has itself a relative error of about sqrt(1 / (2 B)), 6 % at 128.
Rows of one item in different sessions lie in different blocks: items are a cluster only where no session is logged.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from divergence.cells.cells import Cells, Table
from divergence.executions.random_groups import BLOCKS as BLOCKS
from divergence.random_streams import stream


@dataclasses.dataclass(frozen=True)
class BlockSums:
    """Sums of one measure, each of shape (blocks, models, contexts)."""

    n: np.ndarray
    """Rows that have the measure; judged trials for `score`."""
    y: np.ndarray
    """Sum of the measure, in its unit."""
    yy: np.ndarray
    """Sum of its squares."""
    lost: np.ndarray
    """Sum of (1 - outcome) times the measure over judged rows; NaN where the outcome is not a score."""


def block_numbers(cells: Cells) -> np.ndarray:
    """The number of each block by its code in `cells.levels`."""
    return np.array([int(name) for name in cells.levels["block"]], np.int64)


def rows_of(cells: Cells, table: Table, measure: str, regime: str) -> Table:
    """The rows of `measures` or `histograms` about one measure in one regime; none where the log lacks it."""
    wanted = [
        cells.levels[key].index(name) if name in cells.levels[key] else -2
        for key, name in (("measure", measure), ("regime", regime))
    ]
    return table.take((table["measure"] == wanted[0]) & (table["regime"] == wanted[1]))


def metered(cells: Cells, table: Table) -> Table:
    """The rows of a table of costs without the combinations whose cost is 0 in every row and is read as missing."""
    for regime, model, context in cells.unmetered:
        table = table.take(~((table["regime"] == regime) & (table["model"] == model) & (table["context"] == context)))
    return table


def block_sums(cells: Cells, measure: str, regime: str) -> BlockSums:
    """Sums of a measure in one regime by block, model and context (in the order of `cells.levels`), all tasks together."""
    table = rows_of(cells, cells.measures, measure, regime)
    if measure == "cost_usd":
        table = metered(cells, table)
    shape = (BLOCKS, len(cells.levels["model"]), len(cells.levels["context"]))
    where = np.ravel_multi_index((block_numbers(cells)[table["block"]], table["model"], table["context"]), shape)
    return BlockSums(
        *(np.bincount(where, table[name], int(np.prod(shape))).reshape(shape) for name in ("n", "y", "yy", "lost"))
    )


def block_weights(draws: int, seed: int) -> np.ndarray:
    """Weights of a Bayesian bootstrap over blocks, shape (draws, blocks): the same for everything that is to be joint."""
    return stream(seed, "blocks").standard_exponential((draws, BLOCKS))
