"""Chunk statistics: their invariances, and a slow oracle of each kind."""

import datetime as dt

import numpy as np
import polars as pl
import pytest
from scipy import stats

from divergence.drift.baseline import Answers, Items, learn_baseline
from divergence.drift.layout import LAGS, STRUCTURAL, SURFACE, learn
from divergence.drift.ranks import mid_ranks, normal_scores
from divergence.drift.reference import summary_of
from divergence.drift.rows import from_frame
from divergence.drift.surface import bias_and_competence, grid_of

ROWS = 400


def frame(seed: int = 0, rows: int = ROWS) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, 3))
    x[:, 1] += x[:, 0]
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    return pl.DataFrame(
        {
            "time": [start + dt.timedelta(seconds=n) for n in range(rows)],
            "a": x[:, 0],
            "b": x[:, 1],
            "count": rng.poisson(1.0, rows),
            "route": rng.choice(["x", "y", "z"], rows, p=[0.5, 0.3, 0.2]),
            "class": np.where(rng.random(rows) < 0.4, "long", "short"),
        }
    )


def described(rows: pl.DataFrame, reference: pl.DataFrame | None = None) -> dict[tuple, float]:
    reference = rows if reference is None else reference
    layout, _ = learn(reference)
    baseline = learn_baseline(reference, 100)
    grids = [grid_of(column) for column in from_frame(reference, layout, baseline).numeric.T]
    chunk = summary_of(from_frame(rows, layout, baseline), layout, grids)
    names = [(s.family, s.kind, s.a, s.b, s.detail) for s in layout.statistics()]
    assert len(names) == len(chunk.values) == len(set(names))
    return dict(zip(names, chunk.values.astype(float), strict=True))


def test_mid_ranks_are_those_of_scipy():
    values = np.random.default_rng(1).integers(0, 5, (50, 3)).astype(float)
    doubled, ordered = mid_ranks(values)
    assert np.array_equal(doubled / 2 + 1, stats.rankdata(values, axis=0))
    assert np.array_equal(ordered, np.sort(values, axis=0))


def test_normal_scores_with_missing_values():
    values = np.array([[1.0, np.nan], [2.0, 5.0], [3.0, 4.0], [4.0, np.nan]])
    scores, shares, known = normal_scores(values)
    assert scores[[0, 3], 1].tolist() == [0, 0] and np.isnan(shares[[0, 3], 1]).all()
    assert known[1].tolist() == [4, 5] and scores[1, 1] == -scores[2, 1] > 0
    assert scores[:, 0] == pytest.approx(stats.norm.ppf([0.125, 0.375, 0.625, 0.875]))


def test_structure_does_not_see_margins_and_surface_does():
    rows = frame()
    moved = rows.with_columns(pl.col("a").exp() * 3 + 1, pl.col("b") ** 3, pl.col("count") * 7)
    before, after = described(rows), described(moved, reference=rows)
    for name in before:
        if name[0] == STRUCTURAL:
            assert after[name] == pytest.approx(before[name], abs=1e-6, nan_ok=True), name
    assert after[SURFACE, "location", "a", None, None] - before[SURFACE, "location", "a", None, None] > 1


def test_surface_does_not_see_who_goes_with_whom():
    rows = frame()
    rng = np.random.default_rng(2)
    mixed = rows.with_columns(
        b=rows["b"].to_numpy()[rng.permutation(ROWS)], route=rows["route"].gather(rng.permutation(ROWS))
    )
    before, after = described(rows), described(mixed, reference=rows)
    for name in before:
        if name[0] == SURFACE:
            assert after[name] == pytest.approx(before[name], abs=1e-6, nan_ok=True), name
    name = (STRUCTURAL, "correlation", "a", "b", None)
    assert before[name] > 0.6 and abs(after[name]) < 4 / np.sqrt(ROWS)


def test_oracles_of_the_structural_kinds():
    rows = frame()
    found = described(rows)
    u = stats.rankdata(rows.select("a", "b").to_numpy(), axis=0)
    z = stats.norm.ppf((u - 0.5) / ROWS)
    assert np.tanh(found[STRUCTURAL, "correlation", "a", "b", None]) == pytest.approx(np.corrcoef(z.T)[0, 1], abs=1e-6)
    upper = np.mean((u[:, 0] > 0.9 * ROWS) & (u[:, 1] > 0.9 * ROWS))
    lower = np.mean((u[:, 0] <= 0.1 * ROWS) & (u[:, 1] <= 0.1 * ROWS))
    assert found[STRUCTURAL, "tail_upper", "a", "b", None] == pytest.approx(np.sqrt(upper), abs=1e-6)
    assert found[STRUCTURAL, "tail_lower", "a", "b", None] == pytest.approx(np.sqrt(lower), abs=1e-6)
    assert found[STRUCTURAL, "tail_both", "a", "b", None] == pytest.approx(np.sqrt((upper + lower) / 2), abs=1e-6)
    for lag in LAGS:
        slow = (z[:-lag, 0] * z[lag:, 1]).sum() / np.sqrt(np.square(z).sum(0).prod())
        assert np.tanh(found[STRUCTURAL, "lagged", "a", "b", f"+{lag}"]) == pytest.approx(slow, abs=1e-6)
    is_x = rows["route"].eq("x").to_numpy().astype(float)
    assert np.tanh(found[STRUCTURAL, "level", "a", "route", "x"]) == pytest.approx(
        np.corrcoef(z[:, 0], is_x)[0, 1], abs=1e-6
    )
    short = rows["class"].eq("short").to_numpy()
    table = np.array([[np.sum((is_x == i) & (short == j)) for j in (1, 0)] for i in (1, 0)]) + 0.5
    odds = np.log(table[0, 0] * table[1, 1] / table[0, 1] / table[1, 0])
    assert found[STRUCTURAL, "association", "route", "class", "x x short"] == pytest.approx(odds, abs=1e-5)


def test_counts_have_no_joint_tail_and_a_missing_signal_says_nothing():
    rows = frame()
    assert not any("count" in name[2:4] for name in described(rows) if name[1].startswith("tail"))
    gone = described(rows.with_columns(a=pl.lit(None, pl.Float64)), reference=rows)
    for name, value in gone.items():
        if "a" in name[2:4] and name[1] != "missing":
            assert np.isnan(value), name
    assert gone[SURFACE, "missing", "a", None, None] == pytest.approx(np.pi / 2)


def test_flips_at_equal_accuracy():
    known = pl.DataFrame({"key": ["i", "j", "k", "l"], "right": [4.0, 4.0, 0.0, 0.0], "judged": [4, 4, 4, 4]})
    same = pl.DataFrame({"item": ["i", "j", "k", "l"], "score": [1.0, 1.0, 0.0, 0.0]})
    swapped = same.with_columns(score=pl.Series([0.0, 1.0, 1.0, 0.0]))
    assert Items(known).flips(same).tolist() == [0, 0, 0, 0]
    assert Items(known).flips(swapped).tolist() == [-1, 0, 1, 0]
    inside = same.with_columns(pl.lit(True).alias("__reference"))
    alone = Items(known.with_columns(judged=pl.lit(1), right=pl.Series([1.0, 1.0, 0.0, 0.0])))
    assert np.isnan(alone.flips(inside)).all()  # a row is never judged by itself


def test_bias_and_competence():
    answers = Answers("yes", "no")
    rng = np.random.default_rng(6)
    truth = rng.random(4000) < 0.5
    says = np.where(truth, rng.random(4000) < 0.9, rng.random(4000) < 0.4)
    rows = pl.DataFrame({"answer": np.where(says, "yes", "no"), "score": (says == truth).astype(float)})
    criterion, competence = bias_and_competence(answers.cells(rows))
    hit, false = stats.norm.ppf([0.9, 0.4])
    assert criterion == pytest.approx(-(hit + false) / 2, abs=0.1) and competence == pytest.approx(hit - false, abs=0.15)
