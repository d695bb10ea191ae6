"""Amplifier, ranking and stability in worlds with known truth: coverage, refusals, and orders in contexts held out."""

import collections
import itertools

import numpy as np
import polars as pl
import pytest
from projection_oracles import dependability_truth, projection_truth, repeat_truth, stability_truth

import divergence as dv
from divergence.simulate import simulate, world
from divergence.simulate.truth import normal_nodes, probabilities
from divergence.simulate.worlds import draw_effects

KINDS = ("baseline", "sessions", "saturated", "no_overlap", "waves")
SIZES = {"n_models": 6, "n_contexts": 5, "n_items": 100}
EPS, REQUIRED = 0.05, 0.6
MATERIAL = {"tau_p": 0.01, "PI0": 0.008, "leverage": 0.02, "pass^2_movement": 0.005}  # claimed above this only
DISCRETE = {"kendall", "regret", "stability"}  # few values, limits included: these intervals may only hold more
MODELS = [f"model-{m}" for m in range(SIZES["n_models"])]


def _posterior(log, seed=0):
    return dv.fit(dv.collapse(dv.read(log)), seed=seed)


def _truth(kind, seed):
    """The log, and the truth of every question as (estimate's rows, values)."""
    spec = world(kind, **SIZES)
    log, known = simulate(spec, seed)
    effects = draw_effects(spec, np.random.default_rng(np.random.SeedSequence(seed)))  # the draw that `simulate` made
    level = known["level"]
    line, steady = projection_truth(level), stability_truth(level, EPS)
    repeat = repeat_truth(probabilities(spec, effects), normal_nodes()[1])
    values = {
        "tau_p": line["tau_p"],
        "beta": line["beta"],
        "PI0": line["PI0"],
        "g_05": line["g_05"],
        "leverage": line["leverage"],
        "kendall": line["kendall"],
        "regret": line["regret"],
        "stability": steady["stability"],
        "quantile_10": steady["quantile"],
        "cvar_10": steady["cvar"],
        "Phi(lambda)": dependability_truth(level, REQUIRED),
        "pass^2_within": repeat["within"],
        "pass^2_across": repeat["across"],
        "pass^2_movement": repeat["within"] - repeat["across"],
        "matched": _matched(level, effects.levels),
    }
    return log, {name: np.atleast_1d(value) for name, value in values.items()}


def _matched(level, designs):
    """Mean over models and over pairs of contexts that differ from the reference in one factor, per (factor, level)."""
    out = []
    for factor in sorted({f for d in designs for f in d}):
        reference = designs[0].get(factor, "none")
        for name in sorted({d.get(factor, "none") for d in designs[1:]} - {reference}):
            gaps = [
                level[:, c].mean() - level[:, d].mean()
                for c, d in itertools.permutations(range(1, len(designs)), 2)
                if designs[c][factor] == name
                and designs[d][factor] == reference
                and all(designs[c][f] == designs[d][f] for f in designs[0] if f != factor)
            ]
            out += [np.mean(gaps)] if gaps else []
    return np.array(out)


def _answers(posterior):
    """Every question's estimate, its rows in the order of the truth."""
    line, rank = dv.projection_instability(posterior), dv.rank_agreement(posterior)
    steady = dv.stability(posterior, eps=EPS, quality_required=REQUIRED)
    parts = {s: line.where(statistic=s) for s in ("tau_p", "beta", "PI0")}
    parts |= {
        "g_05": dv.gap_for_confidence(posterior).where(statistic=None, model=None),
        "leverage": dv.leverage(posterior).where(statistic=None, model=None),
        "kendall": rank.where(statistic=None),
        "regret": rank.where(statistic="top1_regret"),
        "stability": steady.where(statistic=None),
        "matched": dv.serving_effect(posterior).where(statistic="matched"),
    }
    more = ("quantile_10", "cvar_10", "Phi(lambda)", "pass^2_within", "pass^2_across", "pass^2_movement")
    return parts | {s: steady.where(statistic=s) for s in more}


def check(kind, seed):
    """Share of intervals that hold the truth, by question; questions that are refused in this world are left out."""
    log, truth = _truth(kind, seed)
    covered = {}
    for name, estimate in _answers(_posterior(log, seed)).items():
        if not estimate.identified:
            continue
        assert estimate.rows.height == len(truth[name]), name
        floor = MATERIAL.get(name, -np.inf)
        held = [
            (lower <= max(value, floor)) and (value <= upper or value < floor)
            for (lower, upper), value in zip(estimate.interval(), truth[name], strict=True)
        ]
        covered[name] = float(np.mean(held))
    return covered


def held_out(seed):
    """Per pair: predicted risk in a new context by the curve, by the joint model, and whether a held-out one reversed it."""
    spec = world("baseline", **(SIZES | {"n_models": 8}))
    log, known = simulate(spec, seed)
    seen = _posterior(log.filter(pl.col("context") != f"context-{spec.n_contexts}"), seed)
    table = dv.reversal(seen).where(statistic="new_context").to_frame()
    joint = dv.reversal(seen, contexts="new").where(statistic=None).to_frame()
    first, second = ([int(name[-1]) for name in table[c]] for c in ("model", "model_b"))
    level = known["level"]
    gaps = [level[first, c] - level[second, c] for c in (0, -1)]
    return table["mean"].to_numpy(), joint["mean"].to_numpy(), np.sign(gaps[0]) != np.sign(gaps[1])


def test_small_worlds():
    """Three small worlds: a lost square root or a wrong sign fails this at once."""
    covered = collections.defaultdict(list)
    for k, kind in enumerate(("baseline", "sessions", "waves")):
        for name, value in check(kind, 300 + k).items():
            covered[name].append(value)
    # Three independent worlds at .9 hold none of them in one case of 1,000; answers of one world are not independent.
    assert all(np.mean(values) > 0 for values in covered.values()), dict(covered)
    assert np.mean([np.mean(values) for values in covered.values()]) > 0.7, dict(covered)
    assert {"tau_p", "beta", "g_05", "leverage", "kendall", "matched", "pass^2_within"} <= set(covered)


def test_what_a_log_lacks_is_refused_with_a_reason():
    _lacking(400)


@pytest.mark.prove
def test_what_twenty_logs_lack_is_refused_in_all_of_them():
    for seed in range(401, 421):
        _lacking(seed)


def _lacking(seed):
    """One context, one replicate, no shared items, one regime: each answer that needs them is refused and says so."""
    log, _ = simulate(world("baseline", n_models=4, n_contexts=2, n_items=40), seed)
    one = _posterior(log.filter(pl.col("context") != "context-2"))
    for question in (dv.stability, dv.coupling, dv.kappa):
        assert not question(one).identified and "two deployment contexts" in question(one).reasons[0]
    assert dv.reversal(one).where(statistic="new_context").rows.height == 0
    single = dv.stability(_posterior(log.filter(pl.col("trial") == 0)), quality_required=REQUIRED)
    assert "0 items have 2 replicates" in single.where(statistic="pass^2_across").reasons[0]
    assert single.where(statistic="Phi(lambda)").identified
    apart, _ = simulate(world("no_overlap", n_models=4, n_contexts=2, n_items=40), seed)
    matched = dv.serving_effect(_posterior(apart)).where(statistic="matched")
    assert set(matched.rows["factor"]) <= {"quantization"}, "the bench was compared without shared items"
    for regime in ("evaluation", "deployment"):
        bare = _posterior(log.filter(regime=regime))
        for question in (dv.projection_instability, dv.gap_for_confidence, dv.leverage, dv.rank_agreement, dv.reversal):
            assert not question(bare).identified and "this log has 0 judged" in question(bare).reasons[0]


@pytest.mark.prove
def test_full_coverage():
    """40 small worlds of each of five kinds: 90 % intervals hold the truth in .84-.96 of 200, printed with their error."""
    covered = collections.defaultdict(list)
    for k, kind in enumerate(KINDS):
        here = collections.defaultdict(list)
        for seed in range(40):
            for name, value in check(kind, 20_000 + 1000 * k + seed).items():
                here[name].append(value)
                covered[name].append(value)
        print(kind, {name: round(float(np.mean(values)), 3) for name, values in here.items()}, flush=True)
    for name, values in covered.items():
        error = np.std(values) / np.sqrt(len(values))
        print(f"{name}: {np.mean(values):.3f} ± {error:.3f} of {len(values)} worlds", flush=True)
    for name, values in covered.items():
        assert 0.84 <= np.mean(values) <= (1.0 if name in DISCRETE else 0.96), name


@pytest.mark.prove
def test_orders_in_held_out_contexts():
    """60 worlds, one context each held out: pairs reverse as often as was predicted, over the whole range of risks."""
    worlds = [held_out(30_000 + seed) for seed in range(60)]
    *predictions, happened = (np.concatenate(part) for part in zip(*worlds, strict=True))
    for name, predicted in zip(("curve", "joint model"), predictions, strict=True):
        slope, at_zero = np.polyfit(predicted, happened, 1)
        print(
            f"held-out contexts, {name}: predicted {predicted.mean():.3f}, happened {happened.mean():.3f}, slope "
            f"{slope:.2f}, intercept {at_zero:.3f}, {len(predicted)} pairs",
            flush=True,
        )
        assert 0.8 <= slope <= 1.2, name
        assert abs(predicted.mean() - happened.mean()) < 0.03, name
