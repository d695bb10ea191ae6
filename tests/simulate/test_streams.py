"""Streams with a known change: what is said to stay stays, what is said to move moves."""

import numpy as np
import polars as pl
import pytest
from scipy import stats

from divergence.errors import InputError
from divergence.simulate import SCENARIOS, changed_edges, stream
from divergence.simulate.streams import SIGNALS

ROWS = 20_000
CHANGE = {"reference_rows": ROWS, "chunks": 40, "chunk_rows": 500, "change": 0}
# Kolmogorov-Smirnov of two halves of 20,000: P(statistic > .0218) = 1.5e-4, over 7 signals x 8 scenarios 1 in 100.
SAME = 0.0218


def _halves(scenario: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    rows = stream(scenario, seed=3, **CHANGE)
    return rows[:ROWS], rows[ROWS:]


@pytest.mark.parametrize("scenario", [s for s in SCENARIOS if s not in ("null_ar", "mean_shift")])
def test_marginals_stay(scenario):
    before, after = _halves(scenario)
    for name in SIGNALS:
        assert stats.ks_2samp(before[name].to_numpy(), after[name].to_numpy()).statistic < SAME, name
    if scenario != "route_mix":
        share = [
            half["route"].value_counts(normalize=True).sort("route")["proportion"].to_numpy() for half in (before, after)
        ]
        assert np.abs(share[0] - share[1]).max() < 0.02  # 4 standard errors
    assert abs(before["score"].mean() - after["score"].mean()) < 0.02


def test_what_is_said_to_move_moves():
    before, after = _halves("coupling")
    spearman = [stats.spearmanr(half["queue"], half["ttft"]).statistic for half in (before, after)]
    assert spearman[0] > 0.65 and spearman[1] < 0.25
    before, after = _halves("route_affinity")
    shares = [half.filter(pl.col("class") == "long")["route"].eq("edge").mean() for half in (before, after)]
    assert shares[1] - shares[0] > 0.08
    before, after = _halves("phase_offset")
    lags = [[stats.spearmanr(h["queue"][:-lag], h["error_rate"][lag:]).statistic for lag in (1, 4)] for h in (before, after)]
    assert lags[0][0] > 0.4 > 0.1 > lags[0][1] and lags[1][1] > 0.4 > 0.1 > lags[1][0]
    assert abs(stats.spearmanr(after["queue"], after["error_rate"]).statistic) < 0.04


def test_the_same_seed_gives_the_same_rows_and_an_unknown_scenario_a_sentence():
    small = {"reference_rows": 200, "chunks": 2, "chunk_rows": 50, "change": 1}
    assert stream("tail", 1, **small).equals(stream("tail", 1, **small))
    assert not stream("tail", 1, **small).equals(stream("tail", 2, **small))
    assert changed_edges("coupling_weak") == {frozenset(("queue", "ttft"))} and not changed_edges("null")
    with pytest.raises(InputError, match=r"'tails' is not known; choose one of null, "):
        stream("tails", 1)
