"""A log as files of Every Eval Ever, schema 0.3.0: one aggregate and one file of instances a task, model and context.

    DIR/data/TASK/DEVELOPER/MODEL/UUID.json
    DIR/data/TASK/DEVELOPER/MODEL/UUID_samples.jsonl

The score of an aggregate is the mean of its instances, and nothing else; the standard error is clustered by item,

    se^2 = G/(G-1) sum_g (sum_{r in g} (y_r - mean))^2 / n^2        G items, n rows

and the confidence interval is ours (`intervals`). The names of files depend on the contents alone: one log is written to
the same files again. Prompts are not in a log, so that `input.raw` is empty. A row that ended in an error has no score
here; the schema wants one, and it is 0 beside `error`, outside of the aggregate.

What the schema has no field for stands in `metadata` under `divergence.NAME`, and is read back from there.
Authority: `every_eval_ever/schemas/*.schema.json` of evaleval/every_eval_ever.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import math
import re
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from divergence.errors import InputError
from divergence.exchange.intervals import Interval, Key
from divergence.executions import Executions
from divergence.executions.schema import SERVING_FACTORS
from divergence.executions.unchanged import check_log
from divergence.staging import move_into, staging

VERSION = "0.3.0"
MARK = "divergence."
NO_LABEL = ("all", "not logged")  # contexts of a log that names none
KEPT = ("regime", "task", "context", "session", "scorer", "wave", "execution_id", *SERVING_FACTORS)
"""Columns of text that a row keeps in its metadata."""
RELATIONSHIPS = ("first_party", "third_party", "collaborative", "other")
SETTING = re.compile(r"\b(temperature|top_p|top_k|max_tokens|max_new_tokens|max_gen_toks)=([-+0-9.eE]+)")
LIMITS = ("max_tokens", "max_new_tokens", "max_gen_toks")  # names of one setting, of which the schema has the first
LOCAL = "local"  # developer of a name without one: whoever serves it; the schema's own tools refuse "unknown" there
UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
GROUP = ("task", "regime", "model", "context")


@dataclasses.dataclass(frozen=True)
class Evaluator:
    """Who measured, as the schema asks for it."""

    organization: str = "unknown"
    """Name of the organization that provides the results."""
    relationship: str = "other"
    """Of the evaluator to the model: `first_party`, `third_party`, `collaborative`, `other`."""
    library: str = "unknown"
    """The tool that ran the evaluation."""


@dataclasses.dataclass(frozen=True)
class Written:
    """What was written."""

    files: tuple[str, ...]
    """Paths of the aggregates within the folder."""
    rows: int
    """Rows of the log that are in the files."""
    unjudged: int
    """Rows without a score and without an error, which the schema cannot hold."""


def write(
    log: Executions,
    intervals: Mapping[Key, Interval],
    folder: Path,
    source: Evaluator | None = None,
    now: datetime.datetime | None = None,
) -> Written:
    """Write the log into `folder`, whole or not at all. Raises InputError for a relationship that the schema
    does not know, and where the folder cannot be written.

    `intervals` are those of `level_intervals`, by task, regime, model and context; a cell without one has none. `now` is
    the instant that the files name as that of their writing.
    """
    source = source or Evaluator()
    if source.relationship not in RELATIONSHIPS:
        raise InputError(f"The relationship {source.relationship!r} is not known: choose {', '.join(RELATIONSHIPS)}.")
    stamp = str(int((now or datetime.datetime.now(datetime.UTC)).timestamp()))
    rows = _rows(log)
    writable = rows.filter(pl.col("outcome").is_not_null() | pl.col("error_type").is_not_null())
    outcomes = _further(log)
    files = []
    with staging(folder) as fresh:
        for key, group in writable.group_by(GROUP, maintain_order=True):
            files.append(_write_group(fresh, key, group, outcomes, intervals.get(key), log, source, stamp))  # type: ignore[arg-type]
        check_log(log)
        move_into(fresh, folder, merged=True)  # evaluations that are there already, of whoever, stay
    return Written(tuple(sorted(files)), writable.height, rows.height - writable.height)


def _rows(log: Executions) -> pl.DataFrame:
    rows = log.valid
    absent = [name for name in (*KEPT, "error_type", "answer", "gold") if name not in rows.columns]
    return rows.with_columns(pl.lit(None, pl.String).alias(name) for name in absent)


def _further(log: Executions) -> dict[str, list[tuple[str, float]]]:
    """The numeric outcomes of every execution beside the score, by execution id."""
    found: dict[str, list[tuple[str, float]]] = {}
    if log.outcomes is not None:
        table = log.outcomes.filter(pl.col("value").is_finite()).collect(engine="streaming")
        for identity, metric, value in table.select("execution_id", "metric", "value").iter_rows():
            found.setdefault(identity, []).append((metric, value))
    return found


def _write_group(
    fresh: Path,
    key: Key,
    group: pl.DataFrame,
    outcomes: Mapping[str, list[tuple[str, float]]],
    interval: Interval | None,
    log: Executions,
    source: Evaluator,
    stamp: str,
) -> str:
    task, _, model, _ = key
    name = task or "log"
    primary = _primary(group, log)
    evaluation = f"{name}/{model}/{_digest(repr((key, group['execution_id'].sort().to_list())))[:16]}"
    results: dict[str, list[tuple[str, float]]] = {primary: []}
    lines = []
    for row in group.iter_rows(named=True):
        judged = {} if row["outcome"] is None else {primary: row["outcome"]}
        judged |= {metric: value for metric, value in outcomes.get(row["execution_id"], ()) if metric not in judged}
        for metric, value in judged.items():
            results.setdefault(metric, []).append((row["item"] or "", value))
        if row["error_type"] is not None and row["outcome"] is None:
            judged = {primary: None}
        lines += [_instance(row, evaluation, name, metric, value) for metric, value in judged.items()]
    body = "".join(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n" for line in lines).encode("utf-8", "replace")
    identity = str(uuid.UUID(bytes=hashlib.sha256(body).digest()[:16], version=4))
    place = "/".join(["data", _segment(name), _segment(_developer(model)), _segment(model.rsplit("/", 1)[-1])])
    aggregate = {
        "schema_version": VERSION,
        "evaluation_id": evaluation,
        **_timestamp(group),
        "retrieved_timestamp": stamp,
        "source_metadata": {
            "source_name": "divergence",
            "source_type": "evaluation_run",
            "source_organization_name": source.organization,
            "evaluator_relationship": source.relationship,
        },
        "eval_library": {"name": source.library, "version": "unknown"},
        "model_info": _model(model, group),
        "evaluation_results": [
            _result(name, metric, values, group, interval if metric == primary else None)
            for metric, values in results.items()
            if values
        ],
        "detailed_evaluation_results": {
            "format": "jsonl",
            "file_path": f"{place}/{identity}_samples.jsonl",
            "hash_algorithm": "sha256",
            "checksum": hashlib.sha256(body).hexdigest(),
            "total_rows": len(lines),
        },
    }
    (fresh / place).mkdir(parents=True, exist_ok=True)
    (fresh / place / f"{identity}_samples.jsonl").write_bytes(body)
    (fresh / place / f"{identity}.json").write_text(json.dumps(aggregate, indent=2, allow_nan=False) + "\n")
    return f"{place}/{identity}.json"


def _primary(group: pl.DataFrame, log: Executions) -> str:
    """The name of the score: what judged it, where that is one thing."""
    scorers = group["scorer"].drop_nulls().unique().to_list()
    return scorers[0] if log.outcome == "score" and len(scorers) == 1 else log.outcome


def _instance(row: Mapping[str, Any], evaluation: str, name: str, metric: str, value: float | None) -> dict[str, Any]:
    answer = row["answer"]
    read, wrote = row.get("input_tokens"), row.get("output_tokens")
    latency, first = row.get("latency_s"), row.get("ttft_s")
    return {
        "schema_version": VERSION,
        "evaluation_id": evaluation,
        "model_id": row["model"],
        "evaluation_name": name,
        "evaluation_result_id": metric,
        "sample_id": row["item"] or row["execution_id"],
        "interaction_type": "single_turn",
        "input": {"raw": "", "reference": [row["gold"]] if row["gold"] is not None else []},
        "output": {"raw": [answer] if answer is not None else []},
        "messages": None,
        "answer_attribution": [],
        "evaluation": {
            "score": value or 0.0,
            "is_correct": value == 1.0,
            "tool_calls_count": row.get("tool_calls"),
        },
        "token_usage": {
            "input_tokens": read,
            "output_tokens": wrote,
            "total_tokens": read + wrote,
            "input_tokens_cache_read": row.get("cached_tokens"),
            "reasoning_tokens": row.get("reasoning_tokens"),
        }
        if read is not None and wrote is not None
        else None,
        "performance": {
            "latency_ms": None if latency is None else 1e3 * latency,
            "time_to_first_token_ms": None if first is None else 1e3 * first,
        },
        "error": row["error_type"],
        "metadata": dict(_metadata(row, value)),
    }


def _metadata(row: Mapping[str, Any], value: float | None) -> Iterator[tuple[str, str]]:
    """Everything that the schema has no field for, as texts."""
    if row.get("trial") is not None:
        yield "epoch", str(row["trial"])
    if row.get("finish_reason") is not None:
        yield "stop_reason", row["finish_reason"]
    for column in KEPT:
        if row[column] is not None and not (column == "context" and row[column] in NO_LABEL):
            yield f"{MARK}{column}", row[column]
    if row.get("time") is not None:
        yield f"{MARK}time", row["time"].isoformat()
    if row.get("cost_usd") is not None:
        yield f"{MARK}cost_usd", repr(row["cost_usd"])
    if row["error_type"] is not None and value is not None:
        yield f"{MARK}judged", "true"  # an error beside a score that counts


def _timestamp(group: pl.DataFrame) -> dict[str, str]:
    times = group["time"].drop_nulls()
    first = times.min() if len(times) else None
    return {"evaluation_timestamp": str(first.timestamp())} if isinstance(first, datetime.datetime) else {}


def _model(model: str, group: pl.DataFrame) -> dict[str, Any]:
    """The model with its engine and platform; a locally served name is kept as it is."""
    one = {name: _only(group, name) for name in SERVING_FACTORS}
    engine = {part: one[name] for part, name in (("name", "engine"), ("version", "engine_version")) if one[name]}
    details = {f"{MARK}{name}": level for name, level in one.items() if level}
    return {
        "name": model,
        "id": model,
        "developer": _developer(model),
        **({"inference_platform": one["provider"]} if one["provider"] else {}),
        **({"inference_engine": engine} if "name" in engine else {}),
        "additional_details": {"deployment_type": "unknown", "model_availability": "unknown", **details},
    }


def _developer(model: str) -> str:
    return model.split("/", 1)[0] if "/" in model and model.split("/", 1)[0] else LOCAL


def _only(group: pl.DataFrame, column: str) -> str | None:
    levels = group[column].drop_nulls().unique().to_list()
    return levels[0] if len(levels) == 1 else None


def _result(
    name: str, metric: str, values: list[tuple[str, float]], group: pl.DataFrame, interval: Interval | None
) -> dict[str, Any]:
    scores = [value for _, value in values]
    mean = math.fsum(scores) / len(scores)
    binary = {*scores} <= {0.0, 1.0}
    fraction = all(0 <= score <= 1 for score in scores)
    kind = {"score_type": "binary"} if binary else {"score_type": "continuous", "min_score": 0.0, "max_score": 1.0}
    arguments = dict(_arguments(_only(group, "sampler") or ""))
    errors = group.filter(pl.col("error_type").is_not_null() & pl.col("outcome").is_null()).height
    return {
        "evaluation_result_id": metric,
        "evaluation_name": name,
        "source_data": {"dataset_name": name, "source_type": "other"},
        "metric_config": {
            "metric_id": metric,
            "metric_name": metric,
            **({"metric_unit": "proportion"} if fraction else {}),
            "lower_is_better": False,
            **(kind if fraction else {}),
        },
        "score_details": {
            "score": mean,
            "details": {
                "rows": str(len(scores)),
                "errors_without_score": str(errors),
                **({"posterior_mean": repr(interval.mean), "posterior_sd": repr(interval.sd)} if interval else {}),
            },
            "uncertainty": _uncertainty(values, mean, interval),
        },
        **({"generation_config": {"generation_args": arguments}} if arguments else {}),
    }


def _uncertainty(values: list[tuple[str, float]], mean: float, interval: Interval | None) -> dict[str, Any]:
    size = len(values)
    deviations: dict[str, list[float]] = {}
    for item, value in values:
        deviations.setdefault(item, []).append(value - mean)
    clusters = len(deviations)
    found: dict[str, Any] = {"num_samples": size}
    if size > 1:
        found["standard_deviation"] = math.sqrt(math.fsum((value - mean) ** 2 for _, value in values) / (size - 1))
    if clusters > 1:
        squares = math.fsum(math.fsum(parts) ** 2 for parts in deviations.values())
        error = math.sqrt(clusters / (clusters - 1) * squares) / size
        found["standard_error"] = {"value": error, "method": f"analytic, clustered by {clusters} items"}
    if interval is not None:
        found["confidence_interval"] = {
            "lower": interval.lower,
            "upper": interval.upper,
            "confidence_level": interval.level,
            "method": interval.method,
        }
    return found


def _arguments(sampler: str) -> Iterator[tuple[str, float | int]]:
    """The settings of a sampler's label that the schema has fields for."""
    for setting, written in SETTING.findall(sampler):
        try:
            number = float(written)
        except ValueError:
            continue
        if setting in LIMITS and 1 <= number < math.inf:
            yield LIMITS[0], int(number)
        elif setting not in LIMITS and math.isfinite(number):
            yield setting, number


def _segment(name: str) -> str:
    """A name as one part of a path."""
    safe = UNSAFE.sub("-", name).strip(".-")
    return safe[:80] or "unnamed"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
