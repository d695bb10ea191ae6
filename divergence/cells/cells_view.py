"""What a notebook and a terminal show of `Cells`: sizes, levels of each key, and what the audit of the log found."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from divergence.shown import card, counted, fold, html_table, listing

if TYPE_CHECKING:
    from divergence.cells.cells import Cells

LEVELS = 8  # names of a key that are shown
NOUNS = ("model", "context", "item", "session", "scorer", "wave", "task")


def sizes(cells: Cells) -> str:
    """How much the cells hold, in one line."""
    held = [counted(len(cells.levels[key]), key) for key in NOUNS if cells.levels[key]]
    rows = int(cells.counts["rows"].sum())
    return f"{counted(rows, 'row')} in {counted(len(cells.counts), 'cell')}: {', '.join(held)}"


def line(cells: Cells) -> str:
    """The `repr`: outcome, sizes, factors."""
    factors = ", ".join(cells.factors) or "none"
    return f"Cells of {cells.outcome} ({cells.kind}): {sizes(cells)}; factors: {factors}"


def card_of(cells: Cells, findings: list[str]) -> str:
    """The HTML: the line, then levels, tables, notes and findings, folded."""
    names = [
        [key, f"{len(levels):,}", ", ".join(levels[:LEVELS]) + (" ..." if len(levels) > LEVELS else "")]
        for key, levels in cells.levels.items()
        if levels
    ]
    judged = _judged(cells)
    tables = [
        [f.name, f"{len(table):,}", ", ".join(table.keys)]
        for f in dataclasses.fields(cells)
        if (table := getattr(cells, f.name)).__class__.__name__ == "Table" and len(table)
    ]
    return card(
        f"Cells of {cells.outcome}",
        f"({cells.kind}): {sizes(cells)}",
        fold(f"what the audit found ({len(findings)})", listing(findings), opened=bool(findings)),
        fold("judged rows by regime and context", html_table(("regime", "context", "rows", "judged", "mean"), judged)),
        fold("levels", html_table(("key", "levels", "the first of them"), names)),
        fold("tables", html_table(("table", "rows", "keys"), tables)),
        fold("notes", listing(cells.notes)),
    )


def _judged(cells: Cells) -> list[list[str]]:
    """Rows, judged rows and the raw mean of each regime and context, the bench first."""
    counts = cells.counts
    keys, place = np.unique(np.stack([counts["regime"], counts["context"]]), axis=1, return_inverse=True)
    place = place.ravel()
    rows, unjudged, n, y = (np.bincount(place, counts[name]) for name in ("rows", "unjudged", "n", "y"))
    return [
        [
            cells.levels["regime"][regime],
            cells.levels["context"][context],
            f"{rows[k]:,.0f}",
            f"{rows[k] - unjudged[k]:,.0f}",
            f"{y[k] / n[k]:.4g}" if n[k] else "",
        ]
        for k, (regime, context) in sorted(
            enumerate(keys.T), key=lambda one: cells.levels["regime"][one[1][0]] != "evaluation"
        )
    ]
