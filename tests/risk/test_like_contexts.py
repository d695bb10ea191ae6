"""New contexts are answered by those served most alike: weights and mixtures by hand, and what no factor says."""

import numpy as np
import pyarrow as pa
import pytest

from divergence.risk.context_definitions import Served
from divergence.risk.item_lookup import EVIDENCE, ItemRisks, answers, place_of
from divergence.risk.like_contexts import LikeContexts, mixture, shared_levels, weights

SERVED = Served(("engine", "cache"), {"a": (("v", "4"),), "b": (("v", "8"), ("s", "8"))}, {"wide": (("v",), ("4", "8"))})
LABELS = ("a", "b", "bench", "wide")


@pytest.mark.parametrize(
    ("levels", "right"),
    [
        (("v", "4"), [2, 1, -1, 2]),
        (("s", "8"), [0, 2, -1, 1]),
        (("new", "4"), [1, 0, -1, 1]),
        ((None, "8"), [0, 1, -1, 1]),
        ((None, None), [0, 0, -1, 0]),
    ],
)
def test_shared_factors_are_counted(levels, right):
    assert shared_levels(levels, SERVED, LABELS).tolist() == right


def test_weights_are_exponential_and_leave_the_bench_out():
    found = weights(np.array([2.0, 1.0, -1.0]), 0.7)
    np.testing.assert_allclose(found, np.array([np.exp(0.7), 1, 0]) / (np.exp(0.7) + 1))
    np.testing.assert_allclose(weights(np.array([3.0, 0.0, -1.0]), 0.0), [0.5, 0.5, 0])
    assert weights(np.array([-1.0, -1.0]), 1.0).tolist() == [0, 0]


def test_a_mixture_is_the_mean_risk_and_wider_where_contexts_differ():
    place = place_of(np.array([[[-1.0, 1.0, 0.0], [0.3, 0.3, 0.3]]]), np.full((1, 2, 3), 0.5))
    risk = answers()["risk"]
    mixed = mixture(place, np.array([0.75, 0.25, 0.0]))
    step = 0.0032  # the rounding of a place, twice: of what is mixed and of the mixture
    assert risk[mixed[0, 0]] == pytest.approx(0.75 * risk[place[0, 0, 0]] + 0.25 * risk[place[0, 0, 1]], abs=step)
    assert risk[mixed[0, 1]] == pytest.approx(risk[place[0, 1, 0]], abs=1e-12)
    width = answers()["upper"] - answers()["lower"]
    assert width[mixed[0, 0]] > 1.2 * width[place[0, 0, 0]] and width[mixed[0, 1]] == width[place[0, 1, 0]]


def test_requests_are_answered_by_their_own_factors_or_by_all():
    random = np.random.default_rng(0)
    shape = (5, 3, 5)
    place = place_of(random.normal(size=shape), np.full(shape, 0.4))
    items = ItemRisks(
        pa.array([f"i{k}" for k in range(5)], pa.large_string()),
        place,
        np.full(shape, EVIDENCE.index("here"), np.uint8),
        np.zeros(shape, np.uint8),
        np.zeros(5, np.int32),
    )
    like = LikeContexts(items, SERVED, LABELS, 1.0)
    batch = pa.record_batch({"engine": ["v", None, "s", "NaN"], "cache": pa.array(["4", None, "8", None])})
    item, model = np.array([0, 1, 2, 3]), np.array([0, 1, 2, 0])
    found = like.places(batch, item, model)
    for row, levels in ((0, ("v", "4")), (2, ("s", "8"))):
        mixed = mixture(place, np.append(weights(shared_levels(levels, SERVED, LABELS), 1.0), 0.0))
        assert found[row] == mixed[item[row], model[row]]
    for row in (1, 3):
        assert found[row] == place[item[row], model[row], -1]
    np.testing.assert_array_equal(like.places(batch.slice(2, 1), item[2:3], model[2:3]), found[2:3])
    bare = like.places(pa.record_batch({"other": ["x"]}), np.array([4]), np.array([1]))
    assert bare[0] == place[4, 1, -1]
