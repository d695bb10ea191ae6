"""How far did each single run move from its model's mean answer to the same item in the evaluation?

    s_r = (|y_r - xbar_i|^2 - v_oi / R_oi - v_c) / S_m      v_c = mean variance of runs of one item in that context

unbiased for |E y_i - E x_i|^2 / S_m over the runs of a context; a single one is noisy, and may be below 0.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from divergence.geometry.explained_by_displacement import Runs
from divergence.geometry.movement import Movement, numbered
from divergence.geometry.usable_rows import Labels, table

MOST_RUNS = 8  # runs of an item in a context that are used: more add little and cost memory
PIECE = 2**17  # numbers of one array of vectors at once: a vector a row of the log would be the largest array of a report


def run_movement(
    state: Movement,
    vectors: np.ndarray,
    text: Labels,
    *,
    model: Labels,
    context: Labels,
    item: Labels,
    evaluation: Labels,
    score: Labels,
) -> Runs:
    """Runs by unit, context and run, from the rows that made `state`."""
    vectors = table(vectors, "vectors")
    data, origins, places = numbered(vectors, text, model, context, item, evaluation, item, score)
    data = (
        data.filter(pl.col("score").is_not_null() & pl.col("place").is_not_null())
        .with_columns(run=pl.int_range(pl.len()).over("place", "item"))
        .filter(pl.col("run") < MOST_RUNS)
    )
    if not data.filter("origin").height:
        none = np.zeros((0, 1, 1))
        return Runs(none, none, np.zeros(0, str), np.zeros(0, str), (origins[0][1],))
    names = {name: k for k, name in enumerate(dict.fromkeys([*places["context"]]), 1)}
    units = data.filter("origin").select("model", "item").unique(maintain_order=True).with_row_index("unit")
    data = data.join(units, on=["model", "item"], how="inner", maintain_order="left")
    where = pl.when("origin").then(0).otherwise(pl.col("context").replace_strict(names, default=0, return_dtype=pl.Int64))
    unit, run = (data[c].to_numpy().astype(int) for c in ("unit", "run"))
    at = data.select(where.alias("at"))["at"].to_numpy()
    texts, origin = data["text"].to_numpy(), data["origin"].to_numpy()
    count = np.bincount(unit[origin], minlength=units.height)
    mean = _summed(vectors, texts[origin], unit[origin], units.height) / count[:, None]
    distance = _distances(vectors, texts, mean, unit)
    spent = np.bincount(unit[origin], distance[origin], units.height)
    noise = np.divide(spent, count - 1, out=np.zeros(units.height), where=count > 1) / np.maximum(count, 1)
    spread = np.array([state.spread[[m for m, _ in origins].index(name)] for name in units["model"]])
    shape = (units.height, len(names) + 1, run.max() + 1)
    success, moved = np.full(shape, np.nan), np.full(shape, np.nan)
    success[unit, at, run] = data["score"].to_numpy()
    within = _within(vectors, texts, unit * shape[1] + at, shape[0] * shape[1]).reshape(shape[:2])
    deployed = ~origin & (count[unit] > 1)
    repeated = np.isfinite(within)
    by_context = np.where(repeated, within, 0).sum(0) / np.maximum(repeated.sum(0), 1)
    moved[unit[deployed], at[deployed], run[deployed]] = (
        (distance - noise[unit] - by_context[at]) / np.maximum(spread[unit], 1e-12)
    )[deployed]
    moved[unit[origin], 0, run[origin]] = 0.0
    return Runs(success, moved, units["model"].to_numpy(), units["item"].to_numpy(), (origins[0][1], *names))


def _within(vectors: np.ndarray, texts: np.ndarray, cell: np.ndarray, cells: int) -> np.ndarray:
    """Unbiased variance of the rows of each cell, NaN where there is one or none."""
    order = np.argsort(cell, kind="stable")
    found, begin, count = np.unique(cell[order], return_index=True, return_counts=True)
    texts, off = texts[order], np.empty(len(found))
    step = max(1, PIECE // (vectors.shape[1] * count.max()))
    for first in range(0, len(found), step):
        runs = count[first : first + step]
        near = vectors[texts[begin[first] : begin[first] + runs.sum()]].astype(np.float64)
        mean = np.add.reduceat(near, begin[first : first + step] - begin[first]) / runs[:, None]
        where = np.repeat(np.arange(len(runs)), runs)
        off[first : first + step] = np.bincount(where, ((near - mean[where]) ** 2).sum(1))
    out = np.full(cells, np.nan)
    out[found] = np.divide(off, count - 1, out=np.full(len(found), np.nan), where=count > 1)
    return out


def _summed(vectors: np.ndarray, texts: np.ndarray, group: np.ndarray, groups: int) -> np.ndarray:
    """Sums over the rows of each group, (groups, d); a row is a text's vector."""
    from scipy.sparse import csr_array

    order = np.argsort(group, kind="stable")
    begin = np.searchsorted(group[order], np.arange(groups + 1))
    return csr_array((np.ones(len(order)), texts[order], begin), (groups, len(vectors))) @ vectors


def _distances(vectors: np.ndarray, texts: np.ndarray, mean: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Squared distance of each row from the mean of its group, (N,)."""
    out, step = np.empty(len(texts)), max(1, PIECE // vectors.shape[1])
    for begin in range(0, len(texts), step):
        piece = slice(begin, begin + step)
        out[piece] = ((vectors[texts[piece]] - mean[group[piece]]) ** 2).sum(1)
    return out
