"""From a foreign value to a canonical one.

Each function takes one value of a foreign record and gives the canonical value, or None where there is nothing to say.
A value of the wrong kind raises ValueError with the end of a sentence ("is not a count: 'abc'"); the engine in
`mapping` puts the column's name before it. Times come out in UTC, durations in seconds, money in US dollars.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import math
import sys
from typing import Any

from divergence.executions.quoted import quoted
from divergence.plain_text import blank

LABEL_LIMIT = 200  # characters: a longer answer is prose, which is compared by its hash and not kept
SHOWN = 40  # characters of a value that stand in a sentence
LARGEST_COUNT = 2**63 - 1  # what an Int64 column holds
LARGEST_NUMBER = sys.float_info.max  # what a Float64 column holds: whole numbers in JSON can be larger


def named(value: Any) -> str:
    """A name or an identity as it may stand in a sentence: short, printable, in quotes where it is text."""
    text = repr(value).encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= SHOWN + 2 else text[: SHOWN - 1] + "..."


def reason(error: BaseException) -> str:
    """What an error of reading says, where it cannot repeat a value: a ValueError does, and is told by its kind."""
    words = " ".join(str(error).split())
    return type(error).__name__ if isinstance(error, ValueError) or not words else named(words)


def printable(name: Any) -> str:
    """A foreign name made safe for a table: half surrogates become their escapes."""
    written = str(name)
    return written if written.isascii() else written.encode("utf-8", "backslashreplace").decode("utf-8")


def text(value: Any) -> str | None:
    """A name: text, or a number written as text; text of which nothing is to be seen is None."""
    if type(value) is str and value.isascii() and value.isprintable():
        return value if value.strip() else None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"is not text: {quoted(value)}")
    written = str(value)
    if not written.isascii() and printable(written) != written:
        raise ValueError(f"is not valid Unicode: {quoted(value)}")
    return None if blank(written) else written


def label(value: Any) -> str | None:
    """An answer: trimmed text up to 200 characters, the hash of longer text, None for empty text."""
    if type(value) is str and value.isascii() and len(value) <= LABEL_LIMIT and value.isprintable():
        return value.strip() or None
    written = text("true" if value is True else "false" if value is False else value)
    trimmed = written.strip() if written else ""
    if len(trimmed) <= LABEL_LIMIT:
        return trimmed or None
    return digest(trimmed)


def verbatim(value: Any) -> str | None:
    """An answer as it was given: a label, but an empty text stays one. An empty answer is an answer."""
    return "" if isinstance(value, str) and not value.strip() else None if value is None else label(value)


def digest(text: str) -> str:
    """What stands for a text that is too long to be kept."""
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()[:16]


def only_label(value: Any) -> str | None:
    """A right answer that is one label: the label itself, the single member of a list, None for several."""
    members = value if isinstance(value, list) else [value]
    return label(members[0]) if len(members) == 1 else None


def count(value: Any) -> int:
    """A count: a whole number from 0 up."""
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if isinstance(value, bool) or not whole or not 0 <= value <= LARGEST_COUNT:
        raise ValueError(f"is not a count: {quoted(value)}")
    return int(value)


def amount(value: Any) -> float:
    """Seconds or dollars: a finite number from 0 up."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LARGEST_NUMBER:
        raise ValueError(f"is not a finite number from 0 up: {quoted(value)}")
    return float(value)


def moment(value: Any) -> datetime.datetime | None:
    """An instant in UTC, from ISO 8601 text with its zone, or from seconds since 1970."""
    try:
        if isinstance(value, str):
            if not value:
                return None
            instant = datetime.datetime.fromisoformat(value)
            if instant.tzinfo is None:
                raise ValueError("no zone")
            return instant.astimezone(datetime.UTC)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.datetime.fromtimestamp(value, datetime.UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise ValueError(f"is not an instant with a time zone: {quoted(value)}") from error
    raise ValueError(f"is not an instant with a time zone: {quoted(value)}")


def compact(value: Any) -> str | None:
    """A nested value as one line of JSON, hashed where it is long."""
    return label(printable(json.dumps(value, sort_keys=True, separators=(",", ":"))))


def finite_number(written: str) -> float | None:
    """The number that a text writes in full, or None."""
    try:
        number = float(written)
    except ValueError:
        return None
    return number if math.isfinite(number) and "_" not in written else None  # Python alone writes 1_000
