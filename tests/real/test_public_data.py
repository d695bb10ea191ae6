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
    return _posterior(
        path, columns={"score_n": "n_cases"}, constants={"regime": "deployment"}, where={"source_file": "quant"}
    )


def _claimed(posterior):
    """Pairs of contexts whose contrast has a 90 % interval without 0, by more than its limits' Monte Carlo error.

    A 5 % quantile of S draws with standard deviation s has an error of sqrt(.05 .95 / S) s / .103.
    """
    contrast = dv.context_effect(posterior).where(statistic="contrast")
    limits = contrast.interval()
    error = np.sqrt(0.05 * 0.95 / len(contrast.draws)) * contrast.draws.std(0) / 0.103
    apart = (limits[:, 0] > error) | (limits[:, 1] < -error)
    return [pair for pair, yes in zip(contrast.rows.select("context", "context_b").rows(), apart, strict=True) if yes]


def test_quant_sets_the_short_window_apart(quant):
    pairs = _claimed(quant)
    assert all(any(SHORT_WINDOW in context for context in pair) for pair in pairs), "another pair was told apart"
    assert len(pairs) >= 10  # of 13; q2_K, the lowest of the others, is 1.6 standard errors from it in the raw rates
    assert dv.kappa(quant).interval()[0, 0] > 0.01  # above materiality


def test_without_the_short_window_nothing_moves(public_data):
    path = public_data / "aider_cells.parquet"
    rest = pl.read_parquet(path).filter(pl.col("source_file") == "quant", ~pl.col("context").str.contains(SHORT_WINDOW))
    assert rest.height == 13
    posterior = _posterior(rest, columns={"score_n": "n_cases"}, constants={"regime": "deployment"})
    assert _claimed(posterior) == []
    assert dv.kappa(posterior).interval()[0, 0] < 0.01


def test_heterogeneity_on_counts(public_data):
    """The published rates are rounded: only counts give the chi-square that the rates' authors could have computed."""
    for without, chi2 in ((False, 23.53), (True, 7.0)):
        log = pl.read_parquet(public_data / "aider_cells.parquet").filter(pl.col("source_file") == "quant")
        log = log.filter(~pl.col("context").str.contains(SHORT_WINDOW)) if without else log
        setting = {"columns": {"score_n": "n_cases"}, "constants": {"regime": "deployment"}}
        counts = dv.collapse(dv.read(log, configuration=dv.Configuration.from_table(setting))).counts
        rate = counts["y"].sum() / counts["n"].sum()
        assert (((counts["y"] - counts["n"] * rate) ** 2) / (counts["n"] * rate * (1 - rate))).sum() == (
            pytest.approx(chi2, abs=0.05)
        )


def test_json_is_below_markdown_for_all_models(public_data):
    log = pl.read_parquet(public_data / "aider_cells.parquet").filter(pl.col("source_file") == "code-in-json")
    log = log.with_columns(
        format=pl.when(pl.col("edit_format").str.contains("(?i)func|json"))
        .then(pl.lit("json"))
        .otherwise(pl.lit("markdown"))
    )
    assert set(log["format"].unique()) == {"json", "markdown"}
    log = log.with_columns(context=pl.col("format"))
    posterior = _posterior(log, columns={"score_n": "n_cases"}, constants={"regime": "deployment"}, factors=["format"])
    effect = dv.serving_effect(posterior).where(statistic=None)
    sign = -1 if effect.rows["level"].drop_nulls()[0] == "markdown" else 1
    per_model = effect.rows["model"].is_not_null().to_numpy()
    assert per_model.sum() == 4
    assert (sign * effect.draws.mean(0)[per_model] < 0).all()


def test_no_drift_in_the_negative_control(public_data):
    log = pl.read_parquet(public_data / "aider_cells.parquet").filter(pl.col("source_file") == "sonnet-fine")
    posterior = _posterior(log, columns={"score_n": "n_cases"}, constants={"regime": "deployment"})
    assert _claimed(posterior) == []


def test_a_dedicated_job_repeats_itself_and_a_shared_endpoint_does_not(public_data):
    runs = pl.read_parquet(public_data / "llm_stability_runs.parquet").filter(pl.col("experiment") == "shared_vs_one_job")
    log = runs.with_columns(context=pl.col("model"), model=pl.lit("llama3-8b")).drop("n_items")
    posterior = _posterior(log, constants={"regime": "deployment"}, kind="fraction")
    floor = dv.excess_flips(posterior).where(statistic="floor").to_frame()
    seen = dict(zip(floor["context"], floor["mean"], strict=True))
    assert seen["one-job-llama3-8b"] == pytest.approx(0, abs=1e-12)
    scores = log.filter(pl.col("context") == "shared-job-llama3-8b")["score"].to_numpy()
    assert seen["shared-job-llama3-8b"] == pytest.approx(2 * scores.var(ddof=1), rel=1e-9)  # half of E (y - y')^2, twice
    assert seen["shared-job-llama3-8b"] > 0
