"""The files of a comparison: page, Markdown, JSON, one row an item, JUnit; all of them or none."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from divergence.comparison.comparison import Comparison
from divergence.comparison.junit import junit
from divergence.comparison.many_runs import Comparisons
from divergence.comparison.markdown import markdown
from divergence.comparison.page import page
from divergence.staging import move_into, staging


def write(found: Comparison, folder: Path, prompts: Mapping[str, str] | None = None) -> tuple[Path, ...]:
    """Write `compare.html`, `.md`, `.json`, `.parquet` and `junit.xml` into a folder; the paths."""
    with staging(folder) as fresh:
        _fill(found, fresh, prompts)
        names = sorted(part.name for part in fresh.iterdir())
        move_into(fresh, folder)
    return tuple(folder / name for name in names)


def write_runs(found: Comparisons, folder: Path, prompts: Sequence[Mapping[str, str]] | None = None) -> tuple[Path, ...]:
    """Write `compare.json` of all runs into a folder, and the files of each run into `run-1`, `run-2`, ...; the paths."""
    with staging(folder) as fresh:
        (fresh / "compare.json").write_text(dumped(found.to_dict()), encoding="utf-8")
        for number, run in enumerate(found.runs, start=1):
            (fresh / f"run-{number}").mkdir()
            _fill(run, fresh / f"run-{number}", prompts[number - 1] if prompts else None)
        names = sorted(part.name for part in fresh.iterdir())
        move_into(fresh, folder)
    return tuple(folder / name for name in names)


def dumped(record: Mapping) -> str:
    """JSON as every parser reads it: a limit that does not exist is null, and never Infinity."""
    return json.dumps(_finite(record), ensure_ascii=False, indent=1) + "\n"


def _fill(found: Comparison, folder: Path, prompts: Mapping[str, str] | None) -> None:
    (folder / "compare.html").write_text(page(found, prompts), encoding="utf-8")
    (folder / "compare.md").write_text(markdown(found), encoding="utf-8")
    (folder / "compare.json").write_text(dumped(found.to_dict()), encoding="utf-8")
    (folder / "junit.xml").write_bytes(junit(found))
    found.table.write_parquet(folder / "compare.parquet")


def _finite(value: object) -> object:
    if isinstance(value, Mapping):
        return {name: _finite(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not -float("inf") < value < float("inf") else value
