"""Calls that cannot be meant become sentences: an argument that does not exist, is missing, or is of another kind.

Python's own `TypeError` names what it could not do inside; a sentence names the argument, what was seen, what it takes and
how that is made. What is checked is what the annotations of a public function say, where they are plain.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import numbers
from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeVar

from divergence.errors import ArgumentError

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
Made = TypeVar("Made")

MADE_BY = {
    "Executions": "dv.read(...)",
    "Cells": "dv.collapse(dv.read(...))",
    "Posterior": "dv.fit(dv.collapse(dv.read(...)))",
    "Estimate": "a question such as dv.gap(posterior)",
    "RiskModel": "dv.risk_model(posterior, log)",
    "Configuration": "dv.Configuration(...) or dv.Configuration.load(path)",
    "Spec": "dv.Spec(...)",
    "ContextLaw": "Configuration.from_table({'deployment_law': ...})",
    "Acceptance": "Configuration.from_table({'acceptance': ...})",
    "RegimeRule": "Configuration.from_table({'regime': ...})",
}
"""How a value of each kind is made."""
PLAIN: dict[str, tuple[type, ...]] = {
    "int": (numbers.Integral,),
    "float": (numbers.Real,),
    "str": (str,),
    "bool": (bool,),
    "None": (type(None),),
}
"""Annotations that are checked by what they are."""
WORDS = {"int": "a whole number", "float": "a number", "str": "a text", "bool": "True or False", "None": "None"}


def nearest(name: str, choices: Iterable[str]) -> str:
    """` (did you mean x?)` for the choice nearest to a name, or nothing when none is near.

    >>> nearest("modle", ["model", "context"])
    ' (did you mean model?)'
    """
    close = difflib.get_close_matches(name, list(choices), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def sentences(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """The function, whose impossible calls raise an `ArgumentError` (an `InputError` and a `TypeError`) with a sentence."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def called(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        check_call(function.__name__, signature, args, kwargs)
        return function(*args, **kwargs)

    return called


def sentence_fields(made: type[Made]) -> type[Made]:
    """A dataclass whose impossible arguments are sentences, too; one that checks its fields itself keeps its own.

    A class of which only some fields have sentences of their own says `own_sentences = False`.
    """
    start, plain = made.__init__, not getattr(made, "own_sentences", hasattr(made, "__post_init__"))
    signature = inspect.signature(start)

    @functools.wraps(start)
    def begin(self: Made, *args: object, **kwargs: object) -> None:
        check_call(made.__name__, signature, (self, *args), kwargs, plain)
        start(self, *args, **kwargs)

    made.__init__ = begin  # type: ignore[method-assign]
    return made


def check_call(name: str, signature: inspect.Signature, args: tuple, kwargs: dict, plain: bool = True) -> None:
    """Raise ArgumentError, with a sentence, where this call cannot be meant.

    `plain`: are numbers and texts checked too? Not where the function has sentences of its own for them.
    """
    known = [p for p in signature.parameters if p != "self"]
    takes = f"{name} takes {', '.join(known) or 'nothing'}"
    free = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in signature.parameters.values())
    for given in kwargs:
        if given not in signature.parameters and not free:
            raise ArgumentError(f"{name} has no argument {given!r}{nearest(given, known)}; {takes}.")
    try:
        for given, value in signature.bind_partial(*args, **kwargs).arguments.items():
            wrong = _wrong(signature.parameters[given].annotation, value, plain)
            if wrong:
                raise ArgumentError(f"{name}: {given} is {wrong}, seen {shown(value)}.")
        signature.bind(*args, **kwargs)
    except ArgumentError:
        raise
    except TypeError as error:
        raise ArgumentError(f"{name} cannot be called like this: {error}; {takes}.") from None


def shown(value: object) -> str:
    """A value as an error shows it: plain ones as they are, others by their kind.

    >>> shown("own"), shown({1, 2})
    ("'own'", 'a set')
    """
    if value is None or isinstance(value, str | int | float):
        text = repr(value)
        return text if len(text) <= 60 else text[:57] + "..."
    kind = type(value).__name__
    return f"{'an' if kind[0] in 'AEIOUaeiou' else 'a'} {kind}"


def _wrong(annotation: object, value: object, plain: bool) -> str:
    """What the annotation asks for, where the value is none of it; '' where it is, or where that is not plain."""
    parts = annotation.split(" | ") if isinstance(annotation, str) else []
    if not parts or any(part not in PLAIN and part not in MADE_BY for part in parts):
        return ""
    if not plain and not set(parts) & set(MADE_BY):
        return ""
    kinds = {kind.__name__ for kind in type(value).__mro__}
    for part in parts:
        kind = PLAIN.get(part)
        if kind and isinstance(value, kind) and (part == "bool" or not isinstance(value, bool)):
            return ""
        if part in kinds:
            return ""
    words = [
        WORDS[p] if p in WORDS else f"{'an' if p[0] in 'AE' else 'a'} {p}, as {MADE_BY[p]} makes it"
        for p in parts
        if p != "None"
    ]
    return " or ".join(words)
