"""Columns of categories in a data frame as indicators, for classifiers that take numbers.

A category becomes one indicator a level that the fit saw, and one more for `unknown`: a missing value, or a level that the
fit never saw. A row with an unknown category is no known one. Numbers and truth values stay as they are. Unit: none.
"""

from __future__ import annotations

import dataclasses

import numpy as np

LEVELS_MAX = 1000  # a column with more levels is an id: nothing is learnt of levels with a row each


@dataclasses.dataclass(frozen=True)
class Categories:
    """The columns of a frame, and the levels of those that are categories."""

    columns: tuple
    """Names, in their order."""
    levels: dict
    """Name -> levels as texts, sorted; only columns of categories."""

    @classmethod
    def of(cls, frame) -> Categories | None:
        """Of a pandas or Polars frame; None for what is no frame, or one of numbers only."""
        if not (hasattr(frame, "columns") and hasattr(frame, "dtypes")):
            return None
        _once(frame)
        names = tuple(frame.columns)
        levels = {
            name: tuple(sorted({label for label in _labels(frame[name], name) if label is not None}))
            for name in names
            if not _numeric(frame[name], name)
        }
        for name, known in levels.items():
            if len(known) > LEVELS_MAX:
                raise ValueError(
                    f"the column {name} has {len(known)} levels, at most {LEVELS_MAX} are categories: leave out ids"
                )
        return cls(names, levels) if levels else None

    def encode(self, frame) -> tuple[np.ndarray, np.ndarray]:
        """Numbers and indicators, shape (rows, numbers + levels + 1 a category), and whether each row is known."""
        if not hasattr(frame, "columns"):
            raise ValueError(
                f"the fit had a data frame with categories in {', '.join(map(str, self.levels))}: give one here too"
            )
        if lost := [str(name) for name in self.columns if name not in list(frame.columns)]:
            raise ValueError(f"the frame has no column {', '.join(lost)}, which the fit had")
        _once(frame)
        known, parts = np.ones(len(frame), bool), []
        for name in self.columns:
            if name not in self.levels:
                parts.append(_numbers(frame[name], name)[:, None])
                continue
            place = {level: k for k, level in enumerate(self.levels[name])}
            codes = np.array([place.get(label, len(place)) for label in _labels(frame[name], name)], int)
            known &= codes < len(place)
            parts.append(np.eye(len(place) + 1)[codes])
        return np.concatenate(parts, axis=1), known


def _once(frame) -> None:
    names = list(frame.columns)
    if twice := sorted({str(name) for name in names if names.count(name) > 1}):
        raise ValueError(f"the frame has more than one column {', '.join(twice)}: give each a name of its own")


def _numeric(column, name) -> bool:
    kind = column.dtype
    if getattr(kind, "kind", "") in tuple("Mm") or (hasattr(kind, "is_temporal") and kind.is_temporal()):
        raise ValueError(f"the column {name} holds times, which are neither numbers nor categories: make numbers of them")
    if hasattr(kind, "is_numeric"):  # Polars
        return kind.is_numeric() or str(kind) == "Boolean"
    return getattr(kind, "kind", "") in tuple("biuf")


def _numbers(column, name) -> np.ndarray:
    try:
        if hasattr(column, "isna"):  # of pandas, whose types of their own keep missing numbers apart
            return column.to_numpy(dtype=float, na_value=np.nan)
        return np.asarray(column, dtype=float)
    except (ValueError, TypeError) as error:
        raise ValueError(f"the column {name} held numbers in the fit and does not here: {error}") from None


def _labels(column, name) -> list[str | None]:
    """Texts, None for a missing value however it is written."""
    values = column.to_list() if hasattr(column, "to_list") else list(column)
    try:
        texts = {value: _label(value) for value in set(values)}
    except TypeError:
        raise ValueError(
            f"the column {name} holds lists or the like, which are neither numbers nor categories: make "
            "columns of numbers or texts of them"
        ) from None
    return [texts.get(value) for value in values]


def _label(value) -> str | None:
    if value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and np.isnan(value)):
        return None
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
