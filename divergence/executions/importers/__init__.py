"""Foreign logs to the canonical table, one file a format.

| format | files | module |
|---|---|---|
| `inspect` | `.eval`, `.json` of Inspect | `inspect_ai` |
| `lm-eval` | `samples_*.jsonl` with `results_*.json` of the LM evaluation harness | `lm_eval` |

A format is a module with `NAME`, `FIELDS` (the mapping, as data), `READS` (further foreign fields that it reads),
`recognises(path, start)` and `read(paths, primary, draft)`. To add one, write that module, put it into `MODULES`, and
test it on a genuine file. Rows come in as evaluation, which is what these harnesses do, unless `regime` is set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from divergence.errors import InputError
from divergence.executions.importers import foreign_files, inspect_ai, lm_eval
from divergence.executions.importers.imported import Imported, assemble, checked_constants, write
from divergence.executions.importers.mapping import Draft, Field

__all__ = ["Imported", "detect", "formats", "import_log", "mapping_of", "write"]

MODULES = {module.NAME: module for module in (inspect_ai, lm_eval)}


def formats() -> tuple[str, ...]:
    """Names of the formats that can be imported."""
    return tuple(MODULES)


def mapping_of(format: str) -> tuple[Field, ...]:
    """The mapping of one format: canonical column, foreign path, converter, note, in the order of application."""
    return _module(format).FIELDS


def detect(path: Path) -> str | None:
    """The format of one file by its name and first bytes; None where no format recognises it."""
    start = foreign_files.head(Path(path))
    return next((name for name, module in MODULES.items() if module.recognises(Path(path), start)), None)


def import_log(
    paths: Sequence[Path],
    format: str | None = None,
    constants: Mapping[str, str] | None = None,
    primary: str | None = None,
) -> Imported:
    """Read foreign logs into canonical tables.

    `paths` are files or folders of one format, which is detected where `format` is None. `constants` sets canonical
    columns for all rows (`{"model": "llama-3-8b", "regime": "deployment"}`). `primary` names the scorer or metric of
    the score column where a log has several; the first is taken otherwise. Raises InputError, with one sentence, for
    what cannot be read at all; what is wrong with single rows is in `Imported.rejected`.
    """
    checked = checked_constants(constants or {})
    files = [file for path in paths for file in _files(Path(path), format)]
    if not files:
        raise InputError(f"No path was given: name files or folders in one of the formats {', '.join(formats())}.")
    found = {file: format or _detected(file) for file in files}
    if len(set(found.values())) > 1:
        several = ", ".join(sorted(set(found.values())))
        raise InputError(f"These files are in several formats ({several}): import one at a time, with --format.")
    module = _module(found[files[0]])
    draft = Draft(module.FIELDS, module.READS, checked)
    module.read(list(found), primary, draft)
    return assemble(draft, module.NAME)


def _module(format: str):
    if format not in MODULES:
        raise InputError(f"{format!r} is not a format that can be imported: choose from {', '.join(formats())}.")
    return MODULES[format]


def _files(path: Path, format: str | None) -> list[Path]:
    if not path.exists():
        raise InputError(f"{path} does not exist: name a file or a folder of logs.")
    if not path.is_dir():
        return [path]
    found = {file: detect(file) for file in sorted(path.rglob("*")) if file.is_file()}
    wanted = [file for file, name in found.items() if name is not None and format in (None, name)]
    if not wanted:
        raise InputError(f"{path} holds no log in the formats {format or ', '.join(formats())}.")
    return wanted


def _detected(path: Path) -> str:
    format = detect(path)
    if format is None:
        known = ", ".join(formats())
        raise InputError(f"{path} is in no format that is recognised: choose one of {known} with --format.")
    return format
