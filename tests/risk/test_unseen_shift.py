"""Features at scoring: the formula row by row, what is missing moves nothing, and places of the table of answers."""

import dataclasses

import numpy as np
import pyarrow as pa
import pytest
from scipy.special import ndtr, ndtri

from divergence.numerics import NORMAL_95
from divergence.risk.answer_agreement import Agreement
from divergence.risk.item_lookup import answers
from divergence.risk.prompt_neighbours import Neighbours
from divergence.risk.unseen_shift import AGREE, CLIP, NEAR, UnseenShift, shifted_places, stratum_probits

SHIFT = UnseenShift(
    ("input_tokens", "load"),
    np.array([100.0, 2.0]),
    np.array([50.0, 1.0]),
    np.array([0.4, -0.2]),
    np.array([[0.01, 0.0], [0.0, 0.04]]),
)


def test_the_shift_is_that_of_a_loop_and_missing_features_move_nothing():
    tokens, load = [100, 150, None, 100_000, None], [2.0, 3.5, float("nan"), 2.0, 1.0]
    batch = pa.record_batch({"input_tokens": pa.array(tokens, pa.int64()), "load": pa.array(load)})
    found, sd = SHIFT.of(SHIFT.values(batch))
    for k, (a, b) in enumerate(zip(tokens, load, strict=True)):
        z = [0.0 if a is None else min((a - 100) / 50, CLIP), 0.0 if np.isnan(b) else b - 2]
        assert found[k] == pytest.approx(0.4 * z[0] - 0.2 * z[1])
        assert sd[k] == pytest.approx(np.hypot(0.1 * z[0], 0.2 * z[1]))
    none, unsure = SHIFT.of(SHIFT.values(pa.record_batch({"model": ["m"] * 3})))
    assert not none.any() and not unsure.any()


def test_a_place_has_the_moved_risk_and_the_wider_interval():
    risk, lower, upper = np.array([0.2, 0.7]), np.array([0.12, 0.6]), np.array([0.3, 0.79])
    probits = stratum_probits(risk, lower, upper)
    np.testing.assert_allclose(probits[0], ndtri(risk))
    shift, rows = (np.array([0.5, -0.3, 0.0]), np.array([0.1, 0.2, 0.3])), np.array([0, 1, 1])
    place = shifted_places(shift, rows, probits)
    table = answers()
    # A step of the risk's probit is 8 / 511, of a standard deviation a factor of 1250 ** (1 / 63).
    np.testing.assert_allclose(ndtri(table["risk"][place]), ndtri(risk[rows]) + shift[0], atol=4 / 511 + 1e-9)
    sd = (ndtri(table["upper"][place]) - ndtri(table["lower"][place])) / (2 * NORMAL_95)
    wide = np.hypot(probits[1][rows], shift[1])
    assert (np.abs(np.log(sd / wide)) <= np.log(1250) / 126 + 1e-9).all()
    assert (ndtr(ndtri(table["risk"][place])) <= table["upper"][place]).all()


NEIGHBOURS = Neighbours(np.eye(24, dtype=np.int8) * 127, np.linspace(-1, 1, 24), "e")


def test_it_is_saved_as_plain_values_and_damage_is_seen():
    again = UnseenShift.from_json(SHIFT.to_json(), {})
    assert again.names == SHIFT.names and np.array_equal(again.covariance, SHIFT.covariance)
    for damage in ({"slope": [0.1]}, {"scale": [1.0, 0.0]}, {"names": ["load"]}):
        with pytest.raises(ValueError, match="do not fit together"):
            UnseenShift.from_json(SHIFT.to_json() | damage, {})


def test_what_it_is_made_from_is_saved_with_it_and_damage_is_seen():
    shift = dataclasses.replace(SHIFT, names=(NEAR, AGREE), neighbours=NEIGHBOURS, agreement=Agreement(0.6, 3.0))
    words, arrays = shift.to_json(), shift.arrays()
    again = UnseenShift.from_json(words, arrays)
    assert again.agreement == shift.agreement and again.neighbours.embedder == "e"
    np.testing.assert_array_equal(again.neighbours.vectors, NEIGHBOURS.vectors)
    for changed in (
        {"embedder": 3},
        {"agreement": None},
        {"agreement": {"mean": 1.2, "noise": 1.0}},
        {"agreement": {"mean": 0.5, "noise": -1.0}},
        {"agreement": {"mean": float("nan"), "noise": 1.0}},
        {"names": ["input_tokens", AGREE]},
        {"names": [NEAR, "input_tokens"]},
    ):
        with pytest.raises(ValueError, match=r"its|what"):
            UnseenShift.from_json(words | changed, arrays)
    vectors, lent = arrays["near_vectors"], arrays["near_lent"]
    for changed in (
        {"near_vectors": vectors.astype(float)},
        {"near_vectors": vectors[:, 0]},
        {"near_vectors": vectors * 0},
        {"near_vectors": vectors[:5], "near_lent": lent[:5]},
        {"near_lent": lent[:-1]},
        {"near_lent": lent * 3},
        {"near_lent": lent * np.nan},
        {"near_lent": np.arange(24)},
    ):
        with pytest.raises(ValueError, match="its"):
            UnseenShift.from_json(words, arrays | changed)
    with pytest.raises((ValueError, KeyError)):
        UnseenShift.from_json(words, {"near_lent": lent})
    with pytest.raises(ValueError, match="what"):
        UnseenShift.from_json(words, {})
