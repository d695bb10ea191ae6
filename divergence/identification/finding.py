"""What an audit of a log finds: a fact about its design that changes what may be said."""

from __future__ import annotations

import dataclasses
from typing import Literal

Level = Literal["refuse", "caution", "note"]


@dataclasses.dataclass(frozen=True)
class Finding:
    """One fact, with its numbers."""

    name: str
    """Name of the rule that found it."""
    level: Level
    """`refuse`: a question has no answer because of it; `caution`: the first screen says it; `note`: it is said beside."""
    sentence: str
    """What was seen, with counts and an example, and what it means."""
    action: str = ""
    """What to log or to declare; empty where nothing helps."""
    questions: tuple[str, ...] = ()
    """The questions that it touches; empty = all."""

    def __str__(self) -> str:
        return f"{self.sentence} {self.action}".strip()
