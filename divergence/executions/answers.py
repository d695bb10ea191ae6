"""Which questions a log can answer by its design alone, and why not the others."""

from __future__ import annotations

import dataclasses

import polars as pl


@dataclasses.dataclass(frozen=True)
class Answer:
    """Can this log answer one question?"""

    question: str
    """Name of the question, as in the results table."""
    identified: bool
    """Does the design identify it?"""
    reason: str
    """A sentence with the counts seen."""


def answers(frame: pl.LazyFrame, factors: tuple[str, ...]) -> tuple[Answer, ...]:
    return ()
