"""Agents with known truth: episodes that break down step by step, tasks that differ, caps, and what it all costs.

A task i of model m has in context c the hazard h = Beta quantile of its own rank, mean `m_mc`, correlation `frailty`: the
rank is shared by all contexts, so a hard task is hard everywhere. At every call the episode fails with chance h; if not it
is solved with chance s; at the cap it is cut off (judged not solved, `finish_reason` = `calls`). With q = (1 - h)(1 - s):

    E calls = (1 - q^cap) / (1 - q),    P(solved) = (1 - h) s E calls,    P(failed) = h E calls

Every call sends the whole conversation again, so the input tokens of call t are `prompt + growth (t - 1)`. Beside the
episodes: single executions of another task (`quiz`), and where it is asked for (`n_families`) tasks that declare their
length, in families whose success falls with log2 of it. Truths are for new tasks, by quadrature over the hazard. Units:
calls, tokens, USD.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl
from scipy.special import expit
from scipy.stats import beta

NODES = 4000  # midpoints of the rank; the truths move below 1e-4 of themselves when doubled
LENGTHS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
PRICE = {"input": 2.5e-6, "output": 10e-6}  # USD a token


@dataclasses.dataclass(frozen=True)
class AgentWorld:
    """Sizes and rates of a world of agents."""

    kind: str = "agents"
    """Name of the world."""
    n_models: int = 2
    """Models; the first is the best on single turns and the weakest in the loop."""
    n_contexts: int = 2
    """Deployment contexts; the bench is one more."""
    n_items: int = 60
    """Tasks of the loop, and as many of the quiz."""
    n_trials: int = 4
    """Episodes of a task per model and context."""
    hazard: float = 0.05
    """Mean hazard of a call on the bench, of the last model; that of the first is twice as high."""
    harm: float = 1.6
    """Factor on the hazard from one deployment context to the next."""
    frailty: float = 0.15
    """Correlation of the Beta law of the hazard over tasks: 0 all alike, 1 each breaks at once or never."""
    solve: float = 0.12
    """Chance that a call that did not fail solves the task."""
    cap: int = 20
    """Calls after which an episode is cut off."""
    prompt: int = 600
    """Input tokens of the first call."""
    growth: int = 200
    """Input tokens that each call adds to the next, on the bench; deployment context c adds c times half of it more."""
    output: int = 150
    """Mean output tokens of a call."""
    length_50: float = 6.0
    """Declared length at which the last model solves half; that of the first is half as long."""
    length_slope: float = -1.0
    """Change of the log odds of success per doubling of the length."""
    family: float = 0.3
    """Sd of the families of tasks with a declared length, log odds."""
    n_families: int = 0
    """Such families; 0 = no task declares its length. With them single executions are of several kinds, and the truth of
    `single_turn_gap` is left out."""


def mean_hazards(spec: AgentWorld) -> np.ndarray:
    """Mean hazard of a call, shape (models, 1 + contexts), column 0 the bench."""
    of_model = spec.hazard * np.linspace(2, 1, spec.n_models) if spec.n_models > 1 else np.array([spec.hazard])
    return np.minimum(of_model[:, None] * spec.harm ** np.arange(spec.n_contexts + 1), 0.5)


def single_rates(spec: AgentWorld) -> np.ndarray:
    """Success of a single execution, shape (models,)."""
    return np.linspace(0.92, 0.8, spec.n_models)


def growths(spec: AgentWorld) -> np.ndarray:
    """Input tokens that a call adds to the next, shape (1 + contexts,)."""
    return spec.growth * (1 + np.arange(spec.n_contexts + 1) / 2)


def hazards(spec: AgentWorld, rank: np.ndarray, mean: float) -> np.ndarray:
    """Hazard of tasks of these ranks in (0, 1)."""
    total = (1 - spec.frailty) / spec.frailty
    return beta.ppf(rank, mean * total, (1 - mean) * total)


def simulate_agents(spec: AgentWorld, seed: int) -> tuple[pl.DataFrame, dict[str, np.ndarray]]:
    """A log in the canonical columns, and its truths. Same spec and seed, same log."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, 5]))
    parts = [_quiz(spec, rng), *([_timed(spec, rng)] if spec.n_families else []), *_episodes(spec, rng)]
    return pl.concat(parts, how="diagonal"), agent_truth(spec)


def agent_truth(spec: AgentWorld) -> dict[str, np.ndarray]:
    """The true values, arrays of shape (models, 1 + contexts) with column 0 the bench, unless said otherwise.

    `pass` (powers 1 to 4, models, contexts), `calls`, `hazard` (failures over calls), `first_hazard` (of the first
    call), `frailty`, `cost` and `cost_per_success` (USD), `failed_share`, `attempts` (at most 5 tries), `single_turn_gap`
    (models,) on the bench; `T50` (models,).
    """
    rank = (np.arange(NODES) + 0.5) / NODES
    mean = mean_hazards(spec)
    names = ("calls", "hazard", "first_hazard", "frailty", "cost", "cost_per_success", "failed_share", "attempts")
    out: dict[str, np.ndarray] = {name: np.zeros(mean.shape) for name in names}
    out["pass"] = np.zeros((4, *mean.shape))
    steps = np.arange(spec.cap)
    gap = np.zeros(spec.n_models)
    for (m, c), level in np.ndenumerate(mean):
        h = hazards(spec, rank, level)[:, None]
        reached = ((1 - h) * (1 - spec.solve)) ** steps  # chance that call 1 + steps is made
        price = PRICE["input"] * (spec.prompt + growths(spec)[c] * steps) + PRICE["output"] * spec.output
        calls, cost = reached.sum(1), reached @ price
        solved = (1 - h[:, 0]) * spec.solve * calls
        won = ((reached * (1 - h) * spec.solve) @ np.cumsum(price)).mean()  # spend of episodes that were solved
        out["pass"][:, m, c] = [(solved**k).mean() for k in range(1, 5)]
        out["calls"][m, c], out["cost"][m, c] = calls.mean(), cost.mean()
        out["hazard"][m, c] = (h[:, 0] * calls).mean() / calls.mean()
        out["first_hazard"][m, c] = level
        out["frailty"][m, c] = np.sqrt(spec.frailty * (1 - level) / level)
        out["cost_per_success"][m, c] = cost.mean() / solved.mean()
        out["failed_share"][m, c] = 1 - won / cost.mean()
        out["attempts"][m, c] = sum(((1 - solved) ** j).mean() for j in range(5))
        if c == 0:
            gap[m] = single_rates(spec)[m] - solved.mean()
    return out | {"single_turn_gap": gap, "T50": _middles(spec)}


def _middles(spec: AgentWorld) -> np.ndarray:
    return spec.length_50 * np.linspace(0.5, 1, spec.n_models) if spec.n_models > 1 else np.array([spec.length_50])


def _names(prefix: str, codes: np.ndarray) -> pl.Series:
    return pl.Series([f"{prefix}-{code}" for code in codes], dtype=pl.String)


def _crossed(*sizes: int) -> list[np.ndarray]:
    return [axis.ravel() for axis in np.meshgrid(*(np.arange(size) for size in sizes), indexing="ij")]


def _quiz(spec: AgentWorld, rng: np.random.Generator) -> pl.DataFrame:
    """Single executions of the bench, one trial an item."""
    model, item = _crossed(spec.n_models, spec.n_items)
    score = rng.random(len(model)) < single_rates(spec)[model]
    return pl.DataFrame(
        {"model": _names("model", model), "item": _names("quiz", item), "score": score.astype(float)}
    ).with_columns(regime=pl.lit("evaluation"), context=pl.lit("single"), task=pl.lit("quiz"))


def _timed(spec: AgentWorld, rng: np.random.Generator) -> pl.DataFrame:
    """Tasks that declare their length, one trial each, four of every length in a family."""
    effect = spec.family * rng.standard_normal(spec.n_families)
    model, family, size, copy = _crossed(spec.n_models, spec.n_families, len(LENGTHS), 4)
    length = np.array(LENGTHS)[size]
    odds = spec.length_slope * np.log2(length / _middles(spec)[model]) + effect[family]
    names = [f"timed-{f}-{s}-{k}" for f, s, k in zip(family, size, copy, strict=True)]
    return pl.DataFrame(
        {
            "model": _names("model", model),
            "item": names,
            "task": _names("family", family),
            "task_length": length,
            "score": (rng.random(len(model)) < expit(odds)).astype(float),
        }
    ).with_columns(regime=pl.lit("evaluation"), context=pl.lit("timed"))


def _episodes(spec: AgentWorld, rng: np.random.Generator) -> list[pl.DataFrame]:
    """One row an episode, one frame a model and context."""
    mean, out = mean_hazards(spec), []
    rank = rng.random((spec.n_models, spec.n_items))
    for (m, c), level in np.ndenumerate(mean):
        item, trial = _crossed(spec.n_items, spec.n_trials)
        h = hazards(spec, rank[m], level)[item]
        fails, solves = (rng.geometric(np.clip(p, 1e-12, 1)) for p in (h, np.full(len(h), spec.solve)))
        calls = np.minimum(np.minimum(fails, solves), spec.cap)
        solved = (solves <= spec.cap) & (solves < fails)  # a call that fails solves nothing
        failed = ~solved & (fails <= spec.cap)
        reason = np.where(solved, "stop", np.where(failed, "error", "calls"))
        read = spec.prompt * calls + (growths(spec)[c] * calls * (calls - 1) / 2).astype(np.int64)
        written = rng.poisson(spec.output * calls)
        out.append(
            pl.DataFrame(
                {
                    "item": _names("task", item),
                    "trial": trial,
                    "score": solved.astype(float),
                    "calls": calls,
                    "finish_reason": reason,
                    "input_tokens": read,
                    "output_tokens": written,
                    "cost_usd": PRICE["input"] * read + PRICE["output"] * written,
                }
            ).with_columns(
                regime=pl.lit("deployment" if c else "evaluation"),
                model=pl.lit(f"model-{m}"),
                task=pl.lit("loop"),
                context=pl.lit(f"agent-{c}" if c else "agent-bench"),
            )
        )
    return out


def truth_rows(spec: AgentWorld, truth: dict[str, np.ndarray]) -> list[dict]:
    """The truth, one row a number, with the coordinates that the results table uses."""
    rows = []
    for m in range(spec.n_models):
        for c in range(spec.n_contexts + 1):
            place = {
                "model": f"model-{m}",
                "context": f"agent-{c}" if c else "agent-bench",
                "regime": "deployment" if c else "evaluation",
            }
            numbers = [("pass_power", f"pass^{k}", truth["pass"][k - 1, m, c]) for k in range(1, 5)]
            numbers += [
                ("collapse_hazard", None, truth["hazard"][m, c]),
                ("collapse_hazard", "frailty", truth["frailty"][m, c]),
                ("cost_per_success", None, truth["cost_per_success"][m, c]),
                ("cost_per_success", "failed_share", truth["failed_share"][m, c]),
                ("cost_per_success", "expected_attempts", truth["attempts"][m, c]),
            ]
            rows += [{"question": q, "statistic": s, **place, "value": float(v)} for q, s, v in numbers]
        name = {"model": f"model-{m}", "regime": "evaluation"}
        rows.append(
            {"question": "horizon", "statistic": None, "context": "timed", **name, "value": float(truth["T50"][m])}
            if spec.n_families
            else {
                "question": "pass_power",
                "statistic": "single_turn_gap",
                **name,
                "value": float(truth["single_turn_gap"][m]),
            }
        )
    return rows
