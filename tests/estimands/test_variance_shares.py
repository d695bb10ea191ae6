"""Shares of the variance against all orders of the factors."""

import itertools

import numpy as np
import pytest

from divergence.estimands.variance_shares import alone, shares

RNG = np.random.default_rng(20260714)

LAW = np.array([0.4, 0.3, 0.2, 0.1])


def test_shares_against_all_orders():
    parts = RNG.standard_normal((5, 3, 4))
    level = parts.sum(1) + 7.0
    mean, least, most = shares(parts, level, LAW)
    for s in range(5):

        def variance(chosen, s=s):
            total = sum((parts[s, f] for f in chosen), np.zeros(4))
            return LAW @ (total - LAW @ total) ** 2

        gains = {f: [] for f in range(3)}
        for order in itertools.permutations(range(3)):
            for k, f in enumerate(order):
                gains[f].append((variance(order[: k + 1]) - variance(order[:k])) / variance(range(3)))
        for f, seen in gains.items():
            assert (mean[s, f], least[s, f], most[s, f]) == pytest.approx((np.mean(seen), min(seen), max(seen)))
    np.testing.assert_allclose(mean.sum(1), 1)


def test_what_a_factor_could_account_for_alone_is_an_r_squared():
    level, mixture = RNG.standard_normal((4, 4)), np.eye(3)[[0, 0, 1, 2]]
    for s, found in enumerate(alone(level, LAW, mixture)):
        fitted = np.array([np.average(level[s][mixture[:, k] == 1], weights=LAW[mixture[:, k] == 1]) for k in (0, 1, 2)])
        left = LAW @ (level[s] - mixture @ fitted) ** 2
        assert found == pytest.approx(1 - left / (LAW @ (level[s] - LAW @ level[s]) ** 2))
