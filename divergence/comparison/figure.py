"""The difference of the whole and of every model and task, with its limits, 0 and the margin, as one chart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from divergence.comparison import verdicts, words

if TYPE_CHECKING:
    import altair

    from divergence.comparison.comparison import Comparison

COLOURS = {verdicts.NO_WORSE: "#1a63a8", verdicts.WORSE: "#b4500e", verdicts.NOT_SETTLED: "#77818e"}
"""Blue and orange as in the report; the verdict is also a shape."""
SHAPES = {verdicts.NO_WORSE: "circle", verdicts.WORSE: "triangle-down", verdicts.NOT_SETTLED: "square"}
GROUPS = 40  # rows that a chart can carry; the worst ones are shown
ROW = 26  # px


def forest(found: Comparison) -> altair.LayerChart | altair.FacetChart:
    """Estimate and interval by group, the whole on top."""
    import altair as alt

    factor = 100 if found.unit == "fraction" else 1
    one = len({group.model for group in found.groups}) == 1
    ordered = words.worst_first(found)[:GROUPS]
    parts = [("all items", found.whole), *((words.group_name(g.model, g.task, one), g) for g in ordered)]
    parts = parts if len(found.groups) > 1 else parts[:1]
    rows = [
        {"name": name, "verdict": part.verdict}
        | {key: factor * getattr(part.difference, key) for key in ("estimate", "lower", "upper")}
        for name, part in parts
    ]
    base = alt.Chart(alt.Data(values=rows)).encode(y=alt.Y("name:N", sort=[name for name, _ in parts], title=None))
    title = "AFTER less BEFORE, points" if found.unit == "fraction" else f"AFTER less BEFORE, {found.unit}"
    names = list(COLOURS)
    colour = alt.Color("verdict:N", scale=alt.Scale(domain=names, range=list(COLOURS.values())), title=None)
    shape = alt.Shape("verdict:N", scale=alt.Scale(domain=names, range=list(SHAPES.values())), title=None)
    line = base.mark_rule(strokeWidth=2).encode(x=alt.X("lower:Q", title=title), x2="upper:Q", color=colour)
    point = base.mark_point(filled=True, size=80, opacity=1).encode(x="estimate:Q", color=colour, shape=shape)
    marks = [{"at": 0.0, "dash": "none"}, {"at": -factor * found.margin * found.sign, "dash": "margin"}]
    rule = (
        alt.Chart(alt.Data(values=marks))
        .mark_rule(color="#98a2ae")
        .encode(
            x="at:Q",
            strokeDash=alt.StrokeDash(
                "dash:N", scale=alt.Scale(domain=["none", "margin"], range=[[1, 0], [4, 4]]), legend=None
            ),
        )
    )
    return alt.layer(rule, line, point).properties(width=480, height=ROW * len(rows), title=words.first_line(found))
