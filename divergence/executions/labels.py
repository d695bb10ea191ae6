"""One column of labels of a Parquet file, as numbers: the same number for the same value in every batch."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa

from divergence.executions.arrow_numbers import as_numpy
from divergence.executions.columns import typed
from divergence.executions.random_groups import block_of_text, hash_of_text
from divergence.executions.schema import COLUMNS

VALUES_MAX = 2**20  # distinct values of a column that is still one of labels
COMPARED_MAX = 8  # numbers that are told apart by comparing with each of them: of more, hashing is cheaper


class Uncountable(Exception):
    """A file whose rows have too many distinct values to be counted."""


class Label:
    """A column of labels. `presence`: only whether a row has a value counts (of sessions and answers)."""

    def __init__(self, field: pa.Field, nulls: bool, canonical: str | None = None, presence: bool = False) -> None:
        inner = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        self.texts = pa.types.is_string(inner) or pa.types.is_large_string(inner)
        kinds = (pa.types.is_null, pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating)
        if not (self.texts or any(of_kind(inner) for of_kind in kinds)):
            raise Uncountable
        self.name, self.canonical, self.presence = field.name, canonical, presence
        self.plain = self.texts and not pa.types.is_dictionary(field.type)
        self.values: pa.Array = pa.nulls(0, pa.string() if self.texts else inner)  # of an empty list: that imports pandas
        self.first = 1 if nulls or presence else 0  # number 0 is the missing value, where there is one
        self.dictionary: pa.Array | None = None
        self.numbers = np.zeros(0, np.int64)
        self.missing = True
        self.hashed: tuple[np.ndarray, np.ndarray] | None = None
        self.text: pl.Expr | None = None

    @property
    def size(self) -> int:
        """Numbers in use."""
        return 2 if self.presence else len(self.values) + self.first

    @property
    def blocks(self) -> np.ndarray:
        """The block of each value of the last batch as reading will write it, -1 for what it reads as missing."""
        return self._hashed()[0]

    @property
    def hashes(self) -> np.ndarray:
        """The hash by which a sample of sessions is chosen, of each value of the last batch; any for a missing one."""
        return self._hashed()[1]

    def index(self, column: pa.Array) -> np.ndarray:
        """Each row's place in `numbers` (and in `blocks`), whose last entry is for a missing value; `missing` says whether
        a row has one."""
        self.missing = column.null_count > 0
        if pa.types.is_null(column.type):
            self._forget(np.zeros(1, np.int64))
            return np.zeros(len(column), np.int32)
        if not pa.types.is_dictionary(column.type):
            known = self._compared(column)
            if known is not None:
                return known
            column = column.dictionary_encode()
        dictionary = column.dictionary.cast(self.values.type)
        if self.dictionary is None or not dictionary.equals(self.dictionary):
            self._learn(dictionary)
        indices = column.indices
        if self.missing:
            indices = indices.fill_null(len(dictionary))
        return as_numpy(indices).astype(np.int32, copy=False)

    def _compared(self, column: pa.Array) -> np.ndarray | None:
        """`index` of a column of few numbers, all of which were met before; None for any other."""
        kind = column.type
        if self.canonical or self.missing or self.values.type != kind or not 0 < len(self.values) <= COMPARED_MAX:
            return None
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            return None
        bits = np.dtype(f"i{kind.bit_width // 8}")  # of floats too, so that NaN is equal to itself
        values, rows = as_numpy(self.values).view(bits), as_numpy(column).view(bits)
        index, found = np.zeros(len(rows), np.int32), 0
        for place, value in enumerate(values):
            same = rows == value
            found += np.count_nonzero(same)
            if place:
                index += same * np.int32(place)
        if found < len(rows):
            return None
        self._forget(np.append(np.arange(len(values)) + self.first, 0))
        return index

    def _learn(self, dictionary: pa.Array) -> None:
        import pyarrow.compute as pc  # a small log, which is not counted, is read without it

        self._forget(self.numbers)
        self.dictionary = dictionary
        if len(dictionary) > VALUES_MAX and not self.presence:
            raise Uncountable
        if self.presence:
            self.numbers = (self.blocks >= 0).astype(np.int64)
            if self.numbers.any() and not len(self.values):
                self.values = dictionary.slice(int(self.numbers.argmax()), 1)
            return
        place = pc.call_function("index_in", [dictionary], pc.SetLookupOptions(self.values))
        if place.null_count:
            self.values = pa.concat_arrays([self.values, dictionary.filter(place.is_null())])
            place = pc.call_function("index_in", [dictionary], pc.SetLookupOptions(self.values))
        self.numbers = np.append(as_numpy(place).astype(np.int64) + self.first, 0)

    def _forget(self, numbers: np.ndarray) -> None:
        """Take up other values, of which these are the numbers."""
        self.numbers, self.dictionary, self.hashed = numbers, None, None

    def _hashed(self) -> tuple[np.ndarray, np.ndarray]:
        """`blocks` and `hashes`, worked out when they are asked for; samples of other clusters have passes of their own."""
        if self.dictionary is None:
            return np.full(1, -1, np.int16), np.zeros(1, np.uint64)
        if self.hashed is None:
            raw, name = pl.DataFrame({self.name: pl.from_arrow(self.dictionary)}), str(self.canonical)
            if self.text is None:
                self.text = typed(COLUMNS[name], self.name, raw.schema[self.name])[0]
            block = block_of_text(name).cast(pl.Int16).fill_null(-1).alias("block")
            chosen = hash_of_text(pl.col(name)).fill_null(0) if name == "session" else pl.lit(0, pl.UInt64)
            found = raw.select(self.text).select(block, chosen.alias("hash"))
            block, chosen = (found[each].to_numpy() for each in ("block", "hash"))
            self.hashed = np.append(block, np.int16(-1)), np.append(chosen, np.uint64(0))
        return self.hashed

    def column(self, number: np.ndarray, dtype: pl.DataType) -> pl.Series:
        """The raw values behind numbers, of the type that the file's have."""
        values = pl.Series(self.values).cast(pl.String if self.texts else dtype)
        if self.first:
            values = pl.concat([pl.Series([None], dtype=values.dtype), values])
        return values.gather(number).alias(self.name)
