"""Plain means beside levels: those of a group-by, whatever is missing, and as a reader of the page sees them."""

import polars as pl
import pytest

import divergence as dv
from divergence.cells.plain_means import plain_means
from divergence.simulate import simulate, world


@pytest.fixture(scope="module", params=["baseline", "sessions"])
def log(request):
    """Three models in three contexts, of which the first ran in one alone and the second has rows that nobody judged."""
    rows = simulate(world(request.param, n_models=3, n_contexts=3, n_items=24), 5)[0]
    deployed, first = pl.col("regime") == "deployment", pl.col("model") == "model-0"
    rows = rows.filter(~(deployed & first & (pl.col("context") != "context-2")))
    unjudged = (pl.col("model") == "model-1") & (pl.int_range(pl.len()) % 3 == 0)
    return rows.with_columns(score=pl.when(~unjudged).then("score"))


@pytest.mark.parametrize("regime", ["evaluation", "deployment"])
def test_they_are_those_of_a_group_by(log, regime):
    here = log.filter((pl.col("regime") == regime) & pl.col("score").is_not_null())
    seen = here.group_by("model").agg(pl.col("score").mean(), pl.col("context").n_unique()).sort("model")
    found = plain_means(dv.collapse(dv.read(log)), regime)
    assert list(found) == seen["model"].to_list()
    assert [mean for mean, _, _ in found.values()] == pytest.approx(seen["score"].to_list(), rel=1e-12)
    contexts = [(some, of) for _, some, of in found.values()]
    assert contexts == [(n, here["context"].n_unique()) for n in seen["context"]]


def test_times_have_none(log):
    timed = dv.read(log.with_columns(latency_s=1 + pl.col("score").fill_null(0.0)))
    assert plain_means(dv.collapse(timed, outcome="latency_s"), "deployment") == {}


def test_a_level_over_contexts_that_were_not_seen_stands_beside_what_was(log, tmp_path):
    posterior = dv.fit(dv.collapse(dv.read(log)), seed=0)
    dv.write_report(posterior, tmp_path / "out", log=dv.read(log), formats=("md",))
    page = (tmp_path / "out" / "report.html").read_text()
    mean = log.filter(regime="deployment", model="model-0")["score"].mean()
    assert f"{100 * mean:.1f} in 1 of 3 contexts" in page and "deployment, as counted" in page
    assert "is a prediction there" in page
