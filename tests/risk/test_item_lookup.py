"""Known items by their ids, and the fixed table that answers them."""

import numpy as np
import pyarrow as pa
import pytest
from scipy.special import ndtr, ndtri

from divergence.risk.item_lookup import (
    ARRAYS,
    EVIDENCE,
    POINTS,
    SPREAD_MAX,
    SPREAD_MIN,
    SPREADS,
    ItemRisks,
    answers,
    place_of,
    text_hashes,
)


def some(names, shape=(2, 3)):
    """Items with random places."""
    random = np.random.default_rng(0)
    size = (len(names), *shape)
    return ItemRisks(
        pa.array(names, pa.large_string()),
        random.integers(0, POINTS * SPREADS, size).astype(np.uint16),
        random.integers(0, len(EVIDENCE) - 1, size).astype(np.uint8),
        random.integers(0, 256, size).astype(np.uint8),
        np.zeros(len(names), np.int32),
    )


def test_a_place_gives_the_risk_and_its_interval_back():
    random = np.random.default_rng(1)
    risk, sd = random.random(2000), np.exp(random.uniform(np.log(SPREAD_MIN), np.log(SPREAD_MAX), 2000))
    place = place_of(ndtri(risk), sd)
    # Half a step of the probit at its steepest, and half a step of the standard deviation's logarithm.
    step = 8 / (POINTS - 1)
    assert np.abs(answers()["risk"][place] - risk).max() <= step / 2 / np.sqrt(2 * np.pi) + ndtr(-4)
    middle = ndtri(answers()["risk"][place]) * np.sqrt(1 + sd**2)
    wide = np.exp(np.log(SPREAD_MAX / SPREAD_MIN) / (SPREADS - 1) / 2) - 1
    low = ndtr(middle - 1.6448536 * sd)
    assert np.abs(np.minimum(low, risk) - answers()["lower"][place]).max() < 2.5 * wide
    assert (answers()["lower"] <= answers()["risk"]).all() and (answers()["risk"] <= answers()["upper"]).all()


def test_names_are_found_as_in_a_dictionary():
    random = np.random.default_rng(2)
    letters = [*"ab é✓0", ""]
    made = {"".join(random.choice(letters, random.integers(0, 7))) for _ in range(3000)} | {"x" * 5000, "x" * 5001}
    names = sorted(made)
    known, asked = names[::2], random.permutation(names).tolist()
    items = some(known)
    code = {name: k for k, name in enumerate(known)}
    want = [code.get(name, len(known)) for name in asked]
    assert items.find(pa.array(asked)).tolist() == [*want, len(known)]
    column = pa.array([*asked[:50], None, *asked[:9]]).dictionary_encode()
    assert items.rows(column).tolist() == [*want[:50], len(known), *want[:9]]
    assert items.rows(column[10:20]).tolist() == want[10:20]


def test_texts_of_one_hash_are_still_told_apart(monkeypatch):
    monkeypatch.setattr("divergence.risk.item_lookup.text_hashes", lambda texts: np.zeros(len(texts), np.uint64))
    items = some(["a", "b"])
    found = items.find(pa.array(["a", "z"]))
    assert found[1] == 2 and found[0] in (0, 2)  # another one is never taken for it


def test_hashes_are_the_same_however_texts_are_cut():
    texts = pa.array([f"item-{k}" for k in range(500)], pa.large_string())
    whole = text_hashes(texts)
    assert len(set(whole.tolist())) == 500
    np.testing.assert_array_equal(whole[100:200], text_hashes(texts[100:200]))
    np.testing.assert_array_equal(whole, text_hashes(texts.cast(pa.string())))
    assert len(text_hashes(pa.array([], pa.string()))) == 0


def test_saved_arrays_are_read_back_and_damaged_ones_are_refused():
    items = some(["a", "", "ü"])
    arrays = items.arrays()
    again = ItemRisks.of_arrays(dict(arrays), (2, 3))
    assert again.names.equals(items.names) and set(arrays) == set(ARRAYS)
    np.testing.assert_array_equal(again.place, items.place)
    for name, value in (
        ("item_place", items.place.astype(np.int64)),
        ("item_evidence", items.evidence + np.uint8(9)),
        ("item_place", np.full_like(items.place, 65535)),
        ("item_ends", np.array([5, 1, 3])),
        ("item_task", np.zeros(2, np.int32)),
    ):
        with pytest.raises(ValueError, match="item"):
            ItemRisks.of_arrays({**arrays, name: value}, (2, 3))
    with pytest.raises(ValueError, match="shape"):
        ItemRisks.of_arrays(dict(arrays), (3, 3))
