"""The section on risk: reliability on held-out rows, and each context beside what was predicted for it."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from divergence.report import sharpness, tables
from divergence.report.blocks import Block, Figure, Table, Text
from divergence.report.figures import reliability
from divergence.report.words import capital

NOTE = "The band holds the bins of a perfect score in 95 % of checks of this size; bins hold equally many rows."


def blocks(check: Mapping) -> tuple[Block, ...]:
    """The figure with its numbers by context, or why calibration was not checked."""
    more = _items(check)
    if "bins" not in check:
        return (Text(capital(check["sentence"]) + ".", "refusal", "No figure:"), *more)
    caption = "Predicted and observed failures of each context on the held-out rows; standard error of their difference."
    return (
        Figure(
            "reliability",
            reliability.chart(check),
            reliability.sentence(check),
            NOTE,
            tables.fragment(by_context(check)),
            caption,
        ),
        *more,
    )


def _items(check: Mapping) -> tuple[Block, ...]:
    """What is known of items, and how well requests are told apart beside plain rates."""
    found = sharpness.table(check.get("sharpness", {}))
    said = (Text(capital(check["items"]) + "."),) if "items" in check else ()
    return said if found is None else (*said, Table(tables.fragment(found), sharpness.CAPTION))


def by_context(check: Mapping):
    """One row a context: rows, mean risk, failures, standard error, coverage of its sets."""
    sets = check.get("sets", {}).get("contexts", {})
    rows = [
        {
            "context": name,
            "rows": f"{of['rows']:,}",
            "risk": f"{100 * of['risk']:.1f}",
            "failures": f"{100 * of['failures']:.1f}",
            "se": f"{100 * of['se']:.1f}",
            "sets": f"{100 * sets[name]['coverage']:.0f}" if name in sets else "",
        }
        for name, of in check["contexts"].items()
    ]
    labels = {
        "context": "context",
        "rows": "rows",
        "risk": "predicted, %",
        "failures": "failed, %",
        "se": "standard error",
        "sets": "sets hold, %",
    }
    return tables.plain(pl.DataFrame(rows), labels, ("rows", "risk", "failures", "se", "sets"))
