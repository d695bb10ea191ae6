"""Attribution: an exact split, mix told from within, and no more causal than it may be."""

import datetime as dt

import numpy as np
import polars as pl
import pytest

from divergence.drift import detect
from divergence.drift.attribution import attribution, split_of
from divergence.drift.bridges import bridges
from divergence.drift.verdict import Edge
from divergence.simulate import stream

ROWS = 4000


def edge(kind: str, a: str, b: str | None, detail: str | None = None) -> Edge:
    family = "surface" if b is None else "structural"
    return Edge(family, a, b, kind, detail, 9.0, True, 0.0, 0.0, 0.0, 0.0, 0.0, None)


def side(seed: int, share: float, within: float) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    fast = rng.random(ROWS) < share
    x = rng.standard_normal(ROWS) + 2 * fast
    y = within * x + rng.standard_normal(ROWS) + 2 * fast
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    return pl.DataFrame({"x": x, "y": y, "engine": np.where(fast, "fast", "slow")}).with_columns(
        time=pl.Series([start + dt.timedelta(seconds=n) for n in range(ROWS)]),
        route=pl.Series(np.where(rng.random(ROWS) < 0.5, "r", "s")),
    )


@pytest.mark.parametrize(
    ("kind", "a", "b", "detail"),
    [
        ("correlation", "x", "y", None),
        ("lagged", "x", "y", "+2"),
        ("tail_upper", "x", "y", None),
        ("tail_both", "x", "y", None),
        ("level", "x", "route", "r"),
        ("location", "x", None, None),
        ("share", "route", None, "r"),
    ],
)
def test_the_split_is_exact(kind, a, b, detail):
    split = split_of(edge(kind, a, b, detail), "engine", side(1, 0.3, 0.2), side(2, 0.7, 0.6))
    assert split.mix + split.within + split.between == pytest.approx(split.after - split.before, abs=1e-12)


def test_mix_is_told_from_within():
    mix = split_of(edge("location", "x", None), "engine", side(1, 0.3, 0.2), side(2, 0.7, 0.2))
    assert mix.mix == pytest.approx(0.8, abs=0.15) and abs(mix.within) < 0.15  # 4 standard errors
    within = split_of(edge("correlation", "x", "y"), "route", side(1, 0.3, 0.0), side(2, 0.3, 0.8))
    assert within.within > 0.2 and abs(within.mix) < 0.02


def test_a_level_that_is_new_is_mix():
    before, after = side(1, 0.0, 0.2), side(2, 0.5, 0.2)
    split = split_of(edge("location", "x", None), "engine", before, after)
    assert split.mix == pytest.approx(split.after - split.before, abs=0.15)


def test_edges_of_a_verdict_by_factor():
    found = detect(stream("coupling", 3), "0.3334")
    made = attribution(found, randomised=("route",))
    assert {split.factor for split in made} == {"route", "class"} and len({split.edge for split in made}) == 5
    for split in made:
        assert split.mix + split.within + split.between == pytest.approx(split.after - split.before, abs=1e-9)
        assert abs(split.mix) < 0.05 and "associated with" in split.sentence  # randomised, but the change is not its mix
    assert not attribution(detect(stream("null", 3), "0.3334"))


def test_bridges_name_times_and_edges():
    found = detect(stream("route_affinity", 3), "0.3334")
    risk, bench, compare = bridges(found.verdict)
    assert risk.startswith("Risk scores: stale since 2026-") and "best" in bench and "route with class" in compare
    assert all("nothing" in line or "no change" in line for line in bridges(detect(stream("null", 3), "0.3334").verdict))
