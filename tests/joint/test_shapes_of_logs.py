"""Logs of unusual shape: more contexts than items, a level a model, no shared items, thousands of models."""

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.joint import room
from divergence.joint.fit import _check_room
from divergence.joint.spec import Spec


def _rows(models, contexts, items, seed, *, level_a_model=False, own_items=False):
    rng = np.random.default_rng(seed)
    m, c, i = (a.ravel() for a in np.meshgrid(*map(range, (models, contexts, items)), indexing="ij"))
    chance = 0.75 - 0.1 * (c > 0) - 0.25 * (m % 2)
    columns = {
        "regime": np.where(c == 0, "evaluation", "deployment"),
        "model": [f"m{k}" for k in m],
        "item": [f"i{k}" for k in (i + items * c if own_items else i)],
        "score": (rng.random(len(m)) < chance).astype(int),
    }
    if level_a_model:
        columns["factor.build"] = np.where(c == 0, "none", [f"b{k}" for k in m])
    else:
        columns["context"] = [f"c{k}" for k in c]
    return pl.DataFrame(columns)


def _against_truth(rows):
    """The fit, its gaps, and how far bench levels and gaps lie from the truth, in widths of their own 90 % intervals."""
    posterior = dv.fit(dv.collapse(dv.read(rows)), seed=1)
    level = dv.bench_level(posterior).to_frame()
    gap = dv.gap(posterior).to_frame().filter(pl.col("statistic").is_null() & pl.col("identified"))
    assert level.height == gap.height == rows["model"].n_unique()
    true = [0.75 - 0.25 * (int(name[1:]) % 2) for name in level["model"]]
    far = [np.abs(f["mean"] - t) / (f["upper"] - f["lower"]) for f, t in ((level, np.array(true)), (gap, -0.1))]
    return posterior, gap, np.concatenate(far)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    "shape",
    [
        {"models": 12, "contexts": 2, "items": 30, "level_a_model": True},
        {"models": 1, "contexts": 25, "items": 12},
        {"models": 4, "contexts": 4, "items": 30, "own_items": True},
        {"models": 1, "contexts": 4, "items": 30, "own_items": True},
    ],
    ids=["a level a model", "more contexts than items", "no shared items", "no shared items, one model"],
)
def test_answers_are_near_the_truth(shape, seed):
    posterior, _, far = _against_truth(_rows(**shape, seed=seed))
    assert posterior.passed
    assert far.max() < 1.0  # a width is 3.3 standard deviations: one in a thousand lies beyond


def test_what_needs_shared_items_says_that_there_are_none():
    posterior, gap, _ = _against_truth(_rows(3, 3, 30, 5, own_items=True))
    _, paired, _ = _against_truth(_rows(3, 3, 30, 5))
    reasons = dv.gap(posterior).reasons
    assert reasons and all("share 0.0 effective items" in reason for reason in reasons)
    assert gap.height == paired.height == 3  # the gap itself is known: only its split is not


def test_twenty_thousand_models_fit_or_are_a_sentence(monkeypatch):
    cells = dv.collapse(dv.read(_rows(20_000, 2, 1, 3)))
    monkeypatch.setattr(room, "memory", lambda: 32 * 2**30)
    _check_room(cells, Spec())
    monkeypatch.setattr(room, "memory", lambda: 2**28)
    with pytest.raises(dv.InputError, match=r"20,000 models in 2 contexts.*keep fewer models"):
        _check_room(cells, Spec())


@pytest.mark.parametrize("models", [1, 2])
@pytest.mark.parametrize("spec", [{}, {"factor": 0.0}, {"factor": 0.0, "context": 0.0}])
def test_one_context_in_both_regimes_and_traffic_with_items_of_its_own(models, spec):
    random = np.random.default_rng(0)
    rows = [
        {
            "regime": regime,
            "model": f"m{m}",
            "item": f"{regime}-{k}",
            "context": "prod",
            "score": float(random.random() < rate),
        }
        for m in range(models)
        for regime, rate in (("evaluation", 0.7), ("deployment", 0.6))
        for k in range(80)
    ]
    cells = dv.collapse(dv.read(pl.DataFrame(rows)))
    limits = dv.gap(dv.fit(cells, spec=dv.Spec(**spec), seed=0)).where(statistic=None).interval()
    assert limits.shape == (models, 2)
    assert (limits[:, 0] < limits[:, 1]).all()
