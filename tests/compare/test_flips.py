"""Flips, their floor and changed answers against loops over pairs of runs."""

import itertools

import numpy as np
import polars as pl
import pytest
from compare_runs import run

import divergence as dv


def replicated(n, runs, seed, chance):
    """Frames of n items answered `runs` times a side: chance (n, 2) of a right answer, before and after."""
    generator = np.random.default_rng(seed)
    frames = []
    for side in (0, 1):
        right = generator.random((n, runs)) < chance[:, [side]]
        frames.append(
            pl.DataFrame(
                {
                    "item": np.repeat([f"i{k}" for k in range(n)], runs),
                    "trial": np.tile(np.arange(runs), n),
                    "score": right.ravel().astype(float),
                    "answer": np.where(right.ravel(), "yes", generator.integers(0, 3, n * runs).astype(str)),
                }
            )
        )
    return frames


def disagree(first, second, same):
    """How often two values of two lists differ, by loops; within one list, of different runs."""
    pairs = list(itertools.combinations(first, 2)) if same else list(itertools.product(first, second))
    return sum(a != b for a, b in pairs) / len(pairs)


def test_flips_and_answers_against_loops():
    chance = np.random.default_rng(0).random((40, 2))
    before, after = replicated(40, 3, 1, chance)
    found = dv.compare(before, after)
    for column, seen in (("score", found.flips), ("answer", found.answers_changed)):
        lists = [[frame.filter(pl.col("item") == f"i{k}")[column].to_list() for k in range(40)] for frame in (before, after)]
        observed = sum(disagree(b, a, False) for b, a in zip(*lists, strict=True))
        floor = np.mean([disagree(side[k], side[k], True) for side in lists for k in range(40)])
        assert seen.observed == pytest.approx(observed)
        assert seen.floor == pytest.approx(floor)
    assert found.flips.down + found.flips.up == pytest.approx(found.flips.observed)
    excess = found.flips.observed / 40 - found.flips.floor
    assert found.flips.excess_lower <= excess <= found.flips.excess_upper


@pytest.mark.prove
def test_excess_flips_find_their_truth():
    """Mean over items of (p after - p before)^2, in 90 of 100 worlds or more at 95 %."""
    inside = 0
    for seed in range(100):
        chance = np.repeat([[0.9, 0.9], [0.5, 0.5], [0.9, 0.4]], [60, 20, 20], axis=0)
        seen = dv.compare(*replicated(100, 4, seed, chance)).flips
        inside += seen.excess_lower <= 0.2 * 0.25 <= seen.excess_upper
    assert inside >= 88  # 95 less three Monte Carlo errors


def test_one_run_a_side_leaves_bounds(pair):
    found = dv.compare(*pair(100, 12, 5))
    assert (found.flips.observed, found.flips.down, found.flips.up, found.flips.of) == (17, 12, 5, 100)
    assert found.flips.floor is None
    assert (found.flips.excess_lower, found.flips.excess_upper) == pytest.approx((0.07, 0.17))


def test_answers_change_where_scores_do_not():
    before = run([1, 0] * 50, answer=["a", "b"] * 50)
    after = before.with_columns(answer=pl.when(pl.int_range(100) < 25).then(pl.lit("z")).otherwise("answer"))
    found = dv.compare(before, after)
    assert (found.answers_changed.observed, found.answers_changed.of, found.flips.observed) == (25, 100, 0)
    assert "25 of 100 answers changed, 0 scores flipped" in repr(found).splitlines()[0]


def test_an_empty_answer_is_an_answer():
    before = run([1] * 20, answer=["a"] * 20)
    after = run([1] * 20, answer=["a"] * 19 + [None])
    assert dv.compare(before, after).answers_changed == dv.compare(before, after).answers_changed.__class__(1.0, 20, None)


def test_graded_scores_count_what_moved():
    before, after = run([0.5] * 30), run([0.25] * 3 + [0.75] * 2 + [0.5] * 25)
    found = dv.compare(before, after)
    assert (found.flips.down, found.flips.up, found.flips.observed) == (3, 2, 5)
    assert found.difference.estimate == pytest.approx((2 - 3) * 0.25 / 30)


def test_bounds_of_one_run_claim_no_cause(pair):
    """|net| of two sampled runs of one thing is above 0 by chance: the bounds are of what was seen, and say so."""
    told = " ".join(repr(dv.compare(*pair(100, 1, 0))).split())
    assert "1 of 100 scores flipped" in told and "sampling error aside" in told and "the change" not in told
