"""Scorers of contexts, beside a comparison of every pair; traffic that replays the bench."""

import itertools

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.cells.overlap import context_conflict, in_regime, judged_alike, replaying_contexts, replays
from divergence.joint.arms import measure_arms


def judged(seed, apart):
    """Contexts by task and scorer; `apart`: the share of contexts with a mix of judges of their own."""
    rng = np.random.default_rng(seed)
    rows = []
    for c in range(7):
        tasks = rng.permutation(4)[: rng.integers(1, 4)]
        own = rng.random() < apart
        for t in tasks:
            mix = rng.dirichlet([1, 1, 1]) if own else np.eye(3)[t % 3]
            for k in range(rng.integers(1, 12)):
                scorer = ("exact_match", "helpful", "judge")[rng.choice(3, p=mix)]
                row = {"regime": "deployment", "context": f"c{c}", "model": "A", "task": f"t{t}"}
                rows.append(row | {"scorer": scorer, "item": f"{t}-{k}", "score": float(rng.random() < 0.5)})
    return dv.collapse(dv.read(pl.DataFrame(rows)))


@pytest.mark.parametrize("apart", [0.0, 0.3, 1.0])
def test_the_first_two_contexts_judged_by_others_are_named(apart):
    found = 0
    for seed in range(25):
        cells = judged(seed, apart)
        here = in_regime(cells, "deployment") & (cells.counts["n"] > 0)
        contexts = np.unique(cells.counts["context"][here])
        sides = [here & (cells.counts["context"] == c) for c in contexts]
        pairs = itertools.combinations(range(len(sides)), 2)
        every = [(i, j) for i, j in pairs if not judged_alike(cells, sides[i], sides[j])]
        told = context_conflict(cells, "deployment")
        assert bool(told) is bool(every)
        if every:
            names = [cells.levels["context"][contexts[k]] for k in every[0]]
            assert told.startswith(f"{names[0]} and {names[1]} were judged by different scorers")
            found += 1
    assert found


def test_shares_of_metrics_count_where_no_task_is_common():
    """c0 and c1 have the same judge of each task, and c2 has another task: only c1 measured something else mostly."""
    rows = []
    for context, numbers in {"c0": {"a": 20, "b": 1}, "c1": {"a": 1, "b": 20}, "c2": {"z": 20}}.items():
        for task, count in numbers.items():
            scorer = "helpful" if task == "b" else "exact_match"
            row = {"regime": "deployment", "context": context, "model": "A", "task": task, "scorer": scorer}
            rows += [row | {"item": f"{task}-{k}", "score": float(k % 2)} for k in range(count)]
    told = context_conflict(dv.collapse(dv.read(pl.DataFrame(rows))), "deployment")
    assert told.startswith("c1 and c2 were judged by different scorers")


def replayed(bench, traffic, lost=()):
    """Items tried on the bench (those `lost` got no score) and in deployment."""
    rows = [{"regime": "evaluation", "context": "bench", "item": k, "score": None if k in lost else 1.0} for k in bench]
    rows += [{"regime": "deployment", "context": "d", "item": k, "score": 1.0} for k in traffic]
    frame = pl.DataFrame(rows, schema_overrides={"item": pl.String, "score": pl.Float64}).with_columns(model=pl.lit("m"))
    return replays(dv.collapse(dv.read(frame)))


ITEMS = [f"i{k}" for k in range(100)]


@pytest.mark.parametrize(
    ("bench", "traffic", "lost", "expected"),
    [
        (ITEMS, ITEMS, (), True),
        (ITEMS, ITEMS[:20], (), True),  # of many bench items few are replayed
        (ITEMS, ITEMS, ITEMS[:3], True),  # three answers on the bench that could not be parsed
        (ITEMS, ITEMS, ITEMS[:60], True),  # tried they were all the same
        (ITEMS[3:], ITEMS, (), True),  # three rows that were lost with the answer
        (ITEMS[8:], ITEMS, (), False),
        (ITEMS, ITEMS + ["own"] * 30, (), False),  # one item, but of a quarter of the rows
        (ITEMS, [f"t{k}" for k in range(100)], (), False),
        (ITEMS, ITEMS + [f"t{k}" for k in range(100)], (), False),
        (ITEMS, [None] * 50, (), False),  # rows that name no item are nobody's repetition
        (ITEMS, [], (), False),
    ],
)
def test_traffic_replays_the_bench_but_for_a_twentieth(bench, traffic, lost, expected):
    assert replayed(bench, traffic, lost) is expected


def test_one_answer_that_could_not_be_parsed_changes_hardly_any_weight():
    """Uneven repeats in deployment: items count alike there whether or not the bench could read the answer to one."""
    rows = [{"regime": "evaluation", "context": "bench", "item": k, "score": float(i % 2)} for i, k in enumerate(ITEMS)]
    rows += [
        {"regime": "deployment", "context": "d", "item": k, "score": float(i % 2)}
        for i, k in enumerate(ITEMS)
        for _ in range(1 + 14 * (i % 2))
    ]
    frame = pl.DataFrame(rows).with_columns(model=pl.lit("m"))
    one_lost = frame.with_columns(
        pl.when((pl.col("regime") == "evaluation") & (pl.col("item") == "i1")).then(None).otherwise("score").alias("score")
    )
    levels = [measure_arms(dv.collapse(dv.read(log))).level for log in (frame, one_lost)]
    np.testing.assert_allclose(levels[0], 0.5)  # by rows it would be .94 in deployment
    np.testing.assert_allclose(levels[1], 0.5, atol=0.01)


def test_a_context_replays_as_a_log_of_it_alone_would():
    """Random shares of own items, rows without item and answers that could not be judged, one context after the other."""
    random, seen = np.random.default_rng(0), []
    for _ in range(20):
        rows = [
            {"regime": "evaluation", "context": "bench", "item": k, "score": 1.0} for k in ITEMS[: random.integers(80, 100)]
        ]
        for c in range(4):
            share = random.choice([0.0, 0.04, 0.06, 0.5])
            for k in ITEMS:
                kind = random.random()
                item = None if kind < share / 2 else f"own-{c}-{k}" if kind < share else k
                row = {
                    "regime": "deployment",
                    "context": f"c{c}",
                    "item": item,
                    "score": 1.0 if random.random() < 0.9 else None,
                }
                rows += [row] * int(random.integers(1, 4))
        schema = {"item": pl.String, "score": pl.Float64}
        frame = pl.DataFrame(rows, schema_overrides=schema).with_columns(model=pl.lit("m"))
        cells = dv.collapse(dv.read(frame))
        each = dict(zip(cells.levels["context"], replaying_contexts(cells), strict=True))
        for c in range(4):
            alone = dv.collapse(dv.read(frame.filter(pl.col("context").is_in(["bench", f"c{c}"]))))
            assert each[f"c{c}"] == replays(alone)
            seen.append(replays(alone))
        assert not each["bench"]
    assert 0 < sum(seen) < len(seen)
