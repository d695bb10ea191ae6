"""What is one text, whatever its Unicode form? NFKC in a time that grows as the text does, whoever wrote it.

Normal forms sort the combining marks of a letter, in a time that is the square of their number: a million of them, in an
order chosen by a stranger, take hours within one call that nothing interrupts. No language writes more than a few.
Unicode's Stream-Safe Text Format (UAX #15, section 13) says what to do with more than 30: a U+034F COMBINING GRAPHEME JOINER
after every 30 makes of one long run many short ones. Texts without such a run are normalised as they always were.
"""

from __future__ import annotations

import functools
import re
import unicodedata

MOST_MARKS = 30
"""Combining marks in a row, of the Stream-Safe Text Format."""
JOINER = "\u034f"
VISIBLE = r"[^\s\p{Cc}\p{Cf}]"
"""What a name has one of, as a pattern of Polars: no space, no control character, no mark of format such as U+200B."""


def nfkc(text: str) -> str:
    r"""The text in Unicode's normal form KC, long runs of combining marks broken up; the same when applied twice.

    >>> nfkc("\uff54ext \u2163"), nfkc("a" + 31 * "\u0301") == "\u00e1" + 29 * "\u0301" + "\u034f\u0301"
    ('text IV', True)
    """
    if text.isascii():
        return text
    apart = {letter: _apart(letter) for letter in set(text)}
    marks = {mark for parts in apart.values() for mark in parts if unicodedata.combining(mark)}
    if not marks or len(text) * max(map(len, apart.values())) <= MOST_MARKS:
        return unicodedata.normalize("NFKC", text)
    run = re.compile(f"[{re.escape(''.join(sorted(marks)))}]{{{MOST_MARKS}}}(?=[{re.escape(''.join(sorted(marks)))}])")
    whole = text.translate({ord(letter): parts for letter, parts in apart.items() if parts != letter})
    broken = run.sub(rf"\g<0>{JOINER}", whole)
    return unicodedata.normalize("NFKC", text if len(broken) == len(whole) else broken)


def blank(text: str) -> bool:
    r"""Is nothing to be seen of a text? Then it names nothing.

    >>> blank(" \t"), blank("\u3000\u200b"), blank(" a ")
    (True, True, False)
    """
    seen = text.strip()
    if not seen or seen.isprintable():
        return not seen
    return all(letter.isspace() or unicodedata.category(letter) in ("Cc", "Cf") for letter in seen)


@functools.lru_cache(maxsize=1 << 12)
def _apart(letter: str) -> str:
    """What the letter is made of."""
    return unicodedata.normalize("NFKD", letter)
