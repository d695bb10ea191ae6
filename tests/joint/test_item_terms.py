"""Item terms can be left out where a method supports it, and what they do is seen when they are."""

import dataclasses
import json

import numpy as np
import polars as pl
import pytest
from scipy.special import expit

import divergence as dv
from divergence.joint import ItemLevel
from divergence.joint.arms import measure_arms
from divergence.joint.design import make_design
from divergence.joint.equations import equations

WITHOUT_DIFFICULTY, WITHOUT_MOVEMENT = dv.Spec(item_difficulty=False), dv.Spec(item_movement=False)


def _cells(movement=0.0, items=80, seed=1):
    """Items of one scale of difficulty that move by themselves with model and context, or not."""
    rng = np.random.default_rng(seed)
    eta = rng.normal(0.3, 0.5, (3, 4, 1)) - rng.normal(0, 1.5, items) + rng.normal(0, movement, (3, 4, items))
    y = rng.random((3, 4, items, 2)) < expit(eta)[..., None]
    m, c, i, t = (a.ravel() for a in np.indices(y.shape))
    return dv.collapse(
        dv.read(
            pl.DataFrame(
                {
                    "regime": np.where(c == 0, "evaluation", "deployment"),
                    "model": m.astype(str),
                    "context": c.astype(str),
                    "item": i.astype(str),
                    "trial": t,
                    "score": y.ravel().astype(float),
                }
            )
        )
    )


def _sd(fit, contrast=False):
    """Standard errors of the arm levels, or of their differences from the first arm."""
    v = fit.arms.covariance
    return np.sqrt(np.diag(v)[1:] + v[0, 0] - 2 * v[0, 1:]) if contrast else np.sqrt(np.diag(v))


def test_without_difficulty_shared_items_do_not_pair():
    """Standard errors of levels stay; those of differences lose what the shared items took out."""
    cells = _cells()
    on, off = (dv.fit(cells, spec=spec, seed=0).fits[0] for spec in (dv.Spec(), WITHOUT_DIFFICULTY))
    np.testing.assert_allclose(_sd(off), _sd(on), rtol=1e-9)
    np.testing.assert_allclose(_sd(off, contrast=True), np.hypot(_sd(off)[1:], _sd(off)[0]), rtol=1e-9)
    assert (_sd(off, contrast=True) > _sd(on, contrast=True)).all()
    assert off.why.startswith("arm-level, because item_difficulty is off")


def test_without_movement_the_model_is_taken_at_its_word():
    """Where items move, leaving the movement out promises too much; where they do not, it hardly matters."""
    ratios = {}
    for movement in (0.0, 2.0):
        cells = _cells(movement)
        on = dv.fit(cells, method=ItemLevel(), seed=0).fits[0]
        off = dv.fit(cells, spec=WITHOUT_MOVEMENT, seed=0).fits[0]
        assert off.method.startswith("item-level")
        assert off.why.startswith("item-level, because item_movement is off")
        np.testing.assert_allclose(off.arms.level, on.arms.level, atol=1e-12)
        ratios[movement] = (_sd(off, contrast=True) / _sd(on, contrast=True)).mean()
    # an sd from 80 items has an error of 8 %, the eleven contrasts share their items
    assert ratios[0.0] == pytest.approx(1, abs=0.16)
    assert ratios[2.0] < ratios[0.0]


@pytest.mark.parametrize(
    ("spec", "method", "sentence"),
    [
        (WITHOUT_MOVEMENT, dv.Importance(), "cannot leave it out"),
        (WITHOUT_MOVEMENT, dv.NUTS(), "use ItemLevel"),
        (WITHOUT_DIFFICULTY, ItemLevel(), "model of item difficulties"),
        (dv.Spec(item_difficulty=False, item_movement=False), None, "item_difficulty is off, too"),
    ],
)
def test_what_a_method_cannot_leave_out_is_a_sentence(spec, method, sentence):
    with pytest.raises(dv.InputError, match=sentence):
        dv.fit(_cells(items=20), spec=spec, method=method)


def test_a_log_without_counts_of_successes_keeps_its_movement():
    cells = _cells(items=20)
    half = dataclasses.replace(cells, kind="fraction")
    with pytest.raises(dv.InputError, match="this log does not take: score is not a count of successes"):
        dv.fit(half, spec=WITHOUT_MOVEMENT)


@pytest.mark.parametrize("term", ["item_difficulty", "item_movement"])
@pytest.mark.parametrize("value", [0, 1, None, "on"])
def test_a_term_is_on_or_off(term, value):
    with pytest.raises(dv.InputError, match=f"{term} is on"):
        dv.Spec(**{term: value})


def test_the_equations_say_what_is_left_out():
    cells = _cells(items=20)
    arms = measure_arms(cells)

    def lines(spec, measurement):
        return equations(make_design(cells, arms, spec), arms, spec, measurement)

    assert "clusters: items" in lines(dv.Spec(), "arm-level")
    assert "between arms taken as none" in lines(WITHOUT_DIFFICULTY, "arm-level")
    assert "b ~ N(0, sigma_b)" in lines(dv.Spec(), "item-level")
    assert "own influence" in lines(dv.Spec(), "item-level")
    assert "own influence" not in lines(WITHOUT_MOVEMENT, "item-level")


def test_a_spec_is_frozen_and_survives_json():
    spec = dv.Spec(instability="per_model", item_movement=False, factor=0.7)
    assert dv.Spec(**json.loads(json.dumps(dataclasses.asdict(spec)))) == spec
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.factor = 1.0
