"""Foreign logs to the canonical table, one file a format.

A format is one module of this folder with the line `FORMAT = Format(...)`: the mapping as data, what it rests on, and
two functions (see `format`). `docs/formats.md` lists them all. Rows of a harness come in as evaluation and rows of
traces as deployment, unless the file says otherwise or `regime` is set; files of several formats make one table.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from divergence.calling import shown
from divergence.errors import ArgumentError, InputError
from divergence.executions.importers import convert, foreign_files
from divergence.executions.importers.drafting import Reading
from divergence.executions.importers.from_stores import brought
from divergence.executions.importers.imported import Imported, assemble, checked_constants, together
from divergence.executions.importers.in_groups import drafts
from divergence.executions.importers.privacy import Privacy
from divergence.executions.importers.refused_files import Refused, as_rejected, refuse_unread
from divergence.executions.importers.registry import ADDRESS, detect, formats, mapping_of, module
from divergence.executions.importers.same_calls import apart
from divergence.executions.importers.write_import import write

__all__ = ["Imported", "Privacy", "detect", "formats", "import_log", "mapping_of", "write"]

SHOWN = 5  # files of a folder that are named


def import_log(
    paths: str | Path | Iterable[str | Path],
    format: str | None = None,
    constants: Mapping[str, str] | None = None,
    primary: str | None = None,
    privacy: Privacy | None = None,
    progress: Callable[[str], None] | None = None,
    workers: int | None = 0,
    ray: str | None = None,
    same_calls: str = "refuse",
) -> Imported:
    """Read foreign logs into canonical tables.

    `paths` is a file, a folder or an address (`s3://...`), or several of them, of one format or of several; each file's
    format is detected where `format` is None. `constants` sets canonical columns for all rows (`{"model": "llama-3-8b",
    "regime": "deployment"}`). `primary` names the scorer or metric of the score column where a log has several; the first
    is taken otherwise. `privacy` says whether texts are kept, and holds the salt of identities; `progress` is told how far
    a large import is. `workers` processes read the files (0: this one; None: several where files that can be read apart are
    large), or the Ray cluster at the address `ray`, whose nodes need them in a shared place; the result is that of one
    process. Processes start the calling script anew, which therefore has to stand behind `if __name__ == "__main__"`.
    `same_calls` says what is meant where two formats log the same calls: `refuse`, keep the `first`, or count `both`. What
    is wrong with single rows and with single files is in `Imported.rejected`. Raises InputError, with one sentence, where
    no file can be read, or a demand cannot be met.
    """
    checked = checked_constants(constants or {})
    with brought(_listed(paths)) as local:
        found: dict[str, list[Path]] = {}
        refused: list[Refused] = []
        skipped: list[str] = []
        for file in dict.fromkeys(file for path in local for file in _files(path, format, refused, skipped)):
            try:
                found.setdefault(format or _detected(file), []).append(file)
            except InputError as error:
                refused.append(Refused(file, str(error)))
        if not found and refused:
            raise InputError(refused[0].sentence)
        if not found:
            raise InputError(f"No path was given: name files or folders in one of the formats {', '.join(formats())}.")
        privacy = privacy or Privacy()
        if ray is not None:
            privacy = privacy.portable()
        readings = {name: Reading(name, primary, checked, privacy) for name in found}
        made = drafts(found, readings, workers, ray, progress)
        parts = [assemble(draft, module(name).FORMAT) for name, draft in zip(found, made, strict=True)]
        refuse_unread(parts, refused, len(refused) + sum(map(len, found.values())))
        imported = as_rejected(together(apart(parts, same_calls)), refused)
        return dataclasses.replace(imported, notes=(*imported.notes, *skipped)) if skipped else imported


def _listed(paths: object) -> list[str | Path]:
    """What was named, as a list: one path is a list of one, and not the letters of its name."""
    named: list[str | Path] = []
    for entry in paths if isinstance(paths, Iterable) and not isinstance(paths, str) else [paths]:
        if not isinstance(entry, str | Path):
            seen = "" if entry is paths else "a list with "
            said = f"import_log: paths is a path or a list of paths, seen {seen}{shown(entry)}"
            raise ArgumentError(f"{said}: write import_log('logs/run.json') or import_log(['a.json', 'b.json']).")
        named.append(entry)
    return named


def _files(path: Path, format: str | None, refused: list[Refused], skipped: list[str]) -> Iterable[Path]:
    """The logs that a path names; of a folder, what cannot be read at all and what is no log are added to the others."""
    if format is not None:
        module(format)
    if ADDRESS.match(str(path)):
        return [path]
    if not path.exists():
        raise InputError(f"{path} does not exist: name a file or a folder of logs.")
    if not path.is_dir():
        if not path.is_file():
            raise InputError(f"{path} is no regular file (a pipe or a device, say): write the log to a file and name that.")
        return [path]
    before = len(refused)
    found = {file: detect(file) for file in sorted(path.rglob("*")) if file.is_file()}
    wanted = [file for file, name in found.items() if name is not None and format in (None, name)]
    others = [file for file, name in found.items() if name is None]
    for file in list(others) if format is None else ():
        if damage := foreign_files.unreadable(file):
            refused.append(Refused(file, f"{file} cannot be read: {damage}."))
            others.remove(file)
    if wanted and others and format is None:
        named = ", ".join(convert.printable(file.relative_to(path)) for file in others[:SHOWN])
        more = f" and {len(others) - SHOWN} more" if len(others) > SHOWN else ""
        skipped.append(f"{len(others)} files of {path} are no log of a known format, and were not read: {named}{more}.")
    if not wanted and len(refused) > before:
        raise InputError(refused[-1].sentence)
    if not wanted:
        raise InputError(
            f"{path} holds no log of {format}."
            if format
            else f"{path} holds no log in one of the {len(formats())} formats that docs/formats.md lists."
        )
    return wanted


def _detected(path: Path) -> str:
    format = detect(path)
    if format is None:
        if damage := foreign_files.unreadable(path):
            raise InputError(f"{path} cannot be read: {damage}.")
        raise InputError(
            f"{path} is in no format that is recognised: docs/formats.md lists the {len(formats())} there are, and --format"
            " names one."
        )
    return format
