"""The section and the tables about combinations of model and context against the declared requirements."""

from __future__ import annotations

import numpy as np
import polars as pl

from divergence.report import tables
from divergence.report.blocks import Block, Figure, Table, Text
from divergence.report.choice import MOST, SURE, VALUES, Choice, Option, choose, laws, limit
from divergence.report.content import PageContent
from divergence.report.figures import coherence_map
from divergence.report.names import spoken
from divergence.report.words import amount, brief_chance, decimal, decimals, exact, scale

MOST_LISTED = 60  # combinations of the whole table
MARKS = "✓ at least 90% sure that the requirement is met, ✗ at least 90% sure that it is not, ? in between"


def mark(probability: float) -> str:
    """Is a requirement met? ✓, ✗ or ?"""
    return "✓" if probability >= SURE else "✗" if probability <= 1 - SURE else "?"


def _places(options: tuple[Option, ...], bound: str) -> int:
    """The decimals of one column: those that the middle interval supports."""
    name, _, _, unit = VALUES[bound]
    rows = [option.values[name] for option in options]
    widths = [row["upper"] - row["lower"] for row in rows if row["upper"] is not None]
    return decimals(float(np.median(widths)) if widths else 1.0 / scale(unit), unit)


def _cells(option: Option, places: dict[str, int]) -> dict[str, str]:
    cells = {}
    for bound, count in places.items():
        name, _, _, unit = VALUES[bound]
        cells[bound] = f"{decimal(option.values[name]['median'] * scale(unit), count)} {mark(option.sides[bound])}"
    return cells


def table_of(options: tuple[Option, ...], names: dict[str, str], acceptance: dict[str, float]) -> str:
    """One row a combination, as HTML."""
    return tables.fragment(tables.plain(*written(options, names, acceptance)))


def written(
    options: tuple[Option, ...], names: dict[str, str], acceptance: dict[str, float]
) -> tuple[pl.DataFrame, dict[str, str], list[str]]:
    """Texts, headings and number columns: each value with its mark, the chance to meet everything and to be the best."""
    bounds = tuple(bound for bound in VALUES if bound in acceptance)
    places = {bound: _places(options, bound) for bound in bounds}
    rows = [
        {
            "model": names[o.model],
            "context": names[o.context],
            **_cells(o, places),
            "meets": brief_chance(o.meets),
            "best": brief_chance(o.best),
        }
        for o in options
    ]
    labels = {"model": "model", "context": "context", "meets": "meets all", "best": "best"}
    for bound in bounds:
        _, heading, lower, unit = VALUES[bound]
        labels[bound] = f"{heading} {'≥' if lower else '≤'} {exact(acceptance[bound], unit)}"
    return pl.DataFrame(rows), {c: labels[c] for c in rows[0]}, [*bounds, "meets", "best"]


def first_table(choice: Choice, content: PageContent) -> Table:
    """The best combinations, for the first screen."""
    caption = f"Median of each value: {MARKS}."
    several = len(choice.options)
    opened_by = f"The values of the first combinations of {several}" if several > MOST else "The values of the combinations"
    return Table(table_of(choice.options[:MOST], choice.names, dict(content.acceptance)), caption, opened_by)


def unmet(choice: Choice, acceptance: dict[str, float]) -> str:
    """Requirements that no combination meets, in a sentence; '' where there are none."""
    told = []
    for bound in VALUES:
        if bound in acceptance and max(o.sides[bound] for o in choice.options) <= 1 - SURE:
            name, _, _, unit = VALUES[bound]
            medians = [o.values[name]["median"] for o in choice.options if o.values[name]["median"] is not None]
            ends = " to ".join(amount(end, unit) for end in (min(medians), max(medians))) if medians else "none"
            told.append(f"No combination meets “{limit(bound, acceptance[bound])}”; seen in the medians: {ends}.")
    return " ".join(told)


def section(content: PageContent) -> tuple[Block, ...]:
    """All combinations against the requirements, and what other traffic would change."""
    choice = choose(content)
    if choice is None:
        return (Text(content.reason("coherence"), "refusal", "No decision:"),)
    acceptance = dict(content.acceptance)
    blocks: list[Block] = []
    impossible = unmet(choice, acceptance)
    if impossible:
        blocks.append(Text(impossible, "notice"))
    answer = content.estimates["coherence"]
    blocks.append(Figure("coherence-map", coherence_map.chart(answer), coherence_map.sentence(answer)))
    blocks.append(
        Table(
            table_of(choice.options[:MOST_LISTED], choice.names, acceptance),
            f"{MARKS}.",
            opened_by=f"All {len(choice.options)} combinations"
            if len(choice.options) <= MOST_LISTED
            else f"{MOST_LISTED} of {len(choice.options)} combinations",
        )
    )
    traffic = _laws(content)
    if traffic.height:
        labels = {"law": "traffic", "model": "model", "meets": "meets all", "best": "best that does", "regret": "level lost"}
        blocks.append(
            Table(
                tables.fragment(tables.plain(traffic, labels, ["meets", "best", "regret"])),
                "One model for all of the traffic: over the log's own mix of contexts, and over others.",
            )
        )
    return tuple(blocks)


def _laws(content: PageContent) -> pl.DataFrame:
    """One row a law and model: does it meet everything there, is it the best, what does it lose?"""
    rows: dict[tuple, dict] = {}
    for question in ("coherence", "best_combination"):
        table = (
            content.estimates[question]
            .to_frame()
            .filter(pl.col("context").is_null() & pl.col("model").is_not_null() & pl.col("identified"))
        )
        for row in table.iter_rows(named=True):
            key = (
                "meets"
                if question == "coherence" and row["statistic"] is None
                else {"p_best": "best", "regret": "regret"}.get(row["statistic"])
            )
            if key:
                rows.setdefault((row["level"], row["model"]), {})[key] = row["mean"]
    names = spoken(model for _, model in rows)
    full = []
    for law, _, p in laws(content.estimates["best_combination"]):
        told = law or "as logged"
        if not any(row.get("meets") for (of, _), row in rows.items() if of == law):
            full.append({"law": told, "model": "none", "meets": brief_chance(1 - p), "best": "", "regret": ""})
            continue
        mine = [(model, v) for (of, model), v in rows.items() if of == law and len(v) == 3]
        full += [
            {
                "law": told,
                "model": names[model],
                "meets": brief_chance(v["meets"]),
                "best": brief_chance(v["best"]),
                "regret": amount(v["regret"], "fraction"),
            }
            for model, v in sorted(mine, key=lambda one: -one[1]["best"])
        ]
    return pl.DataFrame(full)
