"""Which formats there are: every module of this folder that has the line `FORMAT = Format(`."""

from __future__ import annotations

import functools
import importlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, cast

from divergence.errors import InputError
from divergence.executions.importers import foreign_files
from divergence.executions.importers.format import Format
from divergence.executions.importers.mapping import Field

if TYPE_CHECKING:
    from divergence.executions.importers.format import FormatModule

ADDRESS = re.compile(r"postgres(ql)?:/+")
"""The beginning of a path that is the address of a server; a path writes one slash for several."""
SIGN = "\nFORMAT = Format("
"""The line that makes a module a format."""


@functools.cache
def modules() -> dict[str, FormatModule]:
    """The module of every format by the format's name, in the order of the names."""
    folder = Path(__file__).parent
    stems = sorted(path.stem for path in folder.glob("*.py") if SIGN in path.read_text(encoding="utf-8"))
    found = [cast("FormatModule", importlib.import_module(f"{__package__}.{stem}")) for stem in stems]
    return {module.FORMAT.name: module for module in sorted(found, key=lambda module: module.FORMAT.name)}


def module(name: str) -> FormatModule:
    """The module of one format; InputError, with the choices, where there is none of that name."""
    if name not in modules():
        raise InputError(f"{name!r} is not a format that can be imported: choose from {', '.join(formats())}.")
    return modules()[name]


def formats() -> tuple[str, ...]:
    """Names of the formats that can be imported, in the order of the alphabet."""
    return tuple(modules())


def declared() -> tuple[Format, ...]:
    """What every format declares about itself."""
    return tuple(module.FORMAT for module in modules().values())


def mapping_of(format: str) -> tuple[Field, ...]:
    """The mapping of one format: canonical column, foreign path, converter, note, in the order of application."""
    return module(format).FORMAT.fields


def detect(path: Path) -> str | None:
    """The format of one file by its name and first bytes; None where no format recognises it.

    A list of JSON documents is in the format of its first one.
    """
    start = foreign_files.head(Path(path))
    ranked = sorted(modules().items(), key=lambda entry: (entry[1].FORMAT.rank, entry[0]))
    begins = [start]
    if start.lstrip()[:1] == b"[":
        begins.append(start.lstrip()[1:].lstrip())
    found = (name for begin in begins for name, module in ranked if module.recognises(Path(path), begin))
    return next(found, None)
