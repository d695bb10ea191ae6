"""Where executions are kept while they come in: each is written once, and a killed run loses only what was in flight.

The folder holds `executions.journal` (JSON lines; its name keeps readers of the folder from taking it for a second log),
one line an execution, appended and handed to the operating system at once; its first
line names the plan's hash. `(context, item, model, wave, trial)` identifies a row. When a run starts again, whole lines
are read back, a last line cut short by a kill is removed, and only missing keys are asked for. Any other line that is no
whole row is left where it is, counted, and asked for again. `finish` writes
`executions.parquet` under a temporary name and moves it into place, so that the file is either absent or whole.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import itertools
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import polars as pl

from divergence.errors import InputError
from divergence.executions.schema import EXECUTIONS
from divergence.probe import journals
from divergence.staging import hold, move_into, staging

Key = tuple[str, str, str, int, int]  # context, item, model, wave, trial
DRAFTED = ("accepted_tokens", "draft_tokens")
KEYS = ("context", "item", "model", "wave", "trial")
NEEDED = (*KEYS, "regime", "time", "scorer", "retries")
"""What a row has; the others may be null, `error_type` and `score` among them."""
SAID = {"reasoning_tokens": pl.Int64(), "served_model": pl.String(), "system_fingerprint": pl.String()}
"""What some servers say of themselves: columns of the rows where any reply had it."""
WAVE = re.compile(r"[1-9][0-9]{0,8}")


KINDS = (
    {column.name: column.dtype for column in EXECUTIONS}
    | SAID
    | {"lenient": pl.Float64()}
    | dict.fromkeys(DRAFTED, pl.Int64())
)


def is_whole(row: dict) -> bool:
    """Is this a row as a probe writes it, so that a table can be made of it?"""
    if not all(row.get(name) is not None for name in NEEDED) or not {"error_type", "score"} <= set(row):
        return False
    known = ((value, KINDS[name]) for name, value in row.items() if name in KINDS and value is not None)
    return all(journals.fits(value, kind) for value, kind in known) and WAVE.fullmatch(row["wave"]) is not None


def key_of(row: dict) -> Key:
    """What makes a row unique within its plan."""
    return row["context"], row["item"], row["model"], int(row["wave"]), int(row["trial"])


def execution_id(plan_hash: str, key: Key) -> str:
    """16 hexadecimal digits that name the execution, the same in every run of the plan."""
    return hashlib.sha256(json.dumps([plan_hash, *key]).encode()).hexdigest()[:16]


def further(rows: list[dict]) -> pl.DataFrame:
    """What else is known of these executions (they have an `execution_id`), one row each, as the table `outcomes`.

    `lenient` is the lenient score. `draft_tokens` and `accepted_tokens` are what speculative decoding proposed and took;
    a row whose server drafts nothing has neither, which is not the same as a draft of which nothing was taken.
    """
    judged = [(r["execution_id"], "lenient", r["lenient"], f"{r['scorer']} (lenient)") for r in rows if _has(r, "lenient")]
    drafted = [(r["execution_id"], name, float(r[name]), None) for r in rows for name in DRAFTED if _has(r, name)]
    schema = {"execution_id": pl.String, "metric": pl.String, "value": pl.Float64, "scorer": pl.String}
    return pl.DataFrame([*judged, *drafted], schema=schema, orient="row").sort("execution_id", "metric")


def _has(row: dict, name: str) -> bool:
    return row.get(name) is not None


class Store:
    """The journal of one plan in one folder; use as a context manager."""

    def __init__(self, folder: Path, plan_hash: str) -> None:
        self.folder = folder
        self.plan_hash = plan_hash
        self.path = folder / "executions.journal"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.file = self.path.open("ab")
        except OSError as error:
            raise InputError(f"{folder} cannot be written: {error.strerror}") from None
        self._lock()
        self.damaged = 0  # lines that are no whole row, or one that is there already
        try:
            self.done: set[Key] = self._recover()
        except InputError:
            self.file.close()
            raise
        if self.path.stat().st_size == 0:
            self._write({"plan": plan_hash})

    def __enter__(self) -> Store:
        return self

    def __exit__(self, kind: type[BaseException] | None = None, *_) -> None:
        try:
            self.file.flush()
            os.fsync(self.file.fileno())
        except OSError as error:
            if kind is None:
                raise self._unwritten(error) from None
        finally:
            with contextlib.suppress(OSError):  # of what could not be written
                self.file.close()

    def _unwritten(self, error: OSError) -> InputError:
        return InputError(f"{self.path} cannot be written: {error.strerror}; what was done is kept, run again to go on.")

    def add(self, rows: list[dict]) -> None:
        """Append the rows of one item in one write; the item counts as done when its last row is there.

        A conversation comes with its first turn last, whose key is the one that a resumed run looks for: if a kill cut
        the write, the conversation is asked again, and the turns that were kept are not written twice. A single row whose
        key is there already is an error of the caller.
        """
        fresh = [row for row in rows if key_of(row) not in self.done]
        if not fresh:
            raise ValueError(f"the execution {key_of(rows[0])} is already in {self.path.name}")
        self._append(b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in fresh))
        self.done |= {key_of(row) for row in fresh}

    def rows(self) -> list[dict]:
        """All whole rows, each once, in the order in which they came; counts the lines that are none as `damaged`."""
        found: dict[Key, dict] = {}
        self.damaged = 0
        for line in itertools.islice(journals.lines(self.path), 1, None):
            row = journals.parsed(line)
            fresh = row is not None and is_whole(row) and found.setdefault(key_of(row), row) is row
            self.damaged += not fresh
        return list(found.values())

    def finish(self, also: Callable[[Path], object] = lambda _: None) -> Path:
        """Write the rows (at least one) to `executions.parquet`, sorted by time, and return its path.

        What else is known of them, and what `also` writes into the folder that it is given, appear in the same step.
        """
        rows = self.rows()
        for row in rows:
            row["execution_id"] = execution_id(self.plan_hash, key_of(row))
        measured = set().union(*rows)  # canonical columns that a probe never fills are left out
        unsaid = {name for name in SAID if all(row.get(name) is None for row in rows)}
        schema = {c.name: c.dtype for c in EXECUTIONS if c.name in measured} | SAID
        schema = {name: dtype for name, dtype in schema.items() if name not in unsaid}
        columns = {name: [row.get(name) for row in rows] for name in schema}
        columns["time"] = [datetime.datetime.fromisoformat(row["time"]) for row in rows]
        tables = {"executions": pl.DataFrame(columns, schema=schema).sort("time", "execution_id"), "outcomes": further(rows)}
        with staging(self.folder) as fresh:
            for name, frame in tables.items():
                if frame.height:
                    path = fresh / f"{name}.parquet"
                    frame.write_parquet(path, compression="zstd", compression_level=19, statistics=True)
            also(fresh)
            move_into(fresh, self.folder)
        return self.folder / "executions.parquet"

    def _lock(self) -> None:
        """Keep a second run out of the folder; the lock ends with the process, however it ends."""
        try:
            hold(self.file)
        except BlockingIOError:
            self.file.close()
            raise InputError(f"{self.folder} is being written by another run; wait for it or give another folder.") from None

    def _write(self, row: dict) -> None:
        self._append(json.dumps(row, ensure_ascii=False).encode() + b"\n")

    def _append(self, content: bytes) -> None:
        try:
            self.file.write(content)
            self.file.flush()
        except OSError as error:
            raise self._unwritten(error) from None

    def _recover(self) -> set[Key]:
        """The keys of an earlier run's rows; cuts off a last line that was not written to its end."""
        content = self.path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            with self.path.open("r+b") as file:
                file.truncate(whole)
        lines = journals.lines(self.path)
        head, further = next(lines, None), next(lines, None)
        plan = (journals.parsed(head) or {}).get("plan") if head is not None else None
        if head is not None and not isinstance(plan, str):
            raise InputError(f"{self.path} is damaged: its first line names no plan; give another output folder.")
        if further is None:  # a run that ended before its first row binds nobody
            os.truncate(self.path, 0)
            return set()
        if plan != self.plan_hash:
            raise InputError(
                f"{self.path} holds executions of another plan ({plan}, this one is {self.plan_hash}); "
                "plan or items were changed: give another output folder."
            )
        return set(map(key_of, self.rows()))
