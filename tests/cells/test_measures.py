"""Measures and histograms by block: against loops, as a commutative monoid, and with known truth."""

import collections

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import divergence as dv
from divergence.cells import histograms, random_blocks
from divergence.cells.cells import TABLES
from divergence.cells.measures import QUANTILES
from divergence.executions import random_groups as clusters
from divergence.simulate import simulate, world

ALL = np.arange(histograms.ZERO + 1, 1000)
UPPER = histograms.edges(ALL)[1]
SETTING = dv.Configuration(factors=("quantization", "kv_cache_dtype", "concurrency"), kind="binary")


def _log(seed=0, sessions=True):
    log, _ = simulate(world("sessions", n_models=2, n_contexts=2, n_items=12), seed)
    rng = np.random.default_rng(seed)
    count = log.height
    log = log.with_columns(
        latency_s=pl.Series(np.where(rng.random(count) < 0.1, 0.0, rng.lognormal(0, 1, count))),
        cost_usd=pl.Series(rng.integers(0, 9, count) / 1024),  # sums of these are exact in any order
        output_tokens=pl.Series([None if k > 499 else int(k) for k in rng.integers(0, 600, count)], dtype=pl.Int64),
        turn=pl.Series(rng.integers(1, 4, count)),
        score=pl.when(pl.Series(rng.random(count)) < 0.1).then(None).otherwise(pl.col("score")),
    )
    return log if sessions else log.drop("session")


def _named(cells, table, key, k):
    code = getattr(cells, table)[key][k]
    return cells.levels[key][code] if code >= 0 else None


def test_against_a_loop():
    log = _log()
    cells = dv.collapse(dv.read(log, configuration=SETTING))
    sums, bins = collections.defaultdict(lambda: np.zeros(4)), collections.Counter()
    valid = dv.read(log, configuration=SETTING).valid.with_columns(block=clusters.block(["session", "item"]))
    for row in valid.iter_rows(named=True):
        arm = (row["model"], row["regime"], row["context"])
        for measure in ("latency_s", "cost_usd", "output_tokens", "turn"):
            x = row[measure]
            if x is None:
                continue
            lost = 0.0 if row["score"] is None else (1 - row["score"]) * x
            sums[(*arm, row["task"], str(row["block"]), measure)] += [1, x, x * x, lost]
            if measure in QUANTILES:
                edge = histograms.ZERO if x == 0 else ALL[np.searchsorted(UPPER, x, side="right")]
                bins[(*arm, str(row["block"]), measure, str(edge))] += 1
        if row["score"] is not None:
            sums[(*arm, row["task"], str(row["block"]), "score")] += [1, row["score"], row["score"], 1 - row["score"]]
    keys, names = TABLES["measures"]
    seen = {
        tuple(_named(cells, "measures", key, k) for key in keys): [cells.measures[s][k] for s in names]
        for k in range(len(cells.measures))
    }
    assert seen.keys() == sums.keys()
    for key, values in seen.items():
        np.testing.assert_allclose(values, sums[key], rtol=1e-12)
    keys, _ = TABLES["histograms"]
    assert {
        tuple(_named(cells, "histograms", key, k) for key in keys): cells.histograms["n"][k]
        for k in range(len(cells.histograms))
    } == bins


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**31 - 1), st.floats(0.05, 0.95), st.booleans())
def test_merge_is_the_whole(seed, share, sessions):
    log = _log(sessions=sessions).drop("latency_s")  # its sums depend on their order in the last digit
    first = np.random.default_rng(seed).random(log.height) < share
    first[:2] = [True, False]
    part = [dv.collapse(dv.read(log.filter(f), configuration=SETTING)) for f in (first, ~first)]
    whole = dv.collapse(dv.read(log, configuration=SETTING))
    for merged in (dv.merge(*part), dv.merge(*part[::-1])):
        # Lengths of episodes are those of whole sessions, which this split by rows tears apart.
        assert all(merged.levels[key] == names for key, names in whole.levels.items() if key != "length")
        for name in ("measures", "histograms"):
            for column in (*TABLES[name][0], *TABLES[name][1]):
                np.testing.assert_array_equal(getattr(merged, name)[column], getattr(whole, name)[column], err_msg=column)


def test_a_log_without_measures_has_the_score_only():
    log, _ = simulate(world("baseline", n_models=2, n_contexts=2, n_items=12), 0)
    cells = dv.collapse(dv.read(log))
    assert cells.levels["measure"] == ("score",)
    assert len(cells.histograms) == 0
    assert random_blocks.block_sums(cells, "cost_usd", "deployment").n.sum() == 0
    bins, counts = histograms.histogram(cells, "latency_s", "deployment")
    assert len(bins) == 0
    assert np.isnan(histograms.quantile(bins, counts.sum(0), 0.5)).all()


def test_a_cluster_has_one_block_everywhere():
    """Pinned: a Polars whose hash differs would put partitions of one log into different blocks."""
    frame = pl.DataFrame({"session": ["s1", "s2", None, None], "item": ["i", "i", "i", None], "row": [1, 2, 3, 4]})
    seen = frame.select(clusters.block(["session", "item"])).to_series().to_list()
    assert seen == PINNED
    many = pl.DataFrame({"session": [str(k) for k in range(12800)], "row": 0})
    sizes = many.select(clusters.block(["session"])).to_series().value_counts()["count"].to_numpy()
    assert len(sizes) == random_blocks.BLOCKS
    assert ((sizes - 100) ** 2 / 100).sum() < 200  # chi-square of 127: exceeded with probability 4e-5


PINNED = [31, 90, 39, 0]


@given(st.floats(0, 1e300, allow_subnormal=False))
@settings(max_examples=300, deadline=None)  # a busy machine is not a wrong bin
def test_a_value_lies_in_its_bin(value):
    number = histograms.bin_numbers(np.array([value]))
    lower, upper = (e[0] for e in histograms.edges(number))
    assert lower <= value < upper or value == lower == upper == 0
    assert upper <= lower * (1 + histograms.RELATIVE_ERROR) * (1 + 1e-15)
    column = pl.DataFrame({"x": [value]}).select(histograms.bin_expression(pl.col("x")))
    assert column.item() == number[0]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9, 0.95, 0.99, 1.0])
def test_quantile_error_is_below_one_bin(share):
    rng = np.random.default_rng(3)
    for values in (
        rng.lognormal(0, 2, 3000),
        rng.integers(0, 40, 3000).astype(float),
        np.full(50, 3.7),
        rng.random(1),
        np.concatenate([np.zeros(900), rng.exponential(0.01, 900), 30 + rng.random(200)]),
    ):
        bins, counts = np.unique(histograms.bin_numbers(values), return_counts=True)
        found = histograms.quantile(bins, counts, share)
        exact = np.quantile(values, share, method="inverted_cdf")
        assert abs(found - exact) <= histograms.RELATIVE_ERROR * exact + 1e-12


def test_quantile_of_another_share_is_refused():
    with pytest.raises(ValueError, match="between 0 and 1"):
        histograms.quantile(np.array([0]), np.array([1.0]), 1.5)


def _mixture(rng, sessions, turns):
    """Latencies of a mixture: cached, normal and queued requests; what a session meets carries to all its turns."""
    kind = rng.random(sessions)
    scale = np.where(kind < 0.3, 0.08, np.where(kind < 0.85, 0.9, 6.0))
    return scale[:, None] * np.exp(0.25 * rng.standard_normal((sessions, 1)) + 0.3 * rng.standard_normal((sessions, turns)))


@pytest.mark.prove
@pytest.mark.parametrize("share", [0.5, 0.95])
def test_block_bootstrap_covers_the_truth(share):
    """90 % intervals for a quantile of a mixture, 8 turns a session; independent rows would be far too sure."""
    rng = np.random.default_rng(11)
    truth = np.quantile(_mixture(rng, 400_000, 1), share)
    worlds, inside, narrow = 300, 0, 0
    for world_ in range(worlds):
        values = _mixture(rng, 500, 8)
        number = histograms.bin_numbers(values)
        bins, place = np.unique(number, return_inverse=True)
        for by_row in (False, True):
            block = rng.integers(0, random_blocks.BLOCKS, values.shape if by_row else (500, 1)) + np.zeros_like(values, int)
            counts = np.zeros((random_blocks.BLOCKS, len(bins)))
            np.add.at(counts, (block, place.reshape(values.shape)), 1)
            draws = histograms.quantile(bins, random_blocks.block_weights(200, world_) @ counts, share)
            low, high = np.quantile(draws, [0.05, 0.95])
            hit = low <= truth <= high
            inside, narrow = inside + (hit and not by_row), narrow + (hit and by_row)
    error = np.sqrt(0.9 * 0.1 / worlds)
    assert inside / worlds > 0.9 - 3 * error
    assert narrow / worlds < 0.8
