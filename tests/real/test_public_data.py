"""Facts that a correct analysis finds in real public data without being told."""

import numpy as np
import polars as pl
import pytest

import divergence as dv

SHORT_WINDOW = "Ollama: fp16, 2k ctx"


def _posterior(path, **settings):
    setting = dv.Configuration.from_table(settings)
    return dv.fit(dv.collapse(dv.read(path, configuration=setting)), seed=0)


@pytest.fixture(scope="module")
def quant(public_data):
    """One set of weights in 14 servings, published as rates over 133 exercises."""
    path = public_data / "aider_cells.parquet"
    setting = {"columns": {"score_n": "n_cases"}, "constants": {"regime": "deployment"}, "where": {"source_file": "quant"}}
    return _posterior(path, **setting)


def test_quant_sets_the_short_window_apart(quant):
    contrast = dv.context_effect(quant).where(statistic="contrast")
    pairs = contrast.rows.select("context", "context_b").rows()
    z = contrast.draws.mean(0) / contrast.draws.std(0)
    # simultaneous 90 % band: the largest standardised deviation over all pairs, from the joint draws
    band = np.quantile(np.abs((contrast.draws - contrast.draws.mean(0)) / contrast.draws.std(0)).max(1), 0.9)
    claimed = [pair for pair, value in zip(pairs, z, strict=True) if abs(value) > band]
    assert len(pairs) == 91
    assert claimed
    assert all(SHORT_WINDOW in pair for pair in claimed), claimed
    assert dv.kappa(quant).interval()[0, 0] > 0.005


def test_without_the_short_window_nothing_moves(public_data):
    path = public_data / "aider_cells.parquet"
    rest = pl.read_parquet(path).filter(pl.col("source_file") == "quant", pl.col("context") != SHORT_WINDOW)
    setting = {"columns": {"score_n": "n_cases"}, "constants": {"regime": "deployment"}}
    posterior = _posterior(rest, **setting)
    contrast = dv.context_effect(posterior).where(statistic="contrast").interval()
    assert ((contrast[:, 0] < 0) & (contrast[:, 1] > 0)).all()
    assert dv.kappa(posterior).interval()[0, 0] < 0.01  # below materiality


def test_json_is_below_markdown_for_all_models(public_data):
    log = pl.read_parquet(public_data / "aider_cells.parquet").filter(pl.col("source_file") == "code-in-json")
    log = log.with_columns(format=pl.when(pl.col("edit_format").str.contains("(?i)func|json")).then(pl.lit("json"))
                           .otherwise(pl.lit("markdown")))
    assert set(log["format"].unique()) == {"json", "markdown"}
    log = log.with_columns(context=pl.col("format"))
    posterior = _posterior(log, columns={"score_n": "n_cases"}, constants={"regime": "deployment"}, factors=["format"])
    effect = dv.serving_effect(posterior)
    sign = -1 if effect.rows["level"].drop_nulls()[0] == "markdown" else 1
    per_model = effect.rows["model"].is_not_null().to_numpy()
    assert per_model.sum() == 4
    assert (sign * effect.draws.mean(0)[per_model] < 0).all()


def test_no_drift_in_the_negative_control(public_data):
    log = pl.read_parquet(public_data / "aider_cells.parquet").filter(pl.col("source_file") == "sonnet-fine")
    posterior = _posterior(log, columns={"score_n": "n_cases"}, constants={"regime": "deployment"})
    contrast = dv.context_effect(posterior).where(statistic="contrast").interval()
    assert ((contrast[:, 0] < 0) & (contrast[:, 1] > 0)).all()


def test_a_dedicated_job_repeats_itself_and_a_shared_endpoint_does_not(public_data):
    runs = pl.read_parquet(public_data / "llm_stability_runs.parquet")
    assert {"n_correct", "n_items"} <= set(runs.columns)
    shared = runs.filter(pl.col("experiment").str.contains("shared"))
    assert shared.height
    items = pl.read_parquet(public_data / "llm_stability_items.parquet")
    assert items.height == 34_794
