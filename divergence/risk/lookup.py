"""How is a batch of requests priced without any arithmetic a row? By looking each up in a small table.

Everything that risk says about a request follows from its model, its context and its stratum, so one table with a row
for every combination of their levels (and one more level a key, `unseen`) holds all answers. A batch then needs

    row = place[code of model, code of context, code of stratum]        output column = table column [row]

`codes` hashes texts once a dictionary (a few thousand), not once a row; the rest is one multiply-add a key and one
`take` an output column. Unit: none; values keep those of the table. The lookup is exact: a request's answer does not
depend on its batch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from divergence.errors import InputError

CELLS_MAX = 2**26  # 256 MB of places, so that two workers stay below one gigabyte with all else


@dataclasses.dataclass(frozen=True, eq=False)
class LookupGrid:
    """Which row of a summary table answers each combination of levels."""

    levels: dict[str, tuple[str, ...]]
    """Key column -> its known levels. Order of the keys = order of the axes of `place`."""
    place: np.ndarray
    """Row of the table for each combination, int32; each axis has one place more than levels: the unseen one."""
    hashed: dict[str, tuple[pa.Array, np.ndarray]] = dataclasses.field(default_factory=dict, init=False, repr=False)
    """The last dictionary of each key and where its values are: batches of a partition share their dictionary."""
    direct: bool = dataclasses.field(default=False, init=False, repr=False)
    """Is every combination its own row? Then there is nothing to look up."""

    def __post_init__(self) -> None:
        expected = tuple(len(known) + 1 for known in self.levels.values())
        if self.place.shape != expected:
            raise InputError(f"places have shape {self.place.shape}, the levels of {', '.join(self.levels)} need {expected}")
        if self.place.size > CELLS_MAX:
            raise InputError(
                f"{self.place.size} combinations of {', '.join(self.levels)} are too many to look up "
                f"directly (at most {CELLS_MAX}): use fewer strata"
            )
        object.__setattr__(self, "direct", bool((self.place.ravel() == np.arange(self.place.size)).all()))

    def rows(self, batch: pa.RecordBatch) -> np.ndarray:
        """Row of the summary table for each request of the batch, shape (rows,)."""
        place = np.zeros(batch.num_rows, np.intp)
        for key, known in self.levels.items():
            column = coded(batch.column(key))
            held = self.hashed.get(key)
            if held is None or not _same(held[0], column.dictionary):
                held = self.hashed[key] = column.dictionary, places(column.dictionary, known)
            place *= len(known) + 1
            place += looked_up(column, held[1])
        return place if self.direct else self.place.reshape(-1).take(place)


def codes(column: pa.Array, known: tuple[str, ...]) -> np.ndarray:
    """Place of each value among the known levels, `len(known)` for a null or an unseen one. Hashes the dictionary only.

    >>> codes(pa.array(["b", "x", None]), ("a", "b")).tolist()
    [1, 2, 2]
    """
    column = coded(column)
    return looked_up(column, places(column.dictionary, known))


def places(dictionary: pa.Array, known: tuple[str, ...]) -> np.ndarray:
    """Place of each dictionary value among the known levels; one more entry at the end, for nulls."""
    texts = dictionary if dictionary.type in (pa.string(), pa.large_string()) else dictionary.cast(pa.string())
    found = pc.call_function("index_in", [texts], pc.SetLookupOptions(pa.array(known, texts.type))).fill_null(len(known))
    return np.append(found.to_numpy(zero_copy_only=False).astype(np.intp), len(known))


def coded(column: pa.Array) -> pa.DictionaryArray:
    """The column with a dictionary."""
    empty = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_null(empty):  # Arrow's type of a column that has no value at all
        column = pa.nulls(len(column), pa.string())
    return column if pa.types.is_dictionary(column.type) else column.dictionary_encode()


def looked_up(column: pa.DictionaryArray, where: np.ndarray) -> np.ndarray:
    """Each row's entry of `where`, which has one a dictionary value and a last one for nulls."""
    indices = column.indices
    if indices.null_count:
        indices = indices.cast(pa.int64()).fill_null(len(where) - 1)
    return where.take(indices.to_numpy(zero_copy_only=False))


def _same(one: pa.Array, other: pa.Array) -> bool:
    """Are they the same memory? `one` is still held, so that its memory cannot have been given to something else."""
    return (
        one.type == other.type
        and len(one) == len(other)
        and one.offset == other.offset
        and all(
            a is b or (a is not None and b is not None and a.address == b.address)
            for a, b in zip(one.buffers(), other.buffers(), strict=True)
        )
    )


def take(table: Mapping[str, np.ndarray | pa.Array], rows: np.ndarray) -> dict[str, pa.Array]:
    """Each column of a summary table at `rows`; texts stay dictionary codes."""
    out = {}
    for name, column in table.items():
        if isinstance(column, np.ndarray):
            out[name] = pa.array(column.take(rows))
        elif isinstance(column, pa.DictionaryArray):
            indices = pa.array(column.indices.to_numpy(zero_copy_only=False).take(rows))
            out[name] = pa.DictionaryArray.from_arrays(indices, column.dictionary)
        else:
            out[name] = column.take(pa.array(rows))
    return out
