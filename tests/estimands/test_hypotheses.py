"""Hypotheses: shares of draws by a loop, complements, pairs, and refusals."""

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.errors import InputError


def _answer(draws, rows, **fields):
    return dv.Estimate("gap", "a gap", "fraction", pl.DataFrame(rows), np.asarray(draws, float), **fields)


@pytest.fixture
def answer():
    draws = np.random.default_rng(4).normal([-0.03, 0.0, 0.05], [0.02, 0.01, 0.03], (500, 3))
    return _answer(draws, {"model": ["a", "b", "c"]})


def test_probabilities_are_counted_draws(answer):
    found = dv.hypotheses(answer, value=0.01, equivalence=(-0.02, 0.02)).to_frame()
    for k, model in enumerate("abc"):
        column = answer.draws[:, k]
        count = {
            "above": sum(1 for x in column if x > 0.01),
            "below": sum(1 for x in column if x < 0.01),
            "equivalent": sum(1 for x in column if -0.02 <= x <= 0.02),
        }
        for statistic, number in count.items():
            row = found.filter((pl.col("model") == model) & (pl.col("statistic") == statistic))
            assert row["mean"][0] == pytest.approx(number / 500) and row["unit"][0] == "probability"
    both = found.filter(pl.col("statistic") == "above")["mean"] + found.filter(pl.col("statistic") == "below")["mean"]
    np.testing.assert_allclose(both, 1.0)


def test_pairs_share_their_draws(answer):
    """What two numbers share cancels: equal columns differ by exactly nothing."""
    shared = _answer(np.repeat(answer.draws[:, :1], 2, 1), {"model": ["a", "b"]})
    found = dv.hypotheses(shared, pairwise=True, equivalence=(-1e-9, 1e-9))
    assert found.where(statistic="equivalent").to_frame()["mean"].to_list() == [1.0]
    pairs = dv.hypotheses(answer, pairwise=True).where(statistic="difference")
    assert pairs.rows.select("model", "model_b").rows() == [("a", "b"), ("a", "c"), ("b", "c")]
    np.testing.assert_allclose(pairs.draws[:, 1], answer.draws[:, 0] - answer.draws[:, 2])
    assert set(pairs.to_frame()["unit"]) == {"fraction"}
    turned = dv.hypotheses(answer.where(model="a"), value=0.0)
    assert turned.where(statistic="above").draws.mean() + turned.where(statistic="below").draws.mean() == pytest.approx(1)


def test_shift_and_scale_change_nothing(answer):
    moved = _answer(2 * answer.draws + 1, {"model": ["a", "b", "c"]})
    one = dv.hypotheses(answer, value=0.01, equivalence=(-0.02, 0.02))
    other = dv.hypotheses(moved, value=1.02, equivalence=(0.96, 1.04))
    assert (one.draws == other.draws).mean() > 0.999  # a draw at a margin may fall to either side in floating point


def test_what_is_not_identified_stays_refused(answer):
    draws = answer.draws.copy()
    draws[:, 1] = np.nan
    some = _answer(draws, {"model": ["a", "b", "c"]}, reason=(None, "no rows", "why"), bounds=np.array([False, False, True]))
    found = dv.hypotheses(some, equivalence=(-0.02, 0.02)).to_frame()
    assert found.filter(pl.col("model") != "a")["mean"].null_count() == 6
    assert set(found.filter(pl.col("model") == "b")["reason"]) == {"no rows"}
    pairs = dv.hypotheses(some, pairwise=True).to_frame()
    assert not pairs["identified"].any()


def test_statistics_of_the_answer_are_kept():
    parts = _answer(np.ones((5, 2)), {"model": ["a", "a"], "statistic": [None, "B"]})
    assert dv.hypotheses(parts).rows["statistic"].to_list() == ["above", "B: above", "below", "B: below"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"value": float("nan")}, "value is a number"),
        ({"value": "0"}, "value is a number"),
        ({"equivalence": 0.02}, r"\(low, high\)"),
        ({"equivalence": (0.02, -0.02)}, r"\(low, high\)"),
        ({"equivalence": (0.0, float("inf"))}, r"\(low, high\)"),
        ({"equivalance": (-1, 1)}, "did you mean equivalence"),
    ],
)
def test_what_cannot_be_meant_is_a_sentence(answer, options, sentence):
    with pytest.raises(InputError, match=sentence):
        dv.hypotheses(answer, **options)


def test_answers_that_cannot_be_asked(answer):
    with pytest.raises(InputError, match="has no rows"):
        dv.hypotheses(answer.where(model="z"))
    with pytest.raises(InputError, match="needs two numbers"):
        dv.hypotheses(answer.where(model="a"), pairwise=True)
    many = _answer(np.zeros((2, 21)), {"model": [str(k) for k in range(21)]})
    with pytest.raises(InputError, match="210 pairs"):
        dv.hypotheses(many, pairwise=True)
    mixed = _answer(np.zeros((2, 2)), {"model": ["a", "b"], "unit": ["fraction", "ratio"]})
    with pytest.raises(InputError, match="several units"):
        dv.hypotheses(mixed)
