"""The prompts of items, from the files that a side was read from: only for `--keep-text`, and only of items that moved."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from divergence.errors import InputError
from divergence.executions.files import open_sources
from divergence.executions.importers import detect
from divergence.executions.importers.foreign_files import Archive, parsed, read_json, read_lines

COLUMNS = ("prompt", "question", "input")
"""Columns of a table that hold what was asked."""
LONGEST = 400  # characters of a prompt on the page: the end, where the question stands


def prompts(files: Mapping[str, str], items: Iterable[str]) -> dict[str, str]:
    """Item -> what was asked, for those of the items whose text is found; empty where the files hold no texts."""
    wanted, found = set(items), {}
    readers = {"lm-eval": _lm_eval, "inspect": _inspect}
    for path in map(Path, files):
        reader = readers.get(detect(path) or "", _table)
        for names, text in reader(path):
            for name in names:
                if name in wanted and name not in found and text:
                    found[name] = text if len(text) <= LONGEST else "..." + text[-LONGEST:]
    return found


def _lm_eval(path: Path) -> Iterator[tuple[list[str], str]]:
    if ".jsonl" not in path.name:
        return
    from divergence.executions.importers.lm_eval import SAMPLES_NAME

    match = SAMPLES_NAME.fullmatch(path.name)
    task = f"{match['task']}/" if match else ""
    for _, line in read_lines(path):
        try:
            sample = parsed(line)
        except ValueError:
            continue  # set aside, and counted, when the rows were read
        number, digest = sample.get("doc_id"), sample.get("doc_hash") or ""
        names = [f"{number}-{digest[:8]}", *(digest[:digits] for digits in (8, 12, 16)), str(number)]
        first = next(iter(_values(sample.get("arguments"))), None)
        yield [task + name for name in names], _text(next(iter(_values(first)), None))


def _inspect(path: Path) -> Iterator[tuple[list[str], str]]:
    with path.open("rb") as file:
        zipped = file.read(2) == b"PK"
    if not zipped:
        log = read_json(path)
        for sample in log.get("samples") or []:
            yield _sample(sample, log)
        return
    archive = Archive(path)
    try:
        log = archive.member("_journal/start.json") if "_journal/start.json" in archive.names else {}
        for name in archive.names:
            if name.startswith("samples/"):
                try:
                    yield _sample(archive.member(name), log)
                except ValueError:
                    continue  # set aside, and counted, when the rows were read
    finally:
        archive.close()


def _sample(sample: Any, log: Any) -> tuple[list[str], str]:
    task = (log.get("eval") or {}).get("task") if isinstance(log, dict) else None
    return [str(sample.get("id")), f"{task}/{sample.get('id')}"], _text(sample.get("input"))


def _table(path: Path) -> Iterator[tuple[list[str], str]]:
    try:
        sources, _ = open_sources(str(path))
    except InputError:
        return  # a file that is no table, such as the results beside the samples
    for source in sources:
        column = next((name for name in COLUMNS if name in source.columns), None)
        if column is not None and "item" in source.columns:
            rows = source.frame.select(pl.col("item", column).cast(pl.String)).unique("item").collect()
            yield from (([item], text) for item, text in rows.iter_rows())


def _values(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else [value]


def _text(value: Any) -> str:
    """The words of a prompt: text, a list of messages, or a list that holds them as JSON."""
    if isinstance(value, list):
        return "\n".join(filter(None, map(_text, value)))
    if isinstance(value, dict):
        return _text(value.get("content") or value.get("text"))
    if isinstance(value, str) and value.startswith("[{"):
        try:
            return _text(json.loads(value))
        except ValueError:
            return value
    return value if isinstance(value, str) else ""
