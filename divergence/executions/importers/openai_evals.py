"""Records of OpenAI evals (`oaieval --record_path`): JSON lines of a spec, a final report and events.

One row is one sample. `sampling` (what the model said and took) and `match` or `metrics` (how it was judged) are joined by
`sample_id`: events are in order of completion, and neighbours need not belong together. A sample judged several times is
as many rows. The sampler's settings stand nowhere in the file; they hide behind the name of the completion function, which
is therefore a run setting. The event `error` is an error of the harness.

Authority: `evals/record.py` and `evals/cli/oaieval.py` of openai/evals, version 3.0.1.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from divergence.errors import InputError
from divergence.executions.importers import convert, factors, runs
from divergence.executions.importers.foreign_files import parsed, read_lines
from divergence.executions.importers.format import Format
from divergence.executions.importers.groups import by_file
from divergence.executions.importers.mapping import Draft, Field, Outcome, Place, dig
from divergence.executions.importers.runs import Run, list_of, mapping_of, text_of
from divergence.executions.schema import SERVING_FACTORS

JUDGING = ("match", "metrics")
SKIPPED = ("command", "samples_jsonl", "registry_path", "key", "group", "max_samples", "initial_settings")

FIELDS = (
    Field("execution_id", "derived.execution_id", convert.text, "run and sample", True),
    Field("model", "derived.model", convert.text, "of the sampling events, else the completion function", True),
    Field("item", "event.sample_id", convert.text, "", True),
    Field("task", "spec.eval_name", convert.text),
    Field("trial", "derived.trial", convert.count, "counts the judgements of one item in one context"),
    Field("score", "derived.score", float, "`correct`, or the metric asked for"),
    Field("scorer", "derived.scorer", convert.text),
    Field("answer", "event.data.picked", convert.label, "", False, ("event.data.sampled",)),
    Field("gold", "event.data.expected", convert.only_label),
    Field("time", "event.created_at", convert.moment, "end of the sample"),
    Field("input_tokens", "derived.input_tokens", convert.count),
    Field("output_tokens", "derived.output_tokens", convert.count),
    Field("error_type", "derived.error_type", convert.label),
    *(Field(factor, f"factors.{factor}", convert.label) for factor in (*SERVING_FACTORS, "context", "wave")),
)

READS = (
    *("spec.completion_fns", "spec.run_config", "spec.run_id", "spec.base_eval", "spec.split", "event.run_id"),
    *("event.event_id", "event.type", "event.data.correct", "event.data.model", "event.data.usage"),
)
"""Fields read for `derived` and `factors`, and those that only repeat what is read."""

FORMAT = Format(
    name="openai-evals",
    title="OpenAI evals: records of `oaieval`",
    versions="3.0.1",
    authority="`evals/record.py` of openai/evals",
    unit="one judgement of one sample",
    fields=FIELDS,
    reads=READS,
    apart=by_file,
)


@dataclasses.dataclass
class SampleEvents:
    """The events of one sample."""

    samplings: list[Mapping[str, Any]] = dataclasses.field(default_factory=list)
    """What the model said and took."""
    judgements: list[tuple[int, Mapping[str, Any]]] = dataclasses.field(default_factory=list)
    """Line and event of every judgement."""
    errors: list[tuple[int, Mapping[str, Any]]] = dataclasses.field(default_factory=list)
    """Line and event of every error."""


def recognises(path: Path, start: bytes) -> bool:  # noqa: ARG001
    """Is this a record of `oaieval`, by its first line?"""
    line = start.split(b"\n", 1)[0]
    return start[:1] == b"{" and b'"spec"' in line[:40] and b'"completion_fns"' in line


def read(paths: list[Path], primary: str | None, draft: Draft) -> None:
    """Add the samples of every record; `primary` names the metric of the score column.

    Raises InputError where a file has no spec, and where no record has the metric asked for.
    """
    seen: set[str] = set()
    trials = runs.Trials(draft)
    for path in paths:
        draft.sources.append(path)
        seen |= _read_record(path, primary, trials, draft)
    if primary and seen and primary not in seen:
        raise InputError(f"No record has a metric {primary!r}: choose from {', '.join(sorted(seen))}.")


def _events(path: Path, draft: Draft) -> tuple[Mapping[str, Any], Mapping[str, Any], dict[str, SampleEvents]]:
    """Spec, final report, and the events by sample."""
    spec: Mapping[str, Any] = {}
    report: Mapping[str, Any] = {}
    samples: dict[str, SampleEvents] = {}
    for number, line in read_lines(path):
        place = Place(convert.printable(path), number)
        try:
            event = parsed(line)
        except ValueError as error:
            draft.reject(place, "record_readable", f"The line {convert.printable(error)}.")
            continue
        spec = mapping_of(dig(event, "spec")) or spec
        report = mapping_of(dig(event, "final_report")) or report
        identity, kind = dig(event, "sample_id"), dig(event, "type")
        if not isinstance(identity, str) or not isinstance(dig(event, "data"), dict):
            if kind is not None:
                draft.reject(place, "record_is_event", "The event has no sample_id with data.")
            continue
        sample = samples.setdefault(identity, SampleEvents())
        if kind == "sampling":
            sample.samplings.append(event["data"])
        elif kind in JUDGING:
            sample.judgements.append((number, event))
            draft.watch("event", event)
        elif kind == "error":
            sample.errors.append((number, event))
    if not spec:
        raise InputError(f"{path} has no spec: oaieval writes it into the first line of a record.")
    return spec, report, samples


def _read_record(path: Path, asked: str | None, trials: runs.Trials, draft: Draft) -> set[str]:
    spec, report, samples = _events(path, draft)
    functions = [name for name in list_of(spec.get("completion_fns")) if isinstance(name, str)]
    models = {name for s in samples.values() for data in s.samplings if (name := text_of(data.get("model")))}
    judged = [_outcomes(event["data"]) for sample in samples.values() for _, event in sample.judgements]
    found = list(dict.fromkeys(o.metric for outcomes in judged for o in outcomes))
    primary = asked if asked in found else next(iter(found), None)
    settings = runs.flat(spec.get("run_config"), SKIPPED) | {"completion_fns": ",".join(functions)}
    draft.run_settings(convert.printable(path), settings)
    stated = factors.serving_factors(dig(spec, "run_config.eval_spec.args"))
    model = next(iter(models)) if len(models) == 1 else functions[0] if functions else None
    run = Run(path.name, model, stated, settings)
    errors: list[str | None] = []
    for identity, sample in samples.items():
        events = sample.judgements or sample.errors or [(0, {"sample_id": identity, "data": {}})]
        for place, (number, event) in enumerate(events):
            outcomes = _outcomes(event["data"]) if sample.judgements else []
            score = next((o for o in outcomes if o.metric == primary), None)
            error = None if sample.judgements else text_of(dig(event, "data.type")) or "error"
            derived = {
                "execution_id": f"{spec.get('run_id') or runs.file_identity(path)}-{identity}" + (f"-{place}" * bool(place)),
                "model": model,
                "trial": trials.next(run, identity),
                "score": score.value if score else None,
                "scorer": score.metric if score else None,
                "error_type": convert.printable(error) if error else None,
                **(_usage(sample.samplings) if len(events) == 1 else {}),
            }
            errors.append(derived["error_type"])
            record = {"event": {**event, "sample_id": identity}, "spec": spec, "factors": stated, "derived": derived}
            draft.add(record, outcomes, Place(convert.printable(path), number))
    runs.failures(draft, path.name, errors, len(errors))
    draft.watch("spec", spec)
    scope = {"file": convert.printable(path)}
    draft.claim("correct", report.get("accuracy"), scope)
    draft.claim("input_tokens", report.get("usage_prompt_tokens"), scope, "sum")
    draft.claim("output_tokens", report.get("usage_completion_tokens"), scope, "sum")
    return set(found)


def _outcomes(data: Mapping[str, Any]) -> list[Outcome]:
    """`correct` of a match; every finite number of other judgements."""
    if isinstance(data.get("correct"), bool):
        return [Outcome("correct", float(data["correct"]), None, None)]
    numbers = {name: runs.finite(value, truth=True) for name, value in data.items()}
    return [Outcome(convert.printable(name), value, None, None) for name, value in numbers.items() if value is not None]


def _usage(samplings: list[Mapping[str, Any]]) -> dict[str, int | None]:
    """Tokens of all samplings of a sample; None where one of them says nothing."""
    total: dict[str, int | None] = {}
    for column, name in (("input_tokens", "prompt_tokens"), ("output_tokens", "completion_tokens")):
        values = [dig(data, f"usage.{name}") for data in samplings]
        counts = [value for value in values if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53]
        total[column] = sum(counts) if counts and len(counts) == len(values) else None
    return total
