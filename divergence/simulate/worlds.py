"""Worlds with known truth: logs drawn from the joint model, with every estimand's value beside them.

    eta = alpha_r + theta_{m,r} - b_i + zeta_{mi} + sum_f beta_{f,l_f(c)} + delta_{mc} + e_{ic} + xi_{mic} + omega_w + nu_s
    y ~ Bernoulli(sigmoid(eta))

One model of the world, ten kinds: each switches on what makes real logs hard. Truths are for *new items* of the same
source, by quadrature over the item terms (`truth.py`), so no Monte Carlo error of their own.
"""

from __future__ import annotations

import dataclasses

import numpy as np

KINDS = {
    "baseline": "contexts move models and items, replicates are independent",
    "null": "nothing depends on the context: every gap, kappa and excess flip is zero",
    "saturated": "scores near 1, where normal intervals fail",
    "sessions": "deployment rows come in sessions with an intra-class correlation of .3 on the logit scale",
    "waves": "two measuring campaigns that shift every context together",
    "copies": "greedy serving: trials repeat exactly, and answers are nearly the same across contexts",
    "silent": "single items move with the context while every level stays put",
    "no_overlap": "traffic and bench share no item",
    "moving": "single items move with the context far more than levels do, which no additive model can express",
    "broken": "one model fails in one context, as with a kernel that is wrong for one weight format",
}
BROKEN = (0, 1)  # model and column (context-1) of that failure; models and contexts are exchangeable

FACTORS = {  # level sets of the serving factors that define the simulated contexts
    "quantization": ("f16", "q8_0", "q4_0"),
    "kv_cache_dtype": ("f16", "q4_0"),
    "concurrency": ("1", "8"),
}


@dataclasses.dataclass(frozen=True)
class World:
    """Sizes and standard deviations (logit scale) of a simulated serving world."""

    kind: str = "baseline"
    """One of `KINDS`."""
    n_models: int = 8
    """Models, each served in every context."""
    n_contexts: int = 7
    """Deployment contexts; the evaluation context is one more."""
    n_items: int = 120
    """Items of the bench (and of the traffic)."""
    n_trials: int = 2
    """Replicates per model, item and context."""
    intercept: float = 0.6
    """Mean of eta in the evaluation context."""
    shift: float = -0.2
    """Common shift of deployment."""
    ability: float = 0.7
    """Sd of `theta_{m,E}`."""
    projection: float = 0.15
    """Sd of `theta_{m,D} - theta_{m,E}`."""
    difficulty: float = 1.2
    """Sd of `b_i`."""
    model_item: float = 0.4
    """Sd of `zeta_{mi}`."""
    factor: float = 0.25
    """Sd of `beta_{f,l}`."""
    context: float = 0.2
    """Sd of `delta_{mc}`."""
    item_context: float = 0.3
    """Sd of `e_{ic}`."""
    cell: float = 0.4
    """Sd of `xi_{mic}`."""
    wave: float = 0.0
    """Half of the difference between the two waves (0 = one wave)."""
    session: float = 0.0
    """Sd of `nu_s` (0 = no sessions)."""
    session_rows: int = 12
    """Rows of a session."""
    broken: float = 0.0
    """What one model loses in one context (broken only)."""
    copula: float = 0.0
    """Correlation of a model's answers to one item across contexts, given the probabilities (copies only)."""


def world(kind: str, **sizes) -> World:
    """The standard world of a kind; keyword arguments change its sizes."""
    if kind not in KINDS:
        raise ValueError(f"the world {kind!r} is not known; choose one of {', '.join(KINDS)}")
    changes: dict = {
        "null": dict(shift=0.0, projection=0.0, factor=0.0, context=0.0, item_context=0.0, cell=0.0),
        "saturated": dict(intercept=4.2, ability=0.5, difficulty=0.8),
        "sessions": dict(session=float(np.sqrt(0.3 / 0.7 * np.pi**2 / 3))),
        "waves": dict(wave=0.25),
        "copies": dict(copula=0.9),
        "moving": dict(item_context=0.5, cell=0.7),
        "broken": dict(broken=2.0),
        "silent": dict(shift=0.0, projection=0.0, factor=0.0, context=0.0, item_context=0.5, cell=0.7),
    }.get(kind, {})
    return World(kind, **(changes | sizes))


@dataclasses.dataclass(frozen=True)
class Effects:
    """One draw of the arm-level terms of a world."""

    eta: np.ndarray
    """Arm part of the linear predictor, shape (models, 1 + contexts); column 0 is the evaluation context."""
    item_context: np.ndarray
    """Sd of what moves single items with the context, per column (0 in the evaluation context)."""
    shared: np.ndarray
    """What is left of `b + zeta` per column: 1, but less in a silent world, where the levels must stay put."""
    levels: tuple[dict[str, str], ...]
    """Serving-factor levels of each column."""
    waves: np.ndarray
    """Wave shifts, summing to zero; shape (1,) when there is one wave."""


def draw_effects(spec: World, rng: np.random.Generator) -> Effects:
    """Abilities, factor effects and context residuals."""
    designs = [{"quantization": "f16", "kv_cache_dtype": "f16", "concurrency": "1"}]
    grid = [
        {"quantization": q, "kv_cache_dtype": k, "concurrency": n}
        for n in FACTORS["concurrency"][::-1]
        for k in FACTORS["kv_cache_dtype"]
        for q in FACTORS["quantization"]
    ]
    designs += [
        grid[c % len(grid)] | ({"router": f"r{c // len(grid)}"} if c >= len(grid) else {}) for c in range(spec.n_contexts)
    ]
    bench = spec.intercept + spec.ability * rng.standard_normal(spec.n_models)
    moved = bench + spec.shift + spec.projection * rng.standard_normal(spec.n_models)
    beta = {f: dict(zip(ls, spec.factor * rng.standard_normal(len(ls)), strict=True)) for f, ls in FACTORS.items()}
    common = np.array([sum(beta[f][d[f]] for f in FACTORS) for d in designs])
    common -= common[0]
    delta = spec.context * rng.standard_normal((spec.n_models, len(designs)))
    delta[:, 0] = 0
    eta = np.concatenate([bench[:, None], np.repeat(moved[:, None], spec.n_contexts, 1)], 1) + common + delta
    eta[BROKEN] -= spec.broken
    moves = np.full(len(designs), np.hypot(spec.item_context, spec.cell))
    moves[0] = 0.0
    total = spec.difficulty**2 + spec.model_item**2
    shared = np.sqrt(1 - moves**2 / total) if spec.kind == "silent" else np.ones(len(designs))
    waves = np.array([-spec.wave, spec.wave]) if spec.wave else np.zeros(1)
    return Effects(eta, moves, shared, tuple(designs), waves)
