"""What every question makes its rows with: levels that are there, numbers one by one, bounds of what is not identified."""

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.errors import NotIdentifiedError
from divergence.estimands.rows import Rows, logged_levels, models_with_rows


def test_a_regime_without_rows_is_not_identified(waves_world):
    fit = dv.fit(dv.collapse(dv.read(waves_world[0].filter(pl.col("regime") == "evaluation"))), seed=0).fits[0]
    assert logged_levels(fit, "evaluation").draws.shape[1] == fit.design.n_models
    assert models_with_rows(fit, False).all() and not models_with_rows(fit, True).any()
    with pytest.raises(NotIdentifiedError, match="no deployment rows"):
        logged_levels(fit, "deployment")


def test_a_bound_is_shown_and_a_refusal_is_not(waves_posterior):
    fit = waves_posterior.fits[0]
    rows = Rows(fit, "kappa", "points", ("model", "statistic"))
    ones = np.ones(len(fit.effects))
    rows.add(ones, model="a")
    rows.add(2 * ones, model="a", statistic="highest", bound="two factors move together", unit="ratio")
    rows.refuse("no rows", model="b")
    frame = rows.estimate("text", "method").to_frame()
    assert frame["mean"].to_list() == [1.0, 2.0, None]
    assert frame["identified"].to_list() == [True, False, False]
    assert frame["reason"].to_list() == [None, "two factors move together", "no rows"]
    assert frame["unit"].to_list() == ["points", "ratio", "points"]
