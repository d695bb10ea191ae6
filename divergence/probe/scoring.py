"""Was the answer right? Strict scorers: what is not asked for in the form asked for is wrong.

Each takes the raw text and the item, and returns the parsed answer and the score, 0.0 or 1.0. The parsed answer of an
unparseable text is the tidied text itself, so that a changed wrong answer is still seen as changed. Tidying: Unicode
NFKC, case folded, white space joined, surrounding quotes, asterisks and closing punctuation removed.

| scorer | right when | needs |
|---|---|---|
| `exact` | the tidied text equals the tidied gold | |
| `contains` | the tidied gold stands in the tidied text as whole words | |
| `number` | the whole text is one number, equal to gold (thousands commas allowed, units not) | gold is a number |
| `choice` | the whole text is one of the choices, and it is gold | `choices` |
| `regex` | the pattern matches the whole text, and its first group (if it has one) is gold | `pattern` |
"""

from __future__ import annotations

import math
import re
import unicodedata

from divergence.errors import InputError

SCORERS = ("exact", "contains", "number", "choice", "regex")
NUMBER = re.compile(r"[+-]?(\d{1,3}(,\d{3})+|\d+)?(\.\d+)?")


def tidy(text: str) -> str:
    """Case, width, spaces and surrounding marks removed; the same when applied twice."""
    joined = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    before = None
    while before != joined:  # casefold can undo normal form, and stripping can uncover a space
        before = joined
        joined = " ".join(unicodedata.normalize("NFKC", joined.casefold()).strip(" \"'*`.,;:!?").split())
    return joined


def number(text: str) -> float | None:
    """The number that the whole text is, or None."""
    text = unicodedata.normalize("NFKC", text).strip().rstrip(".").strip()
    if not any(c.isdecimal() for c in text) or not text.isascii() or not NUMBER.fullmatch(text):
        return None
    return float(text.replace(",", ""))


def check(item: dict, where: str) -> None:
    """Raise `InputError` where the item's scorer is unknown or lacks what it needs."""
    scorer = item["scorer"]
    if scorer not in SCORERS:
        raise InputError(f"{where} has the scorer {scorer!r}; the choices are {', '.join(SCORERS)}.")
    if scorer == "number" and number(item["gold"]) is None:
        raise InputError(f"{where} has the gold {item['gold']!r}, which the scorer 'number' cannot read as a number.")
    if scorer == "choice" and tidy(item["gold"]) not in [tidy(c) for c in item.get("choices") or []]:
        raise InputError(f"{where} has the gold {item['gold']!r}, not one of its choices {item.get('choices')!r}.")
    if scorer == "regex":
        try:
            re.compile(item.get("pattern") or "(")
        except re.error as error:
            raise InputError(f"{where} needs a valid 'pattern' for the scorer 'regex': {error}.") from None


def score(text: str, item: dict) -> tuple[str, float]:
    """The parsed answer and 0.0 or 1.0."""
    gold, scorer = item["gold"], item["scorer"]
    answer = tidy(text)
    if scorer == "exact":
        return answer, float(answer == tidy(gold))
    if scorer == "contains":
        right = re.search(rf"(?<!\w){re.escape(tidy(gold))}(?!\w)", answer) is not None
        return (tidy(gold) if right else answer), float(right)
    if scorer == "number":
        value, wanted = number(text), number(gold)
        if value is None or wanted is None:
            return answer, 0.0
        return f"{value:.12g}", float(math.isclose(value, wanted, rel_tol=1e-9, abs_tol=1e-12))
    if scorer == "choice":
        return answer, float(answer == tidy(gold))
    match = re.fullmatch(item["pattern"], text.strip())
    if match is None:
        return answer, 0.0
    if not match.groups():
        return answer, 1.0
    answer = tidy(match.group(1) or "")
    return answer, float(answer == tidy(gold))
