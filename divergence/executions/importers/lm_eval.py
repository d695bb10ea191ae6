"""Logs of the LM evaluation harness (`lm_eval`): `samples_<task>_<time>.jsonl`, with `results_<time>.json` beside them.

The file has one line for each document and filter; one row here is one document, and every filter's metrics are
outcomes of it. The score column takes one of them: the one asked for, else the first that every run of the task has, so
that two runs are judged alike. An outcome is named `metric`, or `metric,filter` where the filter has a name, as in the
harness's own results.

A document is known by its hash, where the file has hashes: the harness numbers documents anew in each run. The model,
the engine and the prompt stand only in the results file, which is looked for beside the samples (`lm_eval_run`). The
harness logs no latency and no tokens for single documents, and one time for a whole run.

Authority: `lm_eval/result_schema.py` and `lm_eval/loggers/evaluation_tracker.py` of EleutherAI/lm-evaluation-harness,
version 0.4.13. Older versions wrote the lines of a file as one JSON list, without hashes, filters and lists of metrics.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from divergence.errors import InputError
from divergence.executions.importers import convert, factors, foreign_files, lm_eval_rows, lm_eval_run
from divergence.executions.importers.format import Format
from divergence.executions.importers.groups import Group, cut
from divergence.executions.importers.lm_eval_columns import Columns, OtherFilter
from divergence.executions.importers.lm_eval_documents import Lines, problem
from divergence.executions.importers.mapping import Draft, Field, Place, dig
from divergence.executions.importers.privacy import Privacy
from divergence.executions.schema import SERVING_FACTORS

STAMP = r"\d{4}-\d{2}-\d{2}T\d{2}-\d{2}-\d{2}(?:\.\d+)?"
PACKED = r"(?:\.gz|\.zst)?"
SAMPLES_NAME = re.compile(rf"samples_(?P<task>.+?)(?:_(?P<stamp>{STAMP}))?\.jsonl{PACKED}")
RESULTS_NAME = re.compile(rf".*?_?(?P<stamp>{STAMP})\.json")
WATCHED = 50  # documents of a file whose names are looked at one by one; later ones only where they have other names

FIELDS = (
    Field("execution_id", "derived.execution_id", convert.text, "hash of the run's files, with the document", True),
    Field("model", "derived.model", convert.text, "model_name, else the name among model_args", True),
    Field("item", "derived.item", convert.text, "task and doc_hash; doc_id where the file has no hashes", True),
    Field("task", "file.task", convert.text, "from the file's name"),
    Field("trial", "derived.trial", convert.count, "counts the runs of one item under the same settings, in the order read"),
    Field("score", "derived.score", float, "null where lower is better or values leave 0 to 1"),
    Field("scorer", "derived.scorer", convert.text, "metric, or metric,filter"),
    Field("answer", "derived.answer", convert.verbatim, "likeliest choice or filtered text"),
    Field("gold", "derived.gold", convert.label, "the right choice, or the target text; empty where several are right"),
    Field("time", "results.date", convert.moment, "start of the run"),
    *(Field(factor, f"factors.{factor}", convert.label) for factor in (*SERVING_FACTORS, "context", "wave")),
)

READS = (
    *(f"sample.{name}" for name in ("doc_id", "doc_hash", "filter", "metrics", "filtered_resps", "target")),
    "sample.arguments",
    *(f"results.{name}" for name in lm_eval_run.READ),
    *(f"results.config.{name}" for name in lm_eval_run.READ_OF_CONFIG),
    *(f"results.config.model_args.{name}" for name in (*lm_eval_run.MODEL_ARGUMENTS, "base_url")),
    *factors.factor_paths("results.config.model_args"),
)
"""Fields read for `derived` and `factors`, and those that only repeat what is read."""


def by_task(files: Sequence[Path], privacy: Privacy) -> list[Group]:
    """The runs of a task are a group, with all results files: which of them belongs to a run is found by its time.

    Items that are known by their prompt may be those of several tasks, and files of older names tell their task only
    when they are read: then all are one group.
    """
    samples = [file for file in files if foreign_files.bare_suffix(file) == ".jsonl"]
    names = [SAMPLES_NAME.fullmatch(file.name) for file in samples]
    if privacy.item_by_prompt or not samples or not all(names):
        return [list(files)]
    results = [file for file in files if file not in set(samples)]
    tasks = {file: name["task"] for file, name in zip(samples, names, strict=True) if name}
    return [[*group, *results] for group in cut(samples, tasks.__getitem__)]


FORMAT = Format(
    name="lm-eval",
    title="LM evaluation harness (`lm_eval`): `samples_*.jsonl` with `results_*.json`",
    versions="0.3 to 0.4.13",
    authority="`lm_eval/result_schema.py` and `lm_eval/loggers/evaluation_tracker.py` of EleutherAI/lm-evaluation-harness",
    unit="one document",
    fields=FIELDS,
    reads=READS,
    rank=60,
    notes=(
        "Two filters of a document are two outcomes of one row, not two runs of it.",
        "`model_args`, `gen_kwargs` and the prompt of the task that differ between runs of a model are part of the context.",
    ),
    apart=by_task,
)


def recognises(path: Path, start: bytes) -> bool:
    """Is this a samples or a results file of the harness, by its name and its first bytes?"""
    if SAMPLES_NAME.fullmatch(path.name):
        return True
    if b'"doc_id"' in start and b'"filtered_resps"' in start:
        return start.lstrip()[:1] in (b"{", b"[")
    return path.suffix == ".json" and re.match(rb'\s*\{\s*"results"\s*:\s*\{(?!\s*"version")', start) is not None


def read(paths: list[Path], primary: str | None, draft: Draft) -> None:
    """Add the documents of every samples file to the draft; `primary` names the metric of the score column.

    Raises InputError where no samples file is given, where one is empty, where the model is not known, and where no
    task has the primary metric asked for.
    """
    samples = [path for path in paths if foreign_files.bare_suffix(path) == ".jsonl"]
    given = [path for path in paths if path not in samples]
    if not samples:
        raise InputError(
            f"{paths[0]} holds averages only: give the samples_*.jsonl files, which lm-eval writes with --log_samples."
        )
    results: dict[Path, Any] = {}
    tasks: dict[str | None, list[tuple[Path, Path | None]]] = {}
    for path in samples:
        draft.sources.append(path)
        beside = _results_path(path, given)
        if beside is not None and beside not in results:
            results[beside] = foreign_files.read_json(beside)
            draft.sources.append(beside)
        tasks.setdefault(_task(path, results.get(beside) if beside else None), []).append((path, beside))
    seen: dict[str, None] = {}
    for task, files in tasks.items():
        read = []
        for path, beside in files:
            said = results.get(beside) if beside else None
            read.append((path, said, _lines(path, beside, _several_filters(said, task), draft)))
        _read_task(task, read, primary, draft, seen)
    if primary and primary not in seen:
        raise InputError(f"No task of these logs has a metric {primary!r}: choose from {', '.join(seen)}.")


def _results_path(samples: Path, given: list[Path]) -> Path | None:
    """The results of the run that wrote these samples: the same time in the name, else the only file that there is."""
    stamp = _group(SAMPLES_NAME, samples, "stamp")
    candidates = dict.fromkeys([*given, *sorted(samples.parent.glob("*.json"))])
    same = [path for path in candidates if stamp and _group(RESULTS_NAME, path, "stamp") == stamp]
    here = [path for path in candidates if path.parent == samples.parent]
    named = [path for path in here if path.name.startswith("results")]
    alone = given if len(given) == 1 else named if len(named) == 1 and not stamp else []
    return next(iter([path for path in same if path in here] or same or alone), None)


def _group(pattern: re.Pattern[str], path: Path, name: str) -> str | None:
    match = pattern.fullmatch(path.name)
    return match[name] if match else None


def _task(path: Path, results: Any) -> str | None:
    """The task of a samples file by its name; older names end in the task, which the results list."""
    task = _group(SAMPLES_NAME, path, "task")
    if task is not None or not isinstance(results, dict) or not isinstance(results.get("results"), dict):
        return task
    stem = path.name.partition(".jsonl")[0]
    known = [name for name in results["results"] if stem == name or stem.endswith(f"_{name}")]
    return max(known, key=len, default=None)


def _read_task(
    task: str | None,
    files: list[tuple[Path, Any, Lines | Columns]],
    asked: str | None,
    draft: Draft,
    seen: dict[str, None],
) -> None:
    """Every run of one task, judged by one metric where they share one."""
    better = [lm_eval_run.lower_is_better(results, task, lines.metrics) for _, results, lines in files]
    usable = [[m for m in lines.metrics if m not in lower] for (*_, lines), lower in zip(files, better, strict=True)]
    shared = [metric for metric in usable[0] if all(metric in other for other in usable)]
    for (path, results, lines), lower, own in zip(files, better, usable, strict=True):
        seen.update(dict.fromkeys(lines.metrics))
        primary = asked if asked in lines.metrics else next(iter(shared or own), None)
        if asked and asked not in lines.metrics and lines.metrics:
            draft.note(f"{path.name} has no metric {asked}: its score is {primary}.")
        if len(files) > 1 and not shared and own and not asked:
            draft.note(f"The runs of task {task} share no metric: the score of {path.name} is {primary}.")
        if lower:
            draft.note(f"{path.name}: lower is better for {', '.join(sorted(lower))}, kept in the outcomes only.")
        for metric, times in lines.not_numbers.items():
            draft.note(
                f"{path.name}: {metric} holds lists or texts in {times} documents, which are kept as labels:"
                f" it gives no score{'' if metric == primary else ', and another metric is taken'}."
            )
        run = lm_eval_run.declared(path, task, results, draft)
        draft.watch("results", run.record["results"])
        lm_eval_rows.write(convert.printable(path), lines, run, primary if primary not in lower else None, draft)


def _lines(path: Path, results: Path | None, several: bool, draft: Draft) -> Lines | Columns:
    """All lines of one file put together into documents; by columns where no document has several lines or texts to keep."""
    written = "".join(foreign_files.sha256(file) for file in (path, results) if file is not None)
    run = hashlib.sha256(written.encode()).hexdigest()[:16]
    before = len(draft.rejected)
    if not several and not draft.privacy.wants_texts:
        try:
            columns = _columns(path, Columns(Lines(run)), draft)
        except OtherFilter:
            del draft.rejected[before:]
        else:
            draft.rejected[before:] = sorted(draft.rejected[before:], key=lambda entry: entry["row"])
            return columns
    gathered, place = Lines(run, draft.privacy.wants_texts), convert.printable(path)
    for number, sample, _ in _sound(path, gathered, draft):
        if not gathered.take(number, sample):
            _repeated(place, number, sample, draft)
    return gathered


def _columns(path: Path, columns: Columns, draft: Draft) -> Columns:
    file = convert.printable(path)
    for number, sample, size in _sound(path, columns.lines, draft):
        for line in columns.take(number, sample, size):
            _repeated(file, *line, draft)
    for line in columns.settle():
        _repeated(file, *line, draft)
    return columns


def _repeated(file: str, number: int, sample: Mapping[str, Any], draft: Draft) -> None:
    name, filter_name = convert.named(sample["doc_id"]), convert.named(sample.get("filter"))
    draft.reject(Place(file, number), "filter_unique", f"doc_id {name} was already seen with filter {filter_name}.")


def _several_filters(results: Any, task: str | None) -> bool:
    """Do the results say that documents of the task were scored under several filters?"""
    scores = dig(results, ("results", task or ""))
    names = {str(name).partition(",")[2] for name in scores} if isinstance(scores, dict) else set()
    return len(names - {""}) > 1


def _sound(path: Path, gathered: Lines, draft: Draft) -> Iterator[tuple[int, dict[str, Any], int]]:
    """The lines that are samples, with number and bytes; the others are set aside."""
    shapes: set[tuple[str, ...]] = set()
    file, count = convert.printable(path), 0
    for number, sample, size in _samples(path, draft):
        count += 1
        if sample is None:
            continue
        said = problem(sample)
        if said:
            draft.reject(Place(file, number), "record_is_sample", said)
            continue
        shape = tuple(sample)
        if count <= WATCHED or shape not in shapes:
            names = gathered.metric_names(sample)
            if not names:
                draft.reject(Place(file, number), "record_is_sample", "The line has no metric.")
                continue
            shapes.add(shape)
            draft.watch("sample", {name: value for name, value in sample.items() if name not in names})
        yield number, sample, size
    if not count:
        raise InputError(f"{path} is empty: lm-eval writes one line for each document with --log_samples.")


def _samples(path: Path, draft: Draft) -> Iterator[tuple[int, Any, int]]:
    """The lines of a file, or the members of the one list that older versions wrote; None for a line that is damaged."""
    if foreign_files.head(path).lstrip()[:1] == b"[":
        whole = foreign_files.read_json(path)
        for number, sample in enumerate(whole if isinstance(whole, list) else [whole], start=1):
            yield number, sample, 0
        return
    for number, line in foreign_files.read_lines(path):
        try:
            yield number, foreign_files.parsed(line), len(line)
        except ValueError as error:
            sentence = f"The line {convert.printable(error)}."
            draft.reject(Place(convert.printable(path), number), "record_readable", sentence)
            yield number, None, 0
