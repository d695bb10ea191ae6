"""Public leaderboards under the recipes of `datasets/`: what is known of them is found."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.stats import spearmanr

import divergence as dv

DATASETS = Path(__file__).parents[2] / "datasets"
RECIPES = ["timm-leaderboard", "aider-quantisation", "llmperf-providers", "terminal-bench"]


def _fitted(frame, name):
    log = dv.read(frame, configuration=dv.Configuration.load(DATASETS / name / "divergence.toml"))
    return dv.fit(dv.collapse(log), seed=0)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_ten_lines_and_no_data(name):
    folder = DATASETS / name
    assert len((folder / "divergence.toml").read_text().splitlines()) <= 11
    dv.Configuration.load(folder / "divergence.toml")
    assert {file.suffix for file in folder.iterdir()} <= {".md", ".toml", ".json", ""}


def test_the_best_fifty_of_val_under_sketch_traffic(public_data):
    """Spearman of bench and sketch .575, of bench and v2 .803, both counted from the table without a fit."""
    rows = pl.read_parquet(public_data / "timm_accuracy.parquet")
    rows = rows.with_columns(model=pl.concat_str("model", "img_size", "crop_pct", separator="|"))
    whole = rows.group_by("model").agg(pl.col("context").n_unique()).filter(pl.col("context") == 8)["model"]
    best = rows.filter(pl.col("model").is_in(whole.implode()), pl.col("context") == "imagenet-val")
    names = best.sort("score", "model", descending=True)["model"].head(50)
    kept = ["regime", "model", "context", "item", "score", "n_items"]
    posterior = _fitted(rows.filter(pl.col("model").is_in(names.implode())).select(kept), "timm-leaderboard")
    laws = {"sketch": {"imagenet-sketch": 1.0}, "v2": {"imagenet-v2-mf": 1.0}}
    found = dv.leaderboard(posterior, what_if=laws)
    bench = found.where(statistic="bench")
    levels = {name: found.where(statistic="what_if", level=name) for name in laws}
    assert bench.rows["model"].to_list() == levels["v2"].rows["model"].to_list()
    for name, known in (("sketch", 0.575), ("v2", 0.803)):
        assert spearmanr(bench.draws.mean(0), levels[name].draws.mean(0))[0] == pytest.approx(known, abs=0.02), name


def test_twelve_of_fourteen_servings_are_tied_and_the_short_context_is_last(public_data):
    posterior = _fitted(pl.read_parquet(public_data / "aider_cells.parquet"), "aider-quantisation")
    found = dv.leaderboard(posterior)
    group = dict(
        zip(found.where(statistic="tied_group").rows["model"], found.where(statistic="tied_group").draws[0], strict=True)
    )
    assert sum(g == 1 for g in group.values()) == 12
    assert list(group)[-1] == "Ollama: fp16, 2k ctx" and list(group)[-2] == "Ollama: q2_K"


def test_the_fastest_provider_and_the_slowest(public_data):
    """Means of the time to the first token over the requests that were served, by provider and model."""
    rows = pl.read_parquet(public_data / "llmperf_requests.parquet")
    found = dv.leaderboard(_fitted(rows, "llmperf-providers"))
    names = found.where(statistic=None).rows["model"].to_list()
    assert set(names[:2]) == {"groq", "anyscale"} and names[-1] == "replicate"
    status = dict(found.where(statistic=None).rows.select("model", "axis").iter_rows())
    assert status["groq"] == "partly forecast" and status["anyscale"] == "measured"
    plain = rows.filter(score=1, context="anyscale").group_by("model").agg(pl.col("ttft_s").mean())["ttft_s"]
    assert np.median(found.where(statistic=None, model="anyscale").draws) == pytest.approx(plain.mean(), rel=0.05)
