"""Harbor: trials of agents, on a genuine pair of jobs."""

import json
import math

import polars as pl
import pytest

from divergence.errors import InputError
from divergence.executions.importers import import_log

JOBS = {"before": (18, 0.75), "after": (19, 0.7916666666666666)}


@pytest.mark.parametrize("job", JOBS)
def test_rewards_exceptions_and_sums_are_the_tools(logs, job):
    right, mean = JOBS[job]
    imported = import_log([logs("harbor") / job])
    table = imported.executions
    assert table.height == 26
    assert table["score"].count() == 24
    assert table["score"].sum() == right
    assert table["score"].mean() == pytest.approx(mean, abs=1e-15)
    brief = imported.outcomes.filter(pl.col("metric") == "brief")["value"]
    assert (len(brief), brief.mean()) == (24, 0.875)
    kinds = dict(table["error_type"].drop_nulls().value_counts().iter_rows())
    assert kinds == {"HTTPError": 2, "AgentTimeoutError": 2, "RewardFileNotFoundError": 2}
    without = table.filter(pl.col("score").is_null())
    assert without["error_type"].unique().to_list() == ["RewardFileNotFoundError"]
    assert (table["input_tokens"].sum(), table["output_tokens"].sum()) == (100, 68)
    assert math.fsum(table["cost_usd"].drop_nulls()) == pytest.approx(0.000154, rel=1e-12)
    assert sorted(table["trial"].unique()) == [1, 2]
    assert not [note for note in imported.notes if "in the log itself" in note]
    assert any("6 of 26" in note and "4 of them have a valid reward" in note for note in imported.notes)


def test_a_pair_joins_on_tasks_and_differs_in_one_attempt(logs):
    levels = []
    for job in JOBS:
        table = import_log([logs("harbor") / job]).executions
        levels.append(table.group_by("item").agg(pl.col("score").sum()))
    both = levels[0].join(levels[1], on="item", suffix="_after").filter(pl.col("score") != pl.col("score_after"))
    assert both.height == 1
    item, before, after = both.row(0)
    assert "ar-003" in item
    assert (before, after) == (0, 1)
    together = import_log([logs("harbor")]).executions
    assert together["sampler"].unique().sort().to_list() == ["temperature=0", "temperature=0.8"]
    assert together["trial"].max() == 2


def test_another_reward_can_be_the_score(logs):
    assert import_log([logs("harbor") / "before"], primary="brief").executions["score"].mean() == 0.875
    with pytest.raises(InputError, match="choose from brief, reward"):
        import_log([logs("harbor") / "before"], primary="none")


def trial(tmp_path, number, **changes):
    log = {"id": f"id{number}", "task_name": "t", "trial_name": f"t__{number}", "task_checksum": "abcdef0123", "source": "s"}
    log |= {
        "config": {"job_id": "j", "agent": {"model_name": "p/m", "kwargs": {}}},
        "verifier_result": {"rewards": {"reward": 1}},
    }
    folder = tmp_path / "job" / f"t__{number}"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps({**log, **changes}))
    return folder


def test_what_harbor_calls_invalid_is_no_score_and_settings_are_context(tmp_path):
    trial(tmp_path, 1)
    trial(tmp_path, 2, reward_valid=False)
    agent = {"model_name": "p/m", "kwargs": {"max_turns": 5, "api_key": "sk-hidden"}}
    trial(tmp_path, 3, config={"job_id": "j", "agent": agent})
    imported = import_log([tmp_path])
    table = imported.executions.sort("execution_id")
    assert table["score"].to_list() == [1.0, None, 1.0]
    assert table["scaffold"].to_list() == [
        "agent.kwargs.max_turns=not given",
        "agent.kwargs.max_turns=not given",
        "agent.kwargs.max_turns=5",
    ]
    assert table["trial"].to_list() == [1, 2, 1]
    assert "hidden" not in repr(imported)


def test_a_trial_that_was_run_again_counts_once(logs, tmp_path):
    """Forks of Harbor keep a failed run in `.retry-attempts`, and a copy of a job holds its trials again."""
    source = logs("harbor") / "before"
    trials = sorted(path for path in source.iterdir() if path.is_dir())[:3]
    for trial in trials:
        (tmp_path / trial.name).mkdir()
        (tmp_path / trial.name / "result.json").write_bytes((trial / "result.json").read_bytes())
    log = json.loads((trials[0] / "result.json").read_text())
    for number, hour in ((1, "01"), (2, "02")):
        failed = log | {"id": f"earlier-{number}", "started_at": f"2026-11-01T{hour}:00:00Z", "verifier_result": None}
        failed["exception_info"] = {"exception_type": "EnvironmentStartTimeoutError"}
        place = tmp_path / ".retry-attempts" / trials[0].name / f"attempt-{number}"
        place.mkdir(parents=True)
        (place / "result.json").write_text(json.dumps(failed))
    imported = import_log([tmp_path])
    assert imported.rows == 3 and imported.rejected.is_empty()
    assert sorted(imported.executions["retries"].to_list(), key=str) == [2, None, None]
    assert any("2 trials were run again (after EnvironmentStartTimeoutError)" in note for note in imported.notes)
    plain = import_log([source]).executions.filter(
        pl.col("execution_id").is_in(imported.executions["execution_id"].implode())
    )
    shared = [name for name in plain.columns if name in imported.executions.columns]
    assert imported.executions.select(shared).sort("execution_id").equals(plain.select(shared).sort("execution_id"))
