"""What is done with one partition, by whom it is done, and what a failure of one does to the others: nothing.

`score_partition` reads, admits, scores and writes one partition and returns what became of it; it is the same function in
this process, in the worker processes of `workers` and on a Ray cluster (`cluster`), and depends on nothing but its `Job`,
so the three give the same bytes. A partition that fails is one sentence.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
import polars as pl
import pyarrow as pa

from divergence.errors import InputError
from divergence.risk.answer_agreement import AnswerCounts, ToldShares
from divergence.risk.unseen_shift import AGREE, NEAR, SOURCES
from divergence.scoring.filesystems import place, sentence
from divergence.scoring.jobs import Job, PartitionOutcome
from divergence.scoring.manifest import withdraw
from divergence.scoring.model_folder import folder_hash
from divergence.scoring.outcome_counts import Observations
from divergence.scoring.outputs import Output
from divergence.scoring.request_rules import Admission, WantedColumns
from divergence.scoring.sharpness import Sharpness
from divergence.scoring.sources import BATCH, VECTOR_BATCH, NoLog, Partition, Reader, fingerprint, other_table

FORESEEN = (OSError, ValueError, pa.ArrowException, pl.exceptions.PolarsError, pl.exceptions.PanicException)
"""What a damaged partition or a full disk raises; anything else is an error of the program."""
Tell = Callable[[int, int], None]
"""Told rows and bytes of input that were done since the last call."""


def silent(rows: int, size: int) -> None:
    """Tells nobody."""


def attempt(job: Job, tell: Tell = silent) -> PartitionOutcome:
    """Score a partition, or skip it where its result is finished and still right; a failure comes back as a sentence."""
    try:
        return score_partition(job, tell)
    except NoLog as error:
        return PartitionOutcome(job, None, str(error), no_log=not job.partition.named)
    except FORESEEN as error:
        return PartitionOutcome(job, None, sentence(error, job.partition.address, job.output))
    except MemoryError:
        return PartitionOutcome(job, None, "there is not enough memory")


def score_partition(job: Job, tell: Tell = silent) -> PartitionOutcome:
    """Read, admit, score and write one partition. Raises what `FORESEEN` names."""
    model = _model(job.load, job.model, job.model_hash)
    before = _state(job.partition)
    content = fingerprint(job.partition)
    key = job.key(content)
    found, damaged = job.earlier(key)
    if found is not None:
        tell(found[1]["rows"], job.partition.bytes)
        return PartitionOutcome(job, found[1])
    wanted = WantedColumns.of(model)
    reader = Reader(job.partition, job.configuration)
    try:
        other_table(reader.names, job.configuration)
        admission = Admission(reader.names, job.configuration, wanted, content.rpartition(":")[2][:16])
        twice = [name for name, count in Counter(reader.names).items() if count > 1 and name in admission.columns]
        if twice:
            raise InputError(f"it has the column {twice[0]} twice: rename one")
        told, absent = _answers(job, model, wanted)
        output, lacking = Output(job.made), {}
        try:
            observations, sharp = _stream(
                reader, admission, model, output, functools.partial(_share, tell, job, reader), told, lacking
            )
            _refuse(admission, job.accept_rejected)
            if _state(job.partition) != before:
                raise InputError("it changed while it was read; run again")
            known, new, items = observations.sums
            made = {
                "key": key,
                **_counts(admission, output),
                "absent": [*admission.absent, *absent],
                "lacking": {SOURCES.get(name, name): rows for name, rows in sorted(lacking.items()) if rows},
                "elsewhere": observations.elsewhere,
                "observed": known,
                "observed_new": new,
                "observed_items": items,
                "sharpness": sharp.record(),
            }
            if not place(job.output).local:
                withdraw(place(job.output))
            output.finish(made)
        finally:
            output.close()
    finally:
        reader.close()
    tell(0, job.partition.bytes if reader.rows is None else 0)
    return PartitionOutcome(job, made, damaged=damaged)


def _answers(job: Job, model, wanted: WantedColumns) -> tuple[ToldShares | None, list[str]]:
    """What answers tell of the items of a partition, from a reading of their own, and what the file lacks for it; nothing
    where the model does not ask."""
    unseen = getattr(model, "unseen", None)
    if unseen is None or unseen.agreement is None:
        return None, []
    reader = Reader(job.partition, job.configuration)
    try:
        only = dataclasses.replace(wanted, columns=(SOURCES[AGREE],), beside=())
        admission, counts = Admission(reader.names, job.configuration, only, ""), AnswerCounts()
        if SOURCES[AGREE] in admission.absent:
            return None, [SOURCES[AGREE]]
        for batch in reader.batches(admission.columns, admission.labels):
            requests = admission.requests(batch).batch
            counts.add(requests.column("item"), requests.column(SOURCES[AGREE]))
        return counts.told(unseen.agreement), []
    finally:
        reader.close()


def _stream(
    reader: Reader,
    admission: Admission,
    model,
    output: Output,
    tell: Tell,
    told: ToldShares | None,
    lacking: dict[str, int],
) -> tuple[Observations, Sharpness]:
    observations, sharp = Observations(), Sharpness(model)
    rows = VECTOR_BATCH if SOURCES[NEAR] in admission.wanted.columns else BATCH
    for batch in reader.batches(admission.columns, admission.labels, rows):
        requests = admission.requests(batch)
        if told is not None:
            agreed = pa.array(told.of(requests.batch.column("item")), from_pandas=True)
            requests = dataclasses.replace(requests, batch=requests.batch.append_column(AGREE, agreed))
        if requests.batch.num_rows:
            scores, index = (
                model.answer(requests.batch, lacking) if hasattr(model, "answer") else (model.score(requests.batch), None)
            )
            output.write(scores, requests.batch.num_rows)
            risk, known = (np.asarray(scores.column(n).to_numpy(zero_copy_only=False)) for n in ("risk", "known"))
            outcome = requests.outcome if model.kind != "positive" else np.full(len(risk), np.nan)
            by_item = None if index is None else model.of_items(index)
            observations.add(requests.batch.column("context"), risk, known, outcome, requests.trials, by_item)
            if index is not None:
                sharp.add(requests.batch, index, outcome, requests.trials)
        tell(batch.num_rows, 0)
    return observations, sharp


def _share(tell: Tell, job: Job, reader: Reader, rows: int, _: int) -> None:
    tell(rows, round(job.partition.bytes * rows / reader.rows) if reader.rows else 0)


def _counts(admission: Admission, output: Output) -> dict:
    return {
        "rows": admission.rows,
        "scored": output.rows,
        "evaluation": admission.evaluation,
        "rejected": dict(sorted(admission.rejected.items())),
        "example": admission.example,
        "unreadable": dict(sorted(admission.unreadable.items())),
    }


def _refuse(admission: Admission, accepted: float) -> None:
    """A partition of which more rows break a rule than are accepted was misread rather than dirty."""
    rejected = sum(admission.rejected.values())
    if rejected > accepted * admission.rows or (rejected and rejected == admission.rows):
        counts = ", ".join(f"{number} by {rule}" for rule, number in sorted(admission.rejected.items()))
        raise InputError(
            f"{rejected} of its {admission.rows} rows are rejected ({counts}; for example "
            f"{admission.example}), accepted are {accepted:.1%}: correct them, or accept them with "
            "--accept-rejected FRACTION"
        )


def _state(partition: Partition) -> tuple:
    """What changes when somebody writes to the partition."""
    file = place(partition.address)
    if file.local:
        about = os.stat(file.path)
        return about.st_size, about.st_mtime_ns, about.st_ino
    about = file.files.get_file_info(file.path)
    return about.size, about.mtime_ns


@functools.lru_cache(maxsize=1)
def _model(load: Callable, folder: str, expected: str):
    """The model, read once a process."""
    model = load(folder)
    if folder_hash(folder) != expected:
        raise InputError(f"the model {folder} was changed while this run used it; run again")
    return model


def in_this_process(jobs: list[Job], tell: Tell = silent) -> Iterator[PartitionOutcome]:
    """One after the other, here."""
    for job in jobs:
        yield attempt(job, tell)
