"""The instrument's shift is what arms have in common; contexts that moved by themselves are told apart from it."""

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.identification.wave_agreement import wave_agreement


def log(levels, items=300, seed=0, rates=False):
    """`levels` maps a context to its level in each wave."""
    random = np.random.default_rng(seed)
    rows = []
    for context, each in levels.items():
        for wave, p in enumerate(each):
            key = {"regime": "deployment", "model": "m", "context": context, "wave": f"w{wave}"}
            if rates:
                rows.append(key | {"score": round(p * items) / items, "score_n": items})
            else:
                rows += [key | {"item": f"i{i}", "score": float(random.random() < p)} for i in range(items)]
    return dv.read(pl.DataFrame(rows))


def changed(read):
    found = wave_agreement(dv.collapse(read))
    return found, [read.design.cells.levels["context"][c] for c in read.design.arms.context[found.changed]]


@pytest.mark.parametrize("rates", [False, True])
@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ({"a": (0.72, 0.72), "b": (0.5, 0.5), "g": (1.0, 1.0), "x": (0.5, 0.95), "y": (0.8, 0.3)}, ["x", "y"]),
        ({"a": (0.4, 0.4, 0.4), "b": (0.6, 0.6, 0.6), "x": (0.5, 0.5, 0.2)}, ["x"]),
        ({"a": (0.4, 0.6), "b": (0.6, 0.77), "c": (0.5, 0.69)}, []),  # one shift on the link scale
    ],
)
def test_contexts_that_moved_by_themselves_are_named(levels, expected, rates):
    read = log(levels, rates=rates)
    found, names = changed(read)
    assert names == expected and found.common
    assert ("changed_between_waves" in {f.name for f in dv_audit(read)}) == bool(expected)


def dv_audit(read):
    from divergence.identification.audit import audit

    return audit(read.design)


def test_the_instrument_is_that_of_the_others():
    levels = {"a": (0.72, 0.72), "b": (0.5, 0.5), "g": (0.9, 0.9), "x": (0.74, 1.0), "y": (0.74, 1.0)}
    found = dv.instrument(dv.fit(dv.collapse(log(levels, 1300, rates=True)), seed=0)).to_frame()
    assert (found["lower"] < 0).all() and (found["upper"] > 0).all() and (found["median"].abs() < 0.005).all()


def test_no_shift_is_common_where_half_moved():
    read = log({"a": (0.7, 0.7), "x": (0.5, 0.9)})
    found, _ = changed(read)
    assert not found.common
    answer = dv.instrument(dv.fit(dv.collapse(read), seed=0))
    assert not answer.identified and "moved by themselves" in answer.reasons[0]
    said = {a.question: a for a in read.answers()}["instrument"]
    assert not said.identified and said.reason == answer.reasons[0]


@pytest.mark.prove
def test_waves_that_differ_by_chance_are_not_called_changed():
    """200 null logs of four contexts and two waves: 8 arms tests each at 4 standard errors, .05 logs expected."""
    called = 0
    for seed in range(200):
        found = wave_agreement(dv.collapse(log({c: (0.6, 0.6) for c in "abcd"}, items=60, seed=seed)))
        called += bool(found.changed.any())
    assert called <= 1
