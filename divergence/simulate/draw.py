"""Draw an execution log from a world."""

from __future__ import annotations

import numpy as np
import polars as pl
from scipy.special import expit, ndtr

from divergence.simulate.truth import observed_truth, truth
from divergence.simulate.worlds import Effects, World, draw_effects


def simulate(spec: World, seed: int) -> tuple[pl.DataFrame, dict[str, np.ndarray]]:
    """A log in the canonical columns, and the truth of `truth.truth`. Same spec and seed, same log."""
    log, new, _ = simulate_both(spec, seed)
    return log, new


def simulate_both(spec: World, seed: int) -> tuple[pl.DataFrame, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """A log, the truth for new items (`truth.truth`) and that for the items of the log (`truth.observed_truth`)."""
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    effects = draw_effects(spec, rng)
    eta = draw_items(spec, effects, rng)
    log, answers = draw_log(spec, effects, eta, rng)
    return log, truth(spec, effects), observed_truth(spec, effects, eta, answers)


def draw_items(spec: World, effects: Effects, rng: np.random.Generator) -> np.ndarray:
    """Linear predictor of every item before waves and sessions, shape (models, contexts, items)."""
    n_context = effects.eta.shape[1]
    items = rng.standard_normal((2, spec.n_items)) * spec.difficulty
    if spec.kind != "no_overlap":
        items[1] = items[0]
    difficulty = items[np.minimum(np.arange(n_context), 1)]  # bench row for column 0, traffic row for the others
    zeta = rng.standard_normal((spec.n_models, 2, spec.n_items)) * spec.model_item
    if spec.kind != "no_overlap":
        zeta[:, 1] = zeta[:, 0]
    zeta = zeta[:, np.minimum(np.arange(n_context), 1)]
    share = spec.item_context / max(np.hypot(spec.item_context, spec.cell), 1e-12)
    scale = effects.item_context[:, None]
    moves = scale * share * rng.standard_normal((n_context, spec.n_items)) + scale * np.sqrt(1 - share**2) * (
        rng.standard_normal((spec.n_models, n_context, spec.n_items))
    )
    return effects.eta[..., None] + effects.shared[:, None] * (zeta - difficulty) + moves


def draw_log(spec: World, effects: Effects, eta: np.ndarray, rng: np.random.Generator) -> tuple[pl.DataFrame, np.ndarray]:
    """One row a (model, context, item, trial), and the first trial's answers, shape (models, contexts, items)."""
    n_context = effects.eta.shape[1]
    index = np.stack(
        np.meshgrid(
            np.arange(spec.n_models), np.arange(n_context), np.arange(spec.n_items), np.arange(spec.n_trials), indexing="ij"
        ),
        -1,
    ).reshape(-1, 4)
    model, context, item, trial = index.T
    value = eta[model, context, item]
    wave = trial % len(effects.waves)
    value = value + effects.waves[wave]
    session = None
    if spec.session:
        session, value = _sessions(spec, model, context, value, rng)
    y = _answers(spec, expit(value), eta.shape, index, rng)
    designs = effects.levels
    columns = {
        "regime": np.where(context == 0, "evaluation", "deployment"),
        "model": _names("model", model),
        "item": np.char.add(np.where((spec.kind == "no_overlap") & (context > 0), "traffic-", "item-"), item.astype(str)),
        "context": np.array(["bench", *(f"context-{c}" for c in range(1, n_context))])[context],
        "trial": trial,
        "score": y.astype(float),
        **{f: np.array([d.get(f, "none") for d in designs])[context] for f in sorted({k for d in designs for k in d})},
    }
    if session is not None:
        columns["session"] = pl.Series(session.tolist(), dtype=pl.String)
    if len(effects.waves) > 1:
        columns["wave"] = _names("wave", wave)
    return pl.DataFrame(columns), y.reshape(*eta.shape, spec.n_trials)[..., 0].astype(float)


def _names(prefix: str, codes: np.ndarray) -> np.ndarray:
    return np.char.add(f"{prefix}-", codes.astype(str))


def _sessions(spec: World, model: np.ndarray, context: np.ndarray, value: np.ndarray, rng: np.random.Generator):
    """Deal the deployment rows of each arm into sessions at random; the bench has none."""
    session = np.full(len(value), None, dtype=object)  # null outside sessions
    value = value.copy()
    count = 0
    for arm in np.unique(model * 10_000 + context):
        rows = np.flatnonzero(model * 10_000 + context == arm)
        if context[rows[0]] == 0:
            continue
        rows = rng.permutation(rows)
        for part in np.array_split(rows, max(1, len(rows) // spec.session_rows)):
            session[part] = f"session-{count}"
            value[part] += spec.session * rng.standard_normal()
            count += 1
    return session, value


def _answers(spec: World, p: np.ndarray, shape: tuple, index: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Bernoulli draws; in a world of copies one draw serves all trials, and contexts share most of it."""
    if spec.kind != "copies":
        return rng.random(len(p)) < p
    common = rng.standard_normal((shape[0], 1, shape[2]))
    own = rng.standard_normal(shape)
    latent = ndtr(np.sqrt(spec.copula) * common + np.sqrt(1 - spec.copula) * own)
    return latent[index[:, 0], index[:, 1], index[:, 2]] < p


def with_a_candidate(log: pl.DataFrame) -> pl.DataFrame:
    """The log as it is before its first model is deployed: that model has its bench rows only."""
    return log.filter((pl.col("model") != log["model"].min()) | (pl.col("regime") != "deployment"))
