"""What is called a clear difference of raw rates: sessions count as sessions, fractions have their own spread."""

import numpy as np
import polars as pl
import pytest

from divergence.executions import read
from divergence.identification.audit import audit

CHANCE_RULES = ("opposite_effects", "unlogged_difference", "changed_between_waves")


def found(rows):
    return {f.name: f for f in audit(read(pl.DataFrame(rows, infer_schema_length=None)).design)}


def in_sessions(random, sessions, rows, spread, level=0.6, **place):
    """Rows of sessions whose level is drawn from a Beta distribution around `level`."""
    out = []
    for k in range(sessions):
        p = random.beta(spread * level, spread * (1 - level))
        name = "-".join([*place.values(), str(k)])
        out += [place | {"session": name, "score": int(random.random() < p)} for _ in range(rows)]
    return out


@pytest.mark.parametrize("sessions", [5, 12, 40])
def test_sessions_that_differ_are_no_clear_difference(sessions):
    """Null logs: contexts, models and waves alike, sessions of 240 / `sessions` rows that differ (Beta of spread 3)."""
    said = []
    for seed in range(6):
        random, rows = np.random.default_rng(seed), []
        for model in (f"m{k}" for k in range(8)):
            for context in "abc":
                for wave in ("w1", "w2"):
                    place = {"regime": "deployment", "model": model, "context": context, "wave": wave}
                    rows += in_sessions(random, sessions, 240 // sessions, 3, **place)
        for row in rows:
            row["engine"] = "e1" if row["context"] == "a" else "e2"
        said += [name for name in found(rows) if name in CHANCE_RULES]
    assert said == []


@pytest.mark.parametrize("sessions", [40, 200])
def test_what_differs_far_more_than_sessions_do_is_still_said(sessions):
    random, rows = np.random.default_rng(1), []
    levels = {("A", "c1"): 0.95, ("A", "c2"): 0.2, ("B", "c1"): 0.2, ("B", "c2"): 0.95}
    for (model, context), level in levels.items():
        place = {"regime": "deployment", "model": model, "context": context}
        rows += in_sessions(random, sessions, 5, 20, level, **place)
    assert "opposite_effects" in found(rows)


def plain(rates, items=150, seed=2, fraction=0.0):
    """One row an item; `fraction`: standard deviation of a score that is a fraction, 0 = zeros and ones."""
    random = np.random.default_rng(seed)

    def score(p):
        return float(np.clip(random.normal(p, fraction), 0.001, 0.999)) if fraction else float(random.random() < p)

    return [
        {"regime": r, "context": c, "model": m, "item": f"i{i}", "score": score(p)}
        for (r, c, m), p in rates.items()
        for i in range(items)
    ]


ONE = {("deployment", "c1", "A"): 0.9, ("deployment", "c2", "A"): 0.6}
ONE |= {("deployment", "c1", "B"): 0.6, ("deployment", "c2", "B"): 0.9}
TWO_BENCHES = {
    ("evaluation", "b1", "A"): 0.7,
    ("evaluation", "b2", "A"): 0.7,
    ("evaluation", "b1", "B"): 0.7,
    ("evaluation", "b2", "B"): 0.7,
    ("deployment", "web", "A"): 0.95,
    ("deployment", "web", "B"): 0.35,
}


@pytest.mark.parametrize(
    ("rates", "told"),
    [
        (ONE, "c2, against c1, helps B (+"),
        (TWO_BENCHES, "web, against b"),
        ({("evaluation", c, m): p for (_, c, m), p in ONE.items()}, "c2, against c1, helps B (+"),
    ],
)
def test_opposite_effects_are_seen_in_one_regime_and_against_several_bench_contexts(rates, told):
    sentence = found(plain(rates))["opposite_effects"].sentence
    assert sentence.startswith(told) and "hurts" in sentence and len(sentence) <= 300
    same = {key: 0.7 if key[1] in ("c1", "b1", "b2") else 0.5 for key in rates}
    assert "opposite_effects" not in found(plain(same))


@pytest.mark.parametrize("shift", [0.05, 0.08])
def test_opposite_effects_of_fractions_are_held_against_their_own_spread(shift):
    rates = {
        ("evaluation", "bench", "A"): 0.7,
        ("evaluation", "bench", "B"): 0.7,
        ("deployment", "web", "A"): 0.7 + shift,
        ("deployment", "web", "B"): 0.7 - shift,
    }
    assert "web helps A" in found(plain(rates, items=80, fraction=0.05))["opposite_effects"].sentence
    assert "opposite_effects" not in found(plain(rates, items=80, fraction=0.25))
