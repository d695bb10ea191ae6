"""Short names: a context is told by what sets it apart, and no two names become the same.

A label of the form `factor=level|factor=level` loses the parts that all labels share and, where it is still long, the
most frequent level of each factor. Names that are still too long lose their middle. The full name stays in the
tooltip and in the page's table of names.
"""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

WIDTH = 42  # characters of a chart's label, on two lines
LINE = 22  # characters of one line: two fifths of a phone's width
TAIL = 0.45  # share of a shortened name that its last words may take
SPOKEN = 64  # characters of a name in a sentence
USUAL = "the usual settings"  # the context in which every factor has its most frequent level
FACTORS = {
    "engine_version": "version",
    "kv_cache_dtype": "KV cache",
    "batch_policy": "batching",
    "tool_set": "tools",
    "spec_decode": "speculation",
    "chat_template": "template",
    "prompt_version": "prompt",
}


def factor_name(factor: str) -> str:
    """A serving factor in plain words."""
    return FACTORS.get(factor, factor.replace("_", " "))


def _parts(label: str) -> list[str]:
    return label.split("|") if "=" in label else [label]


def _spoken(part: str) -> str:
    factor, equals, level = part.partition("=")
    return f"{factor_name(factor)} {level}" if equals else part


def _without(labels: Sequence[str], dropped: set[str]) -> dict[str, str]:
    """Every label without the dropped parts, `factor=level` read as `factor level`."""
    return {label: " · ".join(_spoken(part) for part in _parts(label) if part not in dropped) for label in labels}


def _differences(labels: Sequence[str]) -> dict[str, str]:
    """Labels of factor levels by what tells them apart: without what all share; if long, without what is usual."""
    counts = Counter(part for label in labels for part in dict.fromkeys(_parts(label)))
    common = {part for part, count in counts.items() if count == len(labels)} if len(labels) > 1 else set()
    names = _without(labels, common)
    if len(labels) > 2 and max(map(len, names.values())) > WIDTH:
        levels: dict[str, str] = {}
        for part, _ in counts.most_common():  # the first of a factor's levels is its most frequent one
            levels.setdefault(part.partition("=")[0], part)
        usual = {label: name or USUAL for label, name in _without(labels, common | set(levels.values())).items()}
        names = usual if len(set(usual.values())) == len(usual) else names
    return {label: name or label for label, name in names.items()}


def middle(name: str, width: int) -> str:
    """The name without its middle where it is longer than `width` characters, cut between words where it can be."""
    if len(name) <= width:
        return name
    words = re.split(r"(?<=[-/: ])", name)
    tail = ""
    while len(words) > 1 and len(words[-1] + tail) <= TAIL * width:
        tail = words.pop() + tail
    head = ""
    while words and len(head + words[0] + tail) < width:
        head += words.pop(0)
    if not head.strip() or not tail:
        kept = (width - 1) // 2
        head, tail = name[: width - 1 - kept], name[len(name) - kept :]
    return head.rstrip("-/: ·") + "…" + tail


def _apart(names: Mapping[str, str], width: int) -> dict[str, str]:
    """Every name without its middle where it is too long; where several become the same, what differs is kept."""
    cut = {label: middle(name, width) for label, name in names.items()}
    alike: dict[str, list[str]] = {}
    for label, name in cut.items():
        alike.setdefault(name, []).append(label)
    for labels in alike.values():
        if len(labels) > 1:
            words = {label: re.split(r"(?<=[-/_: ])", names[label]) for label in labels}
            before = _shared(list(words.values()))
            after = min(_shared([w[::-1] for w in words.values()]), min(map(len, words.values())) - before)
            for label, parts in words.items():
                kept = "".join(parts[before : len(parts) - after])
                head = middle("".join(parts[:before]), max(width - len(kept) - 2, 0)).rstrip("-/_: …") if before else ""
                told = (f"{head}…" if before else "") + kept.rstrip("-/_: ") + ("…" if after else "")
                cut[label] = told if kept else cut[label]
    return cut if all(len(name) <= width for name in cut.values()) else {k: middle(v, width) for k, v in cut.items()}


def _shared(lists: Sequence[Sequence[str]]) -> int:
    """How many first words all of these begin with."""
    count = 0
    while all(len(words) > count and words[count] == lists[0][count] for words in lists):
        count += 1
    return count


def short(labels: Iterable[str], width: int = WIDTH) -> dict[str, str]:
    """A short, distinct name for every label, at most about `width` characters."""
    labels = list(dict.fromkeys(labels))
    if not labels:
        return {}
    factors = [label for label in labels if "=" in label]
    names = {label: label for label in labels} | (_differences(factors) if factors else {})
    tails = {label: name.rsplit("/", 1)[-1] if len(name) > width else name for label, name in names.items()}
    if len(set(tails.values())) == len(labels):
        names = tails
    names = _apart(names, width)
    seen: Counter[str] = Counter()
    for label, name in names.items():
        seen[name] += 1
        if seen[name] > 1:
            names[label] = f"{middle(name, width - 3)} #{seen[name]}"
    return names


def spoken(labels: Iterable[str]) -> dict[str, str]:
    """The names as they stand in a sentence: told apart in the same way, with more room."""
    return short(labels, SPOKEN)


def wrap(name: str, line: int = LINE) -> str:
    """The name on lines of at most `line` characters, joined by newlines."""
    if max(map(len, name.split()), default=0) > line:
        name = name.replace("…", "… ")  # where a word has to be cut, it is cut there
    return "\n".join(textwrap.wrap(name, line, break_on_hyphens=True)) or name
