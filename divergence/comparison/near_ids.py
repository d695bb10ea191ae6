"""Which ids of two runs would be the same, were they written alike? For the sentence that says so.

Ids are compared as they stand. Two that differ only by blanks, by case, or by the Unicode form of the same letters are
named as a pair, and never joined: whether they are one item is for the user to say.
"""

from __future__ import annotations

from collections.abc import Iterable

from divergence.plain_text import nfkc

MOST = 100_000  # ids looked at on each side: the sentence needs one example and a rough count


def alike(before: Iterable[str], after: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of ids, one of each side, that differ only by blanks, case or Unicode form."""
    plain: dict[str, str] = {}
    for name in list(before)[:MOST]:
        plain.setdefault(_plain(name), name)
    pairs = ((plain.get(_plain(name)), name) for name in list(after)[:MOST])
    return [(first, second) for first, second in pairs if first is not None and first != second]


def sentence(pairs: list[tuple[str, str]]) -> str:
    """The pairs in words, with the first one shown so that the difference can be seen."""
    first, second = pairs[0]
    count = "1 id differs" if len(pairs) == 1 else f"{len(pairs)} ids differ"
    return f"{count} between the sides only by blanks, case or Unicode form, for example {first!a} and {second!a}"


def _plain(name: str) -> str:
    return "".join(nfkc(str(name)).split()).casefold()
