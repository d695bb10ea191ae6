"""Values of production logs, where numbers and instants are often written as text.

Each function takes one foreign value and gives the canonical one, None where it says nothing, or raises ValueError with
the end of a sentence, as in `convert`. `FAST` holds the same conversion for a whole column of texts: it gives null where
it cannot convert, and the scalar function is then asked for that value, so that it alone decides and words the reason.
"""

from __future__ import annotations

import contextlib
import datetime
import json
from collections.abc import Callable
from typing import Any

import polars as pl

from divergence.executions.importers import convert
from divergence.executions.quoted import quoted
from divergence.executions.schema import TIME
from divergence.plain_text import VISIBLE

MICROSECONDS = pl.Datetime("us", "UTC")
EARLIEST_NS = 10**17  # in 1973: what is smaller is written in microseconds, milliseconds or seconds
LATEST_S = 253402300799  # the last second of the year 9999, the last that the standard library can write
FINISH_WORDS = {
    "tool_call": "tool_calls",
    "max_tokens": "length",
    "end_turn": "stop",
    "STOP": "stop",
    "MAX_TOKENS": "length",
}
"""Reasons of stopping that one tool words differently from the others -> the canonical word."""


def _number(value: Any) -> Any:
    if isinstance(value, str):
        stripped = value.strip()
        if stripped.lstrip("+-").isdigit() and len(stripped) <= 20:
            return int(stripped)
        number = convert.finite_number(stripped)
        return value if number is None else number
    return value


def whole(value: Any) -> int | None:
    """A count, also where it is written as text or as a float."""
    return None if value == "" else convert.count(_number(value))


def amount(value: Any) -> float | None:
    """Seconds or dollars, also where they are written as text."""
    return None if value == "" else convert.amount(_number(value))


def number(value: Any) -> float | None:
    """A finite number of any sign, also where it is written as text."""
    found = _number(value)
    if found == "":
        return None
    if isinstance(found, bool) or not isinstance(found, int | float) or not abs(found) <= convert.LARGEST_NUMBER:
        raise ValueError(f"is not a finite number: {quoted(value)}")
    return float(found)


def milliseconds(value: Any) -> float | None:
    """Seconds, from milliseconds."""
    found = amount(value)
    return None if found is None else found / 1e3


def nanoseconds(value: Any) -> datetime.datetime | None:
    """An instant in UTC, from nanoseconds since 1970; 0 says nothing, as in OTLP."""
    found = _number(value)
    if found in ("", 0):
        return None
    if isinstance(found, bool) or not isinstance(found, int) or not EARLIEST_NS <= found < LATEST_S * 10**9:
        raise ValueError(f"is not an instant in nanoseconds since 1970: {quoted(value)}")
    return datetime.datetime.fromtimestamp(found // 10**9, datetime.UTC).replace(microsecond=found // 1000 % 10**6)


def epoch(value: Any) -> datetime.datetime | None:
    """An instant in UTC, from seconds since 1970, also where they are written as text."""
    found = number(value)
    return None if found is None else convert.moment(found)


def utc(value: Any) -> datetime.datetime | None:
    """An instant in UTC, from ISO 8601 text (which is UTC where it names no zone) or from a datetime."""
    if not isinstance(value, datetime.datetime | str) or value == "":
        return convert.moment(value)
    try:
        instant = datetime.datetime.fromisoformat(value.strip().strip('"')) if isinstance(value, str) else value
        return instant.astimezone(datetime.UTC) if instant.tzinfo else instant.replace(tzinfo=datetime.UTC)
    except (ValueError, OverflowError) as error:  # the first and the last hours of the calendar are no instants everywhere
        raise ValueError(f"is not an instant: {quoted(value)}") from error


def finish(value: Any) -> str | None:
    """Why generation stopped: one canonical word; several choices give each word once, joined by commas."""
    if isinstance(value, str) and value[:1] in ("[", '"'):
        with contextlib.suppress(ValueError, RecursionError):  # a word that begins like JSON and is none stays
            value = json.loads(value)
    words = value if isinstance(value, list) else [value]
    named = [FINISH_WORDS.get(word, word) for word in words if isinstance(word, str) and word]
    return convert.label(",".join(dict.fromkeys(named))) if named else None


def _count_expression(text: pl.Expr) -> pl.Expr:
    integer = text.cast(pl.Int64, strict=False)
    floating = text.cast(pl.Float64, strict=False)
    rounded = pl.when(floating == floating.round()).then(floating.cast(pl.Int64, strict=False))
    found = pl.coalesce(integer, rounded)
    return pl.when(found >= 0).then(found)


def _amount_expression(text: pl.Expr) -> pl.Expr:
    found = text.cast(pl.Float64, strict=False)
    return pl.when(found.is_finite() & (found >= 0)).then(found)


def _nanoseconds_expression(text: pl.Expr) -> pl.Expr:
    found = text.cast(pl.Int64, strict=False)
    return pl.when((found >= EARLIEST_NS) & (found < LATEST_S * 10**9)).then(found // 1000).cast(TIME)


def _text_expression(text: pl.Expr) -> pl.Expr:
    return pl.when(text.str.contains(VISIBLE)).then(text)


def _label_expression(text: pl.Expr) -> pl.Expr:
    trimmed = text.str.strip_chars()
    return pl.when(trimmed.str.contains(VISIBLE) & (trimmed.str.len_chars() <= convert.LABEL_LIMIT)).then(trimmed)


FAST: dict[Callable[[Any], Any], Callable[[pl.Expr], pl.Expr]] = {
    whole: _count_expression,
    amount: _amount_expression,
    milliseconds: lambda text: _amount_expression(text) / 1e3,
    nanoseconds: _nanoseconds_expression,
    convert.text: _text_expression,
    convert.label: _label_expression,
}
"""Scalar conversion -> the same for a column of texts, null where the scalar one has to decide."""
