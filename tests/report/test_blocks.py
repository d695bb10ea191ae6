"""What of a section stands open, and what its fold says that it holds."""

from typing import cast

import altair as alt

from divergence.report.blocks import Figure, Listing, Section, Table, Text

CHART = cast("alt.LayerChart", None)


def section(*blocks):
    return Section("s", "S", "s?", blocks)


def test_one_figure_stands_open_and_the_rest_is_counted():
    first, second = Figure("a", CHART, "A."), Figure("b", CHART, "B.")
    boxed, quiet, table = Text("it moved", "notice", "Silent drift:"), Text("so"), Table("<table></table>")
    made = section(quiet, first, boxed, second, table, table)
    assert made.shown == (first,)
    assert made.folded == (quiet, boxed, second, table, table)
    assert made.more == "silent drift, 1 figure, 2 tables, 1 note"


def test_without_a_figure_the_first_text_and_every_warning_stand_open():
    lead, refusal, boxed = Text("read"), Text("why not", "refusal", "No figure:"), Text("off", "notice", "Levels:")
    folded = Listing((("a", "b"),), opened_by="Parts")
    made = section(folded, lead, Text("more"), refusal, boxed)
    assert made.shown == (lead, refusal, boxed)
    assert made.more == "1 note, 1 list"


def test_what_is_empty_folds_nothing():
    assert section().shown == section().folded == () and section().more == ""
