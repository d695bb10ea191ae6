"""How a run of another tool was set, as flat names and texts: everything that its log says and that could move an answer.

Tables carry their settings in columns. Logs of lm-eval and Inspect carry more than the canonical columns hold (seeds,
versions, every model argument), which is read here from the header. Names that look like secrets are left out; so is
what differs between any two runs of the same thing (times, run ids, paths of the machine).

Unit: texts. Source: `results_*.json` of lm-eval 0.4.13, header of Inspect's log version 2.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from divergence.executions.importers.factors import parsed_arguments, private, without_secrets
from divergence.executions.importers.foreign_files import Archive, read_json

LM_EVAL = (
    *("config.model", "config.model_args", "config.gen_kwargs", "config.batch_size", "config.device", "config.limit"),
    *("config.model_dtype", "config.model_revision", "config.random_seed", "config.numpy_seed", "config.torch_seed"),
    *("config.fewshot_seed", "versions", "n-shot", "chat_template_sha", "system_instruction_sha", "fewshot_as_multiturn"),
    *("lm_eval_version", "transformers_version", "git_hash"),
)
"""Parts of an lm-eval results file that set the run."""
TASK_PARTS = ("doc_to_text", "doc_to_target", "description", "filter_list", "metric_list", "generation_kwargs", "metadata")
"""Parts of an lm-eval task that set how an item is asked and judged."""
INSPECT = (
    *("eval.model", "eval.model_base_url", "eval.model_args", "eval.model_generate_config", "eval.task_args"),
    *("eval.task_version", "eval.solver", "eval.solver_args", "eval.config", "eval.packages", "eval.revision.commit"),
    *("eval.dataset.shuffled", "eval.scorers", "eval.metadata", "plan.config", "plan.steps"),
)
"""Parts of the header of an Inspect log that set the run."""
SHORT = {
    "config.": "",
    "eval.model_generate_config.": "generate.",
    "plan.config.": "generate.",
    "eval.": "",
}
"""Beginnings of names, and what stands for them."""
LONGEST = 160  # characters of a value; a longer one is cut, which shows that it differs


def settings(format: str, sources: Mapping[str, str]) -> dict[str, str] | None:
    """Name -> value of the run behind these files; None for formats whose settings stand in columns.

    A setting that takes several values among the files of one side is given as all of them.
    """
    reader = {"lm-eval": _lm_eval, "inspect": _inspect}.get(format)
    if reader is None:
        return None
    found: dict[str, dict[str, None]] = {}
    for path in map(Path, sources):
        for name, value in reader(path):
            found.setdefault(name, {})[value] = None
    return {name: " | ".join(values) for name, values in found.items()}


def _lm_eval(path: Path) -> Iterator[tuple[str, str]]:
    if path.suffix != ".json":
        return
    results = read_json(path)
    config = results.get("config") if isinstance(results, dict) else None
    if not isinstance(config, dict):
        return
    arguments = {name: parsed_arguments(config.get(name)) for name in ("model_args", "gen_kwargs")}
    yield from _parts({**results, "config": {**config, **arguments}}, LM_EVAL)
    tasks = results.get("configs")
    for task, parts in (tasks if isinstance(tasks, dict) else {}).items():
        for part in TASK_PARTS:
            value = parts.get(part) if isinstance(parts, dict) else None
            if isinstance(value, dict):
                told = {**arguments["model_args"], **arguments["gen_kwargs"], "version": 0, "config_source": 0}
                value = {name: entry for name, entry in value.items() if name not in told}
            yield from _flat(f"{task}.{part}", value)


def _inspect(path: Path) -> Iterator[tuple[str, str]]:
    with path.open("rb") as file:
        zipped = file.read(2) == b"PK"
    if not zipped:
        header = read_json(path)
    else:
        archive = Archive(path)
        try:
            names = [name for name in ("header.json", "_journal/start.json") if name in archive.names]
            header = archive.member(names[0]) if names else {}
        finally:
            archive.close()
    yield from _parts(header if isinstance(header, dict) else {}, INSPECT)


def _parts(record: Mapping[str, Any], paths: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    seen = set()
    for path in paths:
        value: Any = record
        for step in path.split("."):
            value = value.get(step) if isinstance(value, dict) else None
        for name, written in _flat(path, value):
            short = next((new + name.removeprefix(old) for old, new in SHORT.items() if name.startswith(old)), name)
            if short not in seen:
                seen.add(short)
                yield short, written


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if private(name.rpartition(".")[2]) or value is None or value in ("", [], {}):
        return
    if isinstance(value, dict):
        for key, entry in value.items():
            yield from _flat(f"{name}.{key}", entry)
        return
    value = without_secrets(value)
    written = value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
    written = " ".join(written.encode("utf-8", "backslashreplace").decode("utf-8").split())
    yield name, written if len(written) <= LONGEST else written[: LONGEST - 3] + "..."
