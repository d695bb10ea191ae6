"""What a format declares about itself, in one line of its module: `FORMAT = Format(...)`.

A format is one module of this folder. It is discovered by that line, and by nothing else: no list has to be extended.
Beside the line stand two functions,

    recognises(path, start) -> bool             is this a file of the format, by its name and its first bytes?
    read(paths, primary, draft) -> None         add the rows of these files to the draft

and the page `docs/formats.md` is made from the declarations of all formats by `python -m
divergence.executions.importers.formats_page`.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from divergence.executions.importers.groups import Rule
from divergence.executions.importers.mapping import Draft, Field
from divergence.executions.metric_names import Metric

GENUINE = "genuine"
DOCUMENTED = "from documentation"


@dataclasses.dataclass(frozen=True)
class Format:
    """One foreign format."""

    name: str
    """Its name, as `--format` takes it."""
    title: str
    """The tool, and what of it is read, as the page says it."""
    versions: str
    """Versions of the tool or of its files that are known here."""
    authority: str
    """Where the fields are defined: repository and file, or page."""
    unit: str
    """What one row is."""
    fields: tuple[Field, ...]
    """The mapping."""
    reads: tuple[str, ...] = ()
    """Further foreign fields that are read, or that only repeat what is read."""
    genuine: bool = True
    """Was it tested on files that the tool itself wrote (else on files made after its documentation)?"""
    metrics: tuple[Metric, ...] = ()
    """Families of metrics that fill the table `telemetry`, for a format that has them."""
    regime: str = "evaluation"
    """Regime of rows that neither the file nor the caller places: `evaluation` of a harness, `deployment` of traces."""
    apart: Rule | None = None
    """Which files belong together, so that the others can be read apart from them (`groups`); None = all of them."""
    rank: int = 50
    """Among several formats that recognise a file the one of the smallest rank has it; ties go by name."""
    notes: tuple[str, ...] = ()
    """What a reader of the page must know about the format as a whole, a sentence each."""

    @property
    def evidence(self) -> str:
        """What the mapping rests on, as the page marks it."""
        return GENUINE if self.genuine else DOCUMENTED


if TYPE_CHECKING:

    class FormatModule(Protocol):
        """A module of one format."""

        FORMAT: Format

        def recognises(self, path: Path, start: bytes) -> bool: ...

        def read(self, paths: list[Path], primary: str | None, draft: Draft) -> None: ...
