"""A comparison as one small page: no script, no font, no address, nothing to load; it opens from a CI artifact.

Verdict, what changed, the interval of every group as a bar, and which items moved, by task, down and up. Prompts stand on
it only where they were asked for. Everything from a log is escaped.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from itertools import groupby
from typing import TYPE_CHECKING

from divergence.comparison import words
from divergence.comparison.moved import moved_items, names_beside

if TYPE_CHECKING:
    from divergence.comparison.comparison import Comparison, Part

MOVED = 400  # items on the page: more are in compare.parquet
STYLE = """
:root{--ink:#1d232b;--muted:#5a6573;--faint:#e3e7ec;--paper:#fff;--gain:#1a63a8;--loss:#b4500e;--neutral:#5a6573}
@media(prefers-color-scheme:dark){:root{--ink:#e5e9ee;--muted:#9ba7b4;--faint:#2d343d;--paper:#15191e;--gain:#69b1f2;
--loss:#f09a5b;--neutral:#9ba7b4}}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.45 system-ui,sans-serif}
main{max-width:60rem;margin:0 auto;padding:1.2rem 1rem 3rem}
h1{font-size:1.5rem;margin:.2rem 0 .4rem}h2{font-size:1.1rem;margin:1.8rem 0 .4rem}
p{margin:.3rem 0}ul{margin:.3rem 0;padding-left:1.2rem}.muted{color:var(--muted)}
.worse{color:var(--loss)}.fine{color:var(--gain)}.open{color:var(--neutral)}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.25rem .5rem .25rem 0;vertical-align:top;
border-top:1px solid var(--faint);overflow-wrap:anywhere}th{font-weight:600;border-top:0}
td.bar{width:34%;min-width:6rem}svg{display:block;width:100%;height:1.5rem}code,.text{overflow-wrap:anywhere}
.move{white-space:nowrap}.text{white-space:pre-wrap;font-size:.85rem;color:var(--muted);margin:.2rem 0}
@media(max-width:600px){table.groups thead{display:none}table.groups td{display:block;border:0;padding:.05rem 0}
table.groups tr{display:block;border-top:1px solid var(--faint);padding:.4rem 0}td.bar{width:auto}}
"""
CLASS = {"no worse": "fine", "worse": "worse", "not settled": "open"}
SIGN = {"no worse": "●", "worse": "▼", "not settled": "■"}


def page(found: Comparison, prompts: Mapping[str, str] | None = None) -> str:
    """The text of `compare.html`; `prompts` are shown with the items that moved."""
    title = f"{found.verdict}: {found.after} against {found.before}"
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width,initial-scale=1'>"
        f"<title>{_safe(title)}</title><style>{STYLE}</style></head><body><main>{_head(found)}{_changed(found)}"
        f"{_groups(found)}{_moved(found, prompts or {})}<p class='muted'>{_safe(found.method)}; two-sided at "
        f"{found.confidence:.3g}.</p></main></body></html>\n"
    )


def fragment(found: Comparison) -> str:
    """The head and the groups, for a notebook."""
    return f"<div>{_head(found)}{_groups(found)}</div>"


def _head(found: Comparison) -> str:
    told = [words.floor(found), words.room(found), words.left_out(found), *found.notes]
    return (
        f"<h1 class='{CLASS[found.verdict]}'>{SIGN[found.verdict]} {_safe(found.verdict)}</h1>"
        f"<p>{_safe(words.first_line(found).partition(': ')[2])}.</p>"
        f"<p class='muted'><code>{_safe(found.before)}</code> → <code>{_safe(found.after)}</code></p>"
        f"<ul>{''.join(f'<li>{_safe(sentence)}</li>' for sentence in told if sentence)}</ul>"
    )


def _changed(found: Comparison) -> str:
    if not found.changed:
        return ""
    rows = "".join(
        f"<tr><td>{_safe(c.field)}</td><td>{_safe(words.shortened(c.before))}</td>"
        f"<td>{_safe(words.shortened(c.after))}</td></tr>"
        for c in found.changed
    )
    return f"<h2>What changed</h2><table><thead><tr><th>setting<th>before<th>after</thead><tbody>{rows}</tbody></table>"


def _groups(found: Comparison) -> str:
    one = len({group.model for group in found.groups}) == 1
    ordered = words.worst_first(found)
    parts: list[tuple[str, Part]] = [("all items", found.whole)]
    if len(ordered) > 1:
        parts += [(words.group_name(g.model, g.task, one), g) for g in ordered]
    ends = [abs(end) for _, p in parts for end in (p.difference.lower, p.difference.upper) if abs(end) != float("inf")]
    reach = max([found.margin * 1.5, *ends]) * 1.05
    rows = "".join(
        f"<tr><td>{_safe(name)}</td><td class='{CLASS[part.verdict]}'>{SIGN[part.verdict]} {part.verdict}</td>"
        f"<td class='bar'>{_bar(part, found.margin, reach)}</td>"
        f"<td>{_safe(words.interval(part.difference, found.unit))}</td><td>{part.items.shared:,} items</td>"
        f"<td>{words.count(part.flips.down)} down, {words.count(part.flips.up)} up</td></tr>"
        for name, part in parts
    )
    head = "<tr><th>group<th>verdict<th>AFTER less BEFORE<th><th>items<th>flips"
    return f"<h2>Difference</h2><table class='groups'><thead>{head}</thead><tbody>{rows}</tbody></table>"


def _bar(part: Part, margin: float, reach: float) -> str:
    """The interval on a line with 0 (solid) and both margins (dashed); the numbers stand beside it."""

    def place(value: float) -> float:
        return round(500 + 480 * max(-1.0, min(1.0, value / reach)), 1)

    lower, upper, middle = (place(v) for v in (part.difference.lower, part.difference.upper, part.difference.estimate))
    line = "stroke='currentColor' vector-effect='non-scaling-stroke'"
    dashed = "".join(
        f"<line x1='{place(at)}' x2='{place(at)}' y1='2' y2='22' {line} stroke-dasharray='3 3' opacity='.5'/>"
        for at in (-margin, margin)
    )
    return (
        f"<svg class='{CLASS[part.verdict]}' viewBox='0 0 1000 24' preserveAspectRatio='none' aria-hidden='true'>{dashed}"
        f"<line x1='500' x2='500' y1='0' y2='24' {line} opacity='.5'/>"
        f"<line x1='{lower}' x2='{upper}' y1='12' y2='12' {line} stroke-width='3'/>"
        f"<line x1='{middle}' x2='{middle}' y1='5' y2='19' {line} stroke-width='4'/></svg>"
    )


def _moved(found: Comparison, prompts: Mapping[str, str]) -> str:
    moved = moved_items(found.table)
    if not moved.height:
        return "<h2>Items that moved</h2><p>No score moved.</p>"
    shown = moved.head(MOVED).sort("task", "difference", "item", nulls_last=True)
    beside = [column for column in names_beside(moved) if column != "task"]  # which heads the list
    parts = [f"<h2>Items that moved ({moved.height:,})</h2>"]
    for task, rows in groupby(shown.iter_rows(named=True), key=lambda row: row["task"]):
        lines = list(rows)
        down = sum(row["difference"] < 0 for row in lines)
        name = task if task is not None else "all"
        parts.append(f"<details open><summary>{_safe(name)}: {down} down, {len(lines) - down} up</summary><table><tbody>")
        parts += [_row(row, prompts, beside) for row in lines]
        parts.append("</tbody></table></details>")
    if moved.height > MOVED:
        parts.append(f"<p class='muted'>The other {moved.height - MOVED:,} are in compare.parquet.</p>")
    return "".join(parts)


def _row(row: Mapping, prompts: Mapping[str, str], beside: list[str]) -> str:
    kind, sign = ("worse", "▼") if row["difference"] < 0 else ("fine", "▲")
    answers = ""
    if row["answer_before"] is not None or row["answer_after"] is not None:
        answers = f"{words.shortened(row['answer_before'] or '', 80)} → {words.shortened(row['answer_after'] or '', 80)}"
    name = " · ".join(str(row[column]) for column in (*beside, "item"))
    text = prompts.get(row["item"])
    asked = f"<div class='text'>{_safe(text)}</div>" if text else ""
    return (
        f"<tr><td class='{kind}'>{sign}</td><td>{_safe(name)}{asked}</td>"
        f"<td class='move'>{row['before']:.3g} → {row['after']:.3g}</td><td>{_safe(answers)}</td></tr>"
    )


def _safe(text: str) -> str:
    return html.escape(str(text).encode("utf-8", "replace").decode("utf-8"))
