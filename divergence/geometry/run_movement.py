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
    rows = vectors[data["text"].to_numpy()].astype(np.float64)
    origin = data["origin"].to_numpy()
    mean, count = np.zeros((units.height, vectors.shape[1])), np.bincount(unit[origin], minlength=units.height)
    np.add.at(mean, unit[origin], rows[origin])
    mean /= count[:, None]
    distance = ((rows - mean[unit]) ** 2).sum(1)
    spent = np.bincount(unit[origin], distance[origin], units.height)
    noise = np.divide(spent, count - 1, out=np.zeros(units.height), where=count > 1) / np.maximum(count, 1)
    spread = np.array([state.spread[[m for m, _ in origins].index(name)] for name in units["model"]])
    shape = (units.height, len(names) + 1, run.max() + 1)
    success, moved = np.full(shape, np.nan), np.full(shape, np.nan)
    success[unit, at, run] = data["score"].to_numpy()
    within = _within(rows, unit * shape[1] + at, shape[0] * shape[1]).reshape(shape[:2])
    deployed = ~origin & (count[unit] > 1)
    repeated = np.isfinite(within)
    by_context = np.where(repeated, within, 0).sum(0) / np.maximum(repeated.sum(0), 1)
    moved[unit[deployed], at[deployed], run[deployed]] = (
        (distance - noise[unit] - by_context[at]) / np.maximum(spread[unit], 1e-12)
    )[deployed]
    moved[unit[origin], 0, run[origin]] = 0.0
    return Runs(success, moved, units["model"].to_numpy(), units["item"].to_numpy(), (origins[0][1], *names))


def _within(rows: np.ndarray, cell: np.ndarray, cells: int) -> np.ndarray:
    """Unbiased variance of the rows of each cell, NaN where there is one or none."""
    found, where, count = np.unique(cell, return_inverse=True, return_counts=True)
    mean = np.zeros((len(found), rows.shape[1]))
    np.add.at(mean, where, rows)
    mean /= count[:, None]
    off = np.bincount(where, ((rows - mean[where]) ** 2).sum(1))
    out = np.full(cells, np.nan)
    out[found] = np.divide(off, count - 1, out=np.full(len(found), np.nan), where=count > 1)
    return out
