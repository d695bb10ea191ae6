"""Load tests of AIPerf: `profile_export.jsonl`, joined with `accuracy_export.jsonl` where a benchmark was graded.

One row is one request of the profiled phase. The two files join on `x_request_id`, which makes quality under load: the
outcome `requests_in_flight` counts the requests of the run that were in flight when this one was sent. The model, the
settings and the averages stand in `profile_export_aiperf.json` beside them.

AIPerf grades a request that failed as a wrong answer; here it is an error without a score, and a note says what the
tool makes of it. An empty answer is an error of AIPerf's own, without a status code. The item is the conversation's name
within its dataset: runs pair where dataset and seed agree, so both stand in the item as a hash.

Authority: `src/aiperf/common/models/record_models.py` and `export_models.py` of ai-dynamo/aiperf, version 0.13, and the
names of version 0.1 (`ttft`, `timestamp_ns`, `credit_phase`, averages below `records`). Times are nanoseconds or
milliseconds, as each metric's `unit` says.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from divergence.errors import InputError
from divergence.executions.importers import convert, factors, runs
from divergence.executions.importers.foreign_files import head, parsed, read_json, read_lines
from divergence.executions.importers.format import Format
from divergence.executions.importers.groups import by_folder
from divergence.executions.importers.mapping import Draft, Field, Outcome, Place, dig
from divergence.executions.importers.runs import Run, mapping_of, text_of
from divergence.executions.quoted import quoted
from divergence.executions.schema import SERVING_FACTORS

SECONDS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "sec": 1.0, "seconds": 1.0}
SIZES = ("requests", "request_count", "entries", "sessions", "duration", "num", "benchmark_duration")
SKIPPED = ("artifacts", "models", "model_names", "urls", "url", "extra", "concurrency", "ui", "cli_command", "output")
NULL_ANSWER = "[invalid]"  # AIPerf's mark for an answer in which it found nothing to grade


def seconds(value: Any) -> float | None:
    """A metric with its unit, in seconds; a metric that is a list (one value a chunk) is none of one request."""
    number, unit = (value.get("value"), value.get("unit")) if isinstance(value, dict) else (None, None)
    if isinstance(number, list):
        return None
    if not isinstance(unit, str) or unit not in SECONDS:
        raise ValueError(f"has no unit of time: {quoted(unit)}")
    return convert.amount(number) * SECONDS[unit]


def number(value: Any) -> int:
    """A metric that counts."""
    return convert.count(value.get("value") if isinstance(value, dict) else None)


def nanoseconds(value: Any) -> datetime.datetime:
    """An instant in nanoseconds since 1970, kept to the microsecond."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise ValueError(f"is not an instant in nanoseconds: {quoted(value)}")
    return datetime.datetime.fromtimestamp(0, datetime.UTC) + datetime.timedelta(microseconds=value // 1000)


FIELDS = (
    Field("execution_id", "metadata.x_request_id", convert.text, "made anew in every run", True),
    Field("model", "run.model", convert.text, "of the averages file beside the requests", True),
    Field("item", "derived.item", convert.text, "task, hash of dataset and seed, conversation, turn", True),
    Field("task", "derived.task", convert.text, "the graded benchmark, else the kind of dataset"),
    Field("trial", "derived.trial", convert.count, "counts the runs of one item in one context, in the order read"),
    Field("score", "derived.score", float, "`passed` of the grader; null where the request failed"),
    Field("scorer", "accuracy.grader_name", convert.text),
    Field("answer", "derived.answer", convert.label, "the answer that the grader found in the output"),
    Field("gold", "accuracy.expected", convert.label),
    Field("session", "derived.session", convert.text, "of datasets with several turns"),
    Field("turn", "derived.turn", convert.count, "of datasets with several turns"),
    Field("time", "metadata.request_start_ns", nanoseconds, unit="ns", aliases=("metadata.timestamp_ns",)),
    Field("latency_s", "metrics.request_latency", seconds, unit="as stated"),
    Field("ttft_s", "metrics.time_to_first_token", seconds, aliases=("metrics.ttft",)),
    Field("tpot_s", "metrics.inter_token_latency", seconds, "mean over the tokens after the first"),
    Field("input_tokens", "metrics.usage_prompt_tokens", number, "as the server counted"),
    Field("input_tokens", "metrics.input_sequence_length", number, "as the client's tokenizer counts"),
    Field("output_tokens", "metrics.usage_completion_tokens", number, "as the server counted"),
    Field("output_tokens", "metrics.output_sequence_length", number, "as the client counts, reasoning included"),
    Field("cached_tokens", "metrics.usage_prompt_cache_read_tokens", number),
    Field("reasoning_tokens", "metrics.usage_reasoning_tokens", number, "as the server counted"),
    Field("reasoning_tokens", "metrics.reasoning_token_count", number, "as the client counts"),
    Field("error_type", "derived.error_type", convert.label, "http_429 and the like, else the kind of error"),
    *(Field(factor, f"factors.{factor}", convert.label) for factor in (*SERVING_FACTORS, "context", "wave")),
)

READS = (
    *(f"metadata.{name}" for name in ("conversation_id", "session_num", "turn_index", "request_end_ns", "was_cancelled")),
    *(f"metadata.{name}" for name in ("benchmark_phase", "credit_phase", "phase_name", "phase_kind")),
    *(f"accuracy.{name}" for name in ("x_request_id", "conversation_id", "session_num", "passed", "task", "actual")),
    *("accuracy.benchmark_phase", "accuracy.timestamp_ns", "accuracy.model_output"),
)
"""Fields read for `derived` and `factors`, and those that only repeat what is read."""

FORMAT = Format(
    name="aiperf",
    title="AIPerf: `profile_export.jsonl`, joined with `accuracy_export.jsonl`",
    versions="0.1 to 0.13",
    authority="`src/aiperf/common/models/record_models.py` and `export_models.py` of ai-dynamo/aiperf",
    unit="one request of the profiled phase",
    fields=FIELDS,
    reads=READS,
    notes=(
        "Requests and grades join on `x_request_id`: quality under load. Outcome `requests_in_flight`: the other requests"
        " of the run in flight when this one was sent.",
        "AIPerf's accuracy counts a request that failed as a wrong answer; here it has no score.",
    ),
    apart=by_folder,
)

REQUESTS, GRADES, AVERAGES = "requests", "grades", "averages"


def kind(start: bytes) -> str | None:
    """What a file of AIPerf holds, by its first bytes; None for files of other tools."""
    line = start.split(b"\n", 1)[0]
    if start[:1] == b"{" and b'"x_request_id"' in line:
        if b'"metadata"' in line and b'"metrics"' in line:
            return REQUESTS
        if b'"passed"' in line and b'"grader_name"' in line:
            return GRADES
    if start[:1] == b"{" and (b'"aiperf_version"' in start[:512] or (b'"records"' in start[:64] and b'"tag"' in start)):
        return AVERAGES
    return None


def recognises(path: Path, start: bytes) -> bool:  # noqa: ARG001
    """Is this a file of AIPerf, by its first bytes?"""
    return kind(start) is not None


def read(paths: list[Path], primary: str | None, draft: Draft) -> None:  # noqa: ARG001
    """Add the requests of every run to the draft. Raises InputError where no file of requests is given or beside."""
    folders: dict[Path, None] = dict.fromkeys(path.parent for path in paths)
    given = {path.resolve() for path in paths}
    loaded = []
    for folder in folders:
        found = _found([path for path in paths if path.parent == folder], folder, given)
        grades = _grades(found[GRADES], draft)
        for path in found[REQUESTS]:
            averages = _beside(path, found[AVERAGES])
            loaded.append((path, averages, grades, _run(path, averages, draft)))
    if not loaded:
        raise InputError(f"{paths[0]} has no profile_export.jsonl beside it: that file holds the single requests.")
    trials = runs.Trials(draft)
    for path, averages, grades, run in loaded:
        _read_run(path, averages, grades, run, trials, draft)


def _found(given: list[Path], folder: Path, every: set[Path]) -> dict[str, list[Path]]:
    """The given files of one folder by kind, and those beside them of kinds of which none was given."""
    found: dict[str, list[Path]] = {REQUESTS: [], GRADES: [], AVERAGES: []}
    for path in given:
        name = kind(head(path))
        if name:
            found[name].append(path)
    beside = [path for path in sorted(folder.glob("*.json*")) if path.is_file() and path.resolve() not in every]
    for name in [name for name, files in found.items() if not files]:
        found[name] = [path for path in beside if kind(head(path)) == name]
    return found


def _beside(path: Path, averages: list[Path]) -> Any:
    """The averages of the run that wrote these requests: the same start of the name, else the only ones there are."""
    stem = path.name.split(".")[0]
    same = [candidate for candidate in averages if candidate.name.startswith(stem)] or averages
    return (same[0], read_json(same[0])) if len(same) == 1 else None


def _grades(files: list[Path], draft: Draft) -> dict[str, Mapping[str, Any]]:
    grades: dict[str, Mapping[str, Any]] = {}
    for path in files:
        draft.sources.append(path)
        for row, line in read_lines(path):
            place = Place(convert.printable(path), row)
            try:
                grade = parsed(line)
            except ValueError as error:
                draft.reject(place, "record_readable", f"The line {convert.printable(error)}.")
                continue
            identity = dig(grade, "x_request_id")
            if not isinstance(identity, str) or not isinstance(dig(grade, "passed"), bool):
                draft.reject(place, "record_is_grade", "The line has no x_request_id with `passed` true or false.")
            else:
                grades[identity] = grade
                draft.watch("accuracy", grade)
    return grades


def _run(path: Path, averages: tuple[Path, Any] | None, draft: Draft) -> Run:
    log = averages[1] if averages else None
    draft.sources += [path] + ([averages[0]] if averages and averages[0] not in draft.sources else [])
    configuration = mapping_of(dig(log, "input_config"))
    endpoint = mapping_of(configuration.get("endpoint"))
    named = [dig(model, "name") for model in runs.list_of(dig(configuration, "models.items"))]
    named += runs.list_of(endpoint.get("model_names"))
    models = [name for name in named if isinstance(name, str) and name]
    if len(set(models)) != 1 and "model" not in draft.constants:
        what = f"names {len(set(models))} models" if averages else "has no averages file beside it that names the model"
        raise InputError(f"{path} {what}: give the one that answered with --set model=NAME.")
    if not averages:
        draft.note(f"{path.name} comes without its *_aiperf.json: settings and averages are not known.")
    addresses = [*runs.list_of(endpoint.get("urls")), endpoint.get("url")]
    stated = {
        **factors.serving_factors(endpoint.get("extra"), configuration),
        "concurrency": _concurrency(configuration),
        "sampler": factors.sampler_label(endpoint.get("extra")),
        "router": next((h for h in map(runs.host, addresses) if h), None),
    }
    flat = runs.flat(configuration, (*SKIPPED, *SIZES)) | runs.flat(endpoint.get("extra"), factors.SAMPLER_NAMES, "extra.")
    seed = dig(log, "run_info.random_seed")
    flat |= {} if seed is None else {"random_seed": convert.named(seed)}
    kept = {name: convert.printable(value) for name, value in stated.items() if value is not None}
    draft.run_settings(convert.printable(path), flat)
    return Run(convert.printable(path), models[0] if models else None, kept, flat)


def _concurrency(configuration: Mapping[str, Any]) -> str | None:
    phases = [phase for phase in runs.list_of(configuration.get("phases")) if dig(phase, "kind") != "warmup"]
    found = [dig(phase, "concurrency") for phase in phases] + [dig(configuration, "loadgen.concurrency")]
    return next((str(value) for value in found if isinstance(value, int) and not isinstance(value, bool)), None)


def _dataset(averages: tuple[Path, Any] | None) -> tuple[str | None, str]:
    """The kind of dataset, and a hash of all that decides which item a conversation's name means."""
    log = averages[1] if averages else None
    datasets = runs.list_of(dig(log, "input_config.datasets"))
    said = [datasets, dig(log, "input_config.input"), dig(log, "input_config.accuracy"), dig(log, "run_info.random_seed")]
    kinds = [dig(dataset, "type") for dataset in datasets]
    text = json.dumps(runs.flat({"all": said[0], "old": said[1], "graded": said[2], "seed": said[3]}, SIZES), sort_keys=True)
    named = next((name for name in kinds if isinstance(name, str) and name), None)
    return named, hashlib.sha256(convert.printable(text).encode()).hexdigest()[:6]


def _read_run(
    path: Path,
    averages: tuple[Path, Any] | None,
    grades: Mapping[str, Mapping[str, Any]],
    run: Run,
    trials: runs.Trials,
    draft: Draft,
) -> None:
    records = _records(path, draft)
    flights = _flights([record for _, record in records])
    several = any(record["metadata"].get("turn_index") not in (None, 0) for _, record in records)
    dataset, identity = _dataset(averages)
    errors, graded = [], []
    shared = draft.shared({"run": {"model": run.model}, "factors": run.factors})
    for (place, record), flight in zip(records, flights, strict=True):
        grade = grades.get(str(record["metadata"].get("x_request_id"))) if grades else None
        derived = _derived(record, grade, several, dataset, identity)
        derived["trial"] = trials.next(run, derived["item"])
        errors.append(derived["error_type"])
        graded.append(grade and grade["passed"])
        outcomes = [] if flight is None else [Outcome("requests_in_flight", float(flight), None, None)]
        if derived["score"] is not None:
            grader = text_of(dig(grade, "grader_name"))
            outcomes.insert(0, Outcome("passed", derived["score"], None, convert.printable(grader) if grader else None))
        whole = {**record, "accuracy": grade, "derived": derived, "run": {"model": run.model}}
        draft.add(whole, outcomes, place, shared)
    wrong = sum(bool(error) and passed is False for error, passed in zip(errors, graded, strict=True))
    counted = f"AIPerf counts {wrong} of them as wrong answers; here they have no score." if wrong else ""
    runs.failures(draft, path.name, errors, len(records), counted)
    _claim(path, averages, draft)


def _records(path: Path, draft: Draft) -> list[tuple[Place, dict[str, Any]]]:
    records, lines, file = [], 0, convert.printable(path)
    for row, line in read_lines(path):
        lines += 1
        place = Place(file, row)
        try:
            record = parsed(line)
        except ValueError as error:
            draft.reject(place, "record_readable", f"The line {convert.printable(error)}.")
            continue
        if not isinstance(record, dict) or not isinstance(record.get("metadata"), dict):
            draft.reject(place, "record_is_request", "The line has no `metadata` of a request.")
            continue
        phase = record["metadata"].get("benchmark_phase") or record["metadata"].get("credit_phase")
        if phase == "warmup":
            draft.reject(place, "phase_profiled", "The request belongs to the warm-up phase.")
            continue
        draft.watch("metadata", record["metadata"])
        draft.watch("metrics", record.get("metrics"))
        records.append(
            (place, {"metadata": record["metadata"], "metrics": record.get("metrics"), "error": record.get("error")})
        )
    if not lines:
        raise InputError(f"{path} is empty: AIPerf writes one line a request into profile_export.jsonl.")
    return records


def _derived(record: dict[str, Any], grade: Any, several: bool, dataset: str | None, identity: str) -> dict[str, Any]:
    metadata = record["metadata"]
    conversation = metadata.get("conversation_id") or metadata.get("session_num")
    turn = metadata.get("turn_index") if several else None
    grade = mapping_of(grade)
    task = text_of(grade.get("task")) or dataset
    parts = [f"{task or 'requests'}-{identity}", *(str(part) for part in (conversation, turn) if part is not None)]
    error = _error(record)
    passed, answer = grade.get("passed"), grade.get("actual")
    return {
        "item": convert.printable("/".join(parts)) if conversation is not None else None,
        "task": convert.printable(task) if task else None,
        "score": float(passed) if isinstance(passed, bool) and not error else None,
        "answer": None if answer == NULL_ANSWER else answer,
        "session": conversation if several else None,
        "turn": turn,
        "error_type": error,
    }


def _error(record: dict[str, Any]) -> str | None:
    error = record.get("error")
    code, named = mapping_of(error).get("code"), text_of(mapping_of(error).get("type"))
    if isinstance(code, int) and not isinstance(code, bool) and named != "RequestCancellationError":
        return f"http_{code}"
    if error or record["metadata"].get("was_cancelled") is True:
        return convert.printable(named) if named else "RequestCancellationError" if not error else "error"
    return None


def _flights(records: list[dict[str, Any]]) -> list[int | None]:
    """For every request, how many others of the run were in flight when it was sent; None without its times."""
    spans = []
    for record in records:
        metadata = record["metadata"]
        start = metadata.get("request_start_ns")
        start = metadata.get("timestamp_ns") if start is None else start
        latency = mapping_of(record["metrics"]).get("request_latency")
        spans.append(_span(start, metadata.get("request_end_ns"), latency))
    return runs.in_flight(spans)


def _span(start: Any, end: Any, latency: Any) -> tuple[int, int] | None:
    """Start and end in nanoseconds; the end is the latency's where the log has none."""
    try:
        nanoseconds(start)
        taken = seconds(latency) if end is None else None
        last = end if taken is None else start + int(taken * 1e9)
    except (ValueError, OverflowError):
        return None
    return (start, last) if isinstance(last, int) and not isinstance(last, bool) and last >= start else None


def _claim(path: Path, averages: tuple[Path, Any] | None, draft: Draft) -> None:
    """State the log's own averages."""
    log, scope = averages[1] if averages else None, {"file": convert.printable(path)}
    latency = dig(log, "request_latency") or dig(log, "records.request_latency")
    with contextlib.suppress(ValueError):  # a log without averages claims nothing
        draft.claim("latency_s", seconds({"value": dig(latency, "avg"), "unit": dig(latency, "unit")}), scope)
    overall = mapping_of(log).get("accuracy.overall")
    size, right = runs.finite(dig(overall, "count")), runs.finite(dig(overall, "sum"))
    if size is not None and right is not None and size > 0:
        draft.claim("passed", right, scope, "sum")
        draft.claim("passed", right / size, scope)
