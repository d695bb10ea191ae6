"""Neighbours of prompts: which rows have some, ties, and that an answer is that of any machine and batch."""

import numpy as np
import pyarrow as pa
import pytest

from divergence.risk.prompt_neighbours import EXACT, NEAREST, Neighbours, in_steps


def made(items=60, numbers=5, seed=0, embedder=None):
    random = np.random.default_rng(seed)
    return Neighbours(in_steps(random.standard_normal((items, numbers))), random.uniform(-1, 1, items), embedder)


@pytest.mark.parametrize("numbers", [5, EXACT + 60])
def test_it_is_the_mean_of_the_most_alike(numbers):
    known, asked = made(numbers=numbers), np.random.default_rng(1).standard_normal((8, numbers))
    steps = in_steps(asked).astype(int)
    for row, found in zip(steps, known.of(asked), strict=True):
        cosine = known.vectors.astype(int) @ row / np.sqrt((known.vectors.astype(int) ** 2).sum(1))
        assert found == pytest.approx(known.lent[np.argsort(-cosine)[:NEAREST]].mean(), abs=1e-12)


def test_equally_near_items_share_and_their_order_does_not_count():
    vectors = np.repeat(np.array([[127, 0], [0, 127]], np.int8), 15, 0)
    lent = np.linspace(-1, 1, 30)
    known = Neighbours(vectors, lent)
    assert known.of(np.array([[1.0, 0.1]]))[0] == pytest.approx(lent[:15].mean())
    order = np.random.default_rng(0).permutation(30)
    mixed = Neighbours(vectors[order], lent[order])
    assert mixed.of(np.array([[1.0, 0.1]]))[0] == pytest.approx(lent[:15].mean())
    # An item is no neighbour of itself.
    assert known.of(vectors[:1], np.array([0]))[0] == pytest.approx(lent[1:15].mean())


def test_rows_without_a_vector_that_compares_have_nothing():
    known = made(embedder="e")
    good = [0.1, 0.2, 0.3, 0.4, 0.5]
    rows = [good, None, [1.0] * 4, [float("nan")] * 5, [0.0] * 5, [None] * 5, good, good]
    embedders = pa.array(["e", "e", "e", "e", "e", "e", "other", None]).dictionary_encode()
    for kind in (pa.list_(pa.float32()), pa.large_list(pa.float32())):
        found = known.of_column(pa.array(rows, kind), embedders)
        assert np.isnan(found).tolist() == [False, True, True, True, True, True, True, False]
        np.testing.assert_array_equal(known.of_column(pa.array(rows, kind).slice(6, 1)), found[:1])
    assert np.isnan(known.of_column(pa.array([1.0, 2.0]))).all()


def test_any_cut_and_any_scale_of_the_vectors_gives_the_same():
    known, asked = made(400, 300), np.random.default_rng(2).standard_normal((257, 300)).astype(np.float32)
    column = pa.array(list(asked), pa.list_(pa.float32()))
    whole = known.of_column(column)
    parts = [known.of_column(column.slice(k, 10)) for k in range(0, 257, 10)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    np.testing.assert_array_equal(known.of_column(pa.array(list(4 * asked), pa.list_(pa.float32()))), whole)


def test_steps_of_one_byte_keep_the_neighbours():
    """Rounding moves a cosine by less than 1 / 127: what is borrowed from a smooth surface hardly changes."""
    random = np.random.default_rng(3)
    vectors = random.standard_normal((500, 64))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    smooth = np.clip(vectors[:, 0] * 3, -1, 1)
    known, asked = Neighbours(in_steps(vectors[:400]), smooth[:400]), vectors[400:]
    exact = smooth[np.argsort(-asked @ vectors[:400].T, axis=1)[:, :NEAREST]].mean(1)
    assert np.corrcoef(known.of(asked), exact)[0, 1] > 0.97
