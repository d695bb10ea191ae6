"""The look that all charts share: as wide as their container, transparent, quiet axes, the palette's colours."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, cast

from divergence.report.names import wrap
from divergence.report.palette import LIGHT

if TYPE_CHECKING:
    import altair as alt

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
LABEL = 12  # px, text on axes and marks
LINE_HEIGHT = 14  # px, lines of a name
HEADING = "indexof(datum.value, '\\t') < 0"  # a name without a tab
LABEL_LIMIT = 162  # px, room for the names at the left of a chart
WIDE_LIMIT = 320  # px, the same where the page is wide
WIDE_LINE = 46  # characters of a line there
MAP = 760  # px: a map this wide has room for long names
NARROW = 430  # px: a chart below this width is on a phone


@contextlib.contextmanager
def unchecked() -> Iterator[None]:
    """Charts that are made inside are not held against the schema of Vega-Lite part by part.

    The tests hold every chart against it; on a page it is a fifth of the time of drawing, and says nothing to a reader.
    """
    from altair.utils import schemapi

    with schemapi.debug_mode(False):
        yield


def finish(
    chart: alt.LayerChart | alt.FacetChart, height: int, description: str, wide: int | None = None, across: int = 520
) -> alt.LayerChart:
    """The chart, at its container's width and with the shared look from now on; `description` is what a screen reader says.

    `wide` is the height where it is at least `across` px wide, so that names need fewer lines.
    """
    import altair as alt

    look: dict[str, Any] = {
        "width": "container",
        "height": height,
        "description": description,
        "usermeta": {"wide": wide or height, "from": across},
        "padding": {"left": 2, "right": 6, "top": 4, "bottom": 2},
        "config": alt.Config(
            background="transparent",
            font=FONT,
            params=[{"name": "wide", "value": False}],
            view=alt.ViewConfig(stroke=None),
            axis=alt.AxisConfig(
                labelColor=LIGHT["muted"],
                titleColor=LIGHT["muted"],
                gridColor=LIGHT["faint"],
                domain=False,
                ticks=False,
                labelFontSize=LABEL,
                titleFontSize=LABEL,
                titleFontWeight="normal",
                labelPadding=6,
                titlePadding=8,
            ),
            legend=alt.LegendConfig(
                labelColor=LIGHT["muted"],
                titleColor=LIGHT["muted"],
                labelFontSize=LABEL,
                titleFontSize=LABEL,
                titleFontWeight="normal",
                orient="top",
                direction="horizontal",
                symbolSize=70,
                labelLimit=260,
                columns=2,
            ),
            text=alt.MarkConfig(color=LIGHT["ink"], fontSize=LABEL),
        ),
    }
    for name, value in look.items():  # in place: each `.properties` and `.configure_...` would copy all layers twice
        chart[name] = value
    return cast("alt.LayerChart", chart)  # `alt.layer` gives another kind only of facets, which no figure has


def name_axis(headings: bool = False, names: Iterable[str] = ()) -> alt.Axis:
    """The axis that carries names: what stands before a tab only tells rows apart, a newline begins a new line.

    With `headings`, names without a tab are bold: they head the rows below them. With `names` (all that the axis carries)
    they stand on fewer, longer lines where the page is wide.
    """
    import altair as alt

    last = "split(indexof(datum.value, '\\t') < 0 ? datum.value : split(datum.value, '\\t')[1], '\\n')"
    longer = {name: _wide(name) for name in names}
    if longer:
        last = f"(wide ? split({json.dumps(longer)}[datum.value], '\\n') : {last})"
    return alt.Axis(
        title=None,
        labelExpr=last,
        labelLimit=alt.ExprRef(f"wide ? {WIDE_LIMIT} : {LABEL_LIMIT}") if longer else LABEL_LIMIT,
        labelColor=LIGHT["ink"],
        grid=False,
        minExtent=60,
        labelLineHeight=LINE_HEIGHT,
        labelOffset=alt.ExprRef(f"{-LINE_HEIGHT / 2} * (length({last}) - 1)"),
        labelFontWeight={"condition": {"test": HEADING, "value": "bold"}, "value": "normal"} if headings else "normal",
    )


def _wide(name: str) -> str:
    """The name on long lines, without what only tells rows apart."""
    return wrap(" ".join(name.rsplit("\t", 1)[-1].split("\n")), WIDE_LINE)


def wide_row(names: Iterable[str]) -> int:
    """Height in px that the name with the most lines needs where the page is wide."""
    return max(20, 6 + LINE_HEIGHT * max((_wide(name).count("\n") + 1 for name in names), default=1))


def row_height(names: Iterable[str]) -> int:
    """Height in px that the name with the most lines needs."""
    return max(26, 10 + LINE_HEIGHT * max((name.count("\n") + 1 for name in names), default=1))
