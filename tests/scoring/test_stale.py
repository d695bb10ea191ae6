"""When is a model stale? E-values and levels by hand."""

import numpy as np
import pytest
import risk_worlds as worlds

import divergence as dv
from divergence.risk.build import risk_model
from divergence.scoring.stale import E_MAX, P_MIN, RATE, _e_value, stale

"""When is a model stale? E-values and levels by hand."""


def _night(random, shift=0.0, contexts=8, n=1500):
    """Counts of a night, its draws, and what the model says of itself: levels off by 3 points together, 4 apart."""
    risk, names = np.linspace(0.25, 0.75, 8), [f"c{k}" for k in range(contexts)]

    def off(size):
        return 0.02 * random.standard_normal((size, 1, 1)) + 0.04 * random.standard_normal((size, contexts, 1))

    plausible = risk + off(400)
    truth = np.clip(risk + off(1)[0] + shift, 0, 1)
    counts = {
        name: {"risk": risk.tolist(), "n": [n // 8] * 8, "failures": random.binomial(n // 8, truth[k]).tolist()}
        for k, name in enumerate(names)
    }
    about = {"sd": 0.045, "cell_sd": 0.07}
    traffic = {"clustering": {}, "contexts": dict.fromkeys(names, about), "unseen": about}
    return counts, traffic, lambda name, asked: plausible[:, names.index(name), np.searchsorted(risk, asked)]


@pytest.fixture(scope="module")
def world():
    """A log, its true risks, and its posterior."""
    log, truth = worlds.make(5, models=3, contexts=3, tasks=4, items=50)
    read = dv.read(log)
    return read, truth, dv.fit(dv.collapse(read), seed=0)


@pytest.fixture(scope="module")
def model(world):
    """Its risk model, calibrated and checked."""
    return risk_model(world[2], world[0], seed=0)


def _observed(model, truth, n, shift=0.0, context="c1"):
    """Sums of a night of traffic in which failures happen with the true risk, moved by `shift`."""
    sums = {k: [] for k in ("n", "risk", "failures")}
    random = np.random.default_rng(3)
    for m in range(3):
        for t in range(4):
            sums["n"].append(n)
            sums["risk"].append(model.score(worlds.batch_of([("e", f"m{m}", context, f"t{t}")]))["risk"][0].as_py())
            sums["failures"].append(int(random.binomial(n, np.clip(truth[m, 1, t] + shift, 0, 1))))
    return {context: sums}


def test_the_e_value_is_one_on_average_when_nothing_moved():
    random = np.random.default_rng(5)
    e = np.array([_e_value(d, 0.01) for d in 0.1 * random.standard_normal(20_000)])
    assert e.mean() == pytest.approx(1, abs=4 * e.std() / np.sqrt(len(e)))
    assert (e >= 20).mean() <= 0.05
    assert _e_value(0.1, 0.01) == pytest.approx(2**-0.5 * np.exp(0.25))


def test_what_is_off_by_the_same_points_everywhere_is_found_in_the_sum():
    """200 nights: more than 17 false alarms at the rate of .05 happen once in 50 times; the level's own rate is half of it,
    less what it allows for one point. Nine points are 3.35 standard errors, 2.24 suffice: found in .88, and in fewer than
    80 of 100 once in 200 times."""
    random = np.random.default_rng(6)
    right = [stale(counts, traffic, 0.0, draws=draws) for counts, traffic, draws in (_night(random) for _ in range(200))]
    assert sum(found["stale"] for found in right) <= 17 and (E_MAX, P_MIN) == (2 / RATE, RATE / 2)
    nights = [_night(random, 0.09) for _ in range(100)]
    moved = [stale(counts, traffic, 0.0, draws=draws) for counts, traffic, draws in nights]
    assert sum(found["stale"] for found in moved) >= 80 > 20 > sum(found["e_value"] >= E_MAX for found in moved)
    assert "all known requests together fail" in next(found["reason"] for found in moved if found["e_value"] < E_MAX)


def test_the_level_by_hand():
    """Two contexts of one risk, 400 requests each, no draws: the sd is that of contexts off together."""
    counts = {name: {"risk": [0.5], "n": [400], "failures": [failed]} for name, failed in (("a", 220), ("b", 260))}
    traffic = {"clustering": {}, "contexts": {"a": {"sd": 0.02, "cell_sd": 0.1}}, "unseen": {"sd": 0.04, "cell_sd": 0.1}}
    level = stale(counts, traffic, 0.0)["level"]
    assert (level["risk"], level["failed"]) == (0.5, 0.6)
    assert level["se"] == pytest.approx(np.sqrt(0.25 / 800 + 0.03**2 + 0.01**2))
    from scipy.stats import norm

    assert level["p_value"] == pytest.approx(2 * norm.sf(0.1 / level["se"]))
    assert stale({"a": {"risk": [0.5], "n": [29], "failures": [29]}}, traffic, 0.0)["level"] is None


def test_stale_when_outcomes_moved_or_contexts_are_new(world, model):
    _, truth, _ = world
    right = stale(_observed(model, truth, 2000), model.traffic)
    assert not right["stale"] and right["e_value"] < 20 and right["unseen_share"] == 0
    moved = stale(_observed(model, truth, 2000, 0.25), model.traffic)
    assert moved["stale"] and "in the context c1" in moved["reason"]
    moved = stale(_observed(model, truth, 2000, 0.25), model.traffic, draws=model.draws)
    assert moved["stale"] and "all known requests together" in moved["reason"]
    elsewhere = stale(_observed(model, truth, 2000, context="c9"), model.traffic)
    assert elsewhere["stale"] and elsewhere["unseen_share"] == 1 and "never had" in elsewhere["reason"]
    silent = stale({}, model.traffic)
    assert not silent["stale"] and silent["e_value"] is None and "not identified" in silent["reason"]
