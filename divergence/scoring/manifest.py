"""What was scored, from what, by which model, with what result: `manifest.json` beside the results.

Made from the records inside the results and from the failures of this run, in the order of the partitions' names; it
holds no time and no number of workers, so that equal results have equal manifests.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import platform
from collections.abc import Sequence
from importlib import metadata

from divergence.errors import InputError
from divergence.scoring.filesystems import Filesystem, publish, sentence, shown
from divergence.scoring.jobs import PartitionOutcome
from divergence.scoring.outcome_counts import Observed, merge
from divergence.scoring.outputs import FORMAT

NAME = "manifest.json"
PACKAGES = ("eval-divergence", "numpy", "polars", "pyarrow")


def manifest(
    model: str,
    model_hash: str,
    outcomes: list[PartitionOutcome],
    skipped: list[tuple[str, str]],
    left_over: Sequence[str],
    outdated: Sequence[str],
) -> dict:
    """The manifest of a run, as data."""
    done = [o.record for o in outcomes if o.record is not None]
    sums = ("rows", "scored", "evaluation")
    rejected: dict[str, int] = {}
    for record in done:
        for rule, number in record["rejected"].items():
            rejected[rule] = rejected.get(rule, 0) + number
    return {
        "format": FORMAT,
        "model": {"folder": pathlib.Path(model).name, "hash": model_hash},
        "versions": {"python": platform.python_version(), **{name: metadata.version(name) for name in PACKAGES}},
        "partitions": [_partition(o) for o in outcomes],
        **{name: sum(record[name] for record in done) for name in sums},
        "rejected": dict(sorted(rejected.items())),
        "failed": [{"partition": shown(o.job.partition.address), "reason": o.reason} for o in outcomes if o.record is None],
        "skipped": [{"file": file, "reason": reason} for file, reason in skipped],
        "left_over": list(left_over),
        "outdated": list(outdated),
    }


def observed(outcomes: list[PartitionOutcome], name: str = "observed") -> Observed:
    """The counts of risk against outcome over all partitions; `observed_new`: of what the model did not know."""
    return merge([o.record[name] for o in outcomes if o.record is not None])


def _partition(outcome: PartitionOutcome) -> dict:
    result = outcome.job.target
    about = {"partition": shown(outcome.job.partition.address), "bytes": outcome.job.partition.bytes}
    if outcome.record is None:
        return {**about, "failed": outcome.reason}
    kept = ("rows", "scored", "evaluation", "rejected", "example", "unreadable", "absent", "lacking")
    return {
        **about,
        "result": result.path.rsplit("/", 1)[-1],
        "input": outcome.record["key"]["input"],
        **{name: outcome.record[name] for name in kept},
    }


def withdraw(output: Filesystem) -> None:
    """Take the manifest out of an object store before a result changes there: what has one holds the results that it names,
    and what has none is that of a run that did not end."""
    with contextlib.suppress(FileNotFoundError):
        output.files.delete_file(output.child(NAME).path)


def write(made: dict, output: Filesystem) -> None:
    """Write the manifest, whole or not at all. Raises InputError where it cannot be written."""
    import tempfile

    target = output.child(NAME)
    folder = output.path if output.local else tempfile.gettempdir()
    part = pathlib.Path(folder) / f".{NAME}.{os.getpid()}.part"
    try:
        part.write_text(json.dumps(made, indent=1, sort_keys=False) + "\n")
        publish(part, target)
    except OSError as error:
        raise InputError(f"{target} cannot be written: {sentence(error, output.address)}; the results are there") from None
    finally:
        part.unlink(missing_ok=True)
