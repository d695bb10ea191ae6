"""The truths of the world of agents against many simulated episodes, closed forms and identities."""

import json

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

import divergence as dv
from divergence.cli import cli
from divergence.simulate import AgentWorld, simulate_agents
from divergence.simulate.agents import agent_truth, hazards, mean_hazards, truth_rows

LARGE = AgentWorld(n_items=20_000, n_trials=2, n_contexts=1)


@pytest.fixture(scope="module")
def large():
    return simulate_agents(LARGE, 1)


def test_truths_are_those_of_many_episodes(large):
    """20,000 tasks twice: each mean within four and a half of its own standard errors, tasks as clusters."""
    log, truth = large
    for m, c in ((0, 0), (0, 1), (1, 0), (1, 1)):
        mine = log.filter(pl.col("model") == f"model-{m}", pl.col("context") == (f"agent-{c}" if c else "agent-bench"))
        task = mine.group_by("item").agg(
            pl.col("score").mean(),
            pl.col("calls").mean(),
            pl.col("cost_usd").mean(),
            failed=(pl.col("finish_reason") == "error").mean(),
            twice=pl.col("score").product(),
            lost=(pl.col("cost_usd") * (1 - pl.col("score"))).mean(),
        )

        def near(values, true):
            values = values.to_numpy()
            assert values.mean() == pytest.approx(true, abs=4.5 * values.std() / np.sqrt(len(values)))

        near(task["score"], truth["pass"][0, m, c])
        near(task["twice"], truth["pass"][1, m, c])
        near(task["calls"], truth["calls"][m, c])
        near(task["cost_usd"], truth["cost"][m, c])
        near(task["failed"] - truth["hazard"][m, c] * task["calls"], 0.0)
        near(task["cost_usd"] - truth["cost_per_success"][m, c] * task["score"], 0.0)
        near(task["lost"] - truth["failed_share"][m, c] * task["cost_usd"], 0.0)
        first = mine.group_by("item").agg(((pl.col("calls") == 1) & (pl.col("finish_reason") == "error")).mean())
        near(first["calls"], truth["first_hazard"][m, c])


def test_tasks_that_are_alike_have_closed_forms():
    """Hardly any frailty: pass^k is p^k, tries are geometric, and the hazard is its mean."""
    spec = AgentWorld(frailty=1e-7, n_contexts=1, cap=1_000, growth=0)  # nearly all end within 200 calls
    truth = agent_truth(spec)
    h, s = mean_hazards(spec), spec.solve
    p = (1 - h) * s / (h + s - h * s)  # solved before it fails
    np.testing.assert_allclose(truth["pass"][2], p**3, rtol=1e-3)
    np.testing.assert_allclose(truth["hazard"], h, rtol=1e-3)
    np.testing.assert_allclose(truth["attempts"], (1 - (1 - p) ** 5) / p, rtol=1e-3)
    # With a level price an episode costs the same whatever its end: failures take their share of the calls.
    np.testing.assert_allclose(truth["failed_share"], 1 - p, rtol=1e-3)


def test_tasks_that_differ_hold_together():
    truth = agent_truth(AgentWorld())
    assert (truth["pass"][3] > truth["pass"][0] ** 4).all(), "the power mean lies above the power of the mean"
    assert (np.diff(truth["pass"], axis=0) < 0).all()
    assert (truth["hazard"] < truth["first_hazard"]).all(), "the frail have left"


def test_a_task_keeps_its_rank_and_the_mean_is_the_mean():
    spec = AgentWorld()
    rank = (np.arange(2000) + 0.5) / 2000
    for mean in (0.05, 0.3):
        assert hazards(spec, rank, mean).mean() == pytest.approx(mean, rel=1e-3)
    assert (np.diff(hazards(spec, rank, 0.1)) > 0).all()


def test_the_same_seed_gives_the_same_log_and_reading_finds_nothing_wrong():
    spec = AgentWorld(n_items=8, n_families=12)
    first, _ = simulate_agents(spec, 3)
    assert first.equals(simulate_agents(spec, 3)[0]) and not first.equals(simulate_agents(spec, 4)[0])
    log = dv.read(first)
    assert log.counts.rejected == {} and log.unused == () and log.ignored == ()
    assert log.counts.regimes == {"evaluation": 2 * (8 + 8 * 4 + 288), "deployment": 2 * 2 * 8 * 4}
    assert set(first["finish_reason"].drop_nulls()) <= {"stop", "error", "calls"}
    assert first.filter(finish_reason="calls").select((pl.col("calls") == spec.cap).all()).item()


def test_the_verb_writes_log_and_truth(tmp_path):
    result = CliRunner().invoke(cli, ["simulate", "agents", "-o", str(tmp_path / "log.parquet"), "--items", "6", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["rows"] == pl.read_parquet(tmp_path / "log.parquet").height
    words = json.loads((tmp_path / "truth.json").read_text())
    spec = AgentWorld(n_items=6)
    assert words["estimates"] == truth_rows(spec, agent_truth(spec)) and words["world"]["n_items"] == 6
    wrong = CliRunner().invoke(cli, ["simulate", "paradise", "-o", str(tmp_path / "no.parquet")])
    assert wrong.exit_code != 0 and not (tmp_path / "no.parquet").exists()
