"""The lookup of summaries: against a loop over rows, whatever the coding and the cut into batches; and its speed."""

import time

import numpy as np
import pyarrow as pa
import pytest

from divergence.errors import InputError
from divergence.risk.lookup import LookupGrid, codes, take

LEVELS = {"model": ("a", "b", "c"), "context": ("x", "y"), "item": tuple(f"i{k}" for k in range(40))}
SHAPE = (4, 3, 41)


def grid(seed=0):
    return LookupGrid(LEVELS, np.random.default_rng(seed).integers(0, 50, SHAPE).astype(np.int32))


def batch(n, seed=1):
    """Random requests; one in ten values is null or a level that no table knows."""
    random = np.random.default_rng(seed)
    columns = {}
    for key, known in LEVELS.items():
        values = random.choice([*known, "never seen", None], n)
        columns[key] = pa.array(values.tolist(), pa.string())
    return pa.record_batch(columns)


def obvious(grid, batch):
    """A loop over rows and keys."""
    rows = []
    for row in batch.to_pylist():
        place = tuple(known.index(row[key]) if row[key] in known else len(known) for key, known in LEVELS.items())
        rows.append(grid.place[place])
    return rows


@pytest.mark.parametrize("index", [None, pa.int8(), pa.uint16(), pa.int32(), pa.int64()])
def test_rows_are_those_of_a_loop(index):
    one = batch(500)
    coded = (
        one
        if index is None
        else pa.record_batch({k: one.column(k).dictionary_encode().cast(pa.dictionary(index, pa.string())) for k in LEVELS})
    )
    assert grid().rows(coded).tolist() == obvious(grid(), one)


def test_columns_without_any_value_and_of_numbers_are_looked_up_as_texts():
    one = batch(40)
    known = {**LEVELS, "item": tuple(map(str, range(40)))}
    lookup = LookupGrid(known, np.random.default_rng(0).integers(0, 50, SHAPE).astype(np.int32))
    for context in (pa.nulls(40), pa.nulls(40).dictionary_encode()):
        items = pa.array([*range(39), None])
        texts = pa.record_batch(
            {**{k: one.column(k) for k in LEVELS}, "context": pa.nulls(40, pa.string()), "item": items.cast(pa.string())}
        )
        raw = pa.record_batch({"model": one.column("model"), "context": context, "item": items})
        assert lookup.rows(raw).tolist() == [
            lookup.place[tuple(v.index(row[k]) if row[k] in v else len(v) for k, v in known.items())]
            for row in texts.to_pylist()
        ]


def test_slices_and_changing_dictionaries_give_the_same_rows():
    whole = batch(300)
    lookup, found = grid(), []
    for start in range(0, 300, 37):
        part = whole.slice(start, 37)
        if start % 2:  # a dictionary of its own
            part = pa.record_batch({k: part.column(k).dictionary_encode() for k in LEVELS})
        found += lookup.rows(part).tolist()
    assert found == obvious(grid(), whole)
    coded = pa.record_batch({k: whole.column(k).dictionary_encode() for k in LEVELS})
    lookup = grid()
    assert np.concatenate([lookup.rows(coded.slice(s, 37)) for s in range(0, 300, 37)]).tolist() == obvious(grid(), whole)


def test_a_new_dictionary_at_the_place_of_an_old_one_is_hashed_again():
    lookup = grid()
    for seed in range(60):  # freed memory is soon used again
        one = batch(50, seed)
        coded = pa.record_batch({k: one.column(k).dictionary_encode() for k in LEVELS})
        assert lookup.rows(coded).tolist() == obvious(lookup, one)


def test_an_int8_dictionary_that_is_full_takes_nulls():
    names = [f"n{k}" for k in range(127)]
    column = pa.DictionaryArray.from_arrays(pa.array([126, None, 0], pa.int8()), pa.array(names))
    assert codes(column, tuple(names)).tolist() == [126, 127, 0]


def test_take_keeps_kinds_and_values():
    rows = np.array([2, 0, 0, 1])
    table = {
        "risk": np.array([0.1, 0.2, 0.3]),
        "known": np.array([True, False, True]),
        "reason": pa.array(["x", "y", "x"]).dictionary_encode(),
        "text": pa.array(["p", "q", None]),
    }
    out = take(table, rows)
    assert {name: column.to_pylist() for name, column in out.items()} == {
        "risk": [0.3, 0.1, 0.1, 0.2],
        "known": [True, True, True, False],
        "reason": ["x", "x", "x", "y"],
        "text": [None, "p", "p", "q"],
    }
    assert pa.types.is_dictionary(out["reason"].type)


def test_a_grid_of_the_wrong_shape_or_too_large_is_refused():
    with pytest.raises(InputError, match="levels of model, context, item need"):
        LookupGrid(LEVELS, np.zeros((3, 2, 40), np.int32))
    with pytest.raises(InputError, match="too many to look up"):
        LookupGrid({"a": ("x",) * 9999, "b": ("x",) * 9999}, np.broadcast_to(np.int32(0), (10000, 10000)))


def test_twenty_million_rows_a_cpu_second():
    """Mean and interval from dictionary codes. The limit here is half the target: the machine is shared."""
    one = batch(1 << 17)
    coded = pa.record_batch({k: one.column(k).dictionary_encode() for k in LEVELS})
    lookup, values = grid(), np.random.default_rng(0).random((3, 50))
    table = dict(zip(("risk", "lower", "upper"), values, strict=True))
    seconds = []
    for _ in range(15):
        start = time.process_time()
        take(table, lookup.rows(coded))
        seconds.append(time.process_time() - start)
    assert coded.num_rows / min(seconds) > 1e7
