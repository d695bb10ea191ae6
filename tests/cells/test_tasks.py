"""A task that only the bench logs is the item's task in traffic too."""

import numpy as np
import polars as pl

import divergence as dv
from divergence.cells.tasks import resolve_tasks
from divergence.simulate import simulate, world


def _log():
    log, _ = simulate(world("baseline", n_models=2, n_contexts=2, n_items=30), 1)
    return log.with_columns(task=pl.concat_str(pl.lit("t"), pl.col("item").str.slice(-1)))


def test_missing_tasks_change_nothing():
    log = _log()
    bare = log.with_columns(task=pl.when(pl.col("regime") == "evaluation").then(pl.col("task")))
    whole, resolved = dv.collapse(dv.read(log)), resolve_tasks(dv.collapse(dv.read(bare)))
    assert resolved.levels == whole.levels
    for key in ("task", "item", "n", "y"):
        np.testing.assert_array_equal(resolved.counts[key], whole.counts[key])


def test_an_item_of_two_tasks_stays_as_it_is():
    log = _log().with_columns(
        task=pl.when(pl.col("trial") == 0)
        .then(pl.lit("a"))
        .otherwise(pl.when(pl.col("regime") == "evaluation").then(pl.lit("b")))
    )
    cells = dv.collapse(dv.read(log))
    assert resolve_tasks(cells) is cells
