"""Evaluations of promptfoo: the JSON export of version 3, and the JSON lines of its `-o NAME.jsonl`.

One row is one test with one prompt at one provider. `success` and `score` mix latency and cost assertions with quality, so
that a busier machine looks like a worse model: neither is read. The outcomes are the components: one for each named metric
(the weighted mean of its assertions), one for each assertion without a name, under its type. The score is the first named
metric of quality, or the one asked for; without a named one, whether all assertions of quality passed.

Only `failureReason` 2 is an error; `error` is also filled where an assertion merely failed. An answer from the cache has
no latency and no cost of its own. The item is the test's description where that is one for one with its variables, else a
salted hash of the variables: `testIdx` counts repetitions as tests of their own.

Authority: `src/types/index.ts` (`EvaluateResult`, `GradingResult`, `EvaluateSummaryV3`) of promptfoo/promptfoo, 0.123.
"""

from __future__ import annotations

import collections
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from divergence.errors import InputError
from divergence.executions.importers import convert, factors, runs
from divergence.executions.importers.foreign_files import bare_suffix, parsed, read_json, read_lines
from divergence.executions.importers.format import Format
from divergence.executions.importers.groups import by_stem
from divergence.executions.importers.mapping import Draft, Field, Outcome, Place, Shared, dig
from divergence.executions.importers.runs import Run, list_of, mapping_of, text_of
from divergence.executions.schema import SERVING_FACTORS
from divergence.numerics import exact_sum

NO_QUALITY = frozenset(
    ["latency", "cost", "perplexity", "perplexity-score", "trace-span-count", "trace-span-duration", "trace-error-spans"]
)
"""Types of assertions that say nothing about the quality of an answer."""
ALL_PASSED = "quality_passed"
"""Outcome of a row none of whose assertions has a name: did all assertions of quality pass?"""
ERROR = 2  # `failureReason`: 0 none, 1 an assertion failed, 2 error
STATUS = re.compile(r"API error: (\d{3})\b")

FIELDS = (
    Field("execution_id", "result.id", convert.text, "", True),
    Field("model", "result.provider.id", convert.text, "with promptfoo's prefixes, such as openai:chat:", True),
    Field("item", "derived.item", convert.text, "the test's description, else a salted hash of its variables", True),
    Field("trial", "derived.trial", convert.count, "counts the runs of one item in one context, in the order of testIdx"),
    Field("score", "derived.score", float, "first named metric of quality, or the one asked for"),
    Field("scorer", "derived.scorer", convert.text, "the metric"),
    Field("answer", "derived.answer", convert.label),
    Field("time", "log.timestamp", convert.moment, "start of the evaluation; JSON lines have none"),
    Field("latency_s", "derived.latency_s", convert.amount, "empty for an answer from the cache"),
    Field("input_tokens", "result.response.tokenUsage.prompt", convert.count),
    Field("output_tokens", "result.response.tokenUsage.completion", convert.count),
    Field("cached_tokens", "result.response.tokenUsage.completionDetails.cacheReadInputTokens", convert.count),
    Field("reasoning_tokens", "result.response.tokenUsage.completionDetails.reasoning", convert.count),
    Field("cost_usd", "derived.cost_usd", convert.amount, "where the provider has a price; empty from the cache"),
    Field("error_type", "derived.error_type", convert.label, "http_429 and the like, else assertion_error or error"),
    Field("finish_reason", "result.response.finishReason", convert.label),
    *(Field(factor, f"factors.{factor}", convert.label) for factor in (*SERVING_FACTORS, "context", "wave")),
)

READS = (
    *(f"result.{name}" for name in ("error", "failureReason", "gradingResult", "latencyMs", "namedScores", "score")),
    *(f"result.{name}" for name in ("success", "promptId", "promptIdx", "testIdx", "testCase", "vars", "cost")),
    *("result.provider.label", "result.response.output", "result.response.cached", "result.response.latencyMs"),
    *("result.response.cost", "result.response.error", "result.response.metadata.http.status", "result.prompt"),
    *("result.metadata.http", "result.response.tokenUsage", "result.tokenUsage"),
)
"""Fields read for `derived` and `factors`, and those that only repeat what is read."""

FORMAT = Format(
    name="promptfoo",
    title="promptfoo: JSON export, and JSON lines",
    versions="version 3 (0.100 to 0.123)",
    authority="`src/types/index.ts` of promptfoo/promptfoo",
    unit="one test with one prompt at one provider",
    fields=FIELDS,
    reads=READS,
    notes=("`success` and `score` mix latency and cost with quality, and are not read: the components are the outcomes.",),
    apart=by_stem,
)


def recognises(path: Path, start: bytes) -> bool:  # noqa: ARG001
    """Is this an export or a file of JSON lines of promptfoo, by its first bytes?"""
    if start.lstrip()[:1] != b"{":
        return False
    line = start.split(b"\n", 1)[0]
    if b'"evalId"' in start[:400] and b'"results"' in start[:800]:
        return True
    return b'"promptIdx"' in line and b'"namedScores"' in line


def read(paths: list[Path], primary: str | None, draft: Draft) -> None:
    """Add the results of every file; `primary` names the metric of the score column.

    Raises InputError where a file holds no results, and where no result has the metric asked for.
    """
    exports = {_stem(path) for path in paths if bare_suffix(path) == ".json"}
    seen: set[str] = set()
    trials = runs.Trials(draft)
    for path in paths:
        if bare_suffix(path) == ".jsonl" and _stem(path) in exports:
            draft.note(f"{path.name} is left out: the export of the same name beside it holds the same results.")
            continue
        draft.sources.append(path)
        log = _log(path, draft)
        seen |= _read_results(path, log, primary, trials, draft)
    if primary and seen and primary not in seen:
        raise InputError(f"No result of these evaluations has a metric {primary!r}: choose from {', '.join(sorted(seen))}.")


def _stem(path: Path) -> Path:
    return path.parent / path.name.split(".json", 1)[0]


def _log(path: Path, draft: Draft) -> dict[str, Any]:
    """The evaluation of one file: `rows` with their numbers, and what an export says beside them."""
    if bare_suffix(path) == ".jsonl":
        rows = []
        for number, line in read_lines(path):
            try:
                rows.append((number, parsed(line)))
            except ValueError as error:
                draft.reject(
                    Place(convert.printable(path), number), "record_readable", f"The line {convert.printable(error)}."
                )
        draft.note(f"{path.name}: JSON lines of promptfoo hold no settings and no totals; the export (.json) does.")
        return {"rows": rows, "config": {}, "results": {}}
    whole = read_json(path)
    results = mapping_of(dig(whole, "results"))
    rows = results.get("results")
    if not isinstance(rows, list):
        raise InputError(f"{path} holds no results: promptfoo writes them into results.results with -o NAME.json.")
    if results.get("version") != 3:
        draft.note(f"{path.name} has version {convert.named(results.get('version'))}; version 3 is known here.")
    return {"rows": list(enumerate(rows, start=1)), "config": mapping_of(whole.get("config")), "results": results}


def _read_results(path: Path, log: dict[str, Any], asked: str | None, trials: runs.Trials, draft: Draft) -> set[str]:
    rows = []
    for number, row in log["rows"]:
        if isinstance(row, dict) and isinstance(row.get("provider"), dict):
            draft.watch("result", row)
            rows.append((number, row))
        else:
            draft.reject(Place(convert.printable(path), number), "record_is_result", "The record has no provider.")
    rows.sort(key=lambda entry: tuple(_place(entry[1].get(name)) for name in ("testIdx", "promptIdx")))
    labels = list(dict.fromkeys(_label(row) for _, row in rows))
    made = {label: _run(path, label, len(labels) > 1, log["config"], draft) for label in labels}
    items = _items([row for _, row in rows], draft)
    judged = [_outcomes(row) for _, row in rows]
    quality = dict.fromkeys(o.metric for outcomes in judged for o in outcomes if o.scorer not in NO_QUALITY)
    seen = {o.metric for outcomes in judged for o in outcomes}
    named = _named([row for _, row in rows], quality)
    primary = asked if asked in seen else named or (ALL_PASSED if ALL_PASSED in seen else next(iter(quality), None))
    if asked and seen and asked not in seen:
        draft.note(f"{path.name} has no metric {asked}: its score is {primary}.")
    errors: dict[str, list[str | None]] = collections.defaultdict(list)
    known: dict[tuple[str, str], tuple[Run, Shared]] = {}
    for (number, row), outcomes, item in zip(rows, judged, items, strict=True):
        label = _label(row)
        prompt = text_of(row.get("promptId")) or ""
        if (label, prompt) not in known:
            run = made[label]
            stated = {**run.factors, **({"prompt_version": prompt[:12]} if prompt else {})}
            shared = draft.shared({"log": log["results"], "factors": stated})
            known[label, prompt] = Run(run.name, run.model, stated, run.settings), shared
        run, shared = known[label, prompt]
        derived = _derived(row, outcomes, primary)
        derived |= {"item": item, "trial": trials.next(run, item)}
        errors[label].append(derived["error_type"])
        record = {"result": row, "log": log["results"], "factors": run.factors, "derived": derived}
        draft.add(record, outcomes, Place(run.name, number), shared)
    for label, found in errors.items():
        runs.failures(draft, f"{path.name}, {label}", found, len(found))
    cached = sum(dig(row, "response.cached") is True for _, row in rows)
    if cached:
        draft.note(f"{path.name}: {cached} answers are from the cache, and are no new measurements (promptfoo --no-cache).")
    _claim(log["results"], made, draft)
    return seen


def _place(value: Any) -> float:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53 else math.inf


def _label(row: Mapping[str, Any]) -> str:
    provider = mapping_of(row.get("provider"))
    return convert.printable(text_of(provider.get("label")) or text_of(provider.get("id")) or "provider")


def _run(path: Path, label: str, several: bool, config: Mapping[str, Any], draft: Draft) -> Run:
    """One provider of one file; its configuration is the one of the same label, or of the same id."""
    declared = [provider for provider in list_of(config.get("providers")) if isinstance(provider, dict)]
    own = next((p for p in declared if label in (p.get("label"), p.get("id"))), {})
    settings = mapping_of(own.get("config"))
    options = mapping_of(config.get("evaluateOptions"))
    parallel = options.get("maxConcurrency")
    identity = text_of(own.get("id"))
    stated = {
        **factors.serving_factors(settings),
        "provider": identity.split(":")[0] if identity and ":" in identity else None,
        "sampler": factors.sampler_label(settings),
        "router": runs.host(settings.get("apiBaseUrl")) or runs.host(settings.get("apiHost")),
        "concurrency": str(parallel) if isinstance(parallel, int) and not isinstance(parallel, bool) else None,
    }
    kept = {column: convert.printable(value) for column, value in stated.items() if isinstance(value, str) and value}
    name = convert.printable(f"{path} ({label})" if several else path)
    flat = runs.flat(settings, (*factors.SAMPLER_NAMES, "apiBaseUrl", "apiHost")) | {"provider.label": label}
    draft.run_settings(name, flat)
    return Run(name, identity or label, kept, flat)


def _items(rows: list[dict[str, Any]], draft: Draft) -> list[str]:
    """The item of every row: its description where each description has one set of variables, else their hash."""
    described: dict[str, set[str]] = collections.defaultdict(set)
    pairs = []
    for row in rows:
        case, variables = mapping_of(row.get("testCase")), row.get("vars")
        variables = case.get("vars") if variables is None else variables
        written = convert.printable(json.dumps(variables, sort_keys=True))
        description = text_of(case.get("description")) or text_of(row.get("description"))
        pairs.append((description, written))
        described[description or ""].add(written)
    alone = {description for description, variables in described.items() if description and len(variables) == 1}
    hashes = {w: draft.privacy.pseudonym("vars", w) for w in {w for d, w in pairs if d not in alone}}
    return [convert.printable(d) if d in alone and d else hashes[w] for d, w in pairs]


def _components(row: Mapping[str, Any]) -> list[tuple[Mapping[str, Any], float, float, bool]]:
    """Every assertion of a row that was judged: the assertion, its score, its weight, did it pass?"""
    found = []
    for component in list_of(mapping_of(row.get("gradingResult")).get("componentResults")):
        if not isinstance(component, dict):
            continue
        assertion, number = component.get("assertion"), runs.finite(component.get("score"), truth=True)
        if isinstance(assertion, dict) and isinstance(assertion.get("type"), str) and number is not None:
            weight = runs.finite(assertion.get("weight"))
            share = weight if weight is not None and weight >= 0 else 1.0
            found.append((assertion, number, share, component.get("pass") is True))
    return found


def _outcomes(row: Mapping[str, Any]) -> list[Outcome]:
    """One outcome a named metric, one an assertion without a name; the scorer is the type of its first assertion."""
    if _failed(row):
        return []
    components = _components(row)
    groups: dict[str, list[tuple[float, float]]] = {}
    kinds: dict[str, str] = {}
    for assertion, score, weight, _ in components:
        kind = convert.printable(assertion["type"])
        name = convert.printable(text_of(assertion.get("metric")) or kind)
        groups.setdefault(name, []).append((score, weight))
        kinds.setdefault(name, kind)
    found = []
    for name, parts in groups.items():
        weights = exact_sum(weight for _, weight in parts)
        total = exact_sum(score * weight for score, weight in parts)
        mean = total / weights if weights > 0 else exact_sum(score for score, _ in parts) / len(parts)
        found.append(Outcome(name, mean, None, kinds[name]))
    passed = [ok for assertion, _, _, ok in components if assertion["type"] not in NO_QUALITY]
    if passed and ALL_PASSED not in groups:
        found.append(Outcome(ALL_PASSED, float(all(passed)), None, None))
    return found


def _named(rows: list[dict[str, Any]], quality: Mapping[str, None]) -> str | None:
    """The first metric with a name of its own whose assertions are of quality."""
    for row in rows:
        for assertion, *_ in _components(row):
            name = assertion.get("metric")
            if isinstance(name, str) and convert.printable(name) in quality and assertion["type"] not in NO_QUALITY:
                return convert.printable(name)
    return None


def _failed(row: Mapping[str, Any]) -> bool:
    reason = row.get("failureReason")
    return reason == ERROR if isinstance(reason, int) else bool(row.get("error")) and not row.get("gradingResult")


def _derived(row: Mapping[str, Any], outcomes: list[Outcome], primary: str | None) -> dict[str, Any]:
    score = next((o for o in outcomes if o.metric == primary), None)
    response = mapping_of(row.get("response"))
    output, cached = response.get("output"), response.get("cached") is True
    latency = runs.finite(row.get("latencyMs"))
    return {
        "score": score.value if score else None,
        "scorer": primary if score else None,
        "answer": output if isinstance(output, str | int | float) else None if output is None else convert.compact(output),
        "latency_s": None if cached or latency is None else latency / 1e3,
        "cost_usd": None if cached else response.get("cost"),
        "error_type": _error(row) if _failed(row) else None,
    }


def _error(row: Mapping[str, Any]) -> str:
    written = row.get("error") if isinstance(row.get("error"), str) else ""
    stated, status = STATUS.search(written or ""), dig(row, "response.metadata.http.status")
    if stated:
        return f"http_{stated[1]}"
    if isinstance(status, int) and status >= 400:
        return f"http_{status}"
    return "assertion_error" if "assertion" in (written or "").lower() else "error"


def _claim(results: Mapping[str, Any], made: Mapping[str, Run], draft: Draft) -> None:
    """State the totals that promptfoo writes for every provider; a metric's sum is over its weights."""
    stated = [mapping_of(prompt) for prompt in list_of(results.get("prompts"))]
    labels = [text_of(prompt.get("provider")) for prompt in stated]
    for label, prompt in zip(labels, stated, strict=True):
        if label is None or label not in made or labels.count(label) > 1:
            continue  # several prompts at one provider: the totals are of parts of its rows
        metrics, scope = mapping_of(prompt.get("metrics")), {"file": made[label].name}
        counts = [metrics.get(f"test{kind}Count") for kind in ("Pass", "Fail", "Error")]
        known = [count for count in counts if isinstance(count, int)]
        draft.claim("results", sum(known) if len(known) == len(counts) else None, scope, "count")
        weights = mapping_of(metrics.get("namedScoreWeights"))
        for name, total in mapping_of(metrics.get("namedScores")).items():
            weight, summed = runs.finite(weights.get(name)), runs.finite(total)
            if weight is not None and summed is not None and weight > 0:
                draft.claim(convert.printable(name), summed / weight, scope)
        draft.claim("input_tokens", dig(metrics, "tokenUsage.prompt"), scope, "sum")
        draft.claim("output_tokens", dig(metrics, "tokenUsage.completion"), scope, "sum")
        draft.claim("cost_usd", metrics.get("cost"), scope, "sum")
        latency = runs.finite(metrics.get("totalLatencyMs"))
        draft.claim("latency_s", None if latency is None else latency / 1e3, scope, "sum")
