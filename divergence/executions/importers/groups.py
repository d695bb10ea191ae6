"""Which files of an import belong together, so that the others can be read apart from them, in processes of their own?

A rule cuts the files of a format into groups. Reading the groups one after another, each into a draft of its own, and
putting the drafts together (`joined`) gives what reading all files at once gives: groups stand in the order in which
the format reads its files, and no statement of the format looks over two of them. A format without a rule is one group.

    file by file    every file speaks for itself
    by folder       what lies in one folder belongs together: a run and its averages, the spans of a trace
    by task         runs of one task are judged alike, and tries of one task count each sample once

Spans may cross folders all the same (a trace, a conversation, feedback beside the calls). That is seen when the groups
are put together (`joined.inseparable`), and the files are then read at once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from pathlib import Path

from divergence.executions.importers import foreign_files, inspect_log
from divergence.executions.importers.lm_eval import SAMPLES_NAME
from divergence.executions.importers.privacy import Privacy

Group = list[Path]
Rule = Callable[[Sequence[Path], Privacy], list[Group]]
"""From the files of a format, in the order given, to the groups, in the order in which they are read."""

TRACES = ("langfuse", "langsmith", "litellm", "mlflow", "otlp", "phoenix")
"""Formats whose calls may belong together over folders."""


def groups(format: str, files: Sequence[Path], privacy: Privacy) -> list[Group]:
    """The groups of the files of one format."""
    rule = RULES.get(format)
    return rule(files, privacy) if rule and len(files) > 1 else [list(files)]


def _cut(files: Sequence[Path], key: Callable[[Path], Hashable]) -> list[Group]:
    found: dict[Hashable, Group] = {}
    for file in files:
        found.setdefault(key(file), []).append(file)
    return list(found.values())


def by_file(files: Sequence[Path], _privacy: Privacy) -> list[Group]:
    """Every file is a group."""
    return [[file] for file in files]


def by_folder(files: Sequence[Path], _privacy: Privacy) -> list[Group]:
    """The files of a folder are a group."""
    return _cut(files, lambda file: file.parent)


def by_stem(files: Sequence[Path], _privacy: Privacy) -> list[Group]:
    """Files of one name in several formats (an export, and the lines that it was made of) are a group."""
    return _cut(files, lambda file: file.with_name(file.name.partition(".")[0]))


def by_task_of_inspect(files: Sequence[Path], _privacy: Privacy) -> list[Group]:
    """The tries of a task are a group, since they share samples."""
    return _cut(files, lambda file: inspect_log.tries(file).task_id or str(file))


def by_task_of_lm_eval(files: Sequence[Path], privacy: Privacy) -> list[Group]:
    """The runs of a task are a group, with all results files: which of them belongs to a run is found by its time.

    Items that are known by their prompt may be those of several tasks, and files of older names tell their task only
    when they are read: then all are one group.
    """
    samples = [file for file in files if foreign_files.bare_suffix(file) == ".jsonl"]
    names = [SAMPLES_NAME.fullmatch(file.name) for file in samples]
    if privacy.item_by_prompt or not samples or not all(names):
        return [list(files)]
    results = [file for file in files if file not in set(samples)]
    tasks = {file: name["task"] for file, name in zip(samples, names, strict=True) if name}
    return [[*group, *results] for group in _cut(samples, tasks.__getitem__)]


def by_instance(files: Sequence[Path], _privacy: Privacy) -> list[Group]:
    """The pages of one server, which lie in a folder of its name, are a group; answers of a database are read first."""
    if any(foreign_files.head(file).lstrip()[:1] == b"{" for file in files):
        return [list(files)]
    return _cut(files, lambda file: file.resolve().parent.name)


RULES: dict[str, Rule] = {
    **dict.fromkeys(TRACES, by_folder),
    "aiperf": by_folder,
    "helm": by_folder,
    "inspect": by_task_of_inspect,
    "lm-eval": by_task_of_lm_eval,
    "openai-evals": by_file,
    "openrouter": by_file,
    "prometheus": by_instance,
    "promptfoo": by_stem,
    "sglang": by_file,
    "vllm-bench": by_file,
}
"""The rule of each format that has one."""
