"""Each rule of the audit: logs that trigger it, and neighbours that must not."""

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.executions import read
from divergence.identification.audit import RULES, audit


def log(rates, items=150, seed=3, **columns):
    """One trial of every item; `rates` maps (regime, context, model) to a rate; columns are functions of a row."""
    random = np.random.default_rng(seed)
    rows = [
        {"regime": r, "context": c, "model": m, "item": f"i{i}", "score": float(random.random() < p)}
        for (r, c, m), p in rates.items()
        for i in range(items)
    ]
    return pl.DataFrame([row | {name: make(row) for name, make in columns.items()} for row in rows])


def found(frame, configuration=None):
    return {f.name: f for f in audit(read(frame, configuration=configuration).design)}


PLAIN = {("evaluation", "bench", "A"): 0.7, ("deployment", "x", "A"): 0.65, ("deployment", "y", "A"): 0.68}
TWO = PLAIN | {(r, c, "B"): p - 0.1 for (r, c, _), p in PLAIN.items()}


def test_a_plain_log_has_no_findings():
    assert found(log(TWO)) == {}
    assert len({rule.__name__ for rule in RULES}) == len(RULES)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_one_value_is_said_and_a_single_other_row_ends_it(value):
    told = found(log(TWO, score=lambda _: value))["one_value"]
    assert f"score = {value:g}" in told.sentence and "900 judged rows" in told.sentence
    assert "one_value" not in found(log(TWO, score=lambda row: value if row["item"] != "i7" else 1 - value))


def test_a_single_row_is_no_list_of_failures():
    told = found(log(PLAIN)[:1])["one_value"].sentence
    assert told.startswith("The only judged row has score") and "lists" not in told


@pytest.mark.parametrize("kept", [0, 1, 30])
def test_a_context_of_which_few_rows_are_judged(kept):
    told = found(log(TWO, score=lambda row: 1.0 if row["context"] != "x" or int(row["item"][1:]) < kept else None))
    sentence = told["judged_share"].sentence
    assert sentence.startswith({0: "None of the deployment rows in x", 1: "Only 0.7% of", 30: "Only 20.0% of"}[kept])
    assert ("missing at random" in sentence) == bool(kept)


def test_models_of_one_side_are_named():
    rates = TWO | {("evaluation", "bench", "best"): 0.9, ("deployment", "x", "traffic only"): 0.5}
    told = found(log(rates))["one_side"].sentence
    assert "best was not judged in deployment" in told and "traffic only was not judged on the bench" in told
    assert "one_side" not in found(log({k: v for k, v in rates.items() if k[0] == "deployment"}))


def test_a_cost_of_nothing_in_every_row_is_missing_unless_it_is_declared_free():
    def cost(row):
        return 0.0 if row["context"] == "y" else 0.01 + 0.001 * int(row["item"][1:])

    frame = log(TWO, cost_usd=cost)
    told = found(frame)["unmetered"]
    assert "A in y" in told.sentence and "zero_cost" in told.action
    free = dv.Configuration(zero_cost="free")
    assert "unmetered" not in found(frame, free)
    assert "unmetered" not in found(log(TWO, cost_usd=lambda row: 0.0 if row["item"] == "i1" else 0.01))
    missing, kept = (dv.cost_per_success(dv.fit(read(frame, configuration=c).cells, seed=0)) for c in (None, free))
    place = {"model": "A", "context": "y", "statistic": None}
    assert not missing.where(**place).identified and missing.where(model="A", context="x", statistic=None).identified
    assert kept.where(**place).to_frame()["median"][0] == 0


def test_refunds_count():
    frame = log(PLAIN, cost_usd=lambda row: -0.1 if int(row["item"][1:]) % 3 == 0 else 0.1)
    mean = frame.group_by("context").agg(pl.col("cost_usd").mean(), pl.col("score").mean()).filter(context="x")
    answer = dv.cost_per_success(dv.fit(read(frame).cells, seed=0)).where(model="A", context="x", statistic=None)
    truth = mean["cost_usd"][0] / mean["score"][0]
    low, high = answer.interval()[0]
    assert low < truth < high and high < 0.12


def test_times_in_another_unit_are_named():
    told = found(log(TWO, latency_s=lambda row: 900.0 if row["regime"] == "deployment" else 0.9))["times_disagree"]
    assert "latency_s is 0.9 on average in evaluation and 900 in deployment" in told.sentence
    told = found(log(TWO, latency_s=lambda _: 1.0, ttft_s=lambda _: 2.5))["times_disagree"]
    assert "the first token comes after 2.5 s" in told.sentence
    assert "times_disagree" not in found(log(TWO, latency_s=lambda row: 9.0 if row["regime"] == "deployment" else 0.9))


def test_times_of_streamed_rows_do_not_contradict_those_of_all():
    def streamed(row):
        return int(row["item"][1:]) % 5 == 0

    frame = log(TWO, latency_s=lambda row: 9.0 if streamed(row) else 0.5, ttft_s=lambda row: 4.0 if streamed(row) else None)
    assert "times_disagree" not in found(frame)


def test_a_label_of_both_regimes_is_told_with_its_regime():
    rates = {(r, c, "A"): 0.9 if r == "evaluation" else 0.4 for r in ("evaluation", "deployment") for c in ("x", "y")}
    told = found(log(rates, engine=lambda row: row["context"], cost_usd=lambda row: 0.0 if row["context"] == "x" else 1.0))
    assert "in evaluation and" in told["unlogged_difference"].sentence
    assert "A in x (deployment) and A in x (evaluation)" in told["unmetered"].sentence


@pytest.mark.parametrize("drop", [0.3, 0.45])
def test_contexts_alike_in_all_that_is_logged_and_unlike_in_results(drop):
    rates = {
        key: value
        for m, base in (("A", 0.8), ("B", 0.7))
        for key, value in {
            ("evaluation", "bench", m): base,
            ("deployment", "cut", m): base - drop,
            ("deployment", "load", m): base,
        }.items()
    }
    frame = log(rates, concurrency=lambda row: "8" if row["context"] == "load" else "1")
    told = found(frame)["unlogged_difference"].sentence
    assert "bench and cut" in told
    effect = dv.serving_effect(dv.fit(read(frame).cells, seed=0))
    assert "association" in effect.method and not effect.where(statistic="matched").identified
    alike = log(
        rates | {("deployment", "cut", m): b for m, b in (("A", 0.8), ("B", 0.7))},
        concurrency=lambda row: "8" if row["context"] == "load" else "1",
    )
    assert "unlogged_difference" not in found(alike)


def test_effects_of_opposite_sign_are_named_before_any_mean():
    rates = TWO | {("deployment", "x", "A"): 0.95, ("deployment", "x", "B"): 0.3}
    told = found(log(rates))["opposite_effects"].sentence
    assert "x helps A" in told and "hurts B" in told
    assert "opposite_effects" not in found(log(TWO | {("deployment", "x", "A"): 0.4, ("deployment", "x", "B"): 0.3}))


FOUR_MODELS = {("deployment", "x", m): 0.6 for m in "ABCD"}


def test_a_model_judged_on_far_fewer_items():
    frame = log(FOUR_MODELS)
    few = frame.filter((pl.col("model") != "C") | (pl.col("item").str.slice(1).cast(int) < 40))
    told = found(few)["unlike_denominators"].sentence
    assert told.startswith("C was judged on 40 items in x, the others on 150")
    most = frame.filter((pl.col("model") != "C") | (pl.col("item").str.slice(1).cast(int) < 90))
    assert "unlike_denominators" not in found(most)


def test_a_model_that_lacks_scores_in_more_of_its_runs():
    def without(model, number):
        return log(FOUR_MODELS, score=lambda row: None if row["model"] == model and int(row["item"][1:]) < number else 1.0)

    mixed = without("B", 45).with_columns(score=pl.when(pl.col("item") == "i140").then(0.0).otherwise("score"))
    told = found(mixed)["missing_runs"].sentence
    assert told.startswith("B has no score in 30% of its 150 deployment runs, the models usually in 0%")
    assert "missing_runs" not in found(without("B", 12))


@pytest.mark.parametrize(("failures", "successes", "share"), [(0.8, 0.0, 28), (0.5, 0.1, 22), (0.0, 0.3, 19)])
def test_one_of_two_models_that_lacks_scores(failures, successes, share):
    """B's failures (or its successes) have no score in this share; a log that loses both models alike has no finding."""
    whole = log({("deployment", "x", m): 0.6 for m in "AB"}, items=300)
    lost = pl.when(pl.col("score") == 0).then(failures).otherwise(successes) > np.random.default_rng(0).random(600)
    told = found(whole.with_columns(score=pl.when((pl.col("model") == "A") | ~lost).then("score")))["missing_runs"].sentence
    number = int(told.split("no score in ")[1].split("%")[0])
    assert told.startswith("B has no score in") and "of its 300 deployment runs, A in 0%" in told
    assert abs(number - share) <= 6
    assert "missing_runs" not in found(whole.with_columns(score=pl.when(~lost).then("score")))


def test_of_two_models_that_are_alike_chance_names_hardly_any():
    """60 logs of two models, 40 runs each, of which 30 % have no score: at most 5 % are named, 8 of 60 by .8 %."""
    named = 0
    for seed in range(60):
        frame = log({("deployment", "x", m): 0.6 for m in "AB"}, items=40, seed=seed)
        gone = np.random.default_rng(1000 + seed).random(80) < 0.3
        named += "missing_runs" in found(frame.with_columns(score=pl.when(~pl.Series(gone)).then("score")))
    assert named < 8


def test_a_model_without_a_single_failure():
    frame = log(FOUR_MODELS)
    told = found(frame.filter((pl.col("model") != "D") | (pl.col("score") == 1)))["no_failures"].sentence
    assert told.startswith("D has no score of 0 in") and "may have been left out" in told
    assert "no_failures" not in found(log({**FOUR_MODELS, ("deployment", "x", "D"): 0.9}))


@pytest.mark.parametrize("rule", ["missing_runs", "no_failures"])
def test_of_models_that_are_alike_chance_names_hardly_any(rule):
    """40 logs of 30 models with 20 runs each, all alike: one is named in at most 5 % of them; in 6 by 1.4 %."""
    named = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        score = (rng.random(600) < 0.88).astype(float)
        frame = pl.DataFrame(
            {
                "regime": "deployment",
                "model": [f"m{k // 20}" for k in range(600)],
                "context": "x",
                "item": [f"i{k % 20}" for k in range(600)],
                "score": score if rule == "no_failures" else np.where(rng.random(600) < 0.12, np.nan, score),
            }
        ).with_columns(pl.col("score").fill_nan(None))
        named += rule in found(frame)
    assert named < 6


def failing(model, number, score):
    """Four models, one of which has an error in so many of its rows, with this score."""
    mine = (pl.col("model") == model) & (pl.col("item").str.slice(1).cast(int) < number)
    frame = log(FOUR_MODELS).with_columns(error_type=pl.when(mine).then(pl.lit("http_500")))
    return frame.with_columns(score=pl.when(pl.col("error_type").is_null()).then("score").otherwise(pl.lit(score, float)))


def test_errors_with_a_score_of_0_are_counted_as_failures_and_it_is_said():
    told = found(failing("B", 30, 0.0))["errors_as_failures"].sentence
    assert told.startswith(
        "B has an error_type and a score of 0 in 30 of its judged deployment rows (20%), the models usually"
    )
    assert "usually in 0%" in told and "whether the model or the harness failed" in told


@pytest.mark.parametrize(("number", "score"), [(30, None), (30, 1.0), (1, 0.0), (0, 0.0)])
def test_errors_without_a_score_of_0_or_hardly_any_are_no_such_finding(number, score):
    assert "errors_as_failures" not in found(failing("B", number, score))


@pytest.mark.parametrize("regime", ["evaluation", "deployment"])
def test_models_in_contexts_of_their_own_are_not_compared_in_silence(regime):
    alone = {(regime, "x", "A"): 0.7, (regime, "y", "B"): 0.5}
    told = found(log(alone))["contexts_of_their_own"].sentence
    assert "A in x with those of B in y" in told
    assert "contexts_of_their_own" not in found(log(alone | {(regime, "x", "B"): 0.5}))
    other = "deployment" if regime == "evaluation" else "evaluation"
    linked = alone | {(other, "shared", "A"): 0.7, (other, "shared", "B"): 0.6}
    assert "contexts_of_their_own" not in found(log(linked))


def test_tasks_with_a_metric_each_are_named_and_a_shared_metric_ends_it():
    task = {"task": lambda row: f"t{int(row['item'][1:]) % 2}"}
    told = found(log(TWO, **task, scorer=lambda row: f"s{int(row['item'][1:]) % 2}"))["unlike_tasks"].sentence
    assert told.startswith("Each of the 2 tasks has scorers of its own (t0: s0; t1: s1)")
    assert "unlike_tasks" not in found(log(TWO, **task, scorer=lambda _: "exact"))


def tasks_of(sizes, rates, seed=5, **columns):
    """Rows of models by tasks: `sizes` items a task, `rates` a rate a task by model."""
    random = np.random.default_rng(seed)
    return pl.DataFrame(
        [
            {"regime": "evaluation", "context": "bench", "model": m, "task": t, "item": f"{t}{i}", "scorer": "exact"}
            | {"score": float(random.random() < p[t])}
            | columns
            for m, p in rates.items()
            for t, size in sizes.items()
            for i in range(size)
        ]
    )


SPLIT = {"A": {"long": 0.86, "short": 0.3}, "B": {"long": 0.7, "short": 0.9}}


def test_the_weights_of_tasks_decide_who_is_first():
    told = found(tasks_of({"long": 900, "short": 100}, SPLIT))["weights_decide"].sentence
    assert "(long 90%, short 10%), and so A has the best mean; were each task to count alike, B had." in told
    three = {m: p | {"third": 0.5} for m, p in SPLIT.items()}
    told = found(tasks_of({"long": 900, "short": 90, "third": 90}, three, regime="deployment"))["weights_decide"].sentence
    assert "of the deployment rows (long 83%, short 8%, third 8%)" in told


@pytest.mark.parametrize(
    ("sizes", "rates"),
    [
        ({"long": 300, "short": 300}, SPLIT),  # equal weights
        ({"long": 900, "short": 100}, {"A": {"long": 0.8, "short": 0.8}, "B": {"long": 0.5, "short": 0.5}}),
        ({"long": 900, "short": 100}, {"A": {"long": 0.7, "short": 0.5}, "B": {"long": 0.7, "short": 0.5}}),  # alike
        ({"long": 900}, {"A": {"long": 0.8}, "B": {"long": 0.7}}),
    ],
)
def test_weights_that_decide_nothing_are_not_named(sizes, rates):
    assert not any("weights_decide" in found(tasks_of(sizes, rates, seed)) for seed in range(5))


def test_beside_a_bench_contexts_are_held_against_it_alone():
    """Each context hurts one model; only the one against the other helps and hurts."""
    rates = {("evaluation", "bench", m): 0.8 for m in "AB"}
    rates |= {("deployment", "x", "A"): 0.4, ("deployment", "x", "B"): 0.8}
    rates |= {("deployment", "y", "A"): 0.8, ("deployment", "y", "B"): 0.4}
    assert "opposite_effects" not in found(log(rates))
    alone = {place: rate for place, rate in rates.items() if place[0] == "deployment"}
    assert "against x" in found(log(alone))["opposite_effects"].sentence


def test_the_weights_of_tasks_see_that_rows_of_one_item_are_alike():
    """Forty rows of each of a few items: the lead rests on these few, not on their rows."""
    task = {"long": 900, "short": 3}
    answers = tasks_of(task, {"A": {"long": 0.8, "short": 0.0}, "B": {"long": 0.6, "short": 0.0}})
    easy = pl.when((pl.col("model") == "B") & (pl.col("item") == "short0")).then(1.0).otherwise("score")
    few = answers.with_columns(score=easy)
    runs = pl.concat(
        [few.with_columns(trial=k) if k < 1 else few.filter(task="short").with_columns(trial=k) for k in range(40)]
    )
    assert "weights_decide" not in found(runs)
    every = pl.when((pl.col("task") == "short") & (pl.col("model") == "B")).then(1.0).otherwise("score")
    many = tasks_of({"long": 900, "short": 60}, {"A": {"long": 0.8, "short": 0.0}, "B": {"long": 0.6, "short": 0.0}})
    assert "weights_decide" in found(many.with_columns(score=every))


def test_other_judges_come_with_a_line_to_write():
    """A scorer that judged both is named; where none did, what to judge again."""
    apart = log(TWO, scorer=lambda row: "strict" if row["context"] == "x" else "exact")
    told = [a.reason for a in read(apart).answers() if "different scorers" in a.reason]
    assert told and any("judge one side again as the other was" in reason for reason in told)
    own = apart.filter(context="x").with_columns(scorer=pl.lit("exact")).sample(fraction=0.2, seed=1)
    shared = [a.reason for a in read(pl.concat([apart, own])).answers() if "different scorers" in a.reason]
    assert shared and all("take one that judged both: --where scorer=exact" in reason for reason in shared)
