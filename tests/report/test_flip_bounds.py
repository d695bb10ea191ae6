"""One run a side: the page shows between which numbers the share of items that change sides lies."""

import numpy as np
import polars as pl
import pytest
from random_logs import content_of

import divergence as dv
from divergence.report.blocks import Table
from divergence.report.flip_bounds import blocks, bounds
from divergence.report.sections import item_flips
from divergence.results import answer_all


def content(runs, arms, items=60, seed=2):
    """Shared items of (regime, context, model, rate), run so often."""
    random = np.random.default_rng(seed)
    log = dv.read(
        pl.DataFrame(
            [
                {"regime": r, "context": c, "model": m, "item": f"q{i}", "trial": t, "score": float(random.random() < p)}
                for r, c, m, p in arms
                for i in range(items)
                for t in range(runs)
            ]
        )
    )
    posterior = dv.fit(log.cells, seed=0)
    return content_of(log, posterior, answer_all(posterior))


ONE = [("evaluation", "bench", "A", 0.9), ("deployment", "web", "A", 0.6)]
MORE = [*ONE, ("deployment", "app", "A", 0.5), ("evaluation", "bench", "B", 0.7), ("deployment", "web", "B", 0.7)]
LIVE = [("deployment", "web", "A", 0.8), ("deployment", "app", "A", 0.5)]


@pytest.mark.parametrize(("arms", "pairs"), [(ONE, 1), (MORE, 4), (LIVE, 1)], ids=["one", "more", "no bench"])
def test_bounds_stand_on_the_page(arms, pairs):
    page = content(1, arms)
    found = bounds(page)
    assert found.height == pairs and not page.estimates["excess_flips"].identified
    told = [b for b in item_flips(page) if getattr(b, "label", "") == "Bounds:"]
    assert len(told) == 1 and found["least"][0] in told[0].text and found["most"][0] in told[0].text
    rows = page.estimates["excess_flips"].to_frame().filter(pl.col("statistic") == "upper_bound")
    assert float(found["most"][0].split("%")[0]) == pytest.approx(100 * rows["median"][0], abs=0.6), "that of the table"
    assert any(isinstance(b, Table) for b in blocks(page)) is (pairs > 1)


@pytest.mark.parametrize("arms", [ONE, LIVE])
def test_two_runs_a_side_are_counted_and_need_no_bounds(arms):
    page = content(2, arms)
    assert page.estimates["excess_flips"].identified and not blocks(page)
