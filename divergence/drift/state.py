"""The state of a monitor as one small file: resumes tomorrow, never counts a row twice, is never half-written.

A zip of arrays (no pickles) and a JSON header with version, configuration, a digest of the arrays and its own hash. It is
written beside its place and moved there when complete; a lock beside it (released by the system when the process ends,
however it ends) keeps a second run out. Reading refuses, with a sentence, another version, another configuration, damage;
`state_form` says what a whole one is.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from divergence.drift.baseline import Answers, Baseline, Directions, Items
from divergence.drift.chunking import Chunking
from divergence.drift.daily import Daily
from divergence.drift.history import BYTES, places
from divergence.drift.layout import Layout
from divergence.drift.monitor import Monitor, Promise
from divergence.drift.reference import Reference
from divergence.drift.rows import Rows
from divergence.drift.settings import Changed
from divergence.drift.state_form import check_arrays, check_header
from divergence.drift.verdict import Alarm
from divergence.errors import InputError
from divergence.sealed import DAMAGE, UNPACKING, check_seal, with_seal
from divergence.staging import hold, whole

VERSION = 1
"""Layout of the file; one of another number is not read."""
_HEADER = "header.json"
_LARGEST = 1 << 30  # bytes of all parts: those of the most signals that are followed take a tenth of it


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the state's lock. Raises InputError where another run holds it."""
    lock = path.with_name(f".{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(lock, "w")  # noqa: SIM115
    except OSError as error:
        raise InputError(f"The state {path} cannot be locked: {error.strerror}; choose another place.") from None
    with file:
        try:
            hold(file)
        except OSError:
            raise InputError(f"The state {path} is locked by another run: wait for it, or choose another --state.") from None
        yield


def save(monitor: Monitor, path: Path) -> None:
    """Write the state, whole or not at all."""
    arrays, header = _taken_apart(monitor)
    body = {name: _bytes(array) for name, array in arrays.items()}
    header |= {"version": VERSION, "digest": _digest(body)}
    with whole(path) as part, open(part, "wb") as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=3) as archive:
            archive.writestr(_HEADER, json.dumps(with_seal(header), sort_keys=True))
            for name, content in sorted(body.items()):
                archive.writestr(name, content)
        file.flush()
        os.fsync(file.fileno())


def load(path: Path, asked: dict[str, Any] | None = None) -> Monitor:
    """The monitor that was saved. `asked`: what this run was asked for; a state of something else is refused."""
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(part.file_size for part in archive.infolist()) > _LARGEST:
                raise ValueError(f"its parts are larger than {_LARGEST >> 20:,} MiB")
            body = {name: archive.read(name) for name in archive.namelist() if name != _HEADER}
            header = json.loads(archive.read(_HEADER))
        version, digest = header["version"], header["digest"]
    except OSError as error:
        raise InputError(f"The state {path} cannot be read: {error.strerror or error}.") from None
    except UNPACKING as error:
        raise _damaged(path, error) from None
    if version != VERSION:
        raise InputError(
            f"The state {path} is of version {version}, this is version {VERSION}: start again with a new --state."
        )
    try:
        if digest != _digest(body):
            raise ValueError("its digest differs")
        check_seal(header)
        check_header(header)
    except DAMAGE as error:
        raise _damaged(path, error) from None
    for name, value in (asked or {}).items():
        if header["asked"].get(name) != value:
            raise InputError(
                f"The state {path} was made with {name} = {header['asked'].get(name)}, asked is {value}: ask for the same, "
                "or start again with a new --state."
            )
    try:
        arrays = {name: np.load(io.BytesIO(content), allow_pickle=False) for name, content in body.items()}
        check_arrays(arrays, header)
        monitor = _put_together(arrays, header)
        monitor.verdict()
    except UNPACKING as error:
        raise _damaged(path, error) from None
    return monitor


def _damaged(path: Path, error: Exception) -> InputError:
    said = f"{type(error).__name__}: {error}"[:200]
    return InputError(f"The state {path} is damaged ({said}): restore a copy, or start again with a new --state.")


def _digest(body: dict[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, content in sorted(body.items()):
        digest.update(name.encode() + len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()


def _bytes(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def asked_of(monitor: Monitor) -> dict[str, Any]:
    """What a state is bound to: the promise, the signals, the chunk."""
    layout = monitor.reference.layout
    return dataclasses.asdict(monitor.asked) | {
        "signals": [*layout.numeric, *(name for name, _ in layout.classes)],
        "chunk_rows": monitor.length,
        "reference_end": monitor.reference.end,
    }


_EVIDENCE = ("count", "total", "square", "restarts", "before", "mixture", "by_restart")
_HISTORY = ("values", "margins", "start", "end", "number", "evidence")
_REFERENCE = ("values", "margins", "middle", "centre", "spread", "followed", "last")


def _taken_apart(monitor: Monitor) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    reference, baseline = monitor.reference, monitor.reference.baseline
    arrays = {f"evidence.{name}": getattr(monitor.evidence, name) for name in _EVIDENCE}
    arrays["evidence.by_restart"] = monitor.evidence.by_restart.astype(np.float32)  # only for where a change began
    keep = places(BYTES, len(monitor.statistics))
    arrays |= {f"history.{name}": getattr(monitor.history, name)[-keep:] for name in _HISTORY}
    arrays |= {f"reference.{name}": getattr(reference, name) for name in _REFERENCE}
    arrays["reference.values"] = reference.values.astype(np.float32)
    arrays |= {f"grid.{number}": grid for number, grid in enumerate(reference.grids)}
    arrays |= {"daily.centre": reference.daily.centre, "daily.count": reference.daily.count}
    arrays |= {"counted": monitor.counted, "held": monitor.held}
    if monitor.pending is not None:
        arrays |= {f"pending.{f.name}": getattr(monitor.pending, f.name) for f in dataclasses.fields(Rows)}
    if baseline.embedding:
        arrays |= {"embedding.centre": baseline.embedding.centre, "embedding.basis": baseline.embedding.basis}
    if baseline.items:
        arrays |= {f"items.{name}": baseline.items.known[name].to_numpy() for name in ("right", "judged")}
    header = {
        "asked": asked_of(monitor),
        "layout": dataclasses.asdict(reference.layout),
        "chunking": dataclasses.asdict(reference.chunking),
        "daily": {"parts": reference.daily.parts, "sentence": reference.daily.sentence},
        "items": baseline.items.known["key"].to_list() if baseline.items else None,
        "answers": dataclasses.asdict(baseline.answers) if baseline.answers else None,
        "reference": {"end": reference.end, "columns": list(reference.columns), "notes": list(reference.notes)},
        "chunks": monitor.evidence.chunks,
        "counted_to": monitor.counted_to,
        "alarms": [dataclasses.asdict(alarm) for alarm in monitor.alarms.values()],
        "peak": monitor.peak,
        "notes": list(monitor.notes),
        "known": monitor.known,
        "changed": [dataclasses.asdict(one) for one in monitor.changed.values()],
        "rows": monitor.rows,
        "skipped": monitor.skipped,
    }
    return arrays, header


def _put_together(arrays: dict[str, np.ndarray], header: dict[str, Any]) -> Monitor:
    layout = header["layout"]
    classes = tuple((name, tuple(levels)) for name, levels in layout.pop("classes"))
    lists: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in layout.items()}
    items = None
    if header["items"] is not None:
        known = {"key": header["items"], "right": arrays["items.right"], "judged": arrays["items.judged"]}
        items = Items(pl.DataFrame(known))
    baseline = Baseline(
        items,
        Answers(**header["answers"]) if header["answers"] else None,
        Directions(arrays["embedding.centre"], arrays["embedding.basis"]) if "embedding.basis" in arrays else None,
    )
    taken = {name: arrays[f"reference.{name}"] for name in _REFERENCE}
    reference = Reference(
        **taken | {"values": taken["values"].astype(float)},
        layout=Layout(classes=classes, **lists),
        baseline=baseline,
        grids=[arrays[f"grid.{number}"] for number in range(len(lists["numeric"]))],
        chunking=Chunking(**header["chunking"]),
        daily=Daily(header["daily"]["parts"], arrays["daily.centre"], arrays["daily.count"], header["daily"]["sentence"]),
        end=header["reference"]["end"],
        columns=tuple(header["reference"]["columns"]),
        notes=tuple(header["reference"]["notes"]),
    )
    promise = Promise(**{f.name: header["asked"][f.name] for f in dataclasses.fields(Promise)})
    monitor = Monitor(reference, promise, {name: tuple(levels) for name, levels in header["known"].items()})
    for name in _EVIDENCE:
        setattr(monitor.evidence, name, arrays[f"evidence.{name}"])
    monitor.evidence.by_restart = monitor.evidence.by_restart.astype(float)
    monitor.evidence.chunks = header["chunks"]
    for name in _HISTORY:
        setattr(monitor.history, name, arrays[f"history.{name}"])
    if "pending.time" in arrays:
        monitor.pending = Rows(*(arrays[f"pending.{f.name}"] for f in dataclasses.fields(Rows)))
    monitor.counted_to, monitor.counted, monitor.held = header["counted_to"], arrays["counted"], arrays["held"]
    monitor.alarms = {alarm["family"]: Alarm(**alarm) for alarm in header["alarms"]}
    monitor.changed = {c.sentence: c for c in (Changed(**one) for one in header["changed"])}
    monitor.peak, monitor.notes = header["peak"], dict.fromkeys(header["notes"])
    monitor.rows, monitor.skipped = header["rows"], header["skipped"]
    return monitor
