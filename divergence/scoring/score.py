"""How likely is each logged request to fall short? Scores a log of any size, partition by partition, and goes on after
any interruption: a result that is finished and still right is skipped, everything else is done again.

    score_log("models/serving-lab", ["logs/2026-11-24"], "out")         # one Parquet a partition, and manifest.json
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

from divergence.calling import sentences
from divergence.configuration import Configuration, nearest
from divergence.errors import InputError, printed, shortened
from divergence.executions.files import local_paths
from divergence.executions.schema import COLUMNS
from divergence.scoring import manifest
from divergence.scoring.filesystems import Filesystem, place, sentence
from divergence.scoring.in_place import changes, put_in_place
from divergence.scoring.jobs import Job, PartitionOutcome
from divergence.scoring.model_folder import folder_hash
from divergence.scoring.outcome_counts import Observed, calibration, merge
from divergence.scoring.outputs import clear
from divergence.scoring.partitions import in_this_process
from divergence.scoring.sharpness import told
from divergence.scoring.sources import partitions
from divergence.scoring.stale import stale
from divergence.staging import TOLD, alone, staging

ACCEPT_REJECTED = 0.05  # as in reading a whole log: more were misread rather than dirty
LOCK = ".lock"


class Progress:
    """Is told what happens, and tells nobody."""

    def start(self, count: int, size: int) -> None:
        """So many partitions of so many bytes."""

    def tell(self, rows: int, size: int) -> None:
        """So many rows and bytes more were read."""

    def done(self, outcome: PartitionOutcome) -> None:
        """A partition is finished, or has failed."""


@dataclasses.dataclass(frozen=True)
class Scored:
    """What a run did."""

    manifest: dict
    """What `manifest.json` holds."""

    @property
    def observed(self) -> Observed:
        """Sums of risk against outcome, by context; empty where the log has no outcomes."""
        return merge([self.manifest["observed"], self.manifest["observed_items"]])

    @property
    def failed(self) -> list[dict]:
        """Partition and reason of each failure."""
        return self.manifest["failed"]


@sentences
def score_log(
    model: str | os.PathLike,
    logs: Any,
    output: str | os.PathLike,
    *,
    load: Callable | None = None,
    workers: int | None = None,
    ray: str | None = None,
    configuration: Configuration | None = None,
    accept_rejected: float = ACCEPT_REJECTED,
    progress: Progress | None = None,
) -> Scored:
    """Score every request of a log: one Parquet a partition and `manifest.json` in `output`.

    In a folder of this machine all of them appear at once, when the last partition is done; until then the folder holds
    what it held before.

    `model`: a folder that `divergence fit` or `RiskModel.save` wrote. `logs`: files, folders, globs or addresses, one or a
    list; a file is a partition. `output`: a folder or an address. `workers` processes (default: one a core; 0 = in this
    process), or the Ray cluster at the address `ray`. `load` reads the model's folder (default: `RiskModel.load`).
    `configuration`: names of columns. `progress` is told what happens. `accept_rejected`: share of a partition's rows
    (0..1) that may break a rule.

    Returns `Scored`, whose `manifest` is that of the folder; run again to resume. Raises InputError for what stops the whole
    run; a partition that fails does not.

    >>> import divergence as dv
    >>> from divergence.simulate import simulate, world
    >>> rows = simulate(world("baseline", n_models=3, n_contexts=3, n_items=40), 0)[0]
    >>> rows.write_parquet("log.parquet")
    >>> log = dv.read("log.parquet")
    >>> dv.risk_model(dv.fit(dv.collapse(log), seed=0), log).save("model")
    >>> dv.score_log("model", "log.parquet", "scored", workers=0).manifest["scored"] == rows["regime"].eq("deployment").sum()
    True
    """
    if load is None:
        from divergence.risk.model import RiskModel

        load = RiskModel.load
    logs = list(logs) if isinstance(logs, list | tuple) else [logs]
    if not 0 <= accept_rejected <= 1:
        raise InputError(f"accept_rejected is a fraction between 0 and 1, seen {accept_rejected}")
    configuration = configuration or Configuration.beside(local_paths(logs))
    loaded, model_hash = load(os.fspath(model)), folder_hash(model)
    _check_names(configuration, tuple(loaded.factors))
    found, skipped = partitions(logs)
    target, progress = place(output), progress or Progress()
    jobs = [
        Job(one, os.fspath(output), os.path.abspath(model), model_hash, load, configuration, accept_rejected)
        for one in found
    ]
    _check_output(target, model, logs, jobs)
    with _held(target):
        progress.start(len(jobs), sum(one.bytes for one in found))
        outcomes = []
        for outcome in _executor(jobs, workers, ray, progress):
            outcomes.append(outcome)
            progress.done(outcome)
        outcomes.sort(key=lambda o: o.job.partition.name)
        _tell_damaged([o.damaged for o in outcomes if o.damaged])
        aside = [o for o in outcomes if o.record is None and o.no_log]
        outcomes = [o for o in outcomes if not (o.record is None and o.no_log)]
        skipped = [*skipped, *((str(place(o.job.partition.address)), o.reason) for o in aside)]
        if not outcomes:
            raise InputError("there is no execution log: " + "; ".join(f"{file}: {reason}" for file, reason in skipped[:5]))
        known, new, items = (manifest.observed(outcomes, name) for name in ("observed", "observed_new", "observed_items"))
        sums = merge([known, new])
        changed = changes(target, outcomes)
        made = manifest.manifest(os.fspath(model), model_hash, outcomes, skipped, changed.left_over, changed.outdated)
        found = calibration(sums, loaded.traffic.get("clustering", {}), getattr(loaded, "draws", None), items=items)
        made |= {"calibration": found, "observed": sums, "observed_items": items}
        made |= told([o.record["sharpness"] for o in outcomes if o.record is not None])
        if loaded.traffic:
            elsewhere = sum(o.record["elsewhere"] for o in outcomes if o.record is not None)
            made["stale"] = stale(
                known,
                loaded.traffic,
                elsewhere / made["scored"] if made["scored"] else None,
                new,
                getattr(loaded, "draws", None),
                items,
                repeated=bool(made["repeated"]),
            )
        made["model"]["check"] = loaded.check.get("sentence")
        put_in_place(changed, made, target)
    return Scored(made)


def _tell_damaged(found: list[str]) -> None:
    if found:
        what = "the record inside a result is" if len(found) == 1 else f"the records inside {len(found)} results are"
        TOLD[0](shortened(printed(f"{what} damaged, so that their partitions were scored anew ({found[0]})")))


def _executor(jobs: list[Job], workers: int | None, ray: str | None, progress: Progress) -> Iterator[PartitionOutcome]:
    if ray is not None:
        from divergence.scoring.cluster import on_ray

        return on_ray(jobs, ray, progress.tell)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    count = cores if workers is None else workers
    if count == 0:
        return in_this_process(jobs, progress.tell)
    from divergence.scoring.workers import in_workers

    return in_workers(jobs, count, progress.tell)


def _check_names(configuration: Configuration, factors: tuple[str, ...]) -> None:
    known = [*COLUMNS, *factors]
    for section, names in (("[columns]", configuration.columns), ("[constants]", configuration.constants)):
        for name in names:
            if name not in known:
                raise InputError(
                    f"{section} names {name}, which is neither a column of the schema nor a factor of the model"
                    f"{nearest(name, known)}: name one of those"
                )


def _check_output(target: Filesystem, model: str | os.PathLike, logs: list, jobs: list[Job]) -> None:
    if target.local and pathlib.Path(os.path.realpath(target.path)).is_relative_to(os.path.realpath(model)):
        raise InputError(f"the output {target} lies inside the model {os.fspath(model)}: name another folder")
    for log in map(place, logs):
        inside = f"{target.path.rstrip('/')}/".startswith(f"{log.path.rstrip('/')}/")
        if log.local == target.local and inside:
            raise InputError(
                f"the output {target} lies inside the log {log}, where its files would be read as a log next "
                "time: name another folder"
            )
    owners: dict[str, str] = {}
    for job in jobs:
        other = owners.setdefault(job.target.path, job.partition.address)
        if other != job.partition.address:
            raise InputError(
                f"{place(other)} and {place(job.partition.address)} would have one result, "
                f"{job.target.path.rpartition('/')[2]}: score them into two folders, or rename one"
            )
        if job.target.path == place(job.partition.address).path and target.local == place(job.partition.address).local:
            raise InputError(f"the result of {place(job.partition.address)} would overwrite it: name another output folder")


@contextlib.contextmanager
def _held(target: Filesystem) -> Iterator[None]:
    """The output folder, made and held by this run only, without what an interrupted one left half-written."""
    try:
        with contextlib.ExitStack() as stack:
            if target.local:
                pathlib.Path(target.path).mkdir(parents=True, exist_ok=True)
                stack.enter_context(alone(pathlib.Path(target.path) / LOCK, target, wait_s=0))
                with staging(pathlib.Path(target.path)):
                    pass  # what a run that was killed in its last step left beside the folder is gone now
            clear(target)
            stack.callback(clear, target)
            yield
    except OSError as error:
        raise InputError(f"{target} cannot be written: {sentence(error, target.address)}") from None
