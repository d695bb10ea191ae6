"""Labels of a partition as codes into one growing dictionary: each distinct text is typed and hashed once, not once a row.

The meaning of a label is that of the log's own reading (`executions.columns.typed`): numbers become texts, 8 and 8.0
are one level, a blank is missing. Only the dictionary's values pass through it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from divergence.errors import InputError
from divergence.executions.columns import typed
from divergence.executions.schema import Column

FULL = 2**17  # levels after which items start a dictionary anew: ids that never repeat must not fill the memory
LEVELS_MAX = 2**20  # a column with more levels than this is an id, not a model or a serving factor
MISSING = -1


class Dictionary:
    """The levels seen so far in one column of a partition."""

    def __init__(self, column: Column, endless: bool = False) -> None:
        """`endless`: the column may hold ids that never repeat (items), so the dictionary is emptied when full."""
        self.column, self.endless = column, endless
        self._empty(pa.array([], pa.string()))

    def _empty(self, raw: pa.Array) -> None:
        self.raw = raw
        """Raw values seen, distinct."""
        self.codes = np.zeros(0, np.int32)
        """Level of each raw value, -1 = blank."""
        self.names = pa.array([], pa.string())
        """The levels; the same object as before where a batch brings no new one, so that lookups by it stay valid."""
        self.known: dict[str, int] = {}
        """Level -> code."""

    def encode(self, values: pa.Array) -> np.ndarray:
        """Code of each row, int32; -1 where the label is missing."""
        coded = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
        dictionary = coded.dictionary
        if self.raw.type != dictionary.type or (self.endless and len(self.raw) > FULL):
            self._empty(dictionary.slice(0, 0))
        place = pc.call_function("index_in", [dictionary], pc.SetLookupOptions(self.raw))
        if place.null_count:
            self._learn(dictionary.filter(place.is_null()).unique())
            place = pc.call_function("index_in", [dictionary], pc.SetLookupOptions(self.raw))
        where = np.append(self.codes.take(place.to_numpy(zero_copy_only=False)), np.int32(MISSING))
        indices = coded.indices
        if indices.null_count:
            indices = indices.cast(pa.int64()).fill_null(len(dictionary))
        return where.take(indices.to_numpy(zero_copy_only=False))

    def _learn(self, fresh: pa.Array) -> None:
        frame = pl.DataFrame({"raw": pl.from_arrow(fresh)})
        label = frame.select(typed(self.column, "raw", frame.schema["raw"])[0]).to_series()
        before = len(self.known)
        codes = [MISSING if name is None else self.known.setdefault(name, len(self.known)) for name in label]
        if not self.endless and len(self.known) > LEVELS_MAX:
            raise InputError(
                f"the column {self.column.name} has more than {LEVELS_MAX} levels: it holds ids, no labels; "
                "map another column to it"
            )
        if len(self.known) > before:
            self.names = pa.concat_arrays([self.names, pa.array(list(self.known)[before:], pa.string())])
        self.raw = pa.concat_arrays([self.raw, fresh])
        self.codes = np.concatenate([self.codes, np.array(codes, np.int32)])


class Combinations:
    """Texts made of several labels, one a combination that occurs: context labels made of factor levels."""

    def __init__(self, label: Callable[[list[str | None]], str]) -> None:
        """`label` writes the text of a combination from its levels (None = missing)."""
        self.label = label
        self.known: dict[tuple[int, ...], int] = {}
        self.names = pa.array([], pa.string())

    def encode(self, parts: list[tuple[np.ndarray, pa.Array]]) -> np.ndarray:
        """Code of each row's combination; parts are the codes of each label and their names."""
        sizes = [len(names) + 1 for _, names in parts]
        packed = np.zeros(len(parts[0][0]), np.int64)
        for (codes, _), size in zip(parts, sizes, strict=True):
            packed *= size
            packed += codes
            packed += 1
        direct = math.prod(sizes) <= FULL
        if direct:
            present = np.flatnonzero(np.bincount(packed, minlength=1))
            where = np.zeros(math.prod(sizes), np.int32)
            where[present] = [self._code(pack, sizes, parts) for pack in present.tolist()]
            return where.take(packed)
        present, places = np.unique(packed, return_inverse=True)
        return np.array([self._code(pack, sizes, parts) for pack in present.tolist()], np.int32).take(places)

    def _code(self, pack: int, sizes: list[int], parts: list[tuple[np.ndarray, pa.Array]]) -> int:
        key = []
        for size in reversed(sizes):
            pack, code = divmod(pack, size)
            key.append(code - 1)
        key = tuple(reversed(key))
        if key not in self.known:
            self.known[key] = len(self.known)
            levels = [names[code].as_py() if code >= 0 else None for code, (_, names) in zip(key, parts, strict=True)]
            self.names = pa.concat_arrays([self.names, pa.array([self.label(levels)], pa.string())])
        return self.known[key]


def labelled(codes: np.ndarray, names: pa.Array) -> pa.DictionaryArray:
    """Codes and names as an Arrow dictionary column; -1 becomes null."""
    missing = codes < 0
    return pa.DictionaryArray.from_arrays(pa.array(codes, mask=missing if missing.any() else None), names)
