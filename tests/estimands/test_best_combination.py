"""The choice against loops over draws; what-if laws; probabilities that add up; a region that nothing meets."""

import numpy as np
import pytest

import divergence as dv
from divergence.estimands.best_combination import first_among, places
from divergence.joint import levels
from divergence.simulate import simulate, world

RNG = np.random.default_rng(20261124)


@pytest.fixture(scope="module")
def posterior():
    log, _ = simulate(world("baseline", n_models=3, n_contexts=3, n_items=60), 5)
    return dv.fit(dv.collapse(dv.read(log)), seed=0)


def _mean(estimate, **where):
    return estimate.where(**where).draws.mean()


def test_first_and_places_against_loops():
    quality = RNG.integers(0, 4, (200, 5)) / 4
    met = RNG.random((200, 5)) < 0.5
    first, place = first_among(quality, met), places(quality, met)
    for s in range(200):
        inside = [k for k in range(5) if met[s, k]]
        top = [k for k in inside if quality[s, k] == max(quality[s, j] for j in inside)]
        assert first[s].tolist() == [1 / len(top) if k in top else 0.0 for k in range(5)]
        order = sorted(range(5), key=lambda k, s=s: (not met[s, k], -quality[s, k], k))
        assert place[s].tolist() == [order.index(k) + 1 for k in range(5)]


def test_probabilities_add_up(posterior):
    answer = dv.best_combination(posterior, acceptance={"quality_min": 0.62})
    table = answer.to_frame()
    for axis, of in (("combinations", table["context"].is_not_null()), ("models", table["context"].is_null())):
        total = table.filter(of & (table["statistic"] == "p_best"))["mean"].sum()
        assert total + _mean(answer, statistic="p_none", axis=axis) == pytest.approx(1.0)
    assert 0 < _mean(answer, statistic="p_none", axis="models") < 1
    rank = table.filter((table["statistic"] == "rank") & table["context"].is_not_null())
    assert rank["mean"].sum() == pytest.approx(9 * 10 / 2)


def test_without_requirements_the_highest_level_is_best(posterior):
    answer = dv.best_combination(posterior)
    mu = levels(posterior.fits[0], "deployment")
    flat = mu.draws.reshape(len(mu.draws), -1)
    chance = np.bincount(flat.argmax(1), minlength=9) / len(flat)
    regret = (flat.max(1, keepdims=True) - flat).mean(0)
    for k, (m, c) in enumerate(np.ndindex(3, 3)):
        where = dict(model=mu.models[m], context=mu.contexts[c])
        assert _mean(answer, statistic="p_best", **where) == pytest.approx(chance[k])
        assert _mean(answer, statistic="regret", **where) == pytest.approx(regret[k])
    best = answer.where(statistic=None, factor=None).rows.row(0, named=True)
    assert (best["model"], best["context"]) == (mu.models[chance.argmax() // 3], mu.contexts[chance.argmax() % 3])
    held = answer.to_frame().filter((answer.rows["statistic"] == "tied") & answer.rows["context"].is_not_null())
    inside = held.filter(held["mean"] == 1)
    each = [_mean(answer, statistic="p_best", model=r["model"], context=r["context"]) for r in inside.iter_rows(named=True)]
    assert sum(each) >= 0.9 > sum(each) - min(each)


def test_what_if(posterior):
    """A law that puts all on one context gives the models what they have there."""
    laws = {"all in two": ("context", (("context-2", 1.0),)), "even": "uniform"}
    answer = dv.best_combination(posterior, what_if=laws)
    mu = levels(posterior.fits[0], "deployment")
    chance = np.bincount(mu.draws[:, :, 1].argmax(1), minlength=3) / len(mu.draws)
    for m, model in enumerate(mu.models):
        found = _mean(answer, statistic="p_best", factor="what_if", level="all in two", model=model)
        assert found == pytest.approx(chance[m])
        same = [
            _mean(answer, statistic="p_best", factor=f, level=n, context=None, model=model)
            for f, n in ((None, None), ("what_if", "even"))
        ]
        assert same[0] == pytest.approx(same[1])  # the log's contexts have equal shares


def test_laws_that_cannot_be_meant(posterior):
    with pytest.raises(dv.InputError, match=r"In \[what_if\] cloud: the law names context = 'cloud-9', which the log never"):
        dv.best_combination(posterior, what_if={"cloud": ("context", (("cloud-9", 1.0),))})
    with pytest.raises(dv.InputError, match="does not vary"):
        dv.coherence(posterior, acceptance={"quality_min": 0.5}, what_if={"router": ("router", (("a", 1.0),))})
    with pytest.raises(dv.InputError, match=r"must sum to 1, they sum to 0\.9"):
        dv.Configuration.from_table({"what_if": {"half": {"context-1": 0.4, "context-2": 0.5}}})


def test_a_region_that_nothing_meets(posterior):
    answer = dv.best_combination(posterior, acceptance={"quality_min": 0.999})
    assert _mean(answer, statistic="p_none", axis="combinations") == 1
    reason = answer.where(statistic=None, axis="combinations").reasons[0]
    assert reason == "none of the 9 combinations meets all requirements in any draw: there is no best one"
    assert _mean(answer, statistic="tied", model="model-0", context="context-1") == 0


def test_one_combination_is_no_choice():
    log, _ = simulate(world("baseline", n_models=1, n_contexts=1, n_items=40), 3)
    answer = dv.best_combination(dv.fit(dv.collapse(dv.read(log)), seed=0))
    assert answer.reasons == ("It needs two combinations of model and context to choose from; this log has one.",)
