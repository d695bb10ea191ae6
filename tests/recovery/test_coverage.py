"""Coverage in worlds with known truth: a small version in every test run, the full one behind `make prove`."""

import pathlib

import coverage_worlds as coverage
import numpy as np
import pytest

from divergence.simulate import KINDS

ROOT = pathlib.Path(__file__).parents[2]

QUESTIONS = coverage.QUESTIONS
REQUIRED = ("sessions", "copies", "moving", "waves")  # what makes real logs hard: many worlds of each
WORLDS = {kind: 500 if kind in REQUIRED else 60 for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_small_worlds(kind):
    """Three small worlds of a kind: a planted sign error or a lost factor of two in a variance fails this at once."""
    covered, _ = coverage.worlds(kind, 3, n_models=6, n_contexts=5, n_items=100)
    for question in QUESTIONS:
        if question not in covered or (kind, question) == ("silent", "kappa"):
            continue  # silent: a true kappa of 0 lies at the border of materiality, of which three worlds say nothing
        # Levels of one world share their items and so stand or fall together: three worlds say no more than that half
        # of the intervals must hold (P < .01 at nominal .9 with an effective six intervals).
        assert np.mean(covered[question]) >= 0.5, (question, covered[question])
    assert np.mean(covered["context_effect"]) >= 0.7


@pytest.mark.prove
def test_full_coverage():
    """500 worlds of each hard kind: 90 % intervals cover .86-.94 within two Monte Carlo errors; null claims at most 10 %."""
    records = ROOT / "build" / "coverage"
    records.mkdir(parents=True, exist_ok=True)
    rows, claims = [], {}
    for kind in KINDS:
        covered, claimed = coverage.worlds(kind, WORLDS[kind], records)
        rows.append((kind, covered))
        if kind == "null":
            claims = {q: np.mean(claimed[q]) for q in ("gap", "context_effect", "kappa", "coupling", "excess_flips")}
        print(kind, {q: round(float(np.mean(v)), 3) for q, v in covered.items()}, flush=True)
    coverage.write_table(rows, claims)
    for kind, covered in rows:
        for question in QUESTIONS:
            if question not in covered:
                continue
            mean, error = np.mean(covered[question]), np.std(covered[question]) / np.sqrt(len(covered[question]))
            assert mean > 0.75, (kind, question)  # kappa in silent worlds: see "the floor of kappa" in coverage.md
            if kind in REQUIRED:
                assert 0.86 - 2 * error <= mean <= 0.94 + 2 * error, (kind, question, mean, error)
    assert max(claims.values()) <= 0.10, claims
