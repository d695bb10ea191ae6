"""Which files of an import belong together, so that the others can be read apart from them, in processes of their own?

A rule cuts the files of a format into groups. Reading the groups one after another, each into a draft of its own, and
putting the drafts together (`joined`) gives what reading all files at once gives: groups stand in the order in which
the format reads its files, and no statement of the format looks over two of them. A format names its rule in its line
(`Format(apart=...)`); without one all of its files are one group.

    file by file    every file speaks for itself
    by folder       what lies in one folder belongs together: a run and its averages, the spans of a trace
    by stem         an export and the lines that it was made of

Spans may cross folders all the same (a trace, a conversation, feedback beside the calls). That is seen when the groups
are put together (`joined.inseparable`), and the files are then read at once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from pathlib import Path

from divergence.executions.importers.privacy import Privacy

Group = list[Path]
Rule = Callable[[Sequence[Path], Privacy], list[Group]]
"""From the files of a format, in the order given, to the groups, in the order in which they are read."""


def groups(rule: Rule | None, files: Sequence[Path], privacy: Privacy) -> list[Group]:
    """The groups of the files of a format with this rule."""
    return rule(files, privacy) if rule and len(files) > 1 else [list(files)]


def cut(files: Sequence[Path], key: Callable[[Path], Hashable]) -> list[Group]:
    """Groups of the files that have one key."""
    found: dict[Hashable, Group] = {}
    for file in files:
        found.setdefault(key(file), []).append(file)
    return list(found.values())


def by_file(files: Sequence[Path], _privacy: Privacy) -> list[Group]:
    """Every file is a group."""
    return [[file] for file in files]


def by_folder(files: Sequence[Path], _privacy: Privacy) -> list[Group]:
    """The files of a folder are a group."""
    return cut(files, lambda file: file.parent)


def traces_by_folder(files: Sequence[Path], privacy: Privacy) -> list[Group]:
    """The same of calls that may belong together over folders, which `joined` looks for."""
    return by_folder(files, privacy)


def by_stem(files: Sequence[Path], _privacy: Privacy) -> list[Group]:
    """Files of one name in several formats (an export, and the lines that it was made of) are a group."""
    return cut(files, lambda file: file.with_name(file.name.partition(".")[0]))
