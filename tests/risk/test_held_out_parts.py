"""Rows are dealt by what they hold: whole clusters, evenly, and whatever items are called."""

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.risk.held_out_parts import PARTS, with_parts

ITEMS = 200


def log_of(seed, name="item", prefix="i", reverse=False):
    random = np.random.default_rng(seed)
    number = np.repeat(np.arange(ITEMS), 3)
    called = ITEMS - 1 - number if reverse else number
    return pl.DataFrame(
        {
            "regime": "deployment",
            "model": np.tile(["a", "b", "c"], ITEMS),
            name: [f"{prefix}{k:03d}" for k in called],
            "score": (random.random(len(number)) < 0.6).astype(float),
            "time_of_day": number,
        }
    )


def dealt(frame):
    log = dv.read(frame)
    return with_parts(log, log.scan()).collect()


@pytest.mark.parametrize("name", ["item", "session"])
def test_clusters_stay_whole_and_parts_are_even(name):
    found = dealt(log_of(0, name))
    by = found.group_by(name).agg(pl.col("part").n_unique(), pl.col("cluster").n_unique(), one=pl.col("part").first())
    assert by["part"].max() == by["cluster"].max() == 1
    assert by["one"].value_counts()["count"].to_list() == [ITEMS // PARTS] * PARTS
    assert found["cluster"].n_unique() == ITEMS


@pytest.mark.parametrize("seed", range(3))
def test_names_do_not_decide(seed):
    """Clusters of three answers hold one of eight things: each part gets as many of each, however they are called."""
    found = [dealt(log_of(seed, prefix=p, reverse=r)) for p, r in (("i", False), ("other-", True))]
    told = [
        f.group_by("cluster", "part").agg(pl.col("score").sort_by("model")).sort("cluster").select("part", "score").rows()
        for f in found
    ]
    assert told[0] == told[1]


def test_clusters_that_hold_the_same_are_spread():
    found = dealt(log_of(0).with_columns(score=pl.lit(1.0)))
    assert found.group_by("part").len()["len"].to_list() == [3 * ITEMS // PARTS] * PARTS


def test_rows_without_a_name_are_dealt_too():
    found = dealt(log_of(0).drop("item"))
    counts = found["part"].value_counts()["count"].cast(pl.Int64)
    # Multinomial with 60 expected: five standard deviations.
    assert found["cluster"].n_unique() == 3 * ITEMS and (counts - 60).abs().max() < 5 * 60**0.5 and len(counts) == PARTS
