"""Levels on single tasks: plain means of their items, with intervals that hold what they say."""

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.estimands.task_levels import task_levels
from divergence.joint.arms import measure_arms


def log(tasks, contexts=("bench",), items=80, seed=0, scorer=None):
    """`tasks` maps a task to the mean of its items' chances (Beta distributed, spread 2)."""
    random = np.random.default_rng(seed)
    rows = []
    for task, mean in tasks.items():
        chance = random.beta(2 * mean, 2 * (1 - mean), items)
        for c in contexts:
            rows += [
                {
                    "regime": "evaluation" if c == "bench" else "deployment",
                    "model": "m",
                    "context": c,
                    "task": task,
                    "item": f"{task}{i}",
                    "score": float(random.random() < p),
                }
                | ({"scorer": scorer(task)} if scorer else {})
                for i, p in enumerate(chance)
            ]
    return pl.DataFrame(rows)


def fitted(frame):
    return dv.fit(dv.collapse(dv.read(frame)), seed=0)


def test_they_are_the_plain_means_of_their_items():
    frame = log({"a": 0.3, "b": 0.8}, ("bench", "x", "y"))
    posterior = fitted(frame)
    for question, regime in ((dv.bench_level, "evaluation"), (dv.deployed_level, "deployment")):
        rows = question(posterior).where(statistic="task").to_frame()
        plain = frame.filter(regime=regime).group_by("task", "item").agg(pl.col("score").mean())
        for row in rows.iter_rows(named=True):
            mine = plain.filter(task=row["task"])["score"].to_numpy()
            assert row["median"] == pytest.approx(mine.mean(), abs=0.02)
            half = 1.664 * mine.std(ddof=1) / np.sqrt(len(mine))
            assert (row["upper"] - row["lower"]) / 2 == pytest.approx(half, rel=0.15)


@pytest.mark.prove
def test_coverage():
    """150 logs, three tasks: 90 % intervals, within three standard errors (4.2 points)."""
    truth, hits, count = {"a": 0.2, "b": 0.6, "c": 0.93}, 0, 0
    for seed in range(150):
        for level in task_levels(fitted(log(truth, items=60, seed=seed))[None], "evaluation"):
            low, high = np.quantile(level.draws, [0.05, 0.95])
            hits += low <= truth[level.task] <= high
            count += 1
    assert abs(hits / count - 0.9) < 3 * np.sqrt(0.09 / count) + 0.01


def test_a_mean_over_tasks_with_a_metric_each_is_refused():
    posterior = fitted(log({"a": 0.3, "b": 0.8}, ("bench", "x"), scorer=lambda t: f"judge of {t}"))
    for question in (dv.bench_level, dv.deployed_level):
        found = question(posterior).to_frame()
        assert found.filter(pl.col("task").is_null())["identified"].to_list() == [False]
        assert found.filter(pl.col("task").is_not_null())["identified"].all()
    gap = dv.gap(posterior)
    assert not gap.identified and "--where task=NAME" in gap.reasons[0]


@pytest.mark.parametrize("scorer", [None, lambda _: "exact", lambda t: "exact" if t != "c" else None])
def test_a_metric_that_tasks_share_makes_a_mean(scorer):
    found = dv.bench_level(fitted(log({"a": 0.3, "b": 0.8, "c": 0.5}, scorer=scorer))).to_frame()
    assert found["identified"].all() and found.filter(pl.col("task").is_not_null()).height == 3


def test_one_task_has_no_rows_of_its_own_and_one_item_no_interval():
    assert dv.bench_level(fitted(log({"a": 0.5}))).to_frame().height == 1
    frame = pl.concat([log({"a": 0.5}), log({"b": 0.5}, items=1)])
    found = dv.bench_level(fitted(frame)).to_frame().filter(task="b")
    assert found["identified"].to_list() == [False] and "1 item" in found["reason"][0]


def part_of_the_bench(value, tried):
    """Model, context (the first is the bench) and item of every value (models, contexts, items) that was `tried`, of two
    tasks: every third item is one of sums. Values above 1 are times."""
    model, context, item = np.nonzero(tried)
    times = value.max() > 1
    frame = {
        "regime": np.where(context == 0, "evaluation", "deployment"),
        "model": np.array([f"m{m}" for m in model]),
        "context": np.array(["bench", "x", "y"])[context],
        "item": np.array([f"i{i}" for i in item]),
        "task": np.where(item % 3 == 0, "sums", "names"),
        "score": np.ones(len(item)) if times else value[tried],
    }
    frame = pl.DataFrame(frame | ({"latency_s": value[tried]} if times else {}))
    return frame, "latency_s" if times else "score"


def collapsed(value, tried, task=None):
    frame, outcome = part_of_the_bench(value, tried)
    return dv.collapse(dv.read(frame if task is None else frame.filter(task=task)), outcome=outcome)


def harder_two_thirds(rng, items=150, models=3):
    """How hard the items are, and which of them were tried in two contexts: all on the bench, the harder two thirds in
    traffic; the last model was never on the bench."""
    difficulty = rng.normal(0, 1.5, items)
    tried = np.ones((models, 3, items), bool)
    tried[:, 1:] = difficulty > np.quantile(difficulty, 1 / 3)
    tried[-1, 0] = False
    return difficulty, tried


def scores(rng, difficulty, models=3):
    """Answers of models that are as good as each other everywhere, and that of their chances (items,)."""
    chance = 1 / (1 + np.exp(difficulty))
    return (rng.random((models, 3, len(chance))) < chance).astype(float), chance


def times(rng, difficulty, models=3):
    """Seconds of models that are as fast as each other, in traffic four times as fast as on the bench; and their means there
    (items,). The harder items take longer."""
    mean = np.exp(difficulty / 2 + 2)
    value = mean * rng.gamma(4, 1 / 4, (models, 3, len(mean)))
    value[:, 1:] /= 4
    return value, mean / 4


@pytest.mark.parametrize("kind", [scores, times])
def test_what_the_bench_says_of_other_items_holds_without_a_bench_of_ones_own_and_for_times(kind):
    """30 logs. Errors against what the model would have shown on all items are chance, and 90 % intervals hold the truth as
    often as they say. Of the items tried alone scores would be 15 points too low, and times a third too long."""
    error, hits = {}, []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        difficulty, tried = harder_two_thirds(rng)
        value, truth = kind(rng, difficulty)
        fit = dv.fit(collapsed(value, tried), seed=0)[None]
        sums = np.arange(len(truth)) % 3 == 0
        for each in task_levels(fit, "deployment"):
            mine = sums if each.task == "sums" else ~sums
            low, middle, high = np.quantile(each.draws, [0.05, 0.5, 0.95])
            shown = value[int(each.model[1]), 1:, mine].mean()
            error.setdefault((each.model, each.task), []).append(middle / shown - 1)
            hits.append(low <= truth[mine].mean() <= high)
    assert len(error) == 6
    for seen in error.values():
        assert abs(np.mean(seen)) < 3 * np.std(seen, ddof=1) / np.sqrt(len(seen)) < 0.1
    # intervals are for new items and truths of these very ones, so they hold at least what they say
    assert np.mean(hits) > 0.9 - 3 * np.sqrt(0.09 / len(hits))


@pytest.mark.parametrize("kind", [scores, times])
@pytest.mark.parametrize("task", ["sums", "names"])
def test_they_are_the_levels_of_a_log_of_that_task_alone(kind, task):
    """One context, so that no law weighs: the level of the task is that of the arm, with and without a bench."""
    rng = np.random.default_rng(3)
    difficulty, tried = harder_two_thirds(rng)
    tried[:, 2] = False
    value, _ = kind(rng, difficulty)
    found = {
        x.model: np.median(x.draws)
        for x in task_levels(dv.fit(collapsed(value, tried), seed=0)[None], "deployment")
        if x.task == task
    }
    arms = measure_arms(collapsed(value, tried, task))
    noise = 0.05 * np.sqrt(arms.variance[arms.deployed])  # of a median of 2,000 draws: a fortieth of their deviation
    for model, level, more in zip(arms.model[arms.deployed], arms.level[arms.deployed], noise * 2, strict=True):
        assert found[f"m{model}"] == pytest.approx(level, abs=more)


def test_a_model_that_never_failed_on_a_task_hides_half_a_failure():
    """Weights of six contexts sum to less than 1 by rounding, those of nine to more: neither is certainty, nor no number.
    The same items in one context say as much."""
    found = []
    for contexts in (1, 6, 9):
        frame = log({"a": 0.5, "b": 0.5}, ("bench", *map(str, range(contexts))), items=30)
        frame = frame.with_columns(score=pl.when(task="a").then(1.0).otherwise("score"))
        found.append(dv.deployed_level(fitted(frame)).where(statistic="task").to_frame().filter(task="a")["lower"][0])
    assert found[0] < 0.9 and found == pytest.approx([found[0]] * 3, abs=1e-9)
