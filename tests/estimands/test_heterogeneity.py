"""Do contexts differ at all: Pearson's statistic, its paired kin, and p-values that hold what they say."""

import numpy as np
import polars as pl
import pytest
from scipy.stats import chi2_contingency

import divergence as dv
from divergence.estimands.heterogeneity import chi_square
from divergence.joint.arms import measure_arms


def rates(counts, n):
    """One published rate a context."""
    rows = [
        {"regime": "deployment", "model": "m", "context": f"c{k}", "score": y / n, "score_n": n}
        for k, y in enumerate(counts)
    ]
    return dv.collapse(dv.read(pl.DataFrame(rows)))


def replayed(chance, contexts, items, seed, copies=0.0):
    """The same items in every context; a share of them answered alike everywhere."""
    random = np.random.default_rng(seed)
    difficulty = random.beta(2 * chance, 2 * (1 - chance), items)
    first = random.random(items) < difficulty
    rows = []
    for c in range(contexts):
        score = np.where(random.random(items) < copies, first, random.random(items) < difficulty)
        rows += [
            {"regime": "deployment", "model": "m", "context": f"c{c}", "item": f"i{i}", "score": float(s)}
            for i, s in enumerate(score)
        ]
    return dv.collapse(dv.read(pl.DataFrame(rows)))


def x2_of(cells):
    arms = measure_arms(cells)
    return chi_square(arms, np.arange(len(arms)))


@pytest.mark.parametrize("counts", [(31, 40, 45), (3, 0, 9, 4), (100, 100, 80)])
def test_rates_have_pearsons_statistic(counts):
    size, freedom, p = x2_of(rates(counts, 100))
    expected = chi2_contingency([counts, [100 - y for y in counts]], correction=False)
    assert size == pytest.approx(expected.statistic, rel=1e-6) and freedom == expected.dof
    assert p == pytest.approx(expected.pvalue, rel=1e-6)


@pytest.mark.prove
@pytest.mark.parametrize("copies", [0.0, 0.8])
def test_replayed_items_that_do_not_differ_are_called_different_as_often_as_said(copies):
    """300 null logs of four contexts and 80 items: p below .1 in one of ten, within three standard errors (5 points)."""
    below = np.mean([x2_of(replayed(0.6, 4, 80, seed, copies))[2] < 0.1 for seed in range(300)])
    assert below == pytest.approx(0.1, abs=0.055)


def test_more_contexts_than_items_are_not_called_different_for_want_of_items():
    """100 null logs of 14 contexts and 10 items: p below .1 in no more than one of ten, three standard errors (9 points)."""
    below = np.mean([x2_of(replayed(0.5, 14, 10, seed))[2] < 0.1 for seed in range(100)])
    assert below <= 0.1 + 0.09


def test_a_broken_context_among_more_contexts_than_items_is_seen():
    cells = replayed(0.95, 14, 12, 1)
    log = [
        {"regime": "deployment", "model": "m", "context": f"c{c}", "item": f"i{i}", "score": 0.0 if c == 3 else float(s)}
        for c in range(14)
        for i, s in enumerate(_scores(cells, c))
    ]
    assert x2_of(dv.collapse(dv.read(pl.DataFrame(log))))[2] < 0.05


def test_pairing_sees_what_rates_alone_do_not():
    """Copies but for items that one context breaks: plain for pairs, within chance for independent rates."""
    cells = replayed(0.6, 3, 150, 4, copies=1.0)
    frame = [(c, i, s) for c in range(3) for i, s in enumerate(_scores(cells, c))]
    broken = [(c, i, 0.0 if c == 2 and i < 12 else s) for c, i, s in frame]
    log = pl.DataFrame(
        [
            {"regime": "deployment", "model": "m", "context": f"c{c}", "item": f"i{i}", "score": float(s)}
            for c, i, s in broken
        ]
    )
    paired = x2_of(dv.collapse(dv.read(log)))[2]
    counts = log.group_by("context", maintain_order=True).agg(pl.col("score").sum())["score"].to_list()
    alone = chi2_contingency([counts, [150 - y for y in counts]], correction=False).pvalue
    assert paired < 0.05 < alone


def _scores(cells, context):
    mine = cells.counts.take(cells.counts["context"] == context)
    return mine["y"][np.argsort(mine["item"])]


def test_contexts_that_are_copies_show_no_difference():
    size, freedom, p = x2_of(replayed(0.6, 3, 50, 1, copies=1.0))
    assert (size, freedom, p) == (0.0, 0, 1.0)


def test_a_log_of_one_bench_is_tested_too():
    frame = pl.DataFrame(
        [
            {"regime": "evaluation", "model": "m", "context": c, "item": f"i{i}", "score": float(i % 5 < k)}
            for c, k in (("a", 4), ("b", 2))
            for i in range(100)
        ]
    )
    posterior = dv.fit(dv.collapse(dv.read(frame)), seed=0)
    found = dv.context_effect(posterior)
    rows = dict(found.to_frame().select("statistic", "mean").rows())
    assert rows["heterogeneity_p"] < 1e-6 and rows["heterogeneity_df"] == 1
    said = {a.question: a for a in dv.read(frame).answers()}["context_effect"]
    assert said.identified and "2 evaluation contexts can be tested" in said.reason


def in_sessions(seed, sessions, per, contexts=2, item=False, apart=0.0):
    """Requests of sessions that each have a level of their own and one context; `apart` moves the first context."""
    random = np.random.default_rng(seed)
    rows = []
    for s in range(sessions):
        chance = random.beta(1, 1) * (1 - apart) + apart * (s % contexts == 0)
        rows += [
            {"regime": "deployment", "model": "m", "context": f"c{s % contexts}", "session": f"s{s}"}
            | ({"item": f"i{k}"} if item else {})
            | {"score": float(random.random() < chance)}
            for k in range(per)
        ]
    return dv.read(pl.DataFrame(rows))


SESSIONS = [
    {"sessions": 30, "per": 40},
    {"sessions": 40, "per": 10, "contexts": 4},
    {"sessions": 24, "per": 12, "item": True},
]


@pytest.mark.parametrize("design", SESSIONS, ids=["two contexts", "four contexts", "shared items"])
def test_sessions_that_differ_are_no_contexts_that_differ(design):
    """Rows taken for independent called two thirds of such logs different at 5 %."""
    p = np.array([x2_of(dv.collapse(in_sessions(seed, **design)))[2] for seed in range(60)])
    assert (p < 0.05).sum() <= 8, "of 60, 3 are expected, and 9 or more have a chance of .003"
    assert np.median(p) > 0.25, "and the test still moves: p is not near 0"
    assert np.median(p) < 0.8, "nor 1 throughout"


@pytest.mark.parametrize("design", SESSIONS[:2], ids=["two contexts", "four contexts"])
def test_contexts_that_differ_beyond_their_sessions_are_found(design):
    p = np.array([x2_of(dv.collapse(in_sessions(seed, apart=0.7, **design)))[2] for seed in range(8)])
    assert np.median(p) < 0.01


def test_contexts_of_one_session_each_cannot_be_tested_and_check_says_so():
    log = in_sessions(1, sessions=2, per=60)
    check = {a.question: a for a in log.answers()}["context_effect"]
    rows = dv.context_effect(dv.fit(dv.collapse(log), seed=0)).to_frame()
    assert not rows["statistic"].drop_nulls().str.starts_with("heterogeneity").any()
    assert "tested for differing" not in check.reason
    alone = dv.collapse(in_sessions(1, sessions=2, per=1))
    assert np.isfinite(x2_of(alone)[2]), "a session of one row is a row"
