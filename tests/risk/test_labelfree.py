"""Failure rates without labels and with few: closed forms, known truth under shift, coverage."""

import numpy as np
import pytest

from divergence.risk.labelfree import (
    audit_next,
    audited_failures,
    audited_so_far,
    breakdown,
    expected_failures,
    failures_within,
    reversal_gamma,
    shifted,
)


def _traffic(seed, n=20_000, gamma=1.0):
    random = np.random.default_rng(seed)
    risk = random.beta(3, 8, n)
    return risk, (random.random(n) < shifted(risk, gamma)).astype(float), random


def test_expected_failures_cover_what_calibrated_risks_do():
    """200 logs at 95 %: fewer than 180 has probability .002. With 2000 requests each."""
    held = 0
    for seed in range(200):
        risk, failure, _ = _traffic(seed, 2000)
        got = expected_failures(risk)
        held += got.lower <= failure.mean() <= got.upper
    assert held >= 180 and "cannot be tested" in got.assumption and got.labels == 0


def test_expected_failures_know_that_risks_are_estimated():
    """Risks that are off as a whole by N(0, .03): 95 % limits without that hold few of 200 logs, with it fewer than 180 has
    probability .002."""
    held = alone = 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        risk = random.uniform(0.3, 0.6, 5000)
        failure = random.random(5000) < risk + 0.03 * random.standard_normal()
        plausible = risk.mean() + 0.03 * random.standard_normal(200)
        got, plain = expected_failures(risk, plausible=plausible), expected_failures(risk)
        held += got.lower <= failure.mean() <= got.upper
        alone += plain.lower <= failure.mean() <= plain.upper
    assert held >= 180 and alone < 130 and "posterior" in got.assumption


@pytest.mark.parametrize("gamma", [1.5, 2.0])
def test_a_concept_shift_breaks_expected_failures_and_not_the_bounds(gamma):
    risk, failure, _ = _traffic(1, gamma=gamma)
    plain, bounds = expected_failures(risk), failures_within(risk, 2.0)
    assert failure.mean() > plain.upper + 5 * (plain.upper - plain.value)
    assert bounds.lower <= failure.mean() <= bounds.upper + 0.01 and np.isnan(bounds.value)
    assert failures_within(risk, 1.0).lower == pytest.approx(risk.mean(), abs=1e-12)


@pytest.mark.parametrize(("n", "half_widths"), [(1000, 5.2), (10_000, 16.4)])
def test_the_bias_of_a_concept_shift_in_half_widths_is_the_figure_that_is_documented(n, half_widths):
    """Mean of 20 logs: outcomes have a standard deviation of half a half-width, so four standard errors are .5."""
    off = []
    for seed in range(20):
        random = np.random.default_rng(seed)
        risk = random.beta(2, 4, n)
        got = expected_failures(risk)
        off.append(((random.random(n) < shifted(risk, 2.0)).mean() - got.value) / (got.upper - got.value))
    assert np.mean(off) == pytest.approx(half_widths, abs=0.5)


def test_bounds_break_when_the_shift_exceeds_gamma():
    risk, failure, _ = _traffic(2, gamma=3.0)
    assert failure.mean() > failures_within(risk, 2.0).upper


def test_breakdown_is_where_the_bound_meets_the_rate():
    risk, _, _ = _traffic(3)
    for rate in (0.1, 0.5, 0.9):
        gamma = breakdown(risk, rate)
        bound = failures_within(risk, gamma)
        assert (bound.upper if rate > risk.mean() else bound.lower) == pytest.approx(rate, abs=1e-9)
    assert breakdown(risk, risk.mean()) == pytest.approx(1, abs=1e-6)
    assert breakdown(risk, 1.0) == float("inf")


def test_reversal_gamma_of_constant_risks_by_hand():
    """Odds 1/4 and 1: they meet at 1/2 when each moves by a factor 2."""
    assert reversal_gamma(np.full(10, 0.2), np.full(20, 0.5)) == pytest.approx(2)
    assert reversal_gamma(np.full(10, 0.5), np.full(20, 0.5)) == pytest.approx(1)


@pytest.mark.parametrize("gamma", [1.0, 3.0])
def test_an_audit_covers_whatever_the_shift(gamma):
    """400 audits of 200 labels at 90 %: coverage has a standard error of .015, four of them below is .84."""
    risk, failure, random = _traffic(4, gamma=gamma)
    held, width, plain = 0, [], []
    for _ in range(400):
        chosen = random.choice(len(risk), 200, replace=False)
        got = audited_failures(risk, chosen, failure[chosen])
        held += got.lower <= failure.mean() <= got.upper
        width.append(got.upper - got.lower)
        plain.append(2 * 1.6448536 * failure[chosen].std(ddof=1) / np.sqrt(200))
    assert 0.84 <= held / 400 <= 0.96
    assert np.mean(width) <= np.mean(plain)  # the risks are worth something


def test_an_audit_in_which_nothing_failed_is_not_certain():
    got = audited_failures(np.full(1000, 0.01), np.arange(50), np.zeros(50))
    assert got.upper > 0.02
    with pytest.raises(ValueError, match="two labels or more, seen 1"):
        audited_failures(np.full(10, 0.5), np.array([1]), np.array([0.0]))


@pytest.mark.parametrize("labels", [3, 5, 10])
def test_a_small_audit_holds_what_it_promises(labels):
    """300 audits: .82 is four standard errors below .9; with the normal quantile intervals of 3 labels held .74 in 1,500."""
    held = 0
    for seed in range(300):
        random = np.random.default_rng(seed)
        risk = random.beta(2, 4, 500)
        failure = (random.random(500) < risk).astype(float)
        chosen = random.choice(500, labels, replace=False)
        got = audited_failures(risk, chosen, failure[chosen])
        held += got.lower <= failure.mean() <= got.upper
    assert held / 300 > 0.82


@pytest.mark.parametrize(
    ("risk", "audited", "failure", "sentence"),
    [
        ([0.1, np.nan, 0.3], [0, 2], [0, 1], "none missing"),
        ([0.1, 1.5, 0.3], [0, 2], [0, 1], "from 0 to 1"),
        ([], [], [], "at least one"),
        ([0.1, 0.2, 0.3], [0, 0], [0, 1], "each once"),
        ([0.1, 0.2, 0.3], [True, False, True], [0, 1, 0], "indices"),
        ([0.1, 0.2, 0.3], [0, 1], [0, np.nan], "none is missing"),
    ],
)
def test_what_cannot_be_an_audit_is_refused(risk, audited, failure, sentence):
    with pytest.raises(ValueError, match=sentence):
        audited_failures(np.array(risk), np.array(audited), np.array(failure, float))


def test_an_audit_may_be_looked_at_all_the_time():
    """300 audits of 400 labels, looked at after each: the truth leaves the sequence in at most 5 %, + 3 se of .013."""
    risk, failure, random = _traffic(5, gamma=2.0)
    left = peeked = 0
    for _ in range(300):
        chosen = random.choice(len(risk), 400, replace=False)
        limits = audited_so_far(risk, chosen, failure[chosen])[30:]
        left += bool(((failure.mean() < limits[:, 0]) | (failure.mean() > limits[:, 1])).any())
        y = failure[chosen]
        t = np.arange(1, 401)
        mean = np.cumsum(y) / t
        half = 1.96 * np.sqrt(mean * (1 - mean) / t)
        peeked += bool((np.abs(mean - failure.mean()) > half)[30:].any())
    assert left / 300 <= 0.05 + 3 * 0.013
    assert peeked / 300 > 0.15  # what looking at a fixed-size interval all the time does


def test_the_next_labels_go_where_they_narrow_most():
    group = np.repeat(["wide", "narrow", "rare"], [500, 480, 20])
    risk = np.full(1000, 0.3)
    half = np.repeat([0.2, 0.02, 0.2], [500, 480, 20])
    got = audit_next(risk, risk - half, risk + half, group, 100)
    assert sum(got.values()) == 100 and got["wide"] > 90 and got["rare"] < 10

    def left(spent):  # the obvious way: every allocation of 6 labels to two groups
        prior, share = (np.array([0.2, 0.1]) / 1.6448536) ** 2, np.array([0.5, 0.5])
        return (share**2 * prior / (1 + np.array(spent) * prior / 0.21)).sum()

    best = min(((k, 6 - k) for k in range(7)), key=left)
    two = audit_next(np.full(100, 0.3), np.repeat([0.1, 0.2], 50), np.repeat([0.5, 0.4], 50), np.repeat(["a", "b"], 50), 6)
    assert (two["a"], two["b"]) == best
