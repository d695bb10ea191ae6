"""Opening a log of Inspect: its header first, then its samples one at a time, from an archive or from one JSON file.

Samples that an interrupted archive holds only as summaries are read from the summaries. Which try of a task a log is
(`Try`) is known from its first bytes, without reading it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from divergence.errors import InputError
from divergence.executions.importers import convert, foreign_files
from divergence.executions.importers.foreign_files import Archive, read_json
from divergence.executions.importers.mapping import dig

SAMPLE_MEMBER = re.compile(r"samples/.+_epoch_\d+(/sample)?\.json")
SUMMARY_MEMBER = re.compile(r"summaries\.json|_journal/summaries/\d+\.json")
HEADER_MEMBERS = ("header.json", "_journal/start.json")  # the second is all that an interrupted run has


@dataclasses.dataclass(frozen=True)
class Loaded:
    """One sample of a log."""

    row: int
    """Position in the log, from 1."""
    sample: Mapping[str, Any] | None
    """The foreign record; None where it is damaged."""
    problem: str = ""
    """What is wrong with a damaged one, as a sentence."""
    summary: bool = False
    """Is it a summary, with long texts cut?"""


@dataclasses.dataclass(frozen=True)
class Try:
    """Which try of which task a log is. Tries of one task share samples: a retry takes over what was done."""

    task_id: str
    """Identity of the task, the same in every try; empty where the log does not say."""
    created: str
    """When the try began, ISO 8601."""


def tries(path: Path) -> Try:
    """The try that a log is, from its header; an unreadable log is a task of its own."""
    if is_archive(path):
        try:
            archive = Archive(path)
        except InputError:
            return Try("", "")
        try:
            header = archive.member(next(name for name in HEADER_MEMBERS if name in archive.names))
            said = {name: dig(header, f"eval.{name}") for name in ("task_id", "created")}
        except (ValueError, StopIteration):
            return Try("", "")
        finally:
            archive.close()
    else:
        start = foreign_files.head(path)
        found = {name: re.search(rb'"%s"\s*:\s*"([^"\\]*)"' % name.encode(), start) for name in ("task_id", "created")}
        said = {name: match[1].decode(errors="replace") if match else None for name, match in found.items()}
    return Try(*(value if isinstance(value, str) else "" for value in said.values()))


def is_archive(path: Path) -> bool:
    """Is a log an archive, by its name or its first bytes?"""
    return path.suffix == ".eval" or foreign_files.head(path)[:2] == b"PK"


def opened(path: Path) -> Iterator[Any]:
    """The header of a log, then its samples as `Loaded`. Raises InputError for what is no log of Inspect."""
    return _archive(path) if is_archive(path) else _json(path)


def _header(path: Path, header: Any) -> Mapping[str, Any]:
    if not isinstance(header, dict) or not isinstance(header.get("eval"), dict):
        raise InputError(f"{path} is not a log of Inspect: it has no `eval` section with the model and the task.")
    return header


def _json(path: Path) -> Iterator[Any]:
    log = _header(path, read_json(path))
    yield log
    samples = log.get("samples")
    if samples is not None and not isinstance(samples, list):
        raise InputError(f"{path} is not a log of Inspect: `samples` is not a list.")
    for row, sample in enumerate(samples or [], start=1):
        whole = isinstance(sample, dict)
        yield Loaded(row, sample if whole else None, "" if whole else f"Sample {row} is not an object.")


def _archive(path: Path) -> Iterator[Any]:
    archive = Archive(path)
    try:
        present = [name for name in HEADER_MEMBERS if name in archive.names]
        if not present:
            raise InputError(f"{path} is a ZIP archive, but no log of Inspect: it has no {HEADER_MEMBERS[0]}.")
        try:
            yield _header(path, archive.member(present[0]))
        except InputError:
            raise
        except ValueError as error:
            raise InputError(f"{present[0]} in {path} {error}.") from error
        known = set()
        for row, name in enumerate(filter(SAMPLE_MEMBER.fullmatch, archive.names), start=1):
            loaded = _member(archive, row, name)
            known.add(_member_name(loaded.sample) if loaded.sample else re.sub(r"(/sample)?\.json$", "", name))
            yield loaded
        yield from _summaries(archive, known)
    finally:
        archive.close()


def _member(archive: Archive, row: int, name: str) -> Loaded:
    try:
        sample = archive.member(name)
    except InputError:
        raise  # the archive as a whole is refused
    except ValueError as error:
        return Loaded(row, None, f"{convert.printable(name)} {convert.printable(error)}.")
    whole = isinstance(sample, dict)
    return Loaded(row, sample if whole else None, "" if whole else f"{convert.printable(name)} is not an object.")


def _summaries(archive: Archive, known: set[str]) -> Iterator[Loaded]:
    """Samples that stand in the summaries only, as where a run was cut off before it wrote them out."""
    row = len(known)
    for name in sorted((n for n in archive.names if SUMMARY_MEMBER.fullmatch(n)), reverse=True):
        try:
            summaries = archive.member(name)
        except InputError:
            raise
        except ValueError:
            continue  # summaries repeat what the samples say; those that are missing are counted in the notes
        for summary in summaries if isinstance(summaries, list) else []:
            if isinstance(summary, dict) and _member_name(summary) not in known:
                known.add(_member_name(summary))
                row += 1
                yield Loaded(row, summary, summary=True)


def _member_name(sample: Mapping[str, Any]) -> str:
    return f"samples/{sample.get('id')}_epoch_{sample.get('epoch')}"
