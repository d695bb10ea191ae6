"""How much of a value of the wrong type stands in a sentence: never a prompt, a completion or a key, which a wrong mapping
can put anywhere.

| value | is said as |
|---|---|
| a number, a switch, nothing | it is |
| a text of at most `WORDS` words and `LETTERS` letters | it is, in quotes, what is not printed escaped |
| a text of numbers, as an instant is | the same |
| a text of `KEY` letters and more in which letters and digits are mixed, as keys are | `a text of 40 letters` |
| any other text, bytes, a list, an object | its kind and size |
"""

from __future__ import annotations

import re
from typing import Any

import polars as pl

WORDS, LETTERS, KEY = 2, 24, 12
NUMBERS = r"^[\d\s:.,+/TZeE-]{1,40}$"
THIRD_WORD = r"\S\s+\S+\s+\S"


def quoted(value: Any) -> str:
    """What a sentence says of a value.

    >>> quoted("abc"), quoted(-1), quoted("Tell me about Paris"), quoted({"a": 1})
    ("'abc'", '-1', 'a text of 19 letters', 'an object of 1')
    """
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    if isinstance(value, list | tuple | dict) and value:
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value):,}"
    said = repr(value)
    return said if len(said) <= 60 else said[:57] + "..."


def _text(value: str) -> str:
    numbers = re.fullmatch(NUMBERS[1:-1], value, re.ASCII)
    if numbers or (len(value) <= LETTERS and not re.search(THIRD_WORD, value) and not _like_a_key(value)):
        return repr(value) if value.isprintable() else ascii(value)
    return f"a text of {len(value):,} letters"


def _like_a_key(value: str) -> bool:
    return len(value) >= KEY and bool(re.search("[A-Za-z]", value)) and bool(re.search("[0-9]", value))


def quoted_text(text: pl.Expr) -> pl.Expr:
    """The same for a column of texts, without the quotes."""
    mixed = (text.str.len_chars() >= KEY) & text.str.contains("[A-Za-z]") & text.str.contains("[0-9]")
    short = (text.str.len_chars() <= LETTERS) & ~text.str.contains(THIRD_WORD) & ~mixed
    size = pl.format("a text of {} letters", text.str.len_chars())
    return pl.when(short | text.str.contains(NUMBERS)).then(text).when(text.is_not_null()).then(size)
