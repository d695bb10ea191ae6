"""Agreement of answers: by a slow count, in bounded memory, and how few answers are believed."""

import itertools
from collections import defaultdict

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from divergence.risk.answer_agreement import NOISE_MAX, Agreement, AnswerCounts
from divergence.risk.item_lookup import text_hashes


def rows(seed, items=50, count=600):
    random = np.random.default_rng(seed)
    item = [None if random.random() < 0.05 else f"i{random.integers(items)}" for _ in range(count)]
    answer = [None if random.random() < 0.1 else random.choice(["a", "b", "", "a long answer"]) for _ in range(count)]
    return item, answer


def counted(item, answer, step=97, **most):
    counts = AnswerCounts(**most)
    for k in range(0, len(item), step):
        coded = pa.array(item[k : k + step], pa.string()).dictionary_encode()
        counts.add(coded, pl.Series(answer[k : k + step], dtype=pl.String).to_arrow())
    return counts


def test_shares_are_those_of_all_pairs_and_of_any_cut():
    item, answer = rows(0)
    of = defaultdict(list)
    for one, said in zip(item, answer, strict=True):
        if one is not None and said is not None:
            of[one].append(said)
    told = counted(item, answer).told(Agreement(0.5, 0.0)).of(pa.array([*of, "never", None]))
    for name, found in zip(of, told, strict=False):
        pairs = list(itertools.combinations(of[name], 2))
        assert found == pytest.approx(np.mean([a == b for a, b in pairs]))
    assert np.isnan(told[-2:]).all()
    other = counted(item, answer, step=13).told(Agreement(0.5, 0.0)).of(pa.array([*of, "never", None]))
    np.testing.assert_array_equal(told, other)


def test_ids_that_come_once_tell_nothing_and_memory_is_bounded():
    once = counted([f"r{k}" for k in range(3000)], ["a"] * 3000, step=100, most=200)
    assert once.pairs.shape[1] <= 200 and not len(once.shares()[0])
    item, answer = [f"i{k % 400}" for k in range(4000)], ["a", "b"] * 2000
    whole, part = counted(item, answer), counted(item, answer, most=150)
    names, share, n = part.shares()
    assert 0 < len(names) <= 150 and part.pairs.shape[1] <= 150
    every = dict(zip(*whole.shares()[:2], strict=True))
    assert all(every[name] == value for name, value in zip(names, share, strict=True)) and (n == 10).all()
    assert set(names) < set(text_hashes(pa.array([f"i{k}" for k in range(400)], pa.large_string())))


def test_few_answers_are_believed_less_as_chance_wants_it():
    """Items agree with probability .3 to .9; noise is 2 a (1 - a) over the variance, which is .03."""
    random = np.random.default_rng(4)
    a = random.uniform(0.3, 0.9, 4000)
    n = random.integers(5, 12, 4000)
    share = np.empty(len(a))
    for k, (one, many) in enumerate(zip(a, n, strict=True)):
        # One answer has the probability p, every other is new: two agree with p squared.
        same = (random.random(many) < np.sqrt(one)).sum()
        share[k] = same * (same - 1) / (many * (many - 1))
    learnt = Agreement.learnt(share, n)
    assert learnt.mean == pytest.approx(0.6, abs=0.02)
    assert 2 < learnt.noise < 2 * 0.24 / 0.03 * 1.5
    told = learnt.told(share, n)
    assert ((told - a) ** 2).mean() < ((share - a) ** 2).mean()
    assert learnt.told(np.array([1.0]), np.array([2]))[0] < learnt.told(np.array([1.0]), np.array([40]))[0] < 1


def test_where_nothing_says_how_much_is_chance_shares_are_taken_as_they_are():
    share = np.array([0.0, 1.0, 1.0, 0.0])
    assert Agreement.learnt(share, np.full(4, 2)).told(share, np.full(4, 2)).tolist() == share.tolist()
    assert Agreement.learnt(np.full(4, 0.5), np.full(4, 10)).noise == NOISE_MAX
