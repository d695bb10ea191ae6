"""Are posterior ranks uniform? A small version in every run, with a planted error; the full one behind `make prove`."""

import dataclasses
import pathlib

import calibration as sbc
import calibration_rows as through_rows
import numpy as np
import pytest

import divergence as dv

ALARM = 0.01  # chance of any false alarm among all quantities of one run


@pytest.fixture(scope="module")
def small():
    return sbc.template("factors", n_models=3, n_contexts=3, n_items=60)


def test_small_calibration(small):
    rank, _ = sbc.ranks(small, 40, seed=3)
    assert len(rank) >= 30
    worst = min(p for _, _, p in sbc.summary(rank).values())
    assert worst > ALARM  # the seed is fixed: this can only fail when the fit changes


def test_a_posterior_that_is_too_sure_is_seen(small):
    @dataclasses.dataclass(frozen=True)
    class TooSure(dv.Importance):
        def __call__(self, data, seed, *more):
            sample = super().__call__(data, seed, *more)
            middle = np.median(sample.x, axis=0)
            return dataclasses.replace(sample, x=middle + 0.2 * (sample.x - middle))

    rank, _ = sbc.ranks(small, 40, seed=3, method=TooSure())
    assert sbc.summary(rank)["sd theta_E"][2] < ALARM


def test_p_values_are_uniform_for_uniform_ranks():
    """The band's own calibration: with 400 samples of 200 ranks, one in twenty lies outside its 95 % band."""
    rng = np.random.default_rng(8)
    null = sbc.null_extremes(200)
    p = [sbc.uniformity(rng.integers(0, sbc.DRAWS + 1, 200), null) for _ in range(400)]
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=3.5 * np.sqrt(0.05 * 0.95 / 400))
    shifted = rng.integers(0, sbc.DRAWS + 1, 200) * 8 // 10
    assert sbc.uniformity(shifted, null) < 1e-3


def test_prior_effects_have_the_priors_moments(small):
    rng = np.random.default_rng(2)
    sd = {name: np.full(1, 0.7) for name in small.scales} | {"rho": np.full(1, -0.6)}
    drawn = np.array([sbc.prior_effects(small, sd, rng) for _ in range(4000)])
    bench, deployed = (small.design.term(f"theta_{r}").columns for r in "ED")
    seen = np.mean(drawn[:, bench] * drawn[:, deployed])
    assert seen == pytest.approx(-0.6 * 0.49, abs=4.5 * 0.49 * np.sqrt(1 + 0.36) / np.sqrt(4000 * 3))
    np.testing.assert_allclose(drawn[:, small.design.term("delta").columns].std(0), 0.7, atol=4.5 * 0.7 / np.sqrt(8000))


def test_a_level_is_the_mean_success_over_items():
    rng = np.random.default_rng(0)
    level = np.array([0.02, 0.4, 0.97])
    b = through_rows.DIFFICULTY * rng.standard_normal(200_000)
    seen = [np.mean(1 / (1 + np.exp(b - mu))) for mu in through_rows.difficulty_shift(level)]
    np.testing.assert_allclose(seen, level, atol=4.5 * 0.5 / np.sqrt(200_000))


def test_small_calibration_through_rows():
    rank, seen = through_rows.run("item", 0.5, 6)
    assert all(r["passed"] for r in seen)
    levels = np.concatenate([rank[name] for name in rank if name.startswith("level[")])
    # the levels of a log share their items and so count as one: six logs that all miss by more than this are one in 1e4
    assert 0.1 * sbc.DRAWS < levels.mean() < 0.9 * sbc.DRAWS


@pytest.mark.prove
def test_full_calibration_through_rows():
    """500 fits of the item-level method on logs in which each arm tried half of the items."""
    records = pathlib.Path(__file__).parents[2] / "build" / "sbc-item.jsonl"
    records.parent.mkdir(exist_ok=True)
    rank, seen = through_rows.run("item", 0.5, 500, records)
    table = sbc.summary(rank)
    print(table)
    assert min(p for _, _, p in table.values()) > ALARM, table
    assert np.mean([r["passed"] for r in seen]) > 0.95


@pytest.mark.prove
@pytest.mark.parametrize("kind", ["factors", "labels"])
def test_full_calibration(kind):
    """500 fits: no quantity outside its band, corrected for their number; at least two fits a CPU second."""
    rank, spent = sbc.ranks(sbc.template(kind, n_models=5, n_contexts=6), 500, seed=1)
    table = sbc.summary(rank)
    print(kind, spent, table)
    assert min(p for _, _, p in table.values()) > ALARM, table
    assert spent["gates"] > 0.95
    assert 1 / spent["CPU s a fit"] >= 2
