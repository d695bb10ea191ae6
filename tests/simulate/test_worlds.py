"""The truths against brute force: the average of many simulated items, and exact identities."""

import numpy as np
import polars as pl
import pytest

from divergence.errors import InputError
from divergence.numerics import expit, logit, nearest_psd
from divergence.simulate import KINDS, simulate, simulate_both, world
from divergence.simulate.write import write


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "sessions"])
def test_levels_are_those_of_many_items(kind):
    log, truth = simulate(world(kind, n_models=2, n_contexts=2, n_items=20_000), 1)
    seen = log.group_by("model", "context").agg(pl.col("score").mean()).sort("model", "context")["score"].to_numpy()
    # item sd at most .5 with two trials an item: se <= .0036 over 20,000 items; four and a half of them, six levels
    np.testing.assert_allclose(seen, truth["level"].ravel(), atol=0.016)


def test_sessions_leave_levels_marginal():
    log, truth = simulate(world("sessions", n_models=2, n_contexts=2, n_items=20_000), 1)
    seen = log.group_by("model", "context").agg(pl.col("score").mean()).sort("model", "context")["score"].to_numpy()
    # sessions of 12 rows: 3333 of them, sd of a session's mean at most .35
    np.testing.assert_allclose(seen, truth["level"].ravel(), atol=4.5 * 0.35 / np.sqrt(3333))


@pytest.mark.parametrize("kind", ["baseline", "silent", "copies"])
def test_excess_flips_are_those_of_many_items(kind):
    log, truth = simulate(world(kind, n_models=1, n_contexts=1, n_items=40_000), 2)
    wide = log.with_columns(key=pl.concat_str("context", "trial")).pivot(on="key", index="item", values="score")
    a, b = (wide[[f"{c}0", f"{c}1"]].to_numpy() for c in ("bench", "context-1"))
    across = np.mean([(a[:, i] - b[:, j]) ** 2 for i in (0, 1) for j in (0, 1)], axis=0)
    per_item = across - ((a[:, 0] - a[:, 1]) ** 2 + (b[:, 0] - b[:, 1]) ** 2) / 2
    error = per_item.std() / np.sqrt(len(per_item))
    assert per_item.mean() == pytest.approx(truth["excess_flips"][0, 0], abs=4.5 * error)


def test_null_is_null():
    _, truth = simulate(world("null"), 3)
    for question in ("gap", "kappa", "context_effect", "excess_flips"):
        assert np.abs(truth[question]).max() < 1e-12


def test_silent_moves_items_and_not_levels():
    _, truth = simulate(world("silent"), 3)
    assert np.abs(truth["context_effect"]).max() < 1e-6  # quadrature
    assert truth["excess_flips"].min() > 0.01


def test_an_unknown_kind_is_named():
    with pytest.raises(ValueError, match="paradise"):
        world("paradise")


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        write(world("null", n_models=1, n_items=5), 0, tmp_path / "file" / "log.parquet")


def test_numerics():
    assert logit(0.75) == pytest.approx(1.0986123)
    assert expit(logit(np.array([1e-9, 0.3, 1 - 1e-9]))) == pytest.approx([1e-9, 0.3, 1 - 1e-9])
    assert expit(np.array([-1000.0, 1000.0])).tolist() == [0, 1]
    assert np.linalg.eigvalsh(nearest_psd(np.array([[1.0, 2.0], [2.0, 1.0]])))[0] >= 0
    kept = np.array([[2.0, 1.0], [1.0, 2.0]])
    assert (nearest_psd(kept) == kept).all()


@pytest.mark.parametrize("kind", ["moving", "sessions", "waves", "copies"])
def test_own_items_are_many_trials_of_the_same_items(kind):
    """Levels of 60 items against the mean of 400 trials of each; with many items they are the levels of new ones."""
    trials = 400 if kind != "copies" else 2  # which repeat themselves
    spec = world(kind, n_models=2, n_contexts=2, n_items=60, n_trials=trials)
    log, _, own = simulate_both(spec, 4)
    seen = log.group_by("model", "context").agg(pl.col("score").mean()).sort("model", "context")["score"].to_numpy()
    # Bernoulli sd at most .5; sessions of 12 rows have means of sd at most .5
    error = 0.0 if kind == "copies" else 0.5 / np.sqrt(60 * trials / (12 if kind == "sessions" else 1))
    np.testing.assert_allclose(seen, own["level"].ravel(), atol=4.5 * error + 1e-12)
    _, new, many = simulate_both(world(kind, n_models=1, n_contexts=1, n_items=20_000, n_trials=1), 4)
    np.testing.assert_allclose(many["level"], new["level"], atol=4.5 * 0.5 / np.sqrt(20_000))


@pytest.mark.parametrize("name", ["truth.json", "Truth.JSON"])
def test_the_log_is_not_the_truth(name, tmp_path):
    with pytest.raises(InputError, match="where the truth is written"):
        write(world("baseline", n_models=2, n_contexts=2, n_items=5), 0, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_two_that_write_at_once_leave_the_files_of_one(tmp_path, monkeypatch):
    """The second waits until the first has put both in place, under whatever names."""
    from divergence import staging

    monkeypatch.setattr(staging, "WAIT_S", 0.2)
    spec = world("baseline", n_models=2, n_contexts=2, n_items=5)
    with (
        staging.alone(tmp_path / ".truth.divergence-lock", tmp_path),
        pytest.raises(InputError, match="another run is writing"),
    ):
        write(spec, 1, tmp_path / "b.parquet")
    write(spec, 0, tmp_path / "a.parquet")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.parquet", "truth.json"]
