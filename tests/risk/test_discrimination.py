"""Measures of discrimination: by hand, by loops over rows, and what their intervals hold."""

import numpy as np
import pytest

from divergence.risk.discrimination import beside_plain, discrimination


def test_bins_that_can_be_counted_by_hand():
    """Bins by hand: auc and captures of a table that can be counted."""
    n, failures = np.array([50.0, 30, 20]), np.array([5.0, 15, 18])
    found = discrimination(n, failures)
    fine = n - failures
    pairs = sum(failures[a] * fine[b] * (1.0 if a > b else 0.5) for a in range(3) for b in range(3) if a >= b)
    assert found["auc"] == pytest.approx(pairs / failures.sum() / fine.sum())
    assert found["capture_0.1"] == pytest.approx(9 / 38) and found["capture_0.01"] == pytest.approx(0.9 / 38)
    base = 38 / 100
    assert found["resolution"] == pytest.approx(sum(k * (f / k - base) ** 2 for k, f in zip(n, failures, strict=True)) / 100)
    nothing = discrimination(np.array([3.0]), np.array([0.0]))
    assert all(np.isnan(v) for v in nothing.values())


def test_rows_are_measured_as_by_a_loop():
    random = np.random.default_rng(0)
    risk, plain = random.random(400), random.random(400).round(1)
    failure, weight = (random.random(400) < risk).astype(float), np.ones(400)
    found = beside_plain(risk, plain, failure, weight, np.arange(400) // 4)
    assert found["brier"]["score"][0] == pytest.approx(((risk - failure) ** 2).mean())
    above = plain[failure == 1][:, None] - plain[failure == 0]
    assert found["auc"]["plain"][0] == pytest.approx(((above > 0) + 0.5 * (above == 0)).mean())
    assert found["judged"] == 400 and found["brier"]["difference"][2] < 0


def test_intervals_of_a_difference_hold_it_about_as_often_as_they_say():
    """Two scores of which one is known to be better by E (p - q)^2; clusters of five rows share their noise."""
    random, inside = np.random.default_rng(1), 0
    for _ in range(120):
        p = np.repeat(random.uniform(0.1, 0.9, 160), 5)
        q = np.clip(p + np.repeat(random.normal(0, 0.2, 160), 5), 0, 1)
        same = np.repeat(random.random(160), 5)
        failure = (same < p).astype(float)  # the five rows of a cluster are copies
        found = beside_plain(p, q, failure, np.ones(800), np.arange(800) // 5)["brier"]["difference"]
        inside += found[1] <= -(0.2**2) * 0.93 <= found[2]  # clipping takes a little
    assert inside / 120 > 0.9 - 3 * np.sqrt(0.09 / 120) - 0.03
