"""A comparison on one screen of a terminal: verdict first, then what changed, then the worst groups, then the notes."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from divergence.comparison import words

if TYPE_CHECKING:
    from divergence.comparison.comparison import Comparison, Group

WIDTH = 100  # characters
GROUPS = 8  # lines of groups: one screen holds 24 lines
NOTES = 6


def screen(found: Comparison) -> str:
    """At most about 24 lines."""
    lines = [words.first_line(found), f"  BEFORE {found.before}", f"  AFTER  {found.after}"]
    told = [words.floor(found), words.room(found), words.left_out(found)]
    lines += [_indented(sentence) for sentence in told if sentence]
    if len(found.groups) > 1:
        lines += _groups(found)
    lines += [_indented(note) for note in found.notes[:NOTES]]
    if len(found.notes) > NOTES:
        lines.append(f"  ... and {len(found.notes) - NOTES} more notes in compare.json")
    lines.append(f"  ({found.method}, {found.confidence:.3g} two-sided)")
    return "\n".join(lines)


def screens(found) -> str:
    """Several runs: the verdicts after Holm's correction, and who differs from whom."""
    unit = found.runs[0].unit
    lines = [f"{found.verdict}: {len(found.runs)} runs against {found.runs[0].before}, corrected by Holm over the runs"]
    for run, verdict in zip(found.runs, found.verdicts, strict=True):
        alone = "" if verdict == run.verdict else f" (alone: {run.verdict})"
        lines.append(
            _indented(f"{verdict}{alone}: {words.interval(run.difference, unit)}, {words.flipped(run.whole, unit)}")
        )
        lines.append(f"    {run.after}")
    apart = [c for c in found.contrasts if c.differs]
    same = len(found.contrasts) - len(apart)
    lines += [
        _indented(f"differ: {c.first} and {c.second}, {words.interval(c.difference, unit)}, p {c.p:.2g}")
        for c in apart[:NOTES]
    ]
    lines.append(f"  {len(apart)} pairs of runs differ and {same} cannot be told apart, over all pairs together.")
    return "\n".join(lines)


def _groups(found: Comparison) -> list[str]:
    one = len({group.model for group in found.groups}) == 1
    ordered = words.worst_first(found)
    shown = ordered[:GROUPS]
    names = [words.shortened(words.group_name(g.model, g.task, one), 40) for g in shown]
    wide = max(map(len, names))
    lines = [_group(name.ljust(wide), group, found) for name, group in zip(names, shown, strict=True)]
    left = len(ordered) - len(shown)
    return [*lines, *([f"  ... and {left} groups that fell less"] if left else [])]


def _group(name: str, group: Group, found: Comparison) -> str:
    return (
        f"  {name}  {group.verdict:<11}  {words.interval(group.difference, found.unit)}, {group.items.shared} items, "
        f"{words.count(group.flips.down)} down {words.count(group.flips.up)} up"
    )


def _indented(sentence: str) -> str:
    return textwrap.fill(sentence, WIDTH, initial_indent="  ", subsequent_indent="    ")
