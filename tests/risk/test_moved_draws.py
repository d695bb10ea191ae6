"""Draws of risks that no row of the table has: their own where a row has it, else moved; a new context's level is shared."""

import numpy as np
import polars as pl
import pytest
import risk_worlds as worlds

import divergence as dv
from divergence.numerics import expit, logit
from divergence.risk.build import risk_model
from divergence.risk.moved_draws import drawn_of_batch, moved_to, nearest_draws


def test_draws_move_by_the_distance_of_their_risks():
    random = np.random.default_rng(0)
    draws, of, to = random.uniform(0.1, 0.9, (50, 3)), np.array([0.2, 0.5, 0.7]), np.array([0.2, 0.9, 0.05])
    found = moved_to(draws, of, to)
    np.testing.assert_array_equal(found[:, 0], draws[:, 0])
    for k in (1, 2):
        np.testing.assert_allclose(logit(found[:, k]) - logit(draws[:, k]), logit(to[k]) - logit(of[k]))


def test_rows_of_one_risk_are_taken_together_and_the_nearest_answers():
    draws = np.array([[0.1, 0.3, 0.8], [0.2, 0.5, 0.6]])
    found = nearest_draws(draws, np.array([0.3, 0.3, 0.7]), np.array([0.3, 0.7, 0.65]))
    np.testing.assert_allclose(found[:, 0], [0.2, 0.35])
    np.testing.assert_array_equal(found[:, 1], draws[:, 2])
    np.testing.assert_allclose(found[:, 2], expit(logit(draws[:, 2]) + logit(np.array(0.65)) - logit(np.array(0.7))))


@pytest.fixture(scope="module")
def model():
    frame, _ = worlds.make(6, models=3, contexts=4, tasks=3, items=40)
    log = dv.read(frame.filter(pl.col("context") != "c3"))
    return frame, risk_model(dv.fit(dv.collapse(log), seed=0), log)


def test_known_items_in_a_new_context_share_how_far_its_level_is_off(model):
    frame, model = model
    asked = frame.filter(context="c3").select("model", "context", "task", "item")
    batch = asked.to_arrow().combine_chunks().to_batches()[0]
    draws, kind = drawn_of_batch(model, batch)
    risk = np.asarray(model.score(batch).column("risk"))
    mean = draws @ np.bincount(kind) / len(kind)
    np.testing.assert_allclose(model.mean_draws(batch), mean)
    # Errors of one level do not vanish in the mean of 360 requests; those of items' own would be 20 times less.
    assert mean.std() > 0.3 * (draws * np.bincount(kind)).std(0).sum() / len(kind)
    assert abs(mean.mean() - risk.mean()) < 0.5 * mean.std()
    here = frame.filter(context="c2").select("model", "context", "task", "item").to_arrow().combine_chunks().to_batches()[0]
    own, kind = drawn_of_batch(model, here)
    risk = np.asarray(model.score(here).column("risk"))
    np.testing.assert_allclose(own[:, kind], np.tile(risk, (len(own), 1)), rtol=1e-12)
