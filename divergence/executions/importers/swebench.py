"""Reports of SWE-bench: the run report `MODEL.RUN.json`, or the single `report.json` of its instances.

One row is one instance of the data set. The report holds lists of ids and nothing else: resolved is 1, unresolved and an
empty patch are 0. An instance whose evaluation ended in an error, or for which no prediction was submitted, has no score:
the official number counts both as failures (resolved / total), and is compared with the rows. An infrastructure failure is
an error as well. Ids that were submitted and are not in the data set are counted in a note.

The model and the run id stand in the file's name only, `org__model` for `org/model`, and settings nowhere: two run ids of
one model are two contexts.

Authority: `swebench/harness/reporting.py` of SWE-bench/SWE-bench, version 5.0, `schema_version` 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from divergence.errors import InputError
from divergence.executions.importers import convert, runs
from divergence.executions.importers.foreign_files import head, read_json
from divergence.executions.importers.format import Format
from divergence.executions.importers.mapping import Draft, Field, Place, dig
from divergence.executions.importers.runs import list_of

RESOLVED, UNRESOLVED, EMPTY = "resolved_ids", "unresolved_ids", "empty_patch_ids"
ERRORS = {"infra_failure_ids": "infra_failure", "error_ids": "error", "incomplete_ids": "incomplete"}
"""Lists of instances that were not judged -> their error; the first that names an instance has it."""
LISTS = (RESOLVED, UNRESOLVED, EMPTY, *ERRORS)

FIELDS = (
    Field("execution_id", "derived.execution_id", convert.text, "hash of the report, with the instance", True),
    Field("model", "file.model", convert.text, "from the file's name", True),
    Field("item", "derived.item", convert.text, "the instance", True),
    Field("score", "derived.score", float, "resolved; null where the evaluation failed or nothing was submitted"),
    Field("scorer", "derived.scorer", convert.text),
    Field("error_type", "derived.error_type", convert.label, "infra_failure, error, incomplete"),
    Field("finish_reason", "derived.finish_reason", convert.label, "empty_patch, where the model gave none"),
    Field("scaffold", "factors.scaffold", convert.label),
)

READS = (
    *(f"report.{name}" for name in (*LISTS, "submitted_ids", "completed_ids", "schema_version")),
    *(f"report.{name.removesuffix('_ids')}_instances" for name in (*LISTS, "submitted_ids", "completed_ids")),
    "report.total_instances",
)
"""Fields read for `derived`, and those that only repeat what is read."""

FORMAT = Format(
    name="swebench",
    title="SWE-bench: run reports and reports of instances",
    versions="4 and 5 (`schema_version` 2)",
    authority="`swebench/harness/reporting.py` of SWE-bench/SWE-bench",
    unit="one instance",
    fields=FIELDS,
    reads=READS,
    notes=("The official score is resolved / total: errors and missing predictions count as failures there, and not here.",),
)


def kind(start: bytes) -> str | None:
    """`run` or `instance`, by the first bytes; None for files of other tools."""
    if start.lstrip()[:1] != b"{":
        return None
    if b'"total_instances"' in start[:2000] and b'"submitted_instances"' in start[:2000]:
        return "run"
    return "instance" if b'"patch_is_None"' in start[:2000] else None


def recognises(path: Path, start: bytes) -> bool:  # noqa: ARG001
    """Is this a report of a run or of an instance, by its first bytes?"""
    return kind(start) is not None


def read(paths: list[Path], primary: str | None, draft: Draft) -> None:  # noqa: ARG001
    """Add the instances of every run report; reports of instances are read where no run report is given."""
    kinds = {path: kind(head(path)) for path in paths}
    whole = [path for path, name in kinds.items() if name != "instance"]
    alone = [path for path, name in kinds.items() if name == "instance"]
    if whole and alone:
        draft.note(f"{len(alone)} reports of single instances are left out: the reports of the runs hold their verdicts.")
    for path in whole:
        _read_run(path, draft)
    for path in () if whole else alone:
        _read_instance(path, draft)


def _named(path: Path) -> tuple[str, str]:
    """Model and run id of a run report, from `MODEL.RUN.json`."""
    model, _, run = path.name.split(".json")[0].rpartition(".")
    return (model or run).replace("__", "/"), run if model else ""


def _read_run(path: Path, draft: Draft) -> None:
    draft.sources.append(path)
    report = read_json(path)
    if not isinstance(report, dict) or not isinstance(report.get(RESOLVED), list):
        raise InputError(f"{path} has no list {RESOLVED}: SWE-bench writes it into the report of a run.")
    model, run = _named(path)
    draft.watch("report", report)
    file = convert.printable(path)
    draft.run_settings(file, {"run": run or path.name})
    prefix = runs.file_identity(path)
    verdicts = _verdicts(report)
    for number, (instance, (score, error, reason)) in enumerate(verdicts.items(), start=1):
        derived = {
            "execution_id": f"{prefix}-{instance}",
            "item": convert.printable(instance),
            "score": score,
            "scorer": "resolved" if score is not None else None,
            "error_type": error,
            "finish_reason": reason,
        }
        draft.add({"file": {"model": convert.printable(model)}, "derived": derived, "factors": {}}, [], Place(file, number))
    errors = [error for _, error, _ in verdicts.values()]
    runs.failures(draft, path.name, errors, len(errors), "The official score counts them as failures; here they have none.")
    outside = [name for name in list_of(report.get("submitted_ids")) if isinstance(name, str) and name not in verdicts]
    if outside:
        draft.note(f"{path.name}: {len(outside)} submitted instances are not in the data set, and have no row.")
    total, resolved = report.get("total_instances"), report.get("resolved_instances")
    draft.claim("instances", total, {"file": file}, "count")
    draft.claim("score", resolved, {"file": file}, "sum")
    if isinstance(total, int) and isinstance(resolved, int) and total > 0:
        draft.claim("score", resolved / total, {"file": file})


def _verdicts(report: Mapping[str, Any]) -> dict[str, tuple[float | None, str | None, str | None]]:
    """Instance -> score, error, finish reason."""
    found: dict[str, tuple[float | None, str | None, str | None]] = {}
    for name, error in ERRORS.items():
        found |= {i: (None, error, None) for i in list_of(report.get(name)) if isinstance(i, str) and i not in found}
    for name, score, reason in ((EMPTY, 0.0, "empty_patch"), (UNRESOLVED, 0.0, None), (RESOLVED, 1.0, None)):
        found |= {i: (score, None, reason) for i in list_of(report.get(name)) if isinstance(i, str) and i not in found}
    return dict(sorted(found.items()))


def _read_instance(path: Path, draft: Draft) -> None:
    """A report of one instance, whose folders are RUN/MODEL/INSTANCE."""
    draft.sources.append(path)
    report = read_json(path)
    file = convert.printable(path)
    run, model = path.parents[2].name if len(path.parents) > 2 else "", path.parents[1].name
    folder = convert.printable(path.parents[1])
    draft.run_settings(folder, {"run": run})
    for instance, verdict in report.items() if isinstance(report, dict) else ():
        resolved = dig(verdict, "resolved")
        if not isinstance(resolved, bool):
            draft.reject(Place(file, 1), "record_is_verdict", "The report does not say whether the instance was resolved.")
            continue
        derived = {
            "execution_id": convert.printable(f"{run}/{model}/{instance}"),
            "item": convert.printable(instance),
            "score": float(resolved),
            "scorer": "resolved",
            "finish_reason": "empty_patch" if dig(verdict, "patch_exists") is False else None,
        }
        record = {"file": {"model": convert.printable(model.replace("__", "/"))}, "derived": derived, "factors": {}}
        draft.add(record, [], Place(folder, 1))
