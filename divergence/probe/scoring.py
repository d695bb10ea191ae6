"""Was the answer right? Strictly: what is not asked for in the form asked for is wrong. Leniently: is it in there?

Each scorer takes the raw text and the item, and returns the parsed answer and the score, 0.0 or 1.0. The parsed answer
of an unparseable text is the tidied text itself, so that a changed wrong answer is still seen as changed. Tidying:
Unicode NFKC, case folded, white space joined, surrounding quotes, asterisks and closing punctuation removed.

| scorer | right when | leniently | needs |
|---|---|---|---|
| `exact` | the tidied text equals the tidied gold | gold stands in the text as whole words | |
| `contains` | the tidied gold stands in the tidied text as whole words | the same | |
| `number` | the whole text is one number, equal to gold (commas allowed, units not) | the last number is | a number |
| `choice` | the whole text is one of the choices, and it is gold | gold is the only choice in the text | `choices` |
| `regex` | the pattern matches the whole text, and its first group (if it has one) is gold | it does somewhere | `pattern` |
| `python:NAME` | the function NAME of the plan's `scorers` file says so | the same | |

The strict score is the log's `score`, the lenient one a row of its `outcomes` table. Both are kept because they can
disagree in sign: a serving context that makes a model chattier loses strict points and no others.
"""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from divergence.errors import InputError
from divergence.executions.quoted import quoted
from divergence.plain_text import nfkc
from divergence.probe.bounded_pattern import matched

SCORERS = ("exact", "contains", "number", "choice", "regex")
PYTHON = "python:"
NUMBER = re.compile(r"[+-]?(\d{1,3}(,\d{3})+|\d+)?(\.\d+)?")
SOME_NUMBER = re.compile(r"(?<![\w.])[+-]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?![\w])")
LAST = 16384  # characters in which the last number of a text is looked for; a text of groups of digits takes their square

Function = Callable[[str, dict], tuple[str, float]]
"""Raw text and item to the parsed answer and a score from 0 to 1."""


def tidy(text: str) -> str:
    """Case, width, spaces and surrounding marks removed; the same when applied twice."""
    joined = " ".join(nfkc(text).casefold().split())
    before = None
    while before != joined:  # casefold can undo normal form, and stripping can uncover a space
        before = joined
        joined = " ".join(nfkc(joined.casefold()).strip(" \"'*`.,;:!?").split())
    return joined


def number(text: str) -> float | None:
    """The number that the whole text is, or None."""
    text = nfkc(text).strip().rstrip(".").strip()
    if not any(c.isdecimal() for c in text) or not text.isascii() or not NUMBER.fullmatch(text):
        return None
    return float(text.replace(",", ""))


def functions(path: Path | None) -> dict[str, Function]:
    """The functions of a Python file, by name. The file is the user's own code and is run. Raises `InputError`."""
    if path is None:
        return {}
    spec = importlib.util.spec_from_file_location("divergence_plan_scorers", path)
    if spec is None or spec.loader is None:
        raise InputError(f"The scorers file {path} cannot be loaded: its name must end in .py.")
    try:
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except (OSError, SyntaxError, ImportError, AttributeError, NameError) as error:
        raise InputError(f"The scorers file {path} cannot be loaded: {type(error).__name__}: {error}.") from None
    found = vars(module)
    return {name: found[name] for name in found if callable(found[name]) and not name.startswith("_")}


def check(item: dict, where: str, known: Mapping[str, Function] = MappingProxyType({})) -> None:
    """Raise `InputError` where the item's scorer is unknown or lacks what it needs."""
    scorer = item["scorer"]
    if scorer.startswith(PYTHON):
        if scorer.removeprefix(PYTHON) not in known:
            raise InputError(
                f"{where} has the scorer {scorer!r}, but the plan's scorers file has "
                f"{', '.join(known) or 'no functions (scorers = FILE.py is not set)'}."
            )
        return
    if scorer not in SCORERS:
        raise InputError(f"{where} has the scorer {scorer!r}; the choices are {', '.join(SCORERS)} and {PYTHON}NAME.")
    if scorer == "number" and number(item["gold"]) is None:
        raise InputError(f"{where} has the gold {quoted(item['gold'])}, which the scorer 'number' cannot read as a number.")
    if scorer == "choice" and tidy(item["gold"]) not in [tidy(c) for c in item.get("choices") or []]:
        raise InputError(
            f"{where} has the gold {quoted(item['gold'])}, not one of its choices ({quoted(item.get('choices'))})."
        )
    if scorer == "regex":
        try:
            re.compile(item.get("pattern") or "(")
        except (re.error, OverflowError, RecursionError) as error:
            raise InputError(f"{where} needs a valid 'pattern' for the scorer 'regex': {error}.") from None


def score(text: str, item: dict, known: Mapping[str, Function] = MappingProxyType({})) -> tuple[str, float]:
    """The parsed answer and the strict score, 0.0 or 1.0 (a Python scorer's may lie between).

    Raises `InputError` where a Python scorer fails or returns something else: a broken scorer must not look like a
    wrong answer. Raises `TooSlowError` where a pattern does not come to an end with the text.
    """
    gold, scorer = item["gold"], item["scorer"]
    if scorer.startswith(PYTHON):
        return _own(known[scorer.removeprefix(PYTHON)], text, item)
    answer = tidy(text)
    if scorer == "exact":
        return answer, float(answer == tidy(gold))
    if scorer == "contains":
        right = _stands_in(tidy(gold), answer)
        return (tidy(gold) if right else answer), float(right)
    if scorer == "number":
        value, wanted = number(text), number(gold)
        if value is None or wanted is None:
            return answer, 0.0
        return f"{value:.12g}", float(math.isclose(value, wanted, rel_tol=1e-9, abs_tol=1e-12))
    if scorer == "choice":
        return answer, float(answer == tidy(gold))
    found = matched(item["pattern"], text.strip(), whole=True)
    if not found:
        return answer, float(found is not None)
    answer = tidy(found[0])
    return answer, float(answer == tidy(gold))


def lenient(text: str, item: dict, strict: float) -> float:
    """1.0 where the right answer is in the text, in whatever form; never below the strict score.

    Raises `TooSlowError` as `score` does.
    """
    gold, scorer, answer = item["gold"], item["scorer"], tidy(text)
    if strict >= 1.0 or scorer.startswith(PYTHON) or scorer == "contains":
        return strict
    if scorer == "exact":
        return float(_stands_in(tidy(gold), answer))
    if scorer == "number":
        found = SOME_NUMBER.findall(nfkc(text)[-LAST:])
        value, wanted = (number(found[-1]) if found else None), number(gold)
        return float(value is not None and wanted is not None and math.isclose(value, wanted, rel_tol=1e-9, abs_tol=1e-12))
    if scorer == "choice":
        return float([c for c in dict.fromkeys(map(tidy, item["choices"])) if _stands_in(c, answer)] == [tidy(gold)])
    found = matched(item["pattern"], text, whole=False)
    return float(found is not None and (not found or tidy(found[0]) == tidy(gold)))


def _stands_in(words: str, text: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(words)}(?!\w)", text) is not None


def _own(function: Function, text: str, item: dict) -> tuple[str, float]:
    """The result of a user's scorer, checked."""
    try:
        answer, value = function(text, item)
        value = float(value)
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, ZeroDivisionError, re.error) as error:
        raise InputError(
            f"The scorer {item['scorer']!r} failed on item {item['item']!r}: {type(error).__name__}: {error}; "
            "it must return the parsed answer and a score from 0 to 1."
        ) from None
    if not isinstance(answer, str) or not 0 <= value <= 1:
        raise InputError(
            f"The scorer {item['scorer']!r} returned {quoted(answer)} and {value!r} on item {item['item']!r}; it must "
            "return the parsed answer, a text, and a score from 0 to 1."
        )
    return answer, value
