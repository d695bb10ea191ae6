"""What is known of public tables is found by the questions that can express it, under the tables' own names."""

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.configuration import Configuration


def fitted(path, **flags):
    configuration = Configuration().with_flags(**{key: list(value) for key, value in flags.items()})
    return dv.fit(dv.collapse(dv.read(path, configuration=configuration)), seed=0)


def values(estimate, **where):
    frame = estimate.to_frame()
    for name, level in where.items():
        frame = frame.filter(pl.col(name).is_null() if level is None else pl.col(name) == level)
    return frame


def test_fourteen_servings_differ_by_one_window(public_data):
    """Pearson's chi-square of the published counts: 23.53 on 13 (p .036), 7.0 (p .86) without the 2k window."""
    posterior = fitted(
        public_data / "aider_cells.parquet", where=["source_file=quant"], set=["regime=deployment"], map=["score_n=n_cases"]
    )
    found = dict(values(dv.context_effect(posterior)).select("statistic", "mean").rows())
    assert found["heterogeneity"] == pytest.approx(23.53, abs=0.01) and found["heterogeneity_df"] == 13
    assert found["heterogeneity_p"] == pytest.approx(0.036, abs=0.001)
    without = values(dv.context_effect(posterior), statistic="heterogeneity_p_without")
    assert "2k ctx" in without["context"][0] and without["mean"][0] == pytest.approx(0.86, abs=0.005)
    assert found["heterogeneity_without"] == pytest.approx(7.0, abs=0.05)


@pytest.mark.parametrize(("top", "expected"), [(50, 0.803), (200, 0.942)])
def test_two_test_sets_order_image_models(public_data, top, expected):
    name = pl.concat_str("model", "img_size", "crop_pct", "interpolation", separator="|", ignore_nulls=True)
    frame = pl.read_parquet(public_data / "timm_accuracy.parquet").with_columns(model=name)  # a row a configuration
    first = frame.filter(context="imagenet-val").sort("score", descending=True, maintain_order=True)["model"].head(top)
    some = frame.filter(pl.col("model").is_in(first.implode()), pl.col("context").is_in(["imagenet-val", "imagenet-v2-mf"]))
    configuration = Configuration().with_flags(map=["score_n=n_items"], set=["regime=deployment"])
    some = some.drop("regime") if "regime" in some.columns else some
    posterior = dv.fit(dv.collapse(dv.read(some, configuration=configuration)), seed=0)
    raw = values(dv.coupling(posterior), statistic="spearman_raw")
    assert raw["mean"][0] == pytest.approx(expected, abs=0.005)
    level = values(dv.coupling(posterior), statistic="spearman")
    assert level["upper"][0] > expected - 0.02  # noise of the rates lowers a raw correlation


STRICT = {
    "college_mathematics": 0.47,
    "navigate": 0.60,
    "professional_accounting": 0.6383,
    "public_relations": 0.7727,
    "logical_deduction": 0.892,
    "ruin_names": 0.916,
    "high_school_european_history": 0.9273,
}


def test_runs_that_agree(public_data):
    """Published agreement of five runs under a strict schema, task by task."""
    path = public_data / "llm_stability_items.parquet"
    tasks = pl.read_parquet(path).filter(experiment="strict_json_schema_runs", model="gpt-4o_OAI")["task"].unique().to_list()
    found = {}
    for task in tasks:
        configuration = Configuration().with_flags(
            set=["regime=deployment"], where=["experiment=strict_json_schema_runs", f"task={task}", "model=gpt-4o_OAI"]
        )
        posterior = dv.fit(dv.collapse(dv.read(path, configuration=configuration)), seed=0)
        row = values(dv.pass_power(posterior), statistic="agreement_answers", level="5")
        found[task] = row["mean"][0]
    assert found == pytest.approx(STRICT, abs=0.001)


@pytest.mark.parametrize(
    ("task", "model", "expected"),
    [
        ("prime_full", "gpt-4", (0.840, 0.511)),
        ("prime_full", "gpt-3.5-turbo", (0.500, 0.761)),
        ("countahappynumber", "gpt-4", (0.836, 0.352)),
        ("leetcode_easy", "gpt-3.5-turbo", (0.22, 0.02)),
    ],
)
def test_two_snapshots_of_two_services(public_data, task, model, expected):
    """Levels on a task are the plain means of its items, before and after."""
    table = {"regime": {"column": "context", "evaluation": ["2023-03"]}, "where": {"model": [model]}}
    path = public_data / "llm_drift.parquet"
    tasks = pl.read_parquet(path)["task"].unique().to_list()
    table["where"]["task"] = [task, next(t for t in tasks if t != task)]
    posterior = dv.fit(dv.collapse(dv.read(path, configuration=Configuration.from_table(table))), seed=0)
    for question, rate in zip((dv.bench_level, dv.deployed_level), expected, strict=True):
        row = values(question(posterior), statistic="task", task=task).row(0, named=True)
        assert row["median"] == pytest.approx(rate, abs=0.011) and row["lower"] < rate < row["upper"]


def test_contexts_that_do_not_differ_are_not_said_to(public_data):
    """sonnet-fine: nineteen days of one service, chi-square 7.4 on 18."""
    posterior = fitted(
        public_data / "aider_cells.parquet",
        where=["source_file=sonnet-fine"],
        set=["regime=deployment"],
        map=["score_n=n_cases"],
    )
    rows = values(dv.context_effect(posterior), statistic="heterogeneity_p")
    assert rows.height >= 1 and np.all(rows["mean"].to_numpy() > 0.05)
