"""Traffic that tried a part of the bench's items: what it does is told from what its items are."""

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.cells.overlap import replayed_shares, replayed_together
from divergence.joint.arms import measure_arms
from divergence.joint.held_items import fitted_effects
from divergence.joint.item_levels import _law
from divergence.joint.predict import levels as levels_of


def _frame(score, tried):
    """Model, context (the first is the bench) and item of every score (models, contexts, items) that was `tried`."""
    model, context, item = np.nonzero(tried)
    return pl.DataFrame(
        {
            "regime": np.where(context == 0, "evaluation", "deployment"),
            "model": np.array([f"m{m}" for m in model]),
            "context": np.array(["bench", "a", "b", "c"])[context],
            "item": np.array([f"i{i}" for i in item]),
            "task": np.where(item % 3 == 0, "sums", "names"),
            "score": score[tried],
        }
    )


def _log(score, tried):
    return dv.collapse(dv.read(_frame(score, tried)))


def _harder(items=90, share=2 / 3, grades=None):
    """Two models that do in every context what they do on the bench; deployment tries the harder items."""
    rng = np.random.default_rng(4)
    difficulty = rng.normal(0, 1.5, items)
    chance = 1 / (1 + np.exp(difficulty - np.array([0.8, -0.3])[:, None]))
    answers = rng.random((2, items)) < chance if grades is None else np.round(grades * chance) / grades
    score = np.repeat(answers.astype(float)[:, None], 4, 1)
    tried = np.ones(score.shape, bool)
    tried[:, 1:] = difficulty > np.quantile(difficulty, 1 - share)
    return score, tried


def _over_tasks(values, here):
    """Mean of the values (items,) `here`, tasks by their share of the bench."""
    sums = np.arange(len(values)) % 3 == 0
    return sum(values[here & task].mean() * task.mean() for task in (sums, ~sums))


def _arms(score, tried):
    """Level of each model and context by `measure_arms`, shape (models, contexts)."""
    arms = measure_arms(_log(score, tried))
    order = np.lexsort((arms.context, arms.deployed, arms.model))
    return arms.level[order].reshape(score.shape[:2])


@pytest.mark.parametrize("grades", [None, 20])
def test_a_level_is_the_benchs_and_the_mean_difference_on_shared_items(grades):
    score, tried = _harder(grades=grades)
    rng = np.random.default_rng(5)
    score[:, 1:] = np.where(rng.random(score[:, 1:].shape) < 0.2, 0.0, score[:, 1:])
    for m, levels in enumerate(_arms(score, tried)):
        assert levels[0] == pytest.approx(score[m, 0].mean())
        for c in range(1, 4):
            assert levels[c] == pytest.approx(levels[0] + _over_tasks(score[m, c] - score[m, 0], tried[m, c]), abs=1e-12)


def test_harder_items_are_no_effect_of_a_context():
    """Copies of the bench on its harder two thirds: no effect, and no part of the gap is items that traffic lacks."""
    score, tried = _harder()
    posterior = dv.fit(_log(score, tried), seed=0)
    effects, bench, _ = fitted_effects(posterior.fits[0])
    assert np.abs(effects.mean(0)).max() < 0.01  # the items alone would make it -.13
    assert bench.mean(0) == pytest.approx(score[:, 0].mean(1), abs=0.01)
    gap = dv.gap(posterior)
    assert np.abs(gap.where(statistic="A").draws).max() < 1e-12 > np.abs(gap.where(statistic="C").draws).max()


def test_nearly_the_whole_bench_and_items_of_their_own_stay_as_they_were_logged():
    score, tried = _harder()
    rng = np.random.default_rng(6)
    score[:, 1:] = rng.random(score[:, 1:].shape) < 0.5
    nearly = tried | (np.arange(90) % 30 > 0)  # at most a thirtieth of the bench is missing
    for kept in (np.ones_like(tried), nearly):
        for m, levels in enumerate(_arms(score, kept)):
            expected = [_over_tasks(score[m, c], kept[m, c]) for c in range(1, 4)]
            assert levels[1:] == pytest.approx(expected, abs=1e-12)
    own = tried.copy()
    own[:, 0] = np.arange(90) < 60  # a third of the traffic's items were never on the bench
    assert replayed_shares(_log(score, own)).min() == 1.0
    assert replayed_shares(_log(score, tried)).min(1) == pytest.approx(2 / 3)


def test_what_one_context_tried_does_not_hang_on_what_others_did():
    """Two contexts tried all of the bench, one the hardest fifth of it: whatever the mean share, that one has no effect."""
    score, tried = _harder()
    hardest = _harder(share=0.2)[1][:, 1]
    tried[:, 1:] = True
    tried[:, 3] = hardest
    levels = _arms(score, tried)
    assert levels[:, 1:] == pytest.approx(np.repeat(levels[:, :1], 3, 1), abs=1e-12)


def test_harder_items_are_no_effect_where_contexts_tried_other_parts_of_them():
    """Such arms share too few items for means of each; but what all of them lack only the bench says."""
    score, tried = _harder()
    tried[:, 1:] &= np.random.default_rng(7).random(tried[:, 1:].shape) < 0.9
    log = _log(score, tried)
    assert replayed_together(log) == pytest.approx(2 / 3)
    posterior = dv.fit(log, seed=0)
    effects, bench, _ = fitted_effects(posterior.fits[0])
    assert posterior.fits[0].why.startswith("arm-level, because the traffic tried 67 %")
    assert np.abs(effects.mean(0)).max() < 0.01  # item-level: -.11 to -.14
    assert bench.mean(0) == pytest.approx(score[:, 0].mean(1), abs=0.01)


def test_other_traffic_beside_it_changes_nothing():
    """Chats with items of their own beside contexts that tried the harder items of the bench: these still do nothing."""
    score, tried = (np.concatenate([part, np.zeros_like(part)], 2) for part in _harder())
    tried[:, 3] = np.arange(180) >= 90
    score[:, 3, 90:] = np.arange(90) % 4 == 0
    posterior = dv.fit(_log(score, tried), seed=0)
    assert posterior.fits[0].design.has("own_items")
    rows = dv.context_effect(posterior).where(statistic=None).to_frame()
    effects = rows.filter(pl.col("context").is_in(["a", "b"]))
    assert effects["mean"].abs().max() < 0.01


def test_modelled_items_of_replayed_traffic_are_the_benchs():
    """An item that no context tried weighs in deployment as it does on the bench; a task of its own as it was logged."""
    weight, row = np.array([0.5, 0.5, 1.0, 1.0]), np.array([0, 1, 0, 2])
    deployed, task = np.array([0, 0, 1, 1]), np.array([0, 0, 1])
    same = task[:, None] == np.array([0, 0, 1])
    own, replayed = (_law(weight, row, deployed, np.array([0, 1, 1]), same, given) for given in (False, True))
    assert own.T.tolist() == [[0.5, 0.5, 0], [1, 0, 0], [0, 0, 1]]
    assert replayed.T.tolist() == [[0.5, 0.5, 0], [0.5, 0.5, 0], [0, 0, 1]]


def test_a_task_that_traffic_lacks_is_a_part_of_the_gap():
    """Copies of the bench on one of its two tasks: their level is that of the task, and so is all of the gap `A`."""
    score, tried = _harder()
    sums = np.arange(90) % 3 == 0
    tried[:, 1:] = ~sums
    score[:, :, sums] = (np.arange(30) % 6 == 0).astype(float)
    gap = dv.gap(dv.fit(_log(score, tried), seed=0))
    away = score[:, 0, ~sums].mean(1) - score[:, 0].mean(1)
    assert gap.where(statistic="A").draws.mean(0).ravel() == pytest.approx(away, abs=0.02)
    assert np.abs(gap.where(statistic="B").draws.mean(0)).max() < 0.02 > np.abs(gap.where(statistic="C").draws).max()


def test_a_split_that_is_refused_says_how_many_items_both_tried():
    score, tried = _harder()
    tried[:, 1:] = np.arange(90) < 5
    refused = dv.gap(dv.fit(_log(score, tried), seed=0)).where(statistic="A").to_frame()["reason"]
    assert all("share 5.0 effective items" in reason for reason in refused)


def test_a_model_without_a_bench_is_asked_no_harder_questions_than_others():
    """The third model answers as the first does, and was never on the bench: both have the same level in deployment."""
    score, tried = (np.concatenate([part, part[:1]]) for part in _harder())
    tried[2, 0] = False
    arms = measure_arms(_log(score, tried))
    level = arms.level[(arms.model == 2) & arms.deployed]
    # the mean of its own items, and what both benches say of the others
    others = _over_tasks(score[:2, 0].mean(0), np.ones(90, bool)) - _over_tasks(score[:2, 0].mean(0), tried[0, 1])
    assert level == pytest.approx(_over_tasks(score[0, 0], tried[0, 1]) + others, abs=1e-12)


def test_levels_of_tasks_are_the_benchs_too():
    """Copies of the bench on its harder items: no task is harder in deployment than on the bench, as no model is worse."""
    score, tried = _harder()
    posterior = dv.fit(_log(score, tried), seed=0)
    of_regimes = (dv.bench_level(posterior), dv.deployed_level(posterior))
    bench, deployed = (e.where(statistic="task").to_frame().sort("model", "task") for e in of_regimes)
    assert (bench["mean"] - deployed["mean"]).abs().max() < 0.02
    widths = [(rows["upper"] - rows["lower"]).mean() for rows in (bench, deployed)]
    assert widths[1] == pytest.approx(widths[0], rel=0.05)


@pytest.mark.parametrize("sessions", [False, True])
def test_times_are_carried_by_ratios(sessions):
    """Contexts four times as fast as the bench, tried on its slowest third of items: by differences their times
    were negative. What sessions add is as large a part of a level as it was."""
    score, tried = _harder(share=1 / 3)
    rng = np.random.default_rng(8)
    time = np.repeat(np.exp(rng.normal(0, 0.1, (2, 1, 90)) + 2.5 * tried[:, 1:2]), 4, 1)
    time[:, 1:] /= 4
    model, context, item = np.nonzero(tried)
    frame = pl.DataFrame(
        {
            "regime": np.where(context == 0, "evaluation", "deployment"),
            "model": np.array([f"m{m}" for m in model]),
            "context": np.array(["bench", "a", "b", "c"])[context],
            "item": np.array([f"i{i}" for i in item]),
            "score": score[tried],
            "latency_s": time[tried],
        }
    )
    if sessions:
        frame = frame.with_columns(session=pl.Series([f"s{k // 10}" for k in range(frame.height)]))
    arms = measure_arms(dv.collapse(dv.read(frame), outcome="latency_s"))
    bench = np.array([time[m, 0].mean() for m in (0, 1)])
    assert arms.level[~arms.deployed] == pytest.approx(bench)
    assert arms.level[arms.deployed] == pytest.approx(bench[arms.model[arms.deployed]] / 4)
    relative = np.sqrt(arms.variance) / arms.level
    assert relative[arms.deployed].max() < 1.5 * relative[~arms.deployed].min()


def test_a_part_too_small_to_carry_is_said():
    """Five items of the bench in one context, all in another: the first keeps the level of its items, and a note says so."""
    score, tried = _harder()
    tried[:, 2:] = True
    tried[:, 1] = np.arange(90) < 5
    tried[1, 1] = np.arange(90) < 7
    arms = measure_arms(_log(score, tried))
    said = [note for note in arms.notes if note.startswith("Too small a part of the bench")]
    assert len(said) == 1 and "m0 in a tried 5 of its items (and 1 more), and from 8 on" in said[0]
    assert not any("is added to their levels" in note for note in arms.notes)
    tried[:, 1] = np.arange(90) < 45
    assert not any(note.startswith("Too small") for note in measure_arms(_log(score, tried)).notes)


@pytest.mark.parametrize("few", [True, False])
def test_tasks_that_share_too_little_are_said(few):
    """A third of 45 items of the first task were tried, or of six of them two: carried as a whole, and its tasks or not."""
    score, tried = _harder()
    tried[:, 1:] = np.arange(90) % 3 > 0
    tried[:, 1:, :90:3] = np.arange(30) < (2 if few else 15)
    notes = measure_arms(_log(score, tried)).notes
    assert any("is added to their levels" in note for note in notes)
    assert any("On a single task" in note for note in notes) == few
    posterior = dv.fit(_log(score, tried), seed=0)
    assert set(notes) <= set(posterior.fits[0].arms.notes)


def test_observed_items_of_traffic_that_tried_a_part_are_all_of_the_benchs():
    """Copies of the bench on its harder items, each asked twice: about these very items nothing is left to chance, and they
    are those of the bench, also where only the bench says anything of them."""
    score, tried = _harder()
    frame = pl.concat([_frame(score, tried).with_columns(trial=pl.lit(t)) for t in (0, 1)])
    posterior = dv.fit(dv.collapse(dv.read(frame)), seed=0)
    found = levels_of(posterior.fits[0], "deployment", items="observed").draws
    assert found.std(0).max() < 1e-6
    assert found.mean(0) == pytest.approx(np.repeat(score[:, :1].mean(2), 3, 1), abs=1e-6)
