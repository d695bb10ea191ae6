"""A comparison as Markdown that fits a comment on a pull request: verdict, difference, what changed, groups, moved items."""

from __future__ import annotations

import polars as pl

from divergence.comparison import words
from divergence.comparison.comparison import Comparison
from divergence.comparison.moved import moved_items, names_beside

GROUPS = 20  # rows of a table that people read in a comment
MOVED = 20
LONGEST = 60_000  # characters: GitHub refuses a comment above 65,536
MARK = {"no worse": "✅", "worse": "❌", "not settled": "❔"}


def markdown(found: Comparison) -> str:
    """The text of `compare.md`."""
    lines = [f"### {MARK[found.verdict]} {_safe(words.first_line(found))}", ""]
    lines += [f"`{_code(found.before)}` → `{_code(found.after)}`", ""]
    told = [words.floor(found), words.room(found), words.left_out(found), *found.notes]
    lines += [f"- {_safe(sentence)}" for sentence in told if sentence]
    if found.changed:
        lines += ["", "| setting | before | after |", "|---|---|---|"]
        lines += [f"| {_cell(c.field)} | {_cell(c.before)} | {_cell(c.after)} |" for c in found.changed[:GROUPS]]
    if len(found.groups) > 1:
        lines += ["", *_groups(found)]
    moved = moved_items(found.table)
    if moved.height:
        lines += ["", *_moved(moved)]
    lines += ["", f"<sub>{found.method}; two-sided at {found.confidence:.3g}.</sub>", ""]
    text = "\n".join(lines)
    return text if len(text) <= LONGEST else text[: LONGEST - 4] + "\n...\n"


def _groups(found: Comparison) -> list[str]:
    one = len({group.model for group in found.groups}) == 1
    ordered = words.worst_first(found)
    rows = ["| group | verdict | difference | for all groups at once | items | down | up |", "|---|---|---|---|---|---|---|"]
    for g in ordered[:GROUPS]:
        every = words.interval(g.simultaneous, found.unit).partition(" (")[2].rstrip(")") if g.simultaneous else ""
        cells = [
            _cell(words.group_name(g.model, g.task, one)),
            g.verdict,
            words.interval(g.difference, found.unit),
            every,
            str(g.items.shared),
            words.count(g.flips.down),
            words.count(g.flips.up),
        ]
        rows.append(f"| {' | '.join(cells)} |")
    left = len(ordered) - GROUPS
    return [*rows, *([f"| and {left} more | | | | | | |"] if left > 0 else [])]


def _moved(moved: pl.DataFrame) -> list[str]:
    beside = names_beside(moved)
    rows = [f"<details><summary>{moved.height} items moved</summary>", "", "| item | before | after |", "|---|---|---|"]
    for row in moved.head(MOVED).iter_rows(named=True):
        name = " · ".join(str(row[column]) for column in (*beside, "item"))
        rows.append(f"| {_cell(name)} | {row['before']:.3g} | {row['after']:.3g} |")
    left = moved.height - MOVED
    return [*rows, *([f"| and {left} more | | |"] if left > 0 else []), "", "</details>"]


def _safe(text: str) -> str:
    """Text of a log that cannot become markup, a mention or a table cell of its own."""
    text = "".join(mark if mark.isprintable() else " " for mark in text)
    for mark in ("\\", "`", "*", "_", "<", "[", "]", "|"):
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.replace("@", "@\u200b").split())


def _cell(text: str | None) -> str:
    return _safe(words.shortened(text))


def _code(text: str) -> str:
    return " ".join(text.replace("`", "'").split())
