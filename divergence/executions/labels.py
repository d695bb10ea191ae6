"""One column of labels of a Parquet file, as numbers: the same number for the same value in every batch."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from divergence.executions.columns import typed
from divergence.executions.random_groups import block_of_text
from divergence.executions.schema import COLUMNS

VALUES_MAX = 2**20  # distinct values of a column that is still one of labels


class Uncountable(Exception):
    """A file whose rows have too many distinct values to be counted."""


class Label:
    """A column of labels. `presence`: only whether a row has a value counts (of sessions and answers)."""

    def __init__(self, field: pa.Field, nulls: bool, canonical: str | None = None, presence: bool = False) -> None:
        inner = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        self.text = pa.types.is_string(inner) or pa.types.is_large_string(inner)
        kinds = (pa.types.is_null, pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating)
        if not (self.text or any(of_kind(inner) for of_kind in kinds)):
            raise Uncountable
        self.name, self.canonical, self.presence = field.name, canonical, presence
        self.plain = self.text and not pa.types.is_dictionary(field.type)
        self.values = pa.array([], pa.string() if self.text else inner)
        self.first = 1 if nulls or presence else 0  # number 0 is the missing value, where there is one
        self.dictionary: pa.Array | None = None
        self.numbers = self.blocks = np.zeros(0, np.int64)

    @property
    def size(self) -> int:
        """Numbers in use."""
        return 2 if self.presence else len(self.values) + self.first

    def index(self, column: pa.Array) -> np.ndarray:
        """Each row's place in `numbers` (and in `blocks`), whose last entry is for a missing value."""
        if pa.types.is_null(column.type):
            self.numbers, self.blocks = np.zeros(1, np.int64), np.full(1, -1)
            return np.zeros(len(column), np.int32)
        if not pa.types.is_dictionary(column.type):
            column = column.dictionary_encode()
        dictionary = column.dictionary.cast(self.values.type)
        if self.dictionary is None or not dictionary.equals(self.dictionary):
            self._learn(dictionary)
        indices = column.indices
        if column.null_count:
            indices = pc.fill_null(indices, len(dictionary))
        return indices.to_numpy(zero_copy_only=False)

    def _learn(self, dictionary: pa.Array) -> None:
        self.dictionary = dictionary
        if len(dictionary) > VALUES_MAX and not self.presence:
            raise Uncountable
        if self.canonical is not None:
            self.blocks = self._blocks(dictionary, self.canonical)
        if self.presence:
            self.numbers = (self.blocks >= 0).astype(np.int64)
            if self.numbers.any() and not len(self.values):
                self.values = dictionary.take([int(self.numbers.argmax())])
            return
        place = pc.call_function("index_in", [dictionary], pc.SetLookupOptions(self.values))
        if place.null_count:
            self.values = pa.concat_arrays([self.values, dictionary.filter(place.is_null())])
            place = pc.call_function("index_in", [dictionary], pc.SetLookupOptions(self.values))
        self.numbers = np.append(place.to_numpy(zero_copy_only=False).astype(np.int64) + self.first, 0)

    def _blocks(self, dictionary: pa.Array, canonical: str) -> np.ndarray:
        """The block of each value as reading will write it, -1 for what it reads as missing."""
        raw = pl.DataFrame({self.name: pl.from_arrow(dictionary)})
        text = typed(COLUMNS[canonical], self.name, raw.schema[self.name])[0]
        block = raw.select(text).select(block_of_text(canonical).cast(pl.Int64).fill_null(-1)).to_series()
        return np.append(block.to_numpy(), -1)

    def column(self, number: np.ndarray, dtype: pl.DataType) -> pl.Series:
        """The raw values behind numbers, of the type that the file's have."""
        values = pl.Series(self.values).cast(pl.String if self.text else dtype)
        if self.first:
            values = pl.concat([pl.Series([None], dtype=values.dtype), values])
        return values.gather(number).alias(self.name)
