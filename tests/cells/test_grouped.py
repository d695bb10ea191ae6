"""Files counted and summed one by one, as a cluster does it, give the cells of one pass to the last bit."""

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.cells.cells import TABLES
from divergence.executions import counted, on_cluster
from divergence.simulate import simulate, world


@pytest.fixture
def far(monkeypatch):
    """A cluster that is this process: it does its jobs in the opposite order, each from what was sent."""
    done = []

    def everywhere(work, jobs, _):
        done.append(len(jobs))
        return [work(job) for job in reversed(jobs)][::-1]

    for module in (on_cluster, __import__("divergence.executions.tally", fromlist=["tally"])):
        monkeypatch.setattr(module, "on_cluster", everywhere)
    monkeypatch.setattr("divergence.cells.cells.ROWS_MAX", 300)  # so that sessions and answers are thinned
    return done


def executions(seed=0):
    log, _ = simulate(world("sessions", n_models=2, n_contexts=3, n_items=15), seed)
    rng, count = np.random.default_rng(seed), log.height
    return log.with_columns(
        latency_s=pl.Series(rng.lognormal(0, 2, count)),
        cost_usd=pl.Series(rng.lognormal(-9, 1, count)),
        output_tokens=pl.Series(rng.integers(0, 6000, count)),
        answer=pl.Series([("a", "b", None)[k] for k in rng.integers(0, 3, count)]),
        execution_id=pl.Series([f"e{k}" for k in range(count)]),
    )


def in_files(log, folder, parts, seed=1):
    """The rows in any order in so many files, of which the first lacks a column."""
    folder.mkdir()
    shuffled = log.sample(fraction=1, shuffle=True, seed=seed)
    for k, part in enumerate(np.array_split(np.arange(log.height), parts)):
        piece = shuffled[part.tolist()]
        (piece.drop("cost_usd", strict=False) if k == 0 and parts > 1 else piece).write_parquet(folder / f"{k}.parquet")
    return str(folder)


def assert_equal(one, other):
    assert one.levels == other.levels
    for name, (keys, sums) in TABLES.items():
        for column in (*keys, *sums):
            seen, wanted = getattr(one, name)[column], getattr(other, name)[column]
            np.testing.assert_array_equal(seen, wanted, err_msg=f"{name}.{column}")


def graded_in_two_versions(log):
    """Scores are shares, and the prompt's version varies within contexts."""
    rng = np.random.default_rng(2)
    versions = pl.Series([("v1", "v2")[k] for k in rng.integers(0, 2, log.height)])
    return log.with_columns(score=pl.Series(rng.random(log.height)), prompt_version=versions)


LOGS = {
    "measures, sessions and answers": lambda log: log,
    "shares of right answers": lambda log: log.with_columns(score=pl.Series(np.random.default_rng(2).random(log.height))),
    "a factor within contexts": graded_in_two_versions,
    "rates over items": lambda log: log.drop("session", "latency_s").with_columns(score_n=pl.lit(7), trial=pl.lit(1)),
    "turns": lambda log: log.with_columns(turn=pl.int_range(pl.len()).over("session") + 1),
}


@pytest.mark.parametrize("kind", LOGS)
@pytest.mark.filterwarnings("ignore")
def test_file_by_file_is_one_pass(kind, far, tmp_path):
    folder = in_files(LOGS[kind](executions()), tmp_path / "log", 5)
    here, there = dv.read(folder), dv.read(folder, ray="far:1")
    assert_equal(dv.collapse(there), dv.collapse(here))
    assert_equal(there.design.cells, here.design.cells)
    assert (max(far) == 1) is (kind == "rates over items")  # these are compared with each other, so they stay together


def test_another_outcome_and_a_table_of_outcomes(far, tmp_path):
    log = executions()
    folder = in_files(log.drop("score"), tmp_path / "log", 4)
    setting = dv.Configuration(outcome="latency_s")
    here, there = (dv.read(folder, configuration=setting, ray=ray) for ray in (None, "far:1"))
    assert here.kind == "positive"
    assert_equal(dv.collapse(there), dv.collapse(here))
    graded = log.select("execution_id", metric=pl.lit("judge"), value=pl.Series(np.random.default_rng(3).random(log.height)))
    graded.write_parquet(tmp_path / "log" / "outcomes.parquet")
    setting = dv.Configuration(outcome="judge")
    here, there = (dv.read(folder, configuration=setting, ray=ray) for ray in (None, "far:1"))
    assert_equal(dv.collapse(there), dv.collapse(here))
    assert_equal(dv.collapse(there, outcome="latency_s"), dv.collapse(here, outcome="latency_s"))
    assert far


@pytest.mark.parametrize("parts", [1, 2, 7])
def test_the_number_of_files_changes_no_bit(parts, far, tmp_path):
    """Rows in another order in other files, as one pass and file by file: the levels and sums of the first."""
    log = graded_in_two_versions(executions())
    first = dv.collapse(dv.read(in_files(log.drop("cost_usd"), tmp_path / "first", 3)))
    assert len(first.mixed)
    for k, ray in enumerate((None, "far:1")):
        folder = in_files(log.drop("cost_usd"), tmp_path / f"other{k}", parts, seed=5 + k)
        assert_equal(dv.collapse(dv.read(folder, ray=ray)), first)
    assert parts in far


def test_counted_files_are_merged(far, tmp_path, monkeypatch):
    """Distinct rows of each file against distinct rows of all, and against row by row."""
    log = executions().drop("latency_s", "cost_usd", "output_tokens", "execution_id")
    monkeypatch.setattr(counted, "ROWS_MIN", 10**9)
    folder = in_files(log, tmp_path / "log", 4)
    slow = dv.collapse(dv.read(folder))
    monkeypatch.setattr(counted, "ROWS_MIN", 1)
    here, there = dv.read(folder), dv.read(folder, ray="far:1")
    assert here.tally is not None and there.tally is not None
    assert there.tally.blocks.sum() == log.height
    assert len(there.tally.frame) == len(here.tally.frame)
    assert far[0] == 4
    for tallied in (here, there):
        assert_equal(dv.collapse(tallied), slow)


def test_too_many_combinations_in_all_files_together_are_read_row_by_row(far, tmp_path, monkeypatch):
    log = executions().select("regime", "model", "item", "session", "score")
    folder = in_files(log, tmp_path / "log", 4)
    whole = dv.collapse(dv.read(folder))
    monkeypatch.setattr(counted, "ROWS_MIN", 1)
    monkeypatch.setattr("divergence.executions.tally.COMBINATIONS_MAX", 80)
    there = dv.read(folder, ray="far:1")
    assert there.tally is None
    assert_equal(dv.collapse(there), whole)
    assert set(far) == {4}
