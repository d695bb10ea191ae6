"""Tables of the page: answers, models, rejected rows, diagnostics, as fragments of HTML.

The markup is that of great-tables without style sheets and ids, so that the page's one sheet (light and dark) dresses them.
Interval kind and level are stated once, in the caption.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from html import escape

import polars as pl

from divergence.estimate import INTERVAL, Estimate
from divergence.report.content import Check
from divergence.report.names import spoken
from divergence.report.reading import higher_is_better, identified
from divergence.report.silent import SilentDrift
from divergence.report.words import SUFFIXES, decimal, decimals, phrase, scale, seen, sentence

MOST_NUMBERS = 240  # rows of one answer that are listed
MOST_MODELS = 100  # models that are all listed; of more the first
FIRST_MODELS = 20
MOST_MOVES = 60  # comparisons in which items move that are listed
MOST_GROUPS = 40  # groups of rejected rows that are listed
MOST_ROWS = 8  # row numbers named in a group
PARTS = {
    "cvar_10": "mean over the worst tenth of contexts",
    "p_best": "chance to be the best",
    "p_none": "chance that none is",
    "B_context": "B: of the contexts",
    "B_residual": "B: the rest",
}
"""Names of statistics that are no words, as words."""
NAMED = ("model", "model_b", "context", "context_b")  # columns whose entries may be shortened
HEADINGS = {
    "context_b": "deployed context",
    "model_b": "other model",
    "axis": "axis",
    "regime": "regime",
    "statistic": "part",
}


@dataclasses.dataclass(frozen=True)
class TextTable:
    """A table of texts before it is written out."""

    frame: pl.DataFrame
    """The texts, none of them null."""
    labels: Mapping[str, str]
    """Headings by column."""
    right: Sequence[str] = ()
    """Columns of numbers, which stand to the right."""
    by: str | None = None
    """Column whose values head their rows, in the order in which they occur first."""


def plain(frame: pl.DataFrame, labels: Mapping[str, str], right: Sequence[str] = ()) -> TextTable:
    """A table of texts with these headings, the columns of numbers to the right."""
    return TextTable(frame.select(pl.all().cast(pl.String).fill_null("")), dict(labels), tuple(right))


def banded(frame: pl.DataFrame, labels: Mapping[str, str], right: Sequence[str], by: str) -> TextTable:
    """A table of texts whose rows stand under a heading for each value of the column `by`."""
    return dataclasses.replace(plain(frame, labels, right), by=by)


def fragment(shown: TextTable) -> str:
    """The table as HTML, in a container that scrolls sideways: the markup of great-tables without its style sheet, wrapper
    and ids, written at once (cell by cell a page of it takes seconds)."""
    columns = [column for column in shown.frame.columns if column != shown.by]
    sides = ["gt_right" if column in shown.right else "gt_left" for column in columns]
    heads = [
        f'  <th class="gt_col_heading gt_columns_bottom_border {side}" rowspan="1" colspan="1" scope="col">'
        f"{escape(shown.labels.get(column, column))}</th>"
        for column, side in zip(columns, sides, strict=True)
    ]
    cells = [
        [f'    <td class="gt_row {side}">{escape(text)}</td>' for text in shown.frame[column]]
        for column, side in zip(columns, sides, strict=True)
    ]
    bands: dict[str, list[str]] = {}
    headings = shown.frame[shown.by] if shown.by else [""] * shown.frame.height
    for heading, row in zip(headings, zip(*cells, strict=True), strict=True):
        bands.setdefault(heading, []).append("\n".join(["  <tr>", *row, "  </tr>"]))
    body = []
    for heading, rows in bands.items():
        if shown.by:
            span = f'<th class="gt_group_heading" colspan="{len(columns)}" scope="colgroup">{escape(heading)}</th>'
            kind = "gt_group_heading_row" if heading else "gt_empty_group_heading"
            body.append(f'  <tr class="{kind}">\n    {span}\n  </tr>')
        body += rows
    table = [
        '<table class="gt_table">\n<thead>\n\n<tr class="gt_col_headings">',
        *heads,
        '</tr>\n</thead>\n<tbody class="gt_table_body">',
        "\n".join(body),
        "</tbody>\n\n</table>",
    ]
    return '<div class="scroll" tabindex="0" role="group" aria-label="Table">' + "\n".join(table) + "</div>"


def answers(estimate: Estimate) -> TextTable:
    """One row a number: where it holds, median, interval, floor; for what is not identified, why."""
    return plain(*written(estimate))


def written(estimate: Estimate) -> tuple[pl.DataFrame, dict[str, str], list[str]]:
    """The texts of `answers`, the headings, and which columns are numbers."""
    frame = estimate.to_frame().head(MOST_NUMBERS)
    columns: dict[str, list[str]] = {}
    labels: dict[str, str] = {}
    names = _names(frame)
    for name in estimate.dims:
        written = [names.get(value, value) if name in NAMED else value for value in frame[name]]
        written = [PARTS.get(value or "", value) for value in written] if name == "statistic" else written
        columns[name] = [value or ("headline" if name == "statistic" else "all") for value in written]
        labels[name] = HEADINGS.get(name, name.replace("_", " "))
    width = (pl.col("upper") - pl.col("lower")).median().over("unit")
    counts = [decimals(w or None, unit) for w, unit in frame.select(width, "unit").iter_rows()]
    for name in ("median", "lower", "upper", "noise_floor"):
        columns[name] = [
            "" if value is None else decimal(value * scale(unit), place)
            for value, unit, place in zip(frame[name], frame["unit"], counts, strict=True)
        ]
    labels |= {"median": f"median{unit_note(estimate)}", "lower": "low", "upper": "high", "noise_floor": "floor"}
    if not any(columns["noise_floor"]):
        del columns["noise_floor"], labels["noise_floor"]
    if estimate.reasons:
        columns["reason"] = [reason or "" for reason in frame["reason"]]
        labels["reason"] = "not identified because"
    numbers = [name for name in ("median", "lower", "upper", "noise_floor") if name in columns]
    return pl.DataFrame(columns), labels, numbers


def _names(frame: pl.DataFrame) -> dict[str, str]:
    """Names of models and contexts as they are spoken; full ones are in the page's table of names."""
    models = [name for column in NAMED[:2] for name in frame[column].drop_nulls()]
    contexts = [name for column in NAMED[2:] for name in frame[column].drop_nulls()]
    return spoken(models) | spoken(contexts)


def unit_note(estimate: Estimate) -> str:
    """The unit behind a heading: `, points`."""
    units = estimate.rows["unit"].unique().to_list() if "unit" in estimate.rows.columns else [estimate.unit]
    return f",{SUFFIXES.get(units[0], ' ' + units[0]) if units[0] != 'probability' else ' %'}" if len(units) == 1 else ""


def caption(estimate: Estimate) -> str:
    """What the numbers are: kind and level of the interval, what they rest on, how they were made."""
    counts = [
        f"{value:,} {name[2:].removesuffix('s') if value == 1 else name[2:]}"
        for name, value in estimate.counts.items()
        if value is not None
    ]
    parts = [f"Median and {INTERVAL:.0%} equal-tailed interval"]
    if counts:
        parts.append("from " + ", ".join(counts))
    text = " ".join(parts) + "."
    if estimate.rows.height > MOST_NUMBERS:
        text += f" {MOST_NUMBERS} of {estimate.rows.height:,} numbers; all of them are in estimates.parquet."
    return f"{text} Method: {estimate.method}." if estimate.method else text


def models(columns: Mapping[str, Mapping[str, str]], order: Sequence[str]) -> TextTable:
    """One row a model in bench order; `columns` holds, by heading, the text of each model."""
    order = list(order)
    order = order if len(order) <= MOST_MODELS else order[:FIRST_MODELS]
    shown = spoken(order)
    data: dict[str, list[str]] = {"model": [f"{k}. {shown[model]}" for k, model in enumerate(order, 1)]}
    labels = {"model": "model"}
    for k, (heading, cells) in enumerate(columns.items()):
        data[f"column_{k}"] = [cells.get(model, "not identified") for model in order]
        labels[f"column_{k}"] = heading
    return plain(pl.DataFrame(data), labels, list(data)[1:])


def best_first(estimate: Estimate) -> list[str]:
    """The models in the order of their headline numbers, the best in front: what is numbered reads as a ranking."""
    frame, _ = identified(estimate, "model")
    frame = frame.filter(pl.col("model").is_not_null())
    return frame.sort("median", descending=higher_is_better(estimate), maintain_order=True)["model"].to_list()


def by_model(estimate: Estimate, signed: bool = False) -> dict[str, str]:
    """The headline number of each model with its interval, without the unit."""
    frame, _ = identified(estimate, "model")
    cells = {}
    frame = frame.filter(pl.col("model").is_not_null()).with_columns(width=(pl.col("upper") - pl.col("lower")).median())
    for row in frame.iter_rows(named=True):
        factor = scale(row["unit"])
        shown = decimals(row["width"] or None, row["unit"])
        low, middle, high = (decimal(row[c] * factor, shown, signed and c == "median") for c in ("lower", "median", "upper"))
        cells[row["model"]] = f"{middle} ({low} to {high})"
    return cells


def counted(unit: str, mean: float, seen: int, of: int) -> str:
    """The plain mean of a model's rows, with the contexts that it was judged in where they are not all."""
    return f"{decimal(mean * scale(unit), decimals(0.05, unit))}{'' if seen == of else f' in {seen} of {of} contexts'}"


def moved(drift: SilentDrift, names: Mapping[str, str]) -> TextTable:
    """Every comparison in which items move while the level does not, or might not."""
    rows = [(m, "stays") for m in drift.silent] + [(m, "cannot be told") for m in drift.open]
    rows = rows[:MOST_MOVES]
    frame = pl.DataFrame(
        {
            "context": [names[m.context] for m, _ in rows],
            "model": [m.model or "all" for m, _ in rows],
            "kind": ["answers" if m.flips["statistic"] else "scores" for m, _ in rows],
            "flips": [phrase(m.flips) for m, _ in rows],
            "effect": [phrase(m.effect, signed=True) for m, _ in rows],
            "level": [level for _, level in rows],
        }
    )
    labels = {
        "context": "context",
        "model": "model",
        "kind": "what moves",
        "flips": "beyond the floor",
        "effect": "change of level",
        "level": "level",
    }
    return plain(frame, labels, ["flips", "effect"])


def checks(given: Sequence[Check]) -> TextTable:
    """Diagnostics: what was seen, what passes, whether it passed, what a failure would mean."""
    frame = pl.DataFrame(
        {
            "result": ["passed" if check.passed else "✗ FAILED" for check in given],
            "name": [check.name for check in given],
            "value": [seen(check.value) for check in given],
            "threshold": [check.threshold for check in given],
            "meaning": [sentence(check.meaning) for check in given],
        }
    )
    labels = {
        "result": "result",
        "name": "diagnostic",
        "value": "seen",
        "threshold": "passes",
        "meaning": "if it fails",
    }
    return plain(frame, labels, ["value"])


def rejected(rows: pl.DataFrame) -> TextTable:
    """Rejected rows by file and rule: how many, which, and the rule's sentence."""
    absent = [name for name in ("file", "row", "rule", "sentence") if name not in rows.columns]
    groups = (
        rows.with_columns(pl.lit("").alias(name) for name in absent)
        .group_by("file", "rule", maintain_order=True)
        .agg(
            count=pl.len(),
            sentence=pl.col("sentence").first(),
            first=pl.col("row").cast(pl.String).head(MOST_ROWS).str.join(", "),
        )
    )
    groups = (
        groups.sort("count", descending=True, maintain_order=True)
        .head(MOST_GROUPS)
        .with_columns(first=pl.when(pl.col("count") > MOST_ROWS).then(pl.col("first") + ", …").otherwise(pl.col("first")))
    )
    labels = {
        "rule": "rule",
        "count": "rows",
        "sentence": "what was wrong (first of them)",
        "file": "file",
        "first": "row numbers",
    }
    return plain(groups.select(*labels), labels, ["count"])


def judged(shares: pl.DataFrame) -> TextTable:
    """Judged share by regime and context."""
    names = spoken(shares["context"].drop_nulls())
    frame = shares.select(
        "regime",
        context=pl.col("context").replace(names),
        rows=pl.col("rows").map_elements("{:,}".format, return_dtype=pl.String),
        share=(100 * pl.col("judged") / pl.col("rows")).map_elements("{:.1f}".format, return_dtype=pl.String),
    )
    return plain(frame, {"regime": "regime", "context": "context", "rows": "rows", "share": "judged, %"}, ["rows", "share"])


def names(shortened: Mapping[str, str]) -> TextTable:
    """The short names of charts, each with the full one."""
    frame = pl.DataFrame({"short": list(shortened.values()), "full": list(shortened)})
    return plain(frame, {"short": "in charts", "full": "in the log"})
