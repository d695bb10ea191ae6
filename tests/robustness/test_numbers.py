"""Numbers that no log of requests can have: a sentence or a right answer, and never a failed decomposition."""

import numpy as np
import polars as pl
import pytest

from divergence.configuration import Configuration
from divergence.errors import InputError
from divergence.executions import read
from divergence.joint.outcomes import fit_outcomes
from divergence.simulate import simulate, world


@pytest.fixture(scope="module")
def log():
    return simulate(world("baseline", n_models=2, n_contexts=2, n_items=20), 1)[0]


def fitted(frame: pl.DataFrame, outcome: str = "score"):
    kind = None if outcome == "score" else "positive"
    read_ = read(frame, configuration=Configuration(outcome=outcome, kind=kind))
    return read_, fit_outcomes(read_, seed=0, progress=lambda *_: None)


@pytest.mark.parametrize(
    "column, value",
    [("latency_s", 1e160), ("latency_s", 1e308), ("ttft_s", -1e12), ("cost_usd", 1e308), ("cost_usd", -1e308)],
)
def test_a_column_of_impossible_numbers_is_not_used_and_the_score_is_what_it_was(log, column, value):
    spread = value * np.random.default_rng(0).uniform(0.1, 1, log.height)
    read_, posterior = fitted(log.with_columns(pl.Series(column, spread)))
    assert [name for name, _ in read_.unused] == [column]
    assert [fit.cells.outcome for fit in posterior.fits] == ["score"]
    assert np.array_equal(posterior.fits[0].effects, fitted(log)[1].fits[0].effects)


@pytest.mark.parametrize("column, value, said", [("probability", 5e-324, "below 1e-12"), ("score_n", 10**15, "above 1e+12")])
def test_rows_of_impossible_weight_are_rejected(log, column, value, said):
    with pytest.raises(InputError, match=f"{column} is {said}".replace("+", r"\+")):
        fitted(log.with_columns(pl.lit(value).alias(column)))


@pytest.mark.parametrize("unit", [1e-74, 1e-30, 1e60, 1e74])
def test_the_unit_of_a_positive_outcome_changes_nothing(log, unit):
    """Levels are quantities in the unit, and what is fitted does not depend on it but for the arithmetic."""
    values = np.random.default_rng(1).lognormal(0, 0.5, log.height)
    here = fitted(log.with_columns(size=pl.Series(values)), "size")[1].fits[0]
    there = fitted(log.with_columns(size=pl.Series(values * unit)), "size")[1].fits[0]
    assert np.isfinite(there.effects).all()
    assert np.allclose(here.arms.level * unit, there.arms.level, rtol=1e-6, atol=0)


@pytest.mark.parametrize("value", [1e-80, 1e80])
def test_a_positive_outcome_beyond_any_unit_is_not_usable(log, value):
    values = np.random.default_rng(1).lognormal(0, 0.5, log.height) * value
    with pytest.raises(InputError, match="no usable value"):
        fitted(log.with_columns(size=pl.Series(values)), "size")
