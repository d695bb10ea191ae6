"""The genuine logs of other tools in ../shared, by the format that recognises them, and copies of them with changes."""

from __future__ import annotations

import functools
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

SHARED = Path(__file__).resolve().parents[3] / "shared"
FOLDERS = ("formats", "logs")
SMALL = 2**20  # bytes; what tests rewrite again and again is no larger


@functools.cache
def genuine(largest: int = SMALL) -> dict[str, tuple[Path, ...]]:
    """Files of every format; empty where ../shared is not on this machine."""
    from divergence.executions.importers import detect

    found: dict[str, list[Path]] = {}
    for folder in FOLDERS:
        for path in sorted((SHARED / folder).rglob("*")):
            if path.is_file() and path.stat().st_size <= largest and (name := detect(path)) is not None:
                found.setdefault(name, []).append(path)
    return {name: tuple(paths) for name, paths in found.items()}


def rewritten(path: Path, target: Path, change: Callable[[Any], Any]) -> bool:
    """Write a copy in which `change` was applied to every JSON document; False for a file that is none of JSON."""
    content = path.read_bytes()
    if content[:2] == b"PK":
        __import__("zipfile_zstd")
        with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w") as copy:
            for name in dict.fromkeys(source.namelist()):
                copy.writestr(name, json.dumps(change(json.loads(source.read(name)))))
        return True
    if content[:4] == b"PAR1":
        pl.DataFrame(change(pl.read_parquet(path).to_dicts()), infer_schema_length=None, strict=False).write_parquet(target)
        return True
    try:
        target.write_text(json.dumps(change(json.loads(content))))
    except ValueError:
        try:
            lines = [json.dumps(change(json.loads(line))) for line in content.splitlines() if line.strip()]
        except ValueError:
            return False
        target.write_text("\n".join(lines) + "\n")
    return True


def rewritten_cells(path: Path, target: Path, change: Callable[[Any], Any]) -> bool:
    """The same for a text of lines, each as the list of its cells; False where nothing is left that could be written."""
    between = {".csv": ",", ".tsv": "\t"}.get(path.suffix, " ")
    rows = change([line.split(between) for line in path.read_text("latin-1").split("\n")])
    if not isinstance(rows, list):
        return False
    lines = (between.join(map(str, row)) if isinstance(row, list) else str(row) for row in rows)
    target.write_bytes("\n".join(lines).encode("latin-1", "backslashreplace"))
    return True
