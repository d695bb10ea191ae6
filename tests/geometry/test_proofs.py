"""Slow proofs, `pytest -m prove tests/geometry`: level and power of the tests, coverage of the intervals at fixed truth."""

import numpy as np
import pytest

from divergence.geometry import cka, displacement, mmd, moments, paired_moments, shape_distance, subspace_loss

pytestmark = pytest.mark.prove


def p_value(estimate) -> float:
    return estimate.where(statistic="p_value").to_frame()["mean"][0]


@pytest.mark.parametrize("correlation", [0.0, 0.1, 0.3])
def test_level_of_the_session_permutation(correlation, session_rows):
    generator, rejected, simulations = np.random.default_rng(100), 0, 600
    for _ in range(simulations):
        rows, labels = session_rows(generator, 40, 6, 8, correlation)
        half = len(rows) // 2
        estimate = mmd(rows[:half], rows[half:], cluster=(labels[:half], labels[half:]), permutations=199)
        rejected += p_value(estimate) <= 0.05
    print(f"level at intra-session correlation {correlation}: {rejected / simulations:.3f}")
    assert 0.02 <= rejected / simulations <= 0.07  # nominal .05, 600 simulations: .0256 to .0744 holds 99.4 %


def alternatives(generator, n=50, d=5):
    """(name, rows, rows) of equal n: a shift, a scale, and a ring of the same mean and variance in two of five axes."""
    x, y = generator.standard_normal((2, n, d))
    ring = generator.standard_normal((n, d))
    angle = generator.uniform(0, 2 * np.pi, n)
    ring[:, :2] = np.sqrt(2) * np.stack([np.cos(angle), np.sin(angle)], 1)
    return {"shift": y + 0.7 / d**0.5, "scale": 1.3 * y, "ring": ring}, x


@pytest.mark.parametrize(("name", "least"), [("shift", 0.5), ("scale", 0.6), ("ring", 0.25)])
def test_power(name, least):
    generator, rejected, simulations = np.random.default_rng(101), 0, 300
    for _ in range(simulations):
        others, x = alternatives(generator)
        rejected += p_value(mmd(x, others[name], cluster=None, permutations=199)) <= 0.05
    print(f"power against {name}: {rejected / simulations:.3f}")
    assert rejected / simulations >= least


def covered(estimate, truth, statistic=None) -> bool:
    lower, upper = estimate.where(statistic=statistic).interval()[0]
    return bool(lower <= truth <= upper)


def test_coverage_of_paired_intervals(session_rows):
    """CKA, shape, displacement at fixed truth, 25 sessions of 8 with intra-session correlation .2."""
    generator, simulations = np.random.default_rng(102), 200
    scale, turn = np.array([2.0, 1.5, 1, 0.5]), np.linalg.qr(np.random.default_rng(0).standard_normal((4, 4)))[0]
    s_x, noise = scale**2, 0.5
    truth_cka = np.sqrt((s_x**2).sum() / ((s_x + noise) ** 2).sum())
    truth_angle = np.arccos(s_x.sum() / np.sqrt(s_x.sum() * (s_x + noise).sum()))
    held = dict.fromkeys(["cka", "shape", "residual", "displacement", "a/a"], 0)
    for _ in range(simulations):
        x, cluster = session_rows(generator, 25, 8, 4, 0.2)
        e, _ = session_rows(generator, 25, 8, 4, 0.2)
        x = x * scale
        state = paired_moments(x, (x + noise**0.5 * e) @ turn, cluster=cluster)
        held["cka"] += covered(cka(state), truth_cka)
        shape = shape_distance(state)
        held["shape"] += covered(shape, truth_angle)
        # |S_xy|_* of x and (x + e) turned is tr S_x, so the residual is the variance of e
        held["residual"] += covered(shape, 4 * noise, "residual")
        move, _ = session_rows(generator, 25, 8, 4, 0.2)
        runs = [np.repeat(base, 2, 0) + 0.8 * generator.standard_normal((400, 4)) for base in (x, x + 0.6 * move, x)]
        items, sessions = np.repeat(np.arange(200), 2), np.repeat(cluster, 2)
        for name, y, truth in (("displacement", runs[1], 0.36 / 0.64), ("a/a", runs[2], 0.0)):
            estimate = displacement(runs[0], y, items=(items, items), cluster=(sessions, sessions))
            held[name] += covered(estimate, truth)
    print({name: count / simulations for name, count in held.items()})
    assert min(held.values()) / simulations >= 0.82


def test_coverage_of_subspace_loss(session_rows):
    generator, simulations, held = np.random.default_rng(103), 200, 0
    scale, turn = np.array([3.0, 2, 1, 0.7, 0.5, 0.3]), np.eye(6)
    turn[:4, :4] = np.linalg.qr(np.random.default_rng(1).standard_normal((4, 4)))[0]
    axes, cov = np.eye(6)[:, :2], turn.T @ np.diag(scale**2) @ turn
    truth = 1 - np.trace(axes.T @ cov @ axes) / np.linalg.eigvalsh(cov)[-2:].sum()
    for _ in range(simulations):
        x, cluster = session_rows(generator, 25, 12, 6, 0.2)
        y, _ = session_rows(generator, 25, 12, 6, 0.2)
        estimate = subspace_loss(
            moments(x * scale, cluster=cluster), moments(y * scale @ turn, cluster=cluster), components=2
        )
        held += covered(estimate, truth)
    print(f"subspace_loss covers {held / simulations:.3f}")
    assert held / simulations >= 0.82
