"""What of an answer and of a conversation's name stays in the table of executions: enough to compare, nothing to read.

| value | stays |
|---|---|
| `answer`, `gold` that is a choice or a number (`B`, `(c)`, `yes`, `-3.5`, `12 %`) | as it is |
| any other `answer`, `gold`: words, names, code | `sha256:` and 16 digits of the SHA-256 of its normalised text |
| `session` | `session:` and 16 digits of its salted hash (`privacy`), since its name may hold a person's |

A text is normalised to Unicode form NFKC with single spaces, and an empty one stays empty. Answers are hashed without the
salt: two machines that import a run before and after a change, a build server say, have no salt in common, and their
answers still have to be equal where the texts are. Who guesses an answer can therefore check the guess. Where the user asks
for texts (`--keep-text`) answers stay as the tool wrote them; conversations are hashed all the same.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

import polars as pl

from divergence.executions.importers.privacy import DIGITS, SPACES, Privacy
from divergence.plain_text import nfkc

ANSWERS = ("answer", "gold")
CHOICE = re.compile(
    r"[\[(]?(?:[a-z]|[-+]?\d{1,7}(?:[.,]\d{1,6})? ?%?|true|false|yes|no|none|invalid)[\])]?[.:]?", re.IGNORECASE
)
"""A choice or a number. Longer runs of digits may be somebody's: a telephone, an account."""
HASHED = re.compile(r"(sha256|session):[0-9a-f]{16}")
"""What stands for a text already, from an importer or an earlier import."""


def answer(text: str) -> str:
    """What is kept of one answer."""
    if not text or CHOICE.fullmatch(text) or HASHED.fullmatch(text):
        return text
    normal = SPACES.sub(" ", nfkc(text)).strip()
    return f"sha256:{hashlib.sha256(normal.encode('utf-8', 'backslashreplace')).hexdigest()[:DIGITS]}"


def kept(table: pl.DataFrame, privacy: Privacy) -> pl.DataFrame:
    """Rows of executions without the texts of their answers (unless they are asked for) and the names of sessions."""
    changed = [] if privacy.keep_text else [_mapped(table[name], answer) for name in ANSWERS if name in table.columns]
    if "session" in table.columns:
        changed.append(_mapped(table["session"], lambda name: _session(name, privacy)))
    return table.with_columns(changed) if changed else table


def _session(name: str, privacy: Privacy) -> str:
    return name if HASHED.fullmatch(name) else privacy.pseudonym("session", name)


def _mapped(column: pl.Series, function: Callable[[str], str]) -> pl.Series:
    """Each value replaced, worked out once for values that repeat."""
    if column.null_count() == len(column):
        return column
    values = column.drop_nulls().unique()
    replaced = pl.Series([function(value) for value in values], dtype=pl.String)
    changed = values != replaced
    return column.replace(values.filter(changed), replaced.filter(changed)) if changed.any() else column
