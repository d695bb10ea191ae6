"""Do the recorded incidents hold what their cards promise, by plain counting?"""

import itertools
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from divergence.executions.schema import SERVING_FACTORS
from divergence.probe.reading import read_plan

DATASETS = Path(__file__).parents[2] / "datasets"
SWITCH = 640  # requests before the release with a draft model takes over, as in the plan
UNTRIMMED = 180  # conversations before the memory stops being trimmed


@pytest.fixture(scope="module")
def switched():
    """The stream of 1,160 requests in its order, with drafted and accepted tokens, and whether the release had come."""
    folder = DATASETS / "serving-speculation"
    rows = pl.read_parquet(folder / "data.parquet").filter(context="stream").sort("time")
    told = pl.read_parquet(folder / "outcomes.parquet").filter(pl.col("metric") != "lenient")
    told = told.pivot("metric", index="execution_id", values="value")
    return rows.join(told, on="execution_id", how="left", maintain_order="left").with_columns(
        after=pl.int_range(pl.len()) >= SWITCH
    )


@pytest.fixture(scope="module")
def grown():
    """The turns of 400 conversations in the order of their sending; `number` is the conversation's."""
    rows = pl.read_parquet(DATASETS / "serving-growth" / "data.parquet").filter(context="talks").sort("time")
    return rows.with_columns(number=pl.col("item").str.extract(r"talk-(\d+)/").cast(pl.Int64))


def halves(rows, *columns):
    """The same columns before and after the release."""
    return [rows.filter(after=after).select(columns) for after in (False, True)]


def apart(one, other):
    """Difference of two means, in its standard errors."""
    return abs(one.mean() - other.mean()) / np.sqrt(one.var() / len(one) + other.var() / len(other))


def test_the_release_comes_at_its_request_and_is_the_only_setting_that_moves(switched):
    assert switched.height == 1160 and switched["error_type"].null_count() == switched.height
    assert set(switched["retries"]) == {0}
    before, after = halves(switched, *[f for f in SERVING_FACTORS if f in switched.columns])
    moved = {name for name in before.columns if set(before[name]) != set(after[name])}
    assert moved == {"spec_decode"}
    assert set(before["spec_decode"]) == {"none"} and set(after["spec_decode"]) == {"draft_q4_0_3"}


def test_drafted_tokens_appear_with_the_release(switched):
    before, after = halves(switched, "draft_tokens", "accepted_tokens", "output_tokens")
    assert before["draft_tokens"].null_count() == before.height
    served = after.drop_nulls()
    assert served.height == after.height  # every answer here has a second token to draft
    accepted = served["accepted_tokens"].sum() / served["draft_tokens"].sum()
    assert accepted > 2 / 3 and (served["accepted_tokens"] <= served["draft_tokens"]).all()
    assert (served["draft_tokens"] % 1 == 0).all() and served["draft_tokens"].max() > 3


def test_telemetry_counts_the_drafts_that_the_rows_do(switched):
    """The server's own counters, an independent count; the last window of a server is never whole."""
    windows = pl.read_parquet(DATASETS / "serving-speculation" / "telemetry.parquet")
    for name in ("draft_tokens", "accepted_tokens"):
        seen = windows.filter(metric=name, instance="stream/draft")["value"].sum()
        said = switched[name].sum()
        assert 0.9 * said < seen <= said
        assert windows.filter(metric=name, instance="stream/plain")["value"].sum() == 0


def test_what_is_asked_and_what_is_answered_stay(switched):
    """Traffic, length of prompts and answers, and accuracy: within three standard errors. Answers: item by item."""
    for name in ("input_tokens", "output_tokens", "score"):
        before, after = (half[name].to_numpy() for half in halves(switched, name))
        assert apart(before, after) < 3, name
    answers = switched.group_by("item", "after").agg(pl.col("answer").unique()).pivot("after", index="item", values="answer")
    both = answers.drop_nulls()
    assert both.height >= 75  # of 80 items
    assert all(len(one) == 1 for one in both["false"])  # greedy decoding repeats itself
    same = (both["false"].list.first() == both["true"].list.first()).mean()
    assert same >= 0.95


def test_decoding_is_slower_and_its_cost_now_depends_on_the_answers_length(switched):
    """A draft of three tokens costs most where two tokens were wanted: the coupling of length and pace is new."""
    before, after = halves(switched, "output_tokens", "tpot_s", "latency_s")
    assert after["tpot_s"].median() > 3 * before["tpot_s"].median()
    assert after["latency_s"].median() > before["latency_s"].median()
    rho = [half.select(pl.corr("output_tokens", "tpot_s", method="spearman")).item() for half in (before, after)]
    assert abs(rho[0]) < 0.5 and rho[1] < -0.6


def test_the_context_grows_on_a_line_and_not_by_a_step(grown):
    """Of conversations since the memory grows: a line against the best step, which has one parameter more. A difference of
    ten on the scale of the Schwarz criterion is decisive (Kass and Raftery 1995); before, there is neither."""
    talks = grown.group_by("number").agg(pl.col("input_tokens").mean()).sort("number")
    x, y = talks["number"].to_numpy().astype(float), talks["input_tokens"].to_numpy()
    late, size = y[UNTRIMMED:], len(y) - UNTRIMMED
    line = late - np.polyval(np.polyfit(x[UNTRIMMED:], late, 1), x[UNTRIMMED:])
    steps = [late[:k].var() * k + late[k:].var() * (size - k) for k in range(10, size - 10)]
    assert size * np.log(min(steps) / (line**2).sum()) > 10
    thirds = np.array_split(late, 3)
    assert all(b.mean() > a.mean() and apart(a, b) > 3 for a, b in itertools.pairwise(thirds))
    assert apart(y[: UNTRIMMED // 2], y[UNTRIMMED // 2 : UNTRIMMED]) < 3


def rate(rows, column):
    """Change an hour and its standard error, by least squares over rows, clustered by conversation."""
    grown = rows.filter(pl.col("number") >= UNTRIMMED)
    hours = (grown["time"] - grown["time"].min()).dt.total_seconds(fractional=True).to_numpy() / 3600
    x, y = hours - hours.mean(), grown[column].cast(pl.Float64).to_numpy()
    slope = (x * y).sum() / (x * x).sum()
    score = x * (y - y.mean() - slope * x)
    clusters = pl.DataFrame({"number": grown["number"], "score": score}).group_by("number").agg(pl.col("score").sum())
    return slope, (clusters["score"].to_numpy() ** 2).sum() ** 0.5 / (x * x).sum()


def test_the_rate_is_a_number_with_an_interval(grown):
    slope, error = rate(grown, "input_tokens")
    assert slope > 200 and error < slope / 10  # tokens an hour
    slope, error = rate(grown, "ttft_s")
    assert slope > 3 * error
    slope, error = rate(grown, "output_tokens")
    assert abs(slope) < 3 * error


def test_no_setting_goes_with_the_growth(grown):
    assert all(grown[name].n_unique() == 1 for name in SERVING_FACTORS if name in grown.columns)
    assert grown.height == 1200 and grown["error_type"].null_count() == grown.height
    share = grown.group_by("number").first()
    late = share["number"] >= UNTRIMMED
    for task in set(share["task"]):
        mine = share["task"] == task
        one, other = mine.filter(~late).to_numpy().astype(float), mine.filter(late).to_numpy().astype(float)
        assert apart(one, other) < 3.5


@pytest.mark.parametrize(("name", "context"), [("serving-speculation", "stream"), ("serving-growth", "talks")])
def test_the_bench_is_served_as_the_stream_begins(name, context):
    plan = read_plan(DATASETS / name / "plan.toml")
    bench, live = (next(c for c in plan.context if c.label == label) for label in ("bench", context))
    assert plan.settings(bench) == plan.settings(live) and bench.sampler == live.sampler
