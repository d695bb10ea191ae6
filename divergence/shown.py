"""What a notebook and a terminal show of a value: small tables of at most 20 rows, and parts that fold.

Every `_repr_html_` of the package is made of these. Nothing here knows what it shows; all texts are escaped.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

ROWS = 20  # rows of a table that are shown: about one screen
CELL = 96  # characters of one cell on a terminal


def more(total: int) -> str:
    """The line under a table that is cut: `more(36)` = '... and 16 more rows'; '' where all rows are shown.

    >>> more(36)
    '... and 16 more rows'
    """
    left = total - ROWS
    return f"... and {left:,} more row{'s' if left > 1 else ''}" if left > 0 else ""


def text_table(header: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table whose columns are as wide as their widest cell; the first 20 rows, and how many more."""
    cut = [[cell if len(cell) <= CELL else cell[: CELL - 1] + "…" for cell in row] for row in body[:ROWS]]
    widths = [max(len(row[k]) for row in [list(header), *cut]) for k in range(len(header))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in [list(header), *cut]]
    left = more(len(body))
    return [*lines, left] if left else lines


def html_table(header: Sequence[str], body: Sequence[Sequence[object]]) -> str:
    """The same as HTML."""
    head = "".join(f"<th>{html.escape(str(c))}</th>" for c in header)
    rows = "".join("<tr>" + "".join(f"<td>{html.escape(str(c))}</td>" for c in row) + "</tr>" for row in body[:ROWS])
    left = more(len(body))
    note = f"<p><small>{left}</small></p>" if left else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{note}"


def listing(texts: Iterable[str]) -> str:
    """Sentences as a list; '' where there are none. Long lists are cut as tables are."""
    texts = list(texts)
    left = more(len(texts))
    items = "".join(f"<li>{html.escape(text)}</li>" for text in [*texts[:ROWS], *([left] if left else [])])
    return f"<ul>{items}</ul>" if items else ""


def fold(title: str, content: str, *, opened: bool = False) -> str:
    """A part that folds, shown by its title; '' where it has no content."""
    if not content:
        return ""
    return f"<details{' open' if opened else ''}><summary>{html.escape(title)}</summary>{content}</details>"


def card(title: str, line: str, *parts: str) -> str:
    """A heading, one line, and the parts below it."""
    return f"<div><p><b>{html.escape(title)}</b> {html.escape(line)}</p>{''.join(parts)}</div>"


def counted(number: int | float, noun: str) -> str:
    """A count with its noun: `counted(1204, "row")` = '1,204 rows'.

    >>> counted(1204, "row"), counted(1, "row")
    ('1,204 rows', '1 row')
    """
    return f"{int(number):,} {noun}{'' if number == 1 else 's'}"
