"""What a notebook shows of a risk model: every known combination once, the riskiest first."""

import re

import risk_worlds as worlds

import divergence as dv
from divergence.risk.build import risk_model
from divergence.risk.model_view import shown_table


def test_known_combinations_are_shown_the_riskiest_first():
    frame, _ = worlds.make(2, models=2, contexts=3, tasks=2, items=12)
    model = risk_model(dv.fit(dv.collapse(dv.read(frame)), seed=0))
    page = shown_table(model)
    rows = [re.findall(r"<td[^>]*>([^<]*)</td>", row) for row in re.findall(r"<tr>.*?</tr>", page, re.S)]
    rows = [row for row in rows if row]
    assert len(rows) == model.table["known"].sum() and "(never seen)" not in page
    risks = [float(row[3]) for row in rows]
    assert risks == sorted(risks, reverse=True) and {row[0] for row in rows} == {"m0", "m1"}
