"""Load tests of `vllm bench serve --save-result --save-detailed`: one JSON file a run, with parallel lists of requests.

One row is one request. The file holds neither prompts nor ids: the item is the request's place, within a hash of all
prompt lengths, so that runs pair only where they sent the same prompts in the same order (`--disable-shuffle`). It holds
no grades and no temperature either: a score is to be computed from the answers, and what the run set beyond the file
should be given as `--metadata`, whose names stand at the top level of the file.

A request that failed has zeros in every list; here its times and tokens are empty. An empty answer is a failure of the
tool's own. `start_times` are of a clock without a date, and `date` has no zone, so that rows have no time; together with
the latencies they give `requests_in_flight`, the other requests in flight when this one was sent.

Authority: `vllm/benchmarks/serve.py` and `vllm/benchmarks/lib/endpoint_request_func.py` of vllm-project/vllm, version
0.33. Lists are in seconds, averages (`mean_ttft_ms`) in milliseconds over the requests that were answered.
"""

from __future__ import annotations

import hashlib
import http
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from divergence.errors import InputError
from divergence.executions.importers import convert, factors, runs
from divergence.executions.importers.foreign_files import parsed, read_json, read_lines
from divergence.executions.importers.format import Format
from divergence.executions.importers.groups import by_file
from divergence.executions.importers.mapping import Draft, Field, Outcome, Place
from divergence.executions.importers.runs import Run, text_of
from divergence.executions.schema import SERVING_FACTORS
from divergence.numerics import exact_sum

HTTP_PHRASES = {status.phrase: f"http_{status.value}" for status in http.HTTPStatus}
EXCEPTION = re.compile(r"\b([A-Z]\w*(?:Error|Exception|Timeout))\b")
NO_CHUNK = "Never received a valid chunk"
MEASURED = re.compile(
    r"(mean|median|std|p\d+(\.\d+)?|max|min|total|request|output|steady_state|rtfx|duration|completed|failed|date|spec_decode)"
    r"(_.*)?"
)
"""Top-level names of what was measured; `request_rate` is the one setting among them."""
NAMED = ("model_id", "tokenizer_id", "request_rate", "burstiness", "max_concurrency", "backend", "endpoint_type", "label")
LISTS = (
    "input_lens",
    "output_lens",
    "ttfts",
    "itls",
    "latencies",
    "start_times",
    "queue_times",
    "generated_texts",
    "errors",
)
SIZES = ("num_prompts",)
ENGINES = ("vllm", "sglang", "tgi", "tensorrt-llm", "llama.cpp", "scalellm", "deepspeed-mii")

FIELDS = (
    Field("execution_id", "derived.execution_id", convert.text, "hash of the file, with the request's place", True),
    Field("model", "run.model_id", convert.text, "", True),
    Field("item", "derived.item", convert.text, "the request's place in its dataset, from 0", True),
    Field("trial", "derived.trial", convert.count, "counts the runs of one item in one context, in the order read"),
    Field("answer", "request.generated_texts", convert.label),
    Field("input_tokens", "request.input_lens", convert.count, "as the client's tokenizer counts"),
    Field("output_tokens", "request.output_lens", convert.count),
    Field("latency_s", "derived.latency_s", convert.amount, "`latencies`, else first token and gaps added up"),
    Field("ttft_s", "request.ttfts", convert.amount),
    Field("tpot_s", "derived.tpot_s", convert.amount, "mean over the tokens after the first"),
    Field("error_type", "derived.error_type", convert.label, "http_429 and the like; no_valid_chunk: an empty answer"),
    *(Field(factor, f"factors.{factor}", convert.label) for factor in (*SERVING_FACTORS, "context", "wave")),
)

READS = (*(f"run.{name}" for name in (*NAMED, *LISTS, *SIZES, "date")), *factors.factor_paths("run"))
"""Fields read for `derived` and `factors`, and those that only repeat what is read."""

FORMAT = Format(
    name="vllm-bench",
    title="`vllm bench serve --save-result --save-detailed`",
    versions="0.10 to 0.33",
    authority="`vllm/benchmarks/serve.py` of vllm-project/vllm",
    unit="one request",
    fields=FIELDS,
    reads=READS,
    notes=(
        "The tool does not grade and writes no sampler settings; the item is the place within a hash of prompt lengths.",
        "Outcome `requests_in_flight`: the other requests of the run in flight when this one was sent.",
    ),
    apart=by_file,
)


def recognises(path: Path, start: bytes) -> bool:  # noqa: ARG001
    """Is this a result of the tool, by its first bytes?"""
    top = start[:4096]
    return start[:1] == b"{" and all(f'"{name}":'.encode() in top for name in ("date", "backend", "model_id", "num_prompts"))


def read(paths: list[Path], primary: str | None, draft: Draft) -> None:  # noqa: ARG001
    """Add the requests of every run to the draft. Raises InputError where a file holds averages only."""
    loaded = []
    for path in paths:
        draft.sources.append(path)
        logs = _logs(path)
        logs = [(number if len(logs) > 1 else None, log) for number, log in logs]
        loaded += [(path, place, log, _run(path, place, log, draft)) for place, log in logs]
    trials = runs.Trials(draft)
    for path, place, log, run in loaded:
        _read_run(path, place, log, run, trials, draft)
    draft.note("vllm bench writes no sampler settings and no grades: name settings with --metadata, and score the answers.")


def _logs(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """The runs of one file: a JSON object, or one a line where the tool appended (`--append-result`)."""
    lines = []
    try:
        for number, line in read_lines(path):
            lines.append((number, parsed(line)))
    except ValueError:
        lines = [(1, read_json(path))]
    for _, log in lines:
        if not isinstance(log, dict) or not isinstance(log.get("input_lens"), list):
            raise InputError(f"{path} holds averages only: vllm bench writes single requests with --save-detailed.")
    if not lines:
        raise InputError(f"{path} is empty: vllm bench writes one JSON object a run.")
    return lines


def _run(path: Path, number: int | None, log: dict[str, Any], draft: Draft) -> Run:
    model = log.get("model_id")
    if not text_of(model) and "model" not in draft.constants:
        raise InputError(f"{path} names no model: give it with --set model=NAME.")
    own = {name: value for name, value in log.items() if name in NAMED or not MEASURED.fullmatch(name)}
    own = {name: value for name, value in own.items() if name not in (*LISTS, "model_id", *SIZES)}
    backend = own.get("backend")
    stated = factors.serving_factors({name: value for name, value in own.items() if name != "backend"})
    stated |= {"engine": backend} if isinstance(backend, str) and backend in ENGINES and "engine" not in stated else {}
    limit = own.get("max_concurrency")
    if isinstance(limit, int) and not isinstance(limit, bool):
        stated["concurrency"] = str(limit)
    taken = {factor.name for factor in factors.FACTOR_NAMES if factor.column in stated} - {"backend"}
    settings = runs.flat(own, (*taken, "max_concurrency"))
    name = convert.printable(path.name if number is None else f"{path.name} line {number}")
    draft.run_settings(_key(path, number), settings)
    return Run(name, text_of(model), stated, settings)


def _key(path: Path, number: int | None) -> str:
    return convert.printable(path if number is None else f"{path} line {number}")


def _read_run(path: Path, number: int | None, log: dict[str, Any], run: Run, trials: runs.Trials, draft: Draft) -> None:
    lists = {name: log[name] for name in LISTS if isinstance(log.get(name), list)}
    size = len(lists["input_lens"])
    for name in [name for name, values in lists.items() if len(values) != size]:
        draft.note(f"{run.name}: {name} has {len(lists[name])} entries for {size} requests, and is not used.")
        del lists[name]
    prefix = runs.file_identity(path) + ("" if number is None else f"-{number}")
    lengths = hashlib.sha256(repr(lists["input_lens"]).encode(errors="replace")).hexdigest()[:6]
    errors = []
    flights = _flights(lists, size)
    for place in range(size):
        whole = {name: values[place] for name, values in lists.items()}
        error = _error(whole.get("errors"))
        errors.append(error)
        request = {name: whole.get(name) for name in LISTS} if error is None else {}
        item = f"{lengths}/{place}"
        derived = {
            "execution_id": f"{prefix}-{place}",
            "item": item,
            "trial": trials.next(run, item),
            "error_type": error,
            **({} if error else _times(request)),
        }
        flight = flights[place]
        outcomes = [] if flight is None else [Outcome("requests_in_flight", float(flight), None, None)]
        record = {"run": {"model_id": log.get("model_id")}, "factors": run.factors, "request": request, "derived": derived}
        draft.add(record, outcomes, Place(_key(path, number), place + 1))
    draft.watch("run", {name: value for name, value in log.items() if not MEASURED.fullmatch(name)})
    runs.failures(draft, run.name, errors, size)
    _claim(log, _key(path, number), draft)


def _error(value: Any) -> str | None:
    """The kind of a failure; None where the error text is empty, which is how the tool writes success."""
    if value in (None, "", False):
        return None
    written = value.strip() if isinstance(value, str) else ""
    named = EXCEPTION.search(written)
    if written.startswith(NO_CHUNK):
        return "no_valid_chunk"
    return HTTP_PHRASES.get(written) or (named[1] if named else "error")


def _amount(value: Any) -> float | None:
    try:
        return convert.amount(value)
    except ValueError:
        return None


def _times(request: Mapping[str, Any]) -> dict[str, float | None]:
    first, latency = _amount(request.get("ttfts")), _amount(request.get("latencies"))
    gaps = request.get("itls")
    if latency is None and first is not None and isinstance(gaps, list):
        each = [_amount(gap) for gap in gaps]
        known = [gap for gap in each if gap is not None]
        latency = first + exact_sum(known) if len(known) == len(each) else None
    tokens = request.get("output_lens")
    known_exactly = isinstance(tokens, int) and not isinstance(tokens, bool) and 1 < tokens < 2**53
    gaps_between = int(tokens or 0) - 1 if known_exactly else 0
    spread = (latency - first) / gaps_between if latency is not None and first is not None and gaps_between > 0 else None
    return {"latency_s": latency, "tpot_s": None if spread is None or spread < 0 else spread}


def _flights(lists: Mapping[str, list[Any]], size: int) -> list[int | None]:
    starts, latencies = lists.get("start_times"), lists.get("latencies")
    if starts is None or latencies is None:
        return [None] * size
    timed = [(_amount(start), _amount(latency)) for start, latency in zip(starts, latencies, strict=True)]
    return runs.in_flight([None if s is None or taken is None else (s, s + taken) for s, taken in timed])


def _claim(log: dict[str, Any], file: str, draft: Draft) -> None:
    """State the tool's own counts and averages; they are over the requests that were answered."""
    scope = {"file": file}
    completed, failed, first = log.get("completed"), log.get("failed"), runs.finite(log.get("mean_ttft_ms"))
    if isinstance(completed, int) and isinstance(failed, int):
        draft.claim("requests", completed + failed, scope, "count")
    draft.claim("input_tokens", log.get("total_input_tokens"), scope, "sum")
    draft.claim("output_tokens", log.get("total_output_tokens"), scope, "sum")
    draft.claim("ttft_s", None if first is None else first / 1e3, scope)
