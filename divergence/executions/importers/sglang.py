"""SGLang's request files: JSON lines that a server writes with `--export-metrics-to-file`, one line a request.

The files roll by the hour of the server's clock and carry no model: name it with `--set model=NAME`. An aborted request
has no tokens and no times, only how long it took. The prompt stands in the line, and is not read.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from divergence.errors import InputError
from divergence.executions.importers import blocks, convert, factors, written
from divergence.executions.importers.feedback import without_judgements
from divergence.executions.importers.format import Format
from divergence.executions.importers.groups import by_file
from divergence.executions.importers.json_documents import documents
from divergence.executions.importers.mapping import Draft, Field, Place

FIELDS = (
    Field("execution_id", "id", convert.text, "the request's id", True),
    Field(
        "model",
        "derived.model",
        convert.text,
        "no line names it: `--set model=NAME`; the adapter's name where one was asked",
        True,
    ),
    Field("time", "request_received_ts", written.epoch, unit="s since 1970"),
    Field("latency_s", "e2e_latency", written.amount),
    Field("ttft_s", "first_token_latency", written.amount),
    Field("queue_s", "queue_time", written.amount, since="0.5"),
    Field("tpot_s", "derived.tpot_s", written.amount, "1 / decode_throughput"),
    Field("input_tokens", "prompt_tokens", written.whole, "cached ones included"),
    Field("output_tokens", "completion_tokens", written.whole, "reasoning included"),
    Field("cached_tokens", "cached_tokens", written.whole),
    Field("reasoning_tokens", "reasoning_tokens", written.whole, since="0.5"),
    Field("retries", "num_retractions", written.whole, "times that the request was put back into the queue", since="0.5"),
    Field("finish_reason", "finish_reason.type", written.finish),
    Field("error_type", "derived.error", convert.label, "abort, where the server gave the request up"),
    Field("engine", "derived.engine", convert.label),
    Field("engine_version", "weight_version", convert.label, "of the weights, where it is not `default`"),
    Field("sampler", "derived.sampler", convert.label, "without the seed and the length"),
)
FORMAT = Format(
    name="sglang",
    title="SGLang: request files of a server (`--export-metrics-to-file`)",
    versions="0.5",
    authority="sgl-project/sglang: srt/managers/request_metrics_exporter.py, tokenizer_manager.py",
    unit="a request",
    fields=FIELDS,
    reads=("request_parameters", "finish_reason", "decode_throughput"),
    genuine=False,
    regime="deployment",
    rank=30,
    notes=("Tested on lines that SGLang's own exporter wrote of made-up requests.",),
    apart=by_file,
)
DROPPED = ("request_parameters", "finish_reason", "response_sent_to_client_ts", "request_finished_ts")
LEFT_OUT = ("seed", "max_tokens", "max_new_tokens")
"""Settings that clients set anew with their requests: they belong to the work and not to the serving."""


def recognises(_path: Path, start: bytes) -> bool:
    """Are these request files, by the keys of the first line?"""
    first = start.lstrip()[:20000].split(b"\n", 1)[0]
    return first[:1] == b"{" and b'"request_parameters"' in first and b'"e2e_latency"' in first


def read(paths: list[Path], primary: str | None, draft: Draft) -> None:
    """Add the requests of all files to the draft. Raises InputError where no request names a model and none is set."""
    without_judgements(primary, "SGLang")
    steps, names = blocks.steps_of(blocks.paths_of(FIELDS)), set()
    frames, gathered = [], blocks.Gathered(steps)
    for path in paths:
        draft.sources.append(path)
        file = convert.printable(path)
        for row, line in documents(path, draft.reject):
            if not isinstance(line, dict):
                draft.reject(Place(file, row), "record_readable", "The line is no object.")
                continue
            names |= line.keys()
            gathered.add(row, blocks.nested(_record(line), steps), file)
            if len(gathered) >= blocks.RECORDS:
                frames.append(blocks.mapped(draft, gathered))
                gathered = blocks.Gathered(steps)
    frames.append(blocks.mapped(draft, gathered))
    rows = pl.concat([blocks.canonical({}), *frames], how="diagonal")
    if not rows.height and any(row["rule"] == "model_given" for row in draft.rejected):
        raise InputError(f"{paths[0]} names no model, as no request file of SGLang does: give it with --set model=NAME.")
    draft.extend(rows)
    draft.unmapped |= names - {path.partition(".")[0] for path in steps} - {*DROPPED, "decode_throughput"}


def _record(line: Mapping[str, Any]) -> dict[str, Any]:
    parameters = _parameters(line.get("request_parameters"))
    sampling = parameters.get("sampling_params")
    settings = sampling if isinstance(sampling, dict) else {}
    kept = tuple(
        sorted((name, str(value)) for name, value in settings.items() if name not in LEFT_OUT and value is not None)
    )
    throughput = line.get("decode_throughput")
    ended = line.get("finish_reason")
    adapter = parameters.get("lora_path") or parameters.get("model")
    version = line.get("weight_version")
    return {
        **line,
        "weight_version": None if version == "default" else version,
        "derived": {
            "engine": "sglang",
            "model": adapter if isinstance(adapter, str) else None,
            "tpot_s": 1 / throughput if isinstance(throughput, int | float) and throughput > 0 else None,
            "error": "abort" if isinstance(ended, dict) and ended.get("type") == "abort" else None,
            "sampler": _sampler(kept),
        },
    }


def _parameters(text: Any) -> dict[str, Any]:
    try:
        found = json.loads(text) if isinstance(text, str) else text
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


@functools.lru_cache(maxsize=4096)
def _sampler(settings: tuple[tuple[str, str], ...]) -> str | None:
    return factors.sampler_label(dict(settings))
