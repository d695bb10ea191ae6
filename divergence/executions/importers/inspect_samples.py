"""What a row needs from one Inspect sample that stands in no single field of it: outcomes, usage, counts, errors.

Scores follow Inspect's `value_to_float`: C, I, P and N are 1, 0, 0.5 and 0, words such as yes and false are 1 and 0,
numbers are themselves. Where that function falls back to 0, with a warning, the value here is not judged. NaN is how
Inspect marks a sample that its scorer could not judge.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from divergence.executions.importers import convert
from divergence.executions.importers.mapping import Draft, Outcome, dig

WORDS = {"C": 1.0, "I": 0.0, "P": 0.5, "N": 0.0, "yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
STOP_REASONS = {"max_tokens": "length", "model_length": "length"}  # the others have the canonical names already
USAGE = (
    "input_tokens",
    "output_tokens",
    "input_tokens_cache_read",
    "input_tokens_cache_write",
    "reasoning_tokens",
    "total_tokens",
    "total_cost",
)
SCORING = ("scorer", "scorers")  # kinds of span, and of step in older logs, in which judges work
GRADE = re.compile(r"[A-Z][+-]?")  # one letter as a grade: Inspect's own, or those of a school
SUMMARY_TEXT = 1000  # characters: summaries cut answers a little above this
EXCEPTION = re.compile(r"^(?:[A-Za-z_]\w*\.)*([A-Za-z_]\w*)(?::|$)")
WRITTEN_OUT = re.compile(r"(?:[A-Za-z_]\w*\.)*([A-Za-z_]\w*)\(")  # an exception as Python writes it: ValueError('...')


def outcomes(sample: Mapping[str, Any], header: Mapping[str, Any], draft: Draft) -> list[Outcome]:
    """Every judgement of one sample: one per scorer, per key of a scorer's dictionary, per place of its list."""
    found = []
    for scorer, score in _scores(sample, header).items():
        name, value = convert.printable(scorer), dig(score, "value")
        if isinstance(value, dict):
            parts = {f"{name}.{convert.printable(key)}": part for key, part in value.items()}
        elif isinstance(value, list):
            parts = {f"{name}.{place}": part for place, part in enumerate(value)}
        else:
            parts = {name: value}
        for metric, part in parts.items():
            number, label = _judged(part)
            if number is not None and math.isnan(number):
                draft.count(f"{metric} gave NaN, Inspect's mark for what could not be judged")
            elif number is not None or label is not None:
                found.append(Outcome(metric, number, label, name))
            if number is None and label is not None:
                draft.count(f"{metric} gave a value that is no number: it is kept as a label, and is not a score")
    return found


def without_grades(found: list[list[Outcome]], name: str, draft: Draft) -> None:
    """Take the numbers from every metric whose words are grades of another scale: there a C is no correct answer."""
    words: dict[str, set[str]] = {}
    for outcome in (o for outcomes in found for o in outcomes):
        if outcome.label is not None and GRADE.fullmatch(outcome.label):
            words.setdefault(outcome.metric, set()).add(outcome.label)
    scales = {metric: sorted(seen) for metric, seen in words.items() if not seen <= set(WORDS)}
    for metric, seen in scales.items():
        draft.note(f"{name}: {metric} gives the grades {', '.join(seen)}, which are not Inspect's C, I, P, N: no score.")
    for outcomes in found if scales else ():
        outcomes[:] = [
            dataclasses.replace(o, value=None) if o.metric in scales and o.label is not None else o for o in outcomes
        ]


def _scores(sample: Mapping[str, Any], header: Mapping[str, Any]) -> Mapping[str, Any]:
    scores = sample.get("scores")
    if isinstance(scores, dict):
        return scores
    single = sample.get("score")  # log version 1: one scorer, named in the results
    return {str(dig(header, "results.scorer.name") or "score"): single} if isinstance(single, dict) else {}


def _judged(value: Any) -> tuple[float | None, str | None]:
    if value is None:
        return None, None
    if isinstance(value, int | float):
        try:
            return float(value), None
        except OverflowError:
            return math.inf, None
    if not isinstance(value, str):
        return None, convert.compact(value)
    written = convert.label(convert.printable(value))
    number = WORDS.get(value, WORDS.get(value.lower()) if len(value) > 1 else None)
    return (convert.finite_number(value) if number is None else number), written


def primary_metric(found: list[list[Outcome]], header: Mapping[str, Any], asked: str | None) -> str | None:
    """The metric of the score column: the one asked for, else of the first scorer in the order that the log declares.

    A scorer that gave several values stands for its first. None where nothing was judged.
    """
    declared = [*_list(dig(header, "eval.scorers")), *_list(dig(header, "results.scores"))]
    every = {o.metric: o for outcomes in found for o in outcomes}
    order = [asked, *(dig(scorer, "name") for scorer in declared)]
    named = (o.metric for name in order for o in every.values() if name in (o.scorer, o.metric))
    return next(named, next(iter(every), None))


def derived(sample: Mapping[str, Any], header: Mapping[str, Any], summary: bool) -> dict[str, Any]:
    """The `derived` part of a record but for the score; see `FIELDS` in `inspect_ai` for what becomes of it."""
    events = _list(sample.get("events"))
    calls = list(_model_calls(events))
    return {
        "execution_id": sample.get("uuid") or _identity(sample, header),
        "item": _item(sample.get("id"), dig(header, "eval.task")),
        "first_event": dig(events[0], "timestamp") if events else None,
        "usage": _usage(sample, calls),
        "retries": sum(_integer(dig(call, "retries")) for call, judge in calls if not judge) if calls else None,
        "attempts": _attempts(sample),
        "calls": sum(not judge for _, judge in calls) if calls else None,
        "tool_calls": _tool_calls(sample.get("messages")),
        "error_type": _error_type(sample),
        "finish_reason": _finish_reason(sample),
        "answers": dict(_answers(sample, header, summary)),
    }


def judgement(found: list[Outcome], answers: Mapping[str, str], primary: str | None) -> dict[str, Any]:
    """Score, scorer and answer of one sample under the primary metric of its log; `infinite` marks a broken score."""
    score = next((o for o in found if o.metric == primary), None)
    value = score.value if score else None
    scorer = score.scorer if score else next((name for name in answers if name == primary), None)
    finite = value is not None and math.isfinite(value)
    return {
        "score": value if finite else None,
        "infinite": value is not None and not finite,
        "scorer": primary,
        "answer": answers.get(scorer) if scorer else None,
    }


def _answers(sample: Mapping[str, Any], header: Mapping[str, Any], summary: bool) -> Iterator[tuple[str, str]]:
    for scorer, score in _scores(sample, header).items():
        answer = dig(score, "answer")
        if isinstance(answer, str) and not (summary and len(answer) >= SUMMARY_TEXT):
            label = convert.verbatim(convert.printable(answer))
            if label is not None:
                yield convert.printable(scorer), label


def _identity(sample: Mapping[str, Any], header: Mapping[str, Any]) -> str:
    run = [dig(header, f"eval.{name}") for name in ("run_id", "task_id", "created")]
    return hashlib.sha256(repr([*run, sample.get("id"), sample.get("epoch")]).encode(errors="replace")).hexdigest()[:22]


def _item(identity: Any, task: Any) -> Any:
    numbered = isinstance(identity, int) and not isinstance(identity, bool)
    return f"{task}/{identity}" if numbered and isinstance(task, str) else identity


def _model_calls(events: list[Any]) -> Iterator[tuple[Any, bool]]:
    """Every model event, and whether it was a judge's: inside the span (or, in older logs, the step) of a scorer."""
    judging: set[Any] = set()
    depth = 0
    for event in events:
        if type(event) is not dict:
            continue
        kind = event.get("event")
        if kind == "model":
            yield event, depth > 0 or _key(event.get("span_id")) in judging
        elif kind == "span_begin":
            if event.get("type") in SCORING or _key(event.get("parent_id")) in judging:
                judging.add(_key(event.get("id")))
        elif kind == "step" and event.get("type") in SCORING:
            depth = max(0, depth + (1 if event.get("action") == "begin" else -1))


def _key(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _usage(sample: Mapping[str, Any], calls: list[tuple[Any, bool]]) -> dict[str, float]:
    """Tokens and cost of a sample without its judges, over all models that worked on it."""
    total = _summed(_values(sample.get("model_usage")))
    if not total:
        return _with_cache(
            _summed(dig(call, "output.usage") for call, judge in calls if not judge)
            or _summed([dig(sample, "output.usage")])
        )
    judges = _summed(dig(call, "output.usage") for call, judge in calls if judge)
    if not calls:
        judges = _summed([dig(sample, "role_usage.grader")])
    return _with_cache({name: max(0, value - judges.get(name, 0)) for name, value in total.items()})


def _with_cache(usage: dict[str, float]) -> dict[str, float]:
    # Some providers count cached input beside `input_tokens`, some within it; the total tells which.
    cached = usage.get("input_tokens_cache_read", 0) + usage.get("input_tokens_cache_write", 0)
    apart = usage.get("input_tokens", 0) + cached + usage.get("output_tokens", 0)
    if cached and usage.get("total_tokens") == apart:
        return {**usage, "input_tokens": usage.get("input_tokens", 0) + cached}
    return usage


def _summed(usages: Any) -> dict[str, float]:
    total: dict[str, float] = {}
    for usage in usages:
        for name in USAGE if type(usage) is dict else ():
            value = usage.get(name)
            if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**53:
                total[name] = total.get(name, 0) + value
    return total


def _attempts(sample: Mapping[str, Any]) -> int | None:
    retried = sample.get("error_retries")
    if isinstance(retried, list):
        return len(retried) + 1
    return _integer(sample["retries"]) + 1 if isinstance(sample.get("retries"), int) else None


def _tool_calls(messages: Any) -> int | None:
    if not isinstance(messages, list):
        return None
    asked = sum(len(_list(dig(message, "tool_calls"))) for message in messages)
    answered = sum(dig(message, "role") == "tool" for message in messages)
    return max(asked, answered)  # a cut conversation may have lost either side


def _error_type(sample: Mapping[str, Any]) -> str | None:
    error, limit = sample.get("error"), sample.get("limit")
    if error:
        lines = str(dig(error, "traceback") or "").strip().splitlines()
        named = EXCEPTION.match(lines[-1].strip()) if lines else None
        named = named or WRITTEN_OUT.match(str(dig(error, "message") or ""))  # the text of some exceptions has many lines
        return named.group(1) if named else "error"
    if limit:
        kind = limit if isinstance(limit, str) else dig(limit, "type")
        return f"limit:{kind}" if isinstance(kind, str) else "limit"
    return None


def _finish_reason(sample: Mapping[str, Any]) -> Any:
    choices = _list(dig(sample, "output.choices"))
    reason = dig(choices[-1], "stop_reason") if choices else None
    return STOP_REASONS.get(reason, reason) if isinstance(reason, str) else None


def _integer(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _values(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else []
