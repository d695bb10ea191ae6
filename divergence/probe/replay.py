"""Items out of another tool's log: what an evaluation asked is asked again, in other serving contexts.

Inspect (`.eval`, `.json`): the input of every sample of the first epoch, with its target. lm-eval (`samples_*.jsonl`): the
text that was sent for every document, with its target. The prompt is what the log holds, word for word; scoring is
`exact` where the log names one short target, with the lenient score beside it.
"""

from __future__ import annotations

import contextlib
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

from divergence.errors import InputError


def is_log(path: Path) -> bool:
    """Is this a log that can be replayed, by its name?"""
    return path.suffix in (".eval", ".json") or (path.suffix == ".jsonl" and path.name.startswith("samples_"))


def items(path: Path) -> list[dict]:
    """The items of a log, each once. Raises `InputError` where it holds none that can be asked."""
    try:
        found = list(_lm_eval(path) if path.suffix == ".jsonl" else _inspect(path))
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, NotImplementedError) as error:
        raise InputError(f"The log {path} cannot be replayed: {type(error).__name__}: {error}.") from None
    unique = list({row["item"]: row for row in reversed(found)}.values())[::-1]
    if not unique:
        raise InputError(f"The log {path} holds no sample with a text input and a target.")
    return unique


def _inspect(path: Path) -> Iterator[dict]:
    for sample in _samples(path):
        prompt, target = sample.get("input"), sample.get("target")
        if isinstance(prompt, list):  # chat messages: what the user said last
            said = [m.get("content") for m in prompt if isinstance(m, dict) and m.get("role") == "user"]
            prompt = said[-1] if said else None
        target = target[0] if isinstance(target, list) and target else target
        if isinstance(prompt, str) and isinstance(target, str) and target:
            choices = [f"\n{chr(65 + k)}) {c}" for k, c in enumerate(sample.get("choices") or [])]
            listed = "".join([*choices, "\nAnswer:"]) if choices else ""
            row = {"item": str(sample["id"]), "prompt": prompt + listed, "gold": target}
            yield row | {"scorer": "exact", "task": path.stem}


def _samples(path: Path) -> Iterator[dict]:
    if path.suffix == ".json":
        yield from json.loads(path.read_text(encoding="utf-8"))["samples"]
        return
    with contextlib.suppress(ImportError):
        import zipfile_zstd  # noqa: F401  (teaches zipfile to read Zstandard members)
    with zipfile.ZipFile(path) as archive:
        for name in sorted(archive.namelist()):
            if name.startswith("samples/") and name.endswith(".json"):
                yield json.loads(archive.read(name))


def _lm_eval(path: Path) -> Iterator[dict]:
    for line in filter(str.strip, path.read_text(encoding="utf-8").split("\n")):
        sample = json.loads(line)
        sent = sample["arguments"]
        first = sent["gen_args_0"] if isinstance(sent, dict) else sent[0]
        prompt = first["arg_0"] if isinstance(first, dict) else first[0]
        target = str(sample["target"])
        task = path.stem.removeprefix("samples_").rsplit("_", 1)[0]
        if isinstance(prompt, str) and target:
            yield {"item": str(sample["doc_id"]), "prompt": prompt, "gold": target, "scorer": "exact", "task": task}
