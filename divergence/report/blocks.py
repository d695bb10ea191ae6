"""The parts a section of the page is built from; the template knows one shape for each `kind`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    import altair as alt


@dataclasses.dataclass(frozen=True)
class Figure:
    """A chart, the sentence under it, and its numbers as a table to open."""

    id: str
    """Name of the chart in the page."""
    chart: alt.LayerChart
    """The chart."""
    sentence: str
    """What it shows, made from the numbers."""
    note: str = ""
    """What stands beside it: how many claims chance alone would make."""
    table: str = ""
    """Its numbers, as HTML."""
    caption: str = ""
    """What the numbers of the table are."""
    kind: ClassVar[str] = "figure"


@dataclasses.dataclass(frozen=True)
class Table:
    """A table, open or to be opened."""

    html: str
    """The table, as HTML."""
    caption: str = ""
    """What it lists."""
    opened_by: str = ""
    """Words to open it by; empty = it stands open."""
    kind: ClassVar[str] = "table"


@dataclasses.dataclass(frozen=True)
class Text:
    """A paragraph; `tone` is `plain`, `quiet`, `notice` (boxed) or `refusal` (why there is no figure)."""

    text: str
    """The sentences."""
    tone: str = "plain"
    """How it stands out."""
    label: str = ""
    """A word or two in bold before it."""
    kind: ClassVar[str] = "text"


@dataclasses.dataclass(frozen=True)
class Listing:
    """Pairs of a term and what is said about it."""

    items: tuple[tuple[str, str], ...]
    """(term, sentence)."""
    title: str = ""
    """What they are."""
    opened_by: str = ""
    """Words to open it by; empty = it stands open."""
    kind: ClassVar[str] = "listing"


Block = Figure | Table | Text | Listing


@dataclasses.dataclass(frozen=True)
class Section:
    """One section of the page."""

    id: str
    """Anchor."""
    title: str
    """Heading."""
    question: str
    """What it answers, in plain words."""
    blocks: tuple[Block, ...]
    """Its parts, in order."""
    rests_on_fit: bool = True
    """Do its numbers depend on the diagnostics?"""

    @property
    def shown(self) -> tuple[Block, ...]:
        """What stands open: the first figure (without one, the first text), boxed findings."""
        return tuple(block for block in self.blocks if self._stands(block))

    @property
    def folded(self) -> tuple[Block, ...]:
        """The rest, to be opened."""
        return tuple(block for block in self.blocks if not self._stands(block))

    @property
    def refuses(self) -> bool:
        """Does it hold nothing but reasons why there is no answer?"""
        return all(isinstance(block, Text) and block.tone == "refusal" for block in self.blocks)

    @property
    def more(self) -> str:
        """What the fold holds: `2 figures, 3 tables`."""
        return told(self.folded)

    def _stands(self, block: Block) -> bool:
        figures = [b for b in self.blocks if isinstance(b, Figure)]
        texts = [b for b in self.blocks if isinstance(b, Text | Listing) and not getattr(b, "opened_by", "")]
        lead = (figures or texts or list(self.blocks))[:1]
        if any(block is b for b in lead):
            return True
        return isinstance(block, Text) and block.tone in ("notice", "refusal") and not figures


def told(blocks: Sequence[Block]) -> str:
    """What a fold holds: `silent drift, 2 figures, 3 tables`."""
    kinds = {"figure": "figure", "table": "table", "text": "note", "listing": "list"}
    boxed = [b.label.rstrip(":").lower() for b in blocks if isinstance(b, Text) and b.tone == "notice" and b.label]
    rest = [b for b in blocks if not (isinstance(b, Text) and b.tone == "notice" and b.label)]
    counts = [(sum(b.kind == kind for b in rest), noun) for kind, noun in kinds.items()]
    return ", ".join([*boxed, *(f"{n} {noun if n == 1 else noun + 's'}" for n, noun in counts if n)])
