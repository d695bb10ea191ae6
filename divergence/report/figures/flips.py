"""Items that change sides: how many answers differ between bench and context beyond what repeating would change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from divergence.estimate import INTERVAL, Estimate
from divergence.orders import first
from divergence.report.figures import theme
from divergence.report.names import short, spoken, wrap
from divergence.report.palette import LIGHT
from divergence.report.silent import FLIPS_MATERIAL
from divergence.report.words import amount, axis_title, exact, number, phrase, scale

if TYPE_CHECKING:
    import altair as alt

KINDS = {None: "scores", "answers": "answers"}
MOST = 24  # contexts that are drawn
SPARE = 8  # px of a row beyond its name: room for two kinds
FIELDS = dict(
    context=pl.String,
    kind=pl.String,
    unit=pl.String,
    median=pl.Float64,
    lower=pl.Float64,
    upper=pl.Float64,
    floor=pl.Float64,
)


def pooled(flips: Estimate) -> tuple[pl.DataFrame, np.ndarray]:
    """One row a context and kind (scores, answers): flips over models and the floor of repeating; and their draws (D, R).

    `flips` are rows of `excess_flips` against the bench. Pairs with several benches, and models where the estimate has
    no row over models, are averaged draw by draw with equal weight.
    """
    frame = (
        flips.to_frame()
        .with_row_index("column")
        .filter(
            pl.col("identified")
            & pl.col("median").is_not_null()
            & pl.col("context_b").is_not_null()
            & (pl.col("statistic").is_null() | (pl.col("statistic") == "answers"))
        )
    )
    found, drawn = [], []
    for (context, statistic), part in frame.group_by("context_b", "statistic", maintain_order=True):
        over = part.filter(pl.col("model").is_null())
        used = over if over.height else part
        draws = flips.draws[:, used["column"].to_numpy()].mean(axis=1)
        lower, upper = np.quantile(draws, [(1 - INTERVAL) / 2, (1 + INTERVAL) / 2])
        drawn.append(draws)
        found.append(
            {
                "context": context,
                "kind": KINDS[statistic],
                "unit": used["unit"][0],
                "median": float(np.median(draws)),
                "lower": float(lower),
                "upper": float(upper),
                "floor": used["noise_floor"].mean(),
            }
        )
    table = pl.DataFrame(found, schema=FIELDS).with_row_index("row")
    table = table.with_columns(far=pl.col("median").max().over("context")).sort(
        ["far", "context", "kind"], descending=[True, False, True]
    )
    return table.drop("row", "far"), np.stack(drawn, 1)[:, table["row"].to_numpy()] if drawn else np.zeros((1, 0))


def rows(flips: Estimate) -> pl.DataFrame:
    """The table without its draws."""
    return pooled(flips)[0]


def sentence(flips: Estimate) -> str:
    """In how many contexts more items change than repeating explains, where most, and how high the floor is."""
    table, draws = pooled(flips)
    parts = []
    for kind in KINDS.values():
        part = table.filter(pl.col("kind") == kind)
        if part.height:
            parts.append(_kind_sentence(part, draws[:, (table["kind"] == kind).to_numpy()], kind))
        floors = part["floor"].drop_nulls()
        if len(floors):
            floor = amount(float(floors.to_numpy().mean()), part["unit"][0])
            parts.append(
                f"Repeating a request changes {floor} of the {kind} by itself; that floor is taken off (grey ticks)."
            )
    return " ".join(parts)


def _kind_sentence(part: pl.DataFrame, draws: np.ndarray, kind: str) -> str:
    moved = part.filter(pl.col("lower") > FLIPS_MATERIAL).height
    found, names = first(draws), spoken(part["context"])
    shown = [names[context] for context in part["context"]]
    row = phrase(part.row(found.at, named=True))
    lead = f"most {kind} change where the context"
    most = f"{shown[0]}: {row}" if part.height == 1 else f"{found.led(lead, shown)}: {row}"
    limit = exact(FLIPS_MATERIAL, "probability")
    if not moved:
        return f"In no context do more {kind} change than repeating explains (lower limit above {limit}); {most}."
    where = "the one context" if part.height == 1 else f"all {number(part.height)} contexts"
    if moved < part.height:
        where = f"{number(moved)} of {number(part.height)} contexts"
    return f"In {where} more {kind} change than repeating explains (lower limit above {limit}); {most}."


def beside(flips: Estimate) -> str:
    """What is left out of a long figure."""
    contexts = rows(flips)["context"].n_unique()
    return f"Drawn are {MOST} of {contexts} contexts, by their medians." if contexts > MOST else ""


def _picture(flips: Estimate) -> pl.DataFrame:
    """The rows that are drawn, in shown units, with the texts of the tooltip."""
    table = rows(flips)
    names, factor, unit = short(table["context"]), scale(flips.unit), flips.unit
    table = table.filter(pl.col("context").is_in(table["context"].unique(maintain_order=True).head(MOST).to_list()))
    floors = ["not known" if floor is None else amount(floor, unit) for floor in table["floor"]]
    return table.with_columns(
        name=pl.Series([wrap(names[context]) for context in table["context"]], dtype=pl.String),
        words=pl.Series([phrase(row) for row in table.iter_rows(named=True)], dtype=pl.String),
        floor_words=pl.Series(floors, dtype=pl.String),
        **{n: pl.col(n) * factor for n in ("median", "lower", "upper", "floor")},
    )


def chart(flips: Estimate) -> alt.LayerChart:
    """Excess flips of scores (circles) and answers (diamonds) by context, with the floor as a grey tick."""
    import altair as alt

    data = _picture(flips)
    shown = [kind for kind in KINDS.values() if kind in set(data["kind"])]
    title = f"items that change, {axis_title(flips.unit)}"
    legend = alt.Legend(title=None)
    look, shapes = [LIGHT["neutral"], LIGHT["ink"]][: len(shown)], ["circle", "diamond"][: len(shown)]
    colour = alt.Color("kind:N", scale=alt.Scale(domain=shown, range=look), legend=legend)
    shape = alt.Shape("kind:N", scale=alt.Scale(domain=shown, range=shapes), legend=legend)
    tooltip = [
        alt.Tooltip("context:N"),
        alt.Tooltip("kind:N", title="of"),
        alt.Tooltip("words:N", title=f"beyond the floor ({INTERVAL:.0%} interval)"),
        alt.Tooltip("floor_words:N", title="floor (repeating)"),
    ]
    offset = alt.YOffset("kind:N", sort=shown, scale=alt.Scale(domain=shown, paddingOuter=0.35))
    y = alt.Y("name:N", sort=None, axis=theme.name_axis(names=data["name"]))
    base = alt.Chart(data).encode(y=y, yOffset=offset, tooltip=tooltip)

    def x(field: str) -> alt.X:
        return alt.X(f"{field}:Q", title=title, axis=alt.Axis(tickCount=6), scale=alt.Scale(nice=False, padding=8))

    layers = [
        base.mark_tick(color=LIGHT["floor"], thickness=3, height=11).encode(x=x("floor")),
        base.mark_rule(strokeWidth=3, strokeCap="round").encode(x=x("lower"), x2=alt.X2("upper:Q"), color=colour),
        base.mark_point(size=64, opacity=1, strokeWidth=1.8, fill=LIGHT["paper"]).encode(
            x=x("median"), color=colour, shape=shape
        ),
    ]
    count = data["name"].n_unique()
    height, wide = ((row(data["name"]) + SPARE) * count for row in (theme.row_height, theme.wide_row))
    return theme.finish(alt.layer(*layers), height, sentence(flips), wide)
