"""Coverage in worlds with known truth: a small version in every test run, the full one behind `make prove`."""

import collections
import importlib.util
import pathlib

import numpy as np
import pytest

from divergence.simulate import KINDS

_spec = importlib.util.spec_from_file_location("coverage_worlds", pathlib.Path(__file__).with_name("coverage.py"))
coverage = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(coverage)

QUESTIONS = ("bench_level", "deployed_level", "gap", "context_effect", "kappa", "excess_flips")
TABLE = pathlib.Path(__file__).parents[2] / "benchmarks" / "coverage.md"


def _worlds(kind: str, count: int, **sizes) -> tuple[dict, dict]:
    """Per question the share covered, and the share claimed, of each world."""
    covered, claimed = collections.defaultdict(list), collections.defaultdict(list)
    for k in range(count):
        for question, pairs in coverage.check_world(kind, 1000 * list(KINDS).index(kind) + k, **sizes).items():
            covered[question].append(np.mean([c for c, _ in pairs]))
            claimed[question].append(np.mean([c for _, c in pairs]))
    return covered, claimed


@pytest.mark.parametrize("kind", KINDS)
def test_small_worlds(kind):
    """Three small worlds of a kind: a planted sign error or a lost factor of two in a variance fails this at once."""
    covered, _ = _worlds(kind, 3, n_models=6, n_contexts=5, n_items=100)
    for question in QUESTIONS:
        if question not in covered:
            continue
        # Levels of one world share their items and so stand or fall together: three worlds say no more than that half
        # of the intervals must hold (P < .01 at nominal .9 with an effective six intervals).
        assert np.mean(covered[question]) >= 0.5, (question, covered[question])
    assert np.mean(covered["context_effect"]) >= 0.7


@pytest.mark.prove
def test_full_coverage():
    """60 worlds of each kind: 90 % intervals cover .84-.96 pooled and above .75 in each kind; null claims at most 10 %."""
    pooled, rows, claims = collections.defaultdict(list), [], {}
    for kind in KINDS:
        covered, claimed = _worlds(kind, 60)
        for question, values in covered.items():
            pooled[question] += values
        rows.append((kind, covered))
        if kind == "null":
            claims = {q: np.mean(claimed[q]) for q in ("gap", "context_effect", "kappa", "coupling", "excess_flips")}
        print(kind, {q: round(float(np.mean(v)), 3) for q, v in covered.items()}, flush=True)
    rows.append(("pooled", pooled))
    _write(rows, claims)
    for question in QUESTIONS:
        assert 0.84 <= np.mean(pooled[question]) <= 0.96, question
        for kind, covered in rows:
            assert question not in covered or np.mean(covered[question]) > 0.75, (kind, question)
    assert max(claims.values()) <= 0.10, claims


def _write(rows, claims) -> None:
    """The table that is committed: coverage with its Monte Carlo error (between worlds)."""
    from importlib.metadata import version

    names = (*QUESTIONS, "coupling", "instrument", "gates")
    lines = [
        "# Coverage of 90 % intervals in simulated worlds", "",
        "Made by `make prove`: 60 worlds of each kind (8 models, 7 deployment contexts, 120 items, 2 trials), truths for "
        "new items by quadrature. Mean share of intervals that hold the truth, and the standard error of that mean over "
        "worlds. A positive quantity whose truth is below its materiality (`kappa` .01, `coupling` .02, `excess_flips` "
        ".005) is covered when its lower limit is below the materiality. `gates` is the share of fits that passed.", "",
        f"jax {version('jax')}, numpyro {version('numpyro')}, numpy {version('numpy')}, polars {version('polars')}.", "",
        "| world | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|",
    ]
    for kind, covered in rows:
        cells = [f"{np.mean(covered[q]):.3f} ± {np.std(covered[q]) / np.sqrt(len(covered[q])):.3f}" if q in covered else ""
                 for q in names]
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    lines += ["", "Share of claims in null worlds (an interval without 0, or a lower limit above the materiality): "
              + ", ".join(f"`{q}` {v:.3f}" for q, v in claims.items()) + "."]
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text("\n".join(lines) + "\n")
