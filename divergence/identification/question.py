"""A question as a room of its own: its name, its words, and what it needs of a log."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

from divergence.identification.log_design import LogDesign

FITTED = "the fit of a further outcome must pass its diagnostics"
"""What of the values may refuse an answer that a further outcome gives."""


@dataclasses.dataclass(frozen=True)
class Need:
    """Does a log's design allow an answer?"""

    met: bool
    """Does it?"""
    sentence: str
    """What the answer rests on, or what is missing, with the counts seen."""
    bounds: bool = False
    """Where it is not met: can bounds of the number still be given?"""


@dataclasses.dataclass(frozen=True)
class Question:
    """One question about a log."""

    name: str
    """Its name in the results table, and of the function that answers it."""
    words: str
    """Its name in plain words, as a heading."""
    text: str
    """What is answered, in one line."""
    needs: Callable[[LogDesign], Need]
    """What it needs of a design; `check`, the refusal of the estimand and the page ask this."""
    depends: str = ""
    """What of the values, beyond the design, may still refuse it; empty where nothing does."""
    declared: tuple[str, ...] = ()
    """What of the configuration it is given: `prices`, `requirements`, `stability`."""
    example_log: str = "baseline"
    """The simulated log of the example in its docstring: a kind of `simulate.world`, `agents`, or `tasks`."""
    example_call: str = ""
    """Further arguments of that example."""
    of_levels: bool = False
    """Are its numbers made of levels? Then they are about the declared population of items, else about new ones."""


@dataclasses.dataclass(frozen=True)
class Answer:
    """Can this log answer one question?"""

    question: str
    """Name of the question, as in the results table."""
    identified: bool
    """Does the design identify it?"""
    reason: str
    """A sentence with the counts seen: what it rests on, or what is missing."""
    depends: str = ""
    """What of the values may still refuse it."""
    outcome: str = ""
    """The further outcome that it can be answered of, where it cannot of the log's own; else empty."""


def answerable(questions: tuple[Question, ...], design: LogDesign) -> tuple[Answer, ...]:
    """Which of these questions the design answers, in their order."""
    found = [(question, question.needs(design)) for question in questions]
    return tuple(Answer(q.name, need.met, need.sentence, q.depends if need.met else "") for q, need in found)


def answerable_beside(
    questions: tuple[Question, ...], answers: tuple[Answer, ...], further: Iterable[tuple[str, LogDesign]]
) -> tuple[Answer, ...]:
    """The same answers, those that the log's own outcome cannot give by the first further outcome that can.

    `further`: names and designs, asked for one by one and only while something is left to answer.
    """
    found, rooms = {a.question: a for a in answers}, {q.name: q for q in questions}
    for name, design in further:
        for question in [q for q in rooms if q in found and not found[q].identified]:
            need = rooms[question].needs(design)
            if need.met:
                own = found[question].reason
                sentence = f"Of `{name}`: {need.sentence} Not of the log's own outcome: {own}"
                found[question] = Answer(question, True, sentence, rooms[question].depends or FITTED, name)
        if all(a.identified for a in found.values()):
            break
    return tuple(found.values())
