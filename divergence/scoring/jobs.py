"""What is one partition's work, and what became of it? Plain data that travels to worker processes and clusters.

A `Job` holds everything that the score of a partition depends on; its `key` says what a finished result must have been
made from to be still right, so that equal keys mean that nothing has to be done again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from importlib import metadata

from divergence.configuration import Configuration
from divergence.scoring.filesystems import Filesystem, place
from divergence.scoring.outputs import FORMAT, UNFINISHED, record
from divergence.scoring.sources import Partition
from divergence.scoring.whole_records import damage


@dataclasses.dataclass(frozen=True)
class Job:
    """Everything that the score of one partition depends on."""

    partition: Partition
    """The partition."""
    output: str
    """Folder or address of the results."""
    model: str
    """Folder of the risk model."""
    model_hash: str
    """What the folder must hash to."""
    load: Callable
    """Reads the model's folder; an importable function."""
    configuration: Configuration
    """What was declared about the log."""
    accept_rejected: float
    """Share of rejected rows above which the partition fails."""

    @property
    def target(self) -> Filesystem:
        """Where the result goes."""
        return place(self.output).child(self.name)

    @property
    def made(self) -> Filesystem:
        """Where the result is made: aside, until all are put in place at once; on an object store in its place."""
        output = place(self.output)
        return output.child(f"{UNFINISHED}/{self.name}") if output.local else output.child(self.name)

    @property
    def name(self) -> str:
        """The result's name in the folder."""
        name = self.partition.name
        return name if name.endswith(".parquet") else f"{name}.parquet"

    def finished(self, key: dict) -> tuple[Filesystem, dict] | None:
        """Where a result that was made from this lies, in its place or still aside, and its record; None where none does."""
        return self.earlier(key)[0]

    def earlier(self, key: dict) -> tuple[tuple[Filesystem, dict] | None, str]:
        """The same, and what is wrong with a record that does not count because it is damaged."""
        said = ""
        for place_ in (self.target, self.made):
            made = record(place_)
            if made is None or (isinstance(made.get("key"), dict) and made["key"] != key):
                continue
            wrong = damage(made)
            if not wrong:
                return (place_, made), ""
            said = f"{place_}: {wrong}"
        return None, said

    def key(self, content: str) -> dict:
        """What a finished result must have been made from to be still right."""
        declared = {name: getattr(self.configuration, name) for name in ("columns", "constants", "where")}
        rule = self.configuration.regime
        declared["regime"] = dataclasses.asdict(rule) if rule else None
        declared["accept_rejected"] = self.accept_rejected
        return {
            "input": content,
            "model": self.model_hash,
            "format": FORMAT,
            "version": metadata.version("eval-divergence"),
            "declared": {name: _plain(value) for name, value in declared.items()},
        }


@dataclasses.dataclass(frozen=True)
class PartitionOutcome:
    """What became of one partition."""

    job: Job
    """The partition's job."""
    record: dict | None
    """The record of its result; None where it failed."""
    reason: str = ""
    """Why it failed, a sentence."""
    no_log: bool = False
    """Is the file something else that lay in the folder?"""
    damaged: str = ""
    """What was wrong with an earlier result, which did not count."""


def _plain(value):
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in value]
    return {k: _plain(v) for k, v in value.items()} if hasattr(value, "items") else value
