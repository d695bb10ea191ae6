"""Which values of an outcome are the better ones is declared, or said by its name, or asked for; never guessed."""

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.configuration import Configuration, ValueMeaning
from divergence.errors import InputError
from divergence.outcome_names import known_direction, unit_named

HIGHER = [
    "tokens_per_s",
    "throughput",
    "output_tokens_per_second",
    "requests_per_usd",
    "reward",
    "elo",
    "F1",
    "tasks per hour",
]
LOWER = [
    *(
        "latency_s",
        "ttft_s",
        "cost_usd",
        "retries",
        "output_tokens",
        "usd_per_day",
        "errors_per_minute",
        "time_per_output_token",
    ),
    *("perplexity_loss", "wordErrors", "TTFT ms", "energy_kwh", "calls", "cost_per_success", "queue_s", "peak memory (MB)"),
]
OPEN = ["entropy", "temperature", "reward_loss", "score_error", "x", "volatility", "layers_per_s", "depth"]


@pytest.mark.parametrize("name", HIGHER)
def test_more_is_better(name):
    assert known_direction(name, bounded=False) == "higher"


@pytest.mark.parametrize("name", LOWER)
def test_less_is_better(name):
    assert known_direction(name, bounded=False) == "lower"


@pytest.mark.parametrize("name", OPEN)
def test_the_name_does_not_say(name):
    assert known_direction(name, bounded=False) is None


def test_scores_are_shares_of_success_unless_failures_are_counted():
    assert known_direction("exact_match", bounded=True) == known_direction("x", bounded=True) == "higher"
    assert known_direction("hallucination_rate", bounded=True) == known_direction("failed", bounded=True) == "lower"


def test_rates_have_units_of_their_own():
    names = ("latency_s", "cost_usd", "tokens_per_s", "requests_per_usd", "retries")
    assert [unit_named(name) for name in names] == ["s", "usd", "tokens_per_s", "requests_per_usd", "retries"]


def rated(outcome, seed=0, scale=60.0):
    """Two models, a bench and two contexts; `large` has the larger values."""
    rng = np.random.default_rng(seed)
    rows = [
        (
            "deployment" if c else "evaluation",
            m,
            f"c{c}",
            f"i{i}",
            float(scale * rng.lognormal(0.4 * (m == "large") - 0.1 * c, 0.2)),
        )
        for m in ("large", "small")
        for c in range(3)
        for i in range(40)
    ]
    return pl.DataFrame(rows, schema=["regime", "model", "context", "item", outcome], orient="row")


@pytest.fixture
def opened():
    """Reads with an outcome, and perhaps what is declared of it."""

    def read(frame, outcome, **declared):
        return dv.read(frame, configuration=Configuration(outcome=outcome, **declared))

    return read


@pytest.mark.parametrize(("outcome", "best"), [("tokens_per_s", "large"), ("latency_s", "small")])
def test_every_order_has_the_better_model_first(opened, outcome, best, tmp_path):
    log = opened(rated(outcome), outcome)
    assert f"of which {'more' if best == 'large' else 'less'} is better" in log.kind_reason
    posterior = dv.fit(dv.collapse(log), seed=0)
    posterior.save(tmp_path / "saved")
    for fitted in (posterior, dv.load(tmp_path / "saved")):
        board = dv.leaderboard(fitted).where(statistic="rank").to_frame()
        assert board.sort("median")["model"][0] == best
    order = dv.rank_agreement(posterior)
    assert order.better == ("higher" if best == "large" else "lower")
    dv.write_report(posterior, tmp_path / "page", formats=("md",))
    page = (tmp_path / "page" / "report.md").read_text()
    assert f"{best} is first on the bench" in page and f"{'small' if best == 'large' else 'large'} is first" not in page
    steady = dv.stability(posterior, eps=5.0).to_frame()
    assert {"quantile_10", "quantile_90"} & set(steady["statistic"]) == {"quantile_10" if best == "large" else "quantile_90"}


def test_a_name_that_does_not_say_is_asked_for_and_declared(opened):
    with pytest.raises(
        InputError, match=r'Is more of entropy better.*outcome = "entropy" and better = "higher" \(or "lower"\)'
    ):
        opened(rated("entropy"), "entropy")
    for better, best in (("higher", "large"), ("lower", "small")):
        posterior = dv.fit(dv.collapse(opened(rated("entropy"), "entropy", better=better)), seed=0)
        assert dv.leaderboard(posterior).where(statistic="rank").to_frame().sort("median")["model"][0] == best
    cells = [
        dv.collapse(opened(rated("entropy", seed), "entropy", better=better))
        for seed, better in enumerate(("higher", "lower"))
    ]
    with pytest.raises(InputError, match="better"):
        dv.merge(*cells)


def test_what_is_declared_of_one_outcome_is_not_said_of_another():
    declared = Configuration(outcome="entropy", better="higher")
    assert declared.about("entropy") == declared and declared.about(None) == declared
    assert declared.about("depth").better is None


def test_shares_of_failure_are_refused_with_the_line_that_turns_them(opened):
    log = rated("score", scale=1.0).with_columns(hallucinated=(pl.col("score") > 1).cast(pl.Float64)).drop("score")
    with pytest.raises(InputError, match=r"hallucinated = \{ scale = \[1, 0\] \}.*or better = \"higher\""):
        opened(log, "hallucinated")
    turned = opened(log, "hallucinated", values={"hallucinated": ValueMeaning(scale=(1.0, 0.0))})
    assert turned.scan().collect()["outcome"].mean() == pytest.approx(1 - log["hallucinated"].mean())
    as_it_is = opened(log, "hallucinated", better="higher")
    assert as_it_is.scan().collect()["outcome"].mean() == pytest.approx(log["hallucinated"].mean())
    with pytest.raises(InputError, match="Less of score is better"):
        opened(log.rename({"hallucinated": "score"}), "score", better="lower")


@pytest.mark.parametrize(("outcome", "verdict"), [("tokens_per_s", "no worse"), ("latency_s", "worse")])
def test_a_comparison_knows_the_better_side(outcome, verdict):
    frame = rated(outcome).filter(model="large", context="c0").select("item", outcome)
    found = dv.compare(frame, frame.with_columns(pl.col(outcome) * 1.5), outcome=outcome, margin=5.0)
    assert (found.verdict, found.direction, found.sign) == (verdict, "higher", 1 if verdict == "no worse" else -1)
    with pytest.raises(InputError, match="Is more of depth better"):
        dv.compare(frame.rename({outcome: "depth"}), frame.rename({outcome: "depth"}), outcome="depth", margin=5.0)
