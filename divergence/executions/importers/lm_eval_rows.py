"""The documents of an lm-eval samples file as rows: item, trial, score, answer, gold and sampler beside what the run says.

A document that stands twice in a file is numbered. Trials count the runs of one item under the same settings, over all
files of an import. Files that were read by columns become rows by columns; the others document by document.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from divergence.executions.importers import convert
from divergence.executions.importers.drafted_rows import ROWS
from divergence.executions.importers.lm_eval_columns import Columns, DocumentPart
from divergence.executions.importers.lm_eval_documents import Document, Lines
from divergence.executions.importers.lm_eval_run import TaskRun
from divergence.executions.importers.mapping import Draft, Place
from divergence.executions.importers.seen_hashes import Repetitions


def write(file: str, lines: Lines | Columns, run: TaskRun, primary: str | None, draft: Draft) -> None:
    """Add the rows of one file to the draft; `primary` is the outcome that is their score, None where none is."""
    trials = draft.memory.setdefault("lm-eval trials", Repetitions())
    if isinstance(lines, Lines):
        _by_document(file, lines, run, primary, draft, trials)
        return
    numbering, shared = Repetitions(), draft.shared(run.record).values
    for part in lines.parts():
        _part(file, part, lines, run, primary, draft, (numbering, trials, shared))


def _by_document(file: str, lines: Lines, run: TaskRun, primary: str | None, draft: Draft, trials: Repetitions) -> None:
    shared = draft.shared(run.record)
    samplers, filter_name = [run.sampler(settings) for settings in lines.settings], (primary or "").partition(",")[2] or None
    kept: list[tuple[Document, float | None]] = []
    items: list[str] = []
    for document, item in zip(lines.documents, lines.items(run.task), strict=True):
        score = next((outcome for outcome in document.outcomes if outcome[0] == primary), None)
        if score is None and primary is not None:
            draft.reject(Place(file, document.row), "score_finite", _broken(document.problems, primary))
            continue
        if document.prompt is not None and draft.privacy.item_by_prompt:
            item = draft.privacy.prompt_item(document.prompt)
        kept.append((document, score[1] if score else None))
        items.append(item)
    numbers = trials.number(_keys(run, samplers, [document.settings for document, _ in kept], items))
    for (document, score), item, trial in zip(kept, items, numbers.tolist(), strict=True):
        identity = f"{lines.run}-{document.name}"
        draft.keep_text(identity, "prompt", document.prompt)
        draft.keep_text(identity, "response", document.response)
        row = {
            **shared.values,
            "execution_id": identity,
            "item": item,
            "trial": trial,
            "score": score,
            "scorer": primary,
            "answer": convert.verbatim(document.answers.get(filter_name)),
            "gold": document.gold,
        }
        sampler = samplers[document.settings]
        if sampler is not None:
            row["sampler"] = sampler
        draft.put(row, document.outcomes, file, document.row)


def _part(
    file: str,
    part: DocumentPart,
    columns: Columns,
    run: TaskRun,
    primary: str | None,
    draft: Draft,
    counted: tuple[Repetitions, Repetitions, Mapping[str, Any]],
) -> None:
    """The rows of documents that stand in columns."""
    numbering, trials, shared = counted
    documents, judged = part.documents, part.judged
    times = pl.Series(numbering.number(documents["base"].hash().to_numpy()))
    item = pl.concat_str(pl.lit(f"{run.task}/" if run.task else ""), "base")
    again = pl.concat_str(item, pl.lit("#"), pl.col("times").cast(pl.String))
    documents = documents.with_columns(times=times).with_columns(
        item=pl.when(pl.col("times") == 1).then(item).otherwise(again)
    )
    documents = documents.with_columns(score=pl.lit(None, pl.Float64)).with_row_index("__place")
    if primary is not None:
        scores = judged.filter(pl.col("metric") == primary).unique("__place", keep="first").select("__place", score="value")
        for place, row in (
            documents.join(scores, on="__place", how="anti", maintain_order="left").select("__place", "row").rows()
        ):
            draft.reject(Place(file, row), "score_finite", _broken(part.problems.get(place), primary))
        documents = documents.drop("score").join(scores, on="__place", how="inner", maintain_order="left")
    samplers = [run.sampler(settings) for settings in columns.lines.settings]
    settings = documents["settings"]
    trial = trials.number(_keys(run, samplers, settings.to_list(), documents["item"].to_list()))
    named = [shared.get("sampler") if sampler is None else sampler for sampler in samplers]
    filter_name = (primary or "").partition(",")[2] or None
    given = {
        "execution_id": pl.concat_str(pl.lit(f"{columns.lines.run}-"), "name"),
        "trial": pl.Series(trial),
        "scorer": pl.lit(primary, pl.String),
        "answer": pl.col("answer") if filter_name == columns.filter else pl.lit(None, pl.String),
        "sampler": pl.Series(named, dtype=pl.String).gather(settings),
        "__file": pl.lit(file),
        "__row": pl.col("row"),
    }
    constant = {name: pl.lit(value, ROWS[name]) for name, value in shared.items() if name not in given}
    rows = documents.with_columns(**constant, **given)
    kept = rows.select("__place", "execution_id").with_row_index("__kept")
    judged = judged.join(kept, on="__place", how="inner", maintain_order="left")
    judged = judged.select(
        "execution_id", "metric", "value", "label", pl.lit(columns.filter, pl.String).alias("scorer"), __place="__kept"
    )
    draft.extend(rows, judged)


def _keys(run: TaskRun, samplers: Sequence[str | None], settings: Sequence[int], items: Sequence[str]) -> np.ndarray:
    """What makes two executions trials of one item: the run's identity, the sampler, the item, each key as a hash."""
    of_run = [hash((run.identity, sampler)) for sampler in samplers]
    return np.array([hash((of_run[place], item)) for place, item in zip(settings, items, strict=True)], np.int64)


def _broken(problems: Mapping[str, str] | None, primary: str) -> str:
    return (problems or {}).get(primary) or f"The line with {primary} is absent."
