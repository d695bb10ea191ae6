"""Files that cannot be read at all: each is set aside by name, and the others are imported.

One damaged file among a hundred says nothing about the others, so that it is a rejected file (rule `file_readable`, no
row) as a damaged row is a rejected row. An error that names no file is about the import as a whole (a metric that no log
has, a model that none names) and refuses it; so does it where no file is left.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl

from divergence.errors import BEGINNING, InputError, printed
from divergence.executions.importers import convert
from divergence.executions.importers.drafting import Reading
from divergence.executions.importers.groups import groups
from divergence.executions.importers.imported import Imported
from divergence.executions.importers.mapping import Draft, Place
from divergence.executions.importers.registry import module
from divergence.executions.names import UNREAD


@dataclasses.dataclass(frozen=True)
class Refused:
    """A file that is left out."""

    path: Path
    """The file as given."""
    sentence: str
    """Why."""


def drafted(reading: Reading, files: Sequence[Path], told: Callable[[str], None] | None) -> Draft:
    """The draft of the files of one format, without those that cannot be read, which it names as rejected.

    Where none can be read it holds nothing else. Raises InputError for what no single file is to blame for.
    """
    try:
        return _read(reading, list(files), told)
    except InputError as error:
        refused = _found(reading, files) if len(files) > 1 and _named(str(error), files) else [_blamed(error, files)]
    draft = reading.draft(told)
    left = [file for file in files if file not in {one.path for one in refused}]
    while left:
        try:
            draft = _read(reading, left, told)
            break
        except InputError as error:
            refused.append(_blamed(error, left))
            left.remove(refused[-1].path)
    for one in refused:
        draft.reject(Place(convert.printable(one.path), None), UNREAD, one.sentence)
    return draft


def refuse_unread(parts: Sequence[Imported], refused: Sequence[Refused], files: int) -> None:
    """Raise InputError where not one of all `files` of an import can be read; `refused` are those of no known format."""
    sentences = [one.sentence for one in refused]
    for part in parts:
        sentences += part.rejected.filter(pl.col("rule") == UNREAD)["sentence"].to_list()
    if len(sentences) < files:
        return
    raise InputError(sentences[0] if files == 1 else f"None of these {files} files can be read, for example: {sentences[0]}")


def as_rejected(imported: Imported, refused: Sequence[Refused]) -> Imported:
    """An import with the files of no known format among what it set aside."""
    if not refused:
        return imported
    rows = [(convert.printable(one.path), None, UNREAD, convert.printable(one.sentence)) for one in refused]
    table = pl.DataFrame(rows, schema=imported.rejected.schema, orient="row")
    return dataclasses.replace(imported, rejected=pl.concat([table, imported.rejected]))


def _read(reading: Reading, files: list[Path], told: Callable[[str], None] | None) -> Draft:
    draft = reading.draft(told)
    reading.read(files, draft)
    return draft


def _found(reading: Reading, files: Sequence[Path]) -> list[Refused]:
    """Files that cannot be read, looked for group by group: a group is read again for each, and the others once."""
    refused: list[Refused] = []
    for group in groups(module(reading.format).FORMAT.apart, files, reading.privacy):
        left = [file for file in group if file not in {one.path for one in refused}]
        while left:
            try:
                _read(reading, left, None)
            except InputError as error:
                named = _named(str(error), left)
                if named is None:
                    break  # of the group as a whole: the import as a whole decides
                refused.append(Refused(named, str(error)))
                left.remove(named)
                continue
            break
    return refused


def _blamed(error: InputError, files: Sequence[Path]) -> Refused:
    named = _named(str(error), files)
    if named is None:
        raise error
    return Refused(named, str(error))


def _named(sentence: str, files: Sequence[Path]) -> Path | None:
    """The file that a sentence is about: it begins with its path or its name, or with its folder's."""
    about = sentence.removeprefix("The results of ")
    names = {file: (str(file), convert.printable(file), file.name, str(file.parent), *_last_two(file)) for file in files}
    begins = [file for file in files if any(_begins(about, name) for name in names[file])]
    return max(begins, key=lambda file: len(str(file)), default=None)


def _last_two(file: Path) -> tuple[str, str]:
    """A file and its folder as a long sentence names them (`shortened`): by the last two parts of their paths."""
    folder = file.parent
    return f"…/{folder.name}/{file.name}", f"…/{folder.parent.name}/{folder.name}"


def _begins(sentence: str, name: str) -> bool:
    """Does a sentence begin with a name, as far as both were printed?"""
    begin = f"{printed(name)} "[:BEGINNING]
    return sentence.startswith(begin)
