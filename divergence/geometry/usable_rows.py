"""Which rows of an embedding may be used? Rows are checked once, here, and set aside with a count, never repaired.

A row with NaN or infinity is set aside. float16 is widened to float32 (exact), whole numbers to float64, float32 and
float64 stay as they are. With `unit_length` every row is scaled to length 1 (cosine geometry), and rows of length 0 are
set aside. Everything that is no table of numbers is an InputError of one sentence.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence, Sized

import numpy as np
import polars as pl

from divergence.errors import InputError
from divergence.geometry.embedder import Embeddings

Labels = Sequence | np.ndarray | pl.Series
"""One label a row."""

LARGEST = 1e15  # squares of larger numbers leave float32; no embedder writes them


def table(values: object, name: str) -> np.ndarray:
    """A 2-D array (rows, dimensions) of float32 or float64 out of an array, a list of lists or a Polars list column."""
    if isinstance(values, Embeddings):
        values = values.rows
    if isinstance(values, pl.Series):
        values = _series(values, name)
    try:
        array = np.asarray(values)
    except ValueError:
        raise InputError(_ragged(name, values)) from None
    if array.dtype == object:
        raise InputError(_ragged(name, values))
    if array.ndim != 2:
        raise InputError(f"{name} has {array.ndim} axes, a table of embeddings has 2: rows, dimensions")
    if array.dtype.kind not in "fiu":
        raise InputError(f"{name} holds {array.dtype}, an embedding holds numbers: give float32 or float64")
    if array.shape[1] == 0:
        raise InputError(f"{name} has 0 dimensions: give rows with at least one number")
    if array.dtype in (np.float32, np.float64):
        return array
    return array.astype(np.float32 if array.dtype == np.float16 else np.float64)


def _series(values: pl.Series, name: str) -> np.ndarray:
    if isinstance(values.dtype, pl.Array):
        return values.to_numpy()
    if not isinstance(values.dtype, pl.List):
        raise InputError(f"{name} is a column of {values.dtype}, an embedding is a column of lists of numbers")
    lengths = values.list.len().unique()
    if values.null_count() or lengths.len() > 1:
        raise InputError(_ragged(name, values.to_list()))
    if values.len() == 0:
        raise InputError(f"{name} has no rows: give at least one embedding")
    return values.list.explode().to_numpy().reshape(values.len(), -1)


def _ragged(name: str, values: object) -> str:
    rows = values if isinstance(values, Iterable) else ()
    lengths = {len(row) if isinstance(row, Sized) else 0 for row in rows}
    seen = ", ".join(str(length) for length in sorted(lengths)[:4])
    return f"{name} has rows of different lengths or types (lengths {seen}): every row needs the same number of numbers"


def usable(array: np.ndarray, unit_length: bool = False) -> np.ndarray:
    """Booleans, one a row: finite (below `LARGEST`), and not of length 0 where lengths are to be 1."""
    keep = (array.max(1) < LARGEST) & (array.min(1) > -LARGEST)  # NaN compares false
    if unit_length:
        keep &= (array != 0).any(1)
    return keep


def scaled(array: np.ndarray, unit_length: bool) -> np.ndarray:
    """The rows at length 1 where asked for (their length is taken in float64), else as they are."""
    if not unit_length:
        return array
    length = np.sqrt(np.einsum("ij,ij->i", array, array, dtype=np.float64))
    return (array / length[:, None]).astype(array.dtype)


def labels(cluster: Labels, rows: int, name: str = "cluster") -> np.ndarray:
    """One 64-bit key a row, made from the text of the label alone: the same label has the same key in every shard."""
    values = cluster if isinstance(cluster, pl.Series) else pl.Series("cluster", list(cluster), strict=False)
    if values.len() != rows:
        raise InputError(f"{name} has {values.len()} labels for {rows} rows: give one a row, or None for all")
    if values.null_count():
        raise InputError(f"{name} is null in {values.null_count()} rows: give every row its session, or None for all")
    distinct = values.cast(pl.String).unique(maintain_order=True)
    keys = [int.from_bytes(hashlib.blake2b(label.encode(), digest_size=8).digest(), "big") for label in distinct]
    order = dict(zip(distinct, keys, strict=True))
    return np.array([order[label] for label in values.cast(pl.String)], dtype=np.uint64)
