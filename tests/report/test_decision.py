import dataclasses

import numpy as np
import polars as pl
import pytest

from divergence.estimate import Estimate
from divergence.orders import contenders
from divergence.report.decision import decide


@pytest.fixture
def decide_for(content, hand_made):
    """The decision of levels given as (bench, deployed) by model, with reversal probabilities by pair."""

    def run(levels, reversals=None, spread=0.001, **more):
        models = list(levels)
        estimates = {
            "bench_level": hand_made(
                "bench_level", {"model": models}, [b for b, _ in levels.values()], "probability", spread
            ),
            "deployed_level": hand_made(
                "deployed_level", {"model": models}, [d for _, d in levels.values()], "probability", spread
            ),
            **more,
        }
        if reversals:
            rows = pl.DataFrame([{"model": a, "model_b": b} for a, b in reversals])
            draws = np.stack([np.arange(100) < 100 * p for p in reversals.values()], axis=1).astype(float)
            estimates["reversal"] = Estimate("reversal", "", "probability", rows, draws)
        return decide(dataclasses.replace(content, estimates=estimates, refusals=()))

    return run


def test_the_leader_stays(decide_for):
    decision = decide_for({"a": (0.7, 0.6), "b": (0.6, 0.5)}, {("b", "a"): 0.05})
    assert decision.headline == "a is first on the bench (more than 99%), and stays first in deployment (more than 99%)."
    assert decision.sentences[1] == "The order of a above b holds in deployment with a probability of more than 99%."
    assert [(pair.above, pair.below, pair.verdict) for pair in decision.pairs] == [("a", "b", "sure")]


def test_another_leads_in_deployment(decide_for):
    decision = decide_for({"a": (0.7, 0.5), "b": (0.6, 0.55), "c": (0.5, 0.4)}, {("a", "b"): 0.97, ("b", "c"): 0.4})
    assert decision.headline == "a is first on the bench (more than 99%), but b is first in deployment (more than 99%)."
    assert [pair.verdict for pair in decision.pairs] == ["reversed", "sure"]
    assert decision.sentences[1] == (
        "Of two neighbouring pairs, one keeps its order with a probability of at least 90%; "
        "that of a above b holds with less than 1%."
    )


@pytest.mark.parametrize("less_is_better", [False, True])
def test_the_order_of_a_pair_is_that_of_deployment_where_the_bench_is_open(content, less_is_better):
    """Half of the reversals are the bench's own: they say nothing of how sure deployment is."""
    generator = np.random.default_rng(3)
    sign, better = (-1, "lower") if less_is_better else (1, "higher")
    rows = pl.DataFrame({"model": ["a", "b"]})
    bench = sign * generator.normal([0.7, 0.705], 0.02, (4000, 2))
    deployed = sign * generator.normal([0.85, 0.6], 0.02, (4000, 2))
    order = np.sign(bench[:, 0] - bench[:, 1]) != np.sign(deployed[:, 0] - deployed[:, 1])
    pairs = pl.DataFrame({"model": ["a"], "model_b": ["b"]})
    estimates = {
        "bench_level": Estimate("bench_level", "", "probability", rows, bench, better=better),
        "deployed_level": Estimate("deployed_level", "", "probability", rows, deployed, better=better),
        "reversal": Estimate("reversal", "", "probability", pairs, order[:, None].astype(float)),
    }
    decision = decide(dataclasses.replace(content, estimates=estimates, refusals=()))
    assert [(pair.above, pair.below, pair.verdict) for pair in decision.pairs] == [("b", "a", "reversed")]
    assert decision.sentences[1] == "The order of b above a holds in deployment with a probability of less than 1%."


def test_probabilities_come_from_the_joint_draws(content):
    # the second model is ahead in 3 of 10 draws, although both medians and all margins would be the same if unpaired
    first = np.linspace(0.4, 0.6, 10)
    second = first + np.where(np.arange(10) < 3, 0.01, -0.01)
    rows = pl.DataFrame({"model": ["a", "b"]})
    level = Estimate("deployed_level", "", "probability", rows, np.stack([first, second], axis=1))
    bench = Estimate("bench_level", "", "probability", rows, np.tile([0.9, 0.1], (10, 1)))
    decision = decide(dataclasses.replace(content, estimates={"bench_level": bench, "deployed_level": level}))
    assert decision.headline == (
        "a is first on the bench (more than 99%); a is likeliest to be first in deployment (70%; b may be)."
    )
    assert decision.chances == (("a", 1.0, pytest.approx(0.7)), ("b", 0.0, pytest.approx(0.3)))
    assert decision.pairs == ()
    assert decision.pairs_reason == "This question was not asked of this log."


def test_a_bench_that_separates_nobody_has_no_leader(content):
    generator = np.random.default_rng(11)
    rows = pl.DataFrame({"model": ["a", "b", "c", "d"]})
    bench = generator.normal([0.602, 0.601, 0.6, 0.3], 0.02, (4000, 4))
    deployed = generator.normal([0.3, 0.5, 0.3, 0.3], 0.02, (4000, 4))
    estimates = {
        "bench_level": Estimate("bench_level", "", "probability", rows, bench),
        "deployed_level": Estimate("deployed_level", "", "probability", rows, deployed),
    }
    decision = decide(dataclasses.replace(content, estimates=estimates))
    assert decision.headline.startswith("The bench does not settle who is first: a is likeliest to be first on the bench (")
    assert decision.headline.endswith("; b or c may be); b is first in deployment (more than 99%).")


def test_contenders_are_the_fewest_that_hold_the_first_place():
    assert contenders(np.array([0.2, 0.5, 0.25, 0.05])) == [1, 2, 0]
    assert contenders(np.array([0.05, 0.9, 0.05])) == [1]
    assert contenders(np.array([0.45, 0.45, 0.1])) == [0, 1]


@pytest.mark.parametrize(
    ("gap", "told"), [(-0.05, "a loses level"), (0.05, "a gains level"), (0.0, "a shows no clear change")]
)
def test_one_model_has_no_order(decide_for, hand_made, gap, told):
    decision = decide_for({"a": (0.7, 0.7 + gap)}, gap=hand_made("gap", {"model": ["a"]}, [gap]))
    assert decision.headline.startswith(f"{told} between bench and deployment")
    assert "no order to compare" in decision.pairs_reason


def test_without_a_bench_the_reason_is_given(content, hand_made):
    bench = Estimate.refused("bench_level", "", "probability", "the log has no evaluation rows")
    deployed = hand_made("deployed_level", {"model": ["a"]}, [0.5], "probability")
    decision = decide(dataclasses.replace(content, estimates={"bench_level": bench, "deployed_level": deployed}))
    assert decision.headline == "a reaches 50.0% (49.1 to 50.9) in deployment."
    assert decision.sentences == (
        "How the bench carries over to deployment is not in this log: the log has no evaluation rows.",
    )


def test_models_of_two_worlds_that_never_meet(content, hand_made):
    bench = hand_made("bench_level", {"model": ["a"]}, [0.5], "probability")
    deployed = hand_made("deployed_level", {"model": ["b"]}, [0.5], "probability")
    decision = decide(dataclasses.replace(content, estimates={"bench_level": bench, "deployed_level": deployed}))
    assert "No model of this log is known in both worlds" in decision.headline


def test_a_leader_that_one_world_left_out_is_named(content, hand_made):
    """First on the bench is who is first of all that the bench judged, deployed or not."""
    bench = hand_made("bench_level", {"model": ["best", "a", "b"]}, [0.9, 0.7, 0.6], "probability", 0.001)
    deployed = hand_made("deployed_level", {"model": ["a", "b", "late"]}, [0.6, 0.5, 0.8], "probability", 0.001)
    decision = decide(dataclasses.replace(content, estimates={"bench_level": bench, "deployed_level": deployed}))
    assert decision.headline.startswith("best is first on the bench (more than 99%) and was not judged in deployment.")
    assert "late is first in deployment (more than 99%) and was not judged on the bench." in decision.headline
    assert decision.headline.endswith(
        "Of the two models judged in both, a is first on the bench (more than 99%), and stays first in deployment "
        "(more than 99%)."
    )
    assert decision.sentences[0].startswith("Of the two models judged in both: on the bench a reaches")


def test_a_model_of_one_world_that_leads_nothing_is_not_in_the_headline(content, hand_made):
    bench = hand_made("bench_level", {"model": ["a", "b", "weak"]}, [0.7, 0.6, 0.1], "probability", 0.001)
    deployed = hand_made("deployed_level", {"model": ["a", "b"]}, [0.6, 0.5], "probability", 0.001)
    decision = decide(dataclasses.replace(content, estimates={"bench_level": bench, "deployed_level": deployed}))
    assert decision.headline.startswith("a is first on the bench (more than 99%), and stays first")
