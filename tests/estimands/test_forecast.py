"""Forecasts of models that were never deployed: truths of simulated worlds, identities, refusals."""

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.errors import InputError
from divergence.estimands.forecast import _settled
from divergence.joint.outcomes import fit_outcomes
from divergence.simulate import simulate, world


def _posterior(frame):
    return dv.fit(dv.collapse(dv.read(frame)), seed=0)


def _without(frame, *models):
    return frame.filter(~(pl.col("model").is_in(models) & (pl.col("regime") == "deployment")))


@pytest.fixture(scope="module")
def candidate():
    """A world whose model-0 and model-1 lost their deployment rows, its truth, its posterior."""
    log, truth = simulate(world("baseline", n_models=8, n_contexts=3, n_items=80), 5)
    return truth, _posterior(_without(log, "model-0", "model-1"))


@pytest.mark.prove
def test_intervals_hold_the_true_level_of_models_left_out():
    """12 worlds, two models out in each: the law's level and three contexts; 24 models, sd of the share at most .061."""
    inside, error, plain = [], [], []
    for seed in range(12):
        log, truth = simulate(world("baseline", n_models=8, n_contexts=3, n_items=80), 100 + seed)
        posterior = _posterior(_without(log, "model-0", "model-1"))
        found = dv.forecast(posterior)
        for m in (0, 1):
            true = truth["level"][m, 1:]
            mine = found.where(statistic=None, model=f"model-{m}")
            for row, value in zip(mine.interval(), [true.mean(), *true], strict=True):
                inside.append(row[0] <= value <= row[1])
            error.append(np.median(mine.draws[:, 0]) - true.mean())
            plain.append(dv.bench_level(posterior).where(model=f"model-{m}").draws.mean() - true.mean())
    assert np.mean(inside) >= 0.9 - 3 * 0.061
    assert np.mean(np.square(error)) < np.mean(np.square(plain))


def test_rows_hang_together(candidate):
    _, posterior = candidate
    found = dv.forecast(posterior, incumbent="model-2", law="uniform")
    whole = found.where(statistic=None, model="model-0", context=None).draws[:, 0]
    single = found.where(statistic=None, model="model-0").draws[:, 1:]
    np.testing.assert_allclose(single.mean(1), whole)
    lead = found.where(statistic="lead", model="model-0").draws[:, 0]
    incumbent = dv.deployed_level(posterior, law="uniform").where(model="model-2").draws[:, 0]
    np.testing.assert_allclose(lead, whole - incumbent)
    np.testing.assert_array_equal(found.where(statistic="beats", model="model-0").draws[:, 0], lead > 0)
    width = found.where(statistic="width_after", model="model-0").draws[0]
    assert (np.diff(width) < 0).all() and width[0] == pytest.approx(np.subtract(*np.quantile(whole, [0.95, 0.05])))
    settles = found.where(statistic="settles", model="model-0").draws[0]
    assert ((settles >= 0) & (settles <= 1)).all()


def test_a_forecast_does_not_depend_on_who_else_is_asked_for_or_on_the_order(candidate):
    _, posterior = candidate
    first = dv.forecast(posterior, incumbent=["model-2", "model-3"])
    second = dv.forecast(posterior, incumbent=["model-3", "model-2"])
    for other in ("model-2", "model-3"):
        where = {"statistic": "lead", "model": "model-0", "model_b": other}
        np.testing.assert_array_equal(first.where(**where).draws, second.where(**where).draws)


def test_what_requests_teach_against_simulation():
    """Posterior means are drawn, each decision is looked at: the share that is settled."""
    rng = np.random.default_rng(0)
    gap, before, after = 0.02, 0.03, 0.012
    learnt = np.sqrt(before**2 - after**2)
    settled = np.abs(rng.normal(gap, learnt, 200_000)) > 1.6448536 * after
    assert _settled(gap, after, learnt) == pytest.approx(settled.mean(), abs=4 * 0.5 / np.sqrt(200_000))
    assert _settled(0.5, 0.1, 0.0) == 1.0 and _settled(0.1, 0.1, 0.0) == 0.0


def test_without_an_incumbent_the_best_in_deployment_is_the_one_to_beat(candidate):
    _, posterior = candidate
    found = dv.forecast(posterior)
    deployed = dv.deployed_level(posterior)
    best = deployed.rows["model"][int(deployed.draws.mean(0).argmax())]
    assert set(found.where(statistic="beats").rows["model_b"]) == {best}
    assert "no incumbent is declared" in found.text and best in found.text


def test_outside_the_bench_range_is_said_and_wider(candidate):
    _, posterior = candidate
    log, _ = simulate(world("baseline", n_models=8, n_contexts=3, n_items=80), 5)
    best = dv.bench_level(posterior).draws.mean(0).argmax()
    name = dv.bench_level(posterior).rows["model"][int(best)]
    far = _without(log, name).with_columns(
        score=pl.when((pl.col("model") == name) & (pl.col("item").hash(1) % 20 > 0)).then(1.0).otherwise("score")
    )
    found = dv.forecast(_posterior(far))
    assert "outside the bench range" in found.text
    assert found.where(statistic="outside", model=name).draws.mean() > 0.9


def test_a_candidate_with_three_items_is_wide_and_named():
    log, _ = simulate(world("baseline", n_models=6, n_contexts=2, n_items=60), 3)
    items = log["item"].unique().sort()[:3]
    few = _without(log, "model-0").filter((pl.col("model") != "model-0") | pl.col("item").is_in(items.implode()))
    found, whole = dv.forecast(_posterior(few)), dv.forecast(_posterior(_without(log, "model-0")))
    assert "hardly any bench items: model-0 (" in found.text
    assert found.where(statistic=None).draws[:, 0].std() > 1.5 * whole.where(statistic=None).draws[:, 0].std()


def test_refusals():
    log, _ = simulate(world("baseline", n_models=4, n_contexts=2, n_items=40), 2)
    both = dv.forecast(_posterior(log))
    assert not both.identified and "It needs a model with evaluation rows only; all 4 were deployed." in both.reasons[0]
    two = dv.forecast(_posterior(_without(log, "model-0", "model-1")))
    assert "It needs three models in both regimes; this log has 2." in two.reasons[0]
    with pytest.raises(InputError, match="is not a model of this log"):
        dv.forecast(_posterior(_without(log, "model-0")), incumbent="modell-1")
    with pytest.raises(InputError, match="which the log never saw"):
        dv.forecast(_posterior(_without(log, "model-0")), law={"nowhere": 1.0})


def test_latency_and_the_cost_of_a_success_are_forecast_beside_the_score():
    """What a success costs is the forecast spend over the forecast level, draw by draw."""
    log, _ = simulate(world("baseline", n_models=5, n_contexts=2, n_items=40), 9)
    log, rng = _without(log, "model-0"), np.random.default_rng(0)
    log = log.with_columns(
        cost_usd=pl.Series(rng.gamma(4, 0.001, log.height)), latency_s=pl.Series(rng.gamma(9, 0.2, log.height))
    )
    posterior = fit_outcomes(dv.read(log))
    assert {fit.cells.outcome for fit in posterior.fits} == {"score", "cost_usd", "latency_s"}
    found, spend = dv.forecast(posterior), dv.forecast(posterior, outcome="cost_usd")
    level, spent = (part.where(statistic=None, context=None).draws[:, 0] for part in (found, spend))
    cost = found.where(statistic="cost_per_success").draws[:, 0]
    np.testing.assert_allclose(cost * level, np.resize(spent, len(level)))
    latency = dv.forecast(posterior, outcome="latency_s").where(statistic=None, context=None).draws[:, 0]
    np.testing.assert_array_equal(found.where(statistic="latency_s").draws[:, 0], np.resize(latency, len(level)))
    assert np.median(latency) == pytest.approx(1.8, rel=0.1)


def test_a_time_is_no_success_that_could_have_a_cost():
    log, _ = simulate(world("baseline", n_models=5, n_contexts=2, n_items=30), 9)
    log, rng = _without(log, "model-0").drop("score"), np.random.default_rng(0)
    log = log.with_columns(
        cost_usd=pl.Series(rng.gamma(4, 0.001, log.height)), latency_s=pl.Series(rng.gamma(9, 0.2, log.height))
    )
    found = dv.forecast(fit_outcomes(dv.read(log, configuration=dv.Configuration.from_table({"outcome": "latency_s"}))))
    assert found.where(statistic=None, model="model-0", context=None).identified
    assert "cost_per_success" not in found.rows["statistic"].to_list()


def test_the_only_candidate_as_the_incumbent_has_nothing_to_beat():
    log, _ = simulate(world("baseline", n_models=5, n_contexts=2, n_items=40), 9)
    found = dv.forecast(_posterior(_without(log, "model-0")), incumbent="model-0")
    assert "the incumbent model-0 is the only candidate: nothing to beat is declared" in found.text
    assert "beats" not in found.rows["statistic"].to_list()


def test_candidates_on_a_bench_of_their_own_are_refused_by_check_and_report():
    log, _ = simulate(world("baseline", n_models=5, n_contexts=2, n_items=40), 9)
    log = _without(log, "model-0", "model-1")
    own = pl.col("model").is_in(["model-0"])
    one = log.with_columns(
        item=pl.when(own).then("other " + pl.col("item").cast(pl.String)).otherwise(pl.col("item").cast(pl.String))
    )
    both = one.with_columns(item=pl.when(model="model-1").then("third " + pl.col("item")).otherwise("item"))
    told = {name: {a.question: a for a in dv.read(frame).answers()} for name, frame in (("one", one), ("both", both))}
    assert "1 model with evaluation rows only" in told["one"]["forecast"].reason
    assert "3 models in deployment and 1 forecast" in told["one"]["leaderboard"].reason
    assert not told["both"]["forecast"].identified and told["both"]["leaderboard"].reason == "3 models in deployment."
    found = dv.forecast(_posterior(one))
    assert set(found.where(statistic=None, context=None, model="model-1").rows["model"]) == {"model-1"}
    assert any("model-0 shares no bench item" in reason for reason in found.reasons)
    refused = dv.forecast(_posterior(both))
    assert not refused.identified and "none of 2 does" in refused.reasons[0]
