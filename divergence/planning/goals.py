"""What is to be known better: a goal as numbers that depend on levels, so that a purchase can be valued before it is made.

| goal | numbers | what falls as more is measured |
|---|---|---|
| `decision` | leads of the best combination over every other one | expected regret of `best_combination` |
| levels, `gap`, `evaluation_advantage` | one a model, linear in the levels | mean width of their 90 % intervals |
| `kappa` | one a model, by its mean slopes in the levels | the same |
| `reversal` | bench lead and deployed lead of every pair of models | chance that a pair's order is told wrongly |
| any other question | its headline numbers, as far as the levels explain them | mean width |

A number q is written as `q = c + B theta + rest`, with theta the draws of all levels; for linear goals B is their weights
and nothing is left, for others B is a regression of q on theta over the draws (Strong, Oakley and Brennan 2014; Jalal and
Alarid-Escudero 2018) whose left-over variance no measurement of these places removes: the floor.

Identification: that of the question; a goal that the log refuses is refused here with the same sentence. Unit: the
question's own; of a decision and of `reversal` see the table.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping

import numpy as np

from divergence import estimands
from divergence.errors import InputError, NotIdentifiedError
from divergence.estimands.coherence import coherence
from divergence.estimands.rows import models_with_rows, unit_of
from divergence.estimate import INTERVAL, Estimate
from divergence.identification.question import Question
from divergence.joint.posterior import Fit, Posterior
from divergence.planning.knowledge import Knowledge

SIGNS = {"gap": (-1, 1), "bench_level": (1, 0), "deployed_level": (0, 1), "evaluation_advantage": (1, -1)}
"""Linear goals -> how the bench level and the deployed level enter."""
OVER_CONTEXTS = ("gap", "deployed_level")
"""Goals that can be asked about contexts that the log never saw."""
NAMES = {"decision": "best_combination"}
"""Goal -> question, where they are not called alike."""
NOBODY = np.zeros(0, int)
MEETS_MIN = 0.5  # chance of meeting what is required below which a combination is no candidate


@dataclasses.dataclass(frozen=True, eq=False)
class Goal:
    """R numbers that are to be known better."""

    name: str
    """As it was asked for."""
    kind: str
    """`width`, `decision` or `order`."""
    unit: str
    """Unit of the width."""
    weights: np.ndarray
    """B, shape (R, D)."""
    rest: np.ndarray
    """Variance that the levels do not explain, shape (R,)."""
    width: np.ndarray
    """Width of each number's 90 % interval now, shape (R,)."""
    lead: np.ndarray
    """Means of the numbers, shape (R,); what `decision` and `order` are lost by."""
    candidates: np.ndarray
    """Places that compete (`decision`), the likeliest best first; else empty."""
    exact: bool = True
    """Are the weights those of a formula? Else of a regression over the draws."""
    notes: tuple[str, ...] = ()
    """Sentences about what was taken for the goal."""


def question_of(name: str) -> Question:
    """The question behind a goal. Raises InputError for a name that is none."""
    wanted = NAMES.get(name, name)
    for room in estimands.QUESTIONS:
        if room.name == wanted:
            return room
    known = ", ".join(["decision", *(room.name for room in estimands.QUESTIONS)])
    raise InputError(f"the goal {name!r} is not known; choose one of {known}")


def asked(goal: str, posterior: Posterior, outcome: str | None, declared: Mapping) -> tuple[Estimate, str]:
    """The answer now, and its question. Raises NotIdentifiedError with the question's own sentence where there is none."""
    room = question_of(goal)
    keep = {k: v for k, v in declared.items() if k in _takes(room)}
    answer = getattr(estimands, room.name)(posterior, outcome=outcome, **keep)
    if not answer.identified:
        raise NotIdentifiedError(
            f"{goal} cannot be planned for, because this log does not answer it yet: {'; '.join(answer.reasons)}"
        )
    return answer, room.name


def _takes(room: Question) -> tuple[str, ...]:
    kinds = {
        "requirements": ("acceptance", "what_if", "prices", "currency"),
        "stability": ("eps", "quality_required"),
        "cost": ("prices", "currency"),
        "dated": ("prices", "currency"),
    }
    return tuple(name for kind in room.declared for name in kinds.get(kind, ()))


def goal_of(
    name: str, posterior: Posterior, known: Knowledge, outcome: str | None, declared: Mapping, contexts: str
) -> Goal:
    """The goal as numbers; `contexts` = `new` asks about contexts that the log never saw."""
    fit = posterior[outcome]
    answer, room = asked(name, posterior, outcome, declared)
    if contexts == "new" and room not in OVER_CONTEXTS:
        raise InputError(
            f"contexts='new' is about a level or a gap over contexts that the log never saw ({', '.join(OVER_CONTEXTS)}); "
            f"the goal {name!r} is about the logged ones"
        )
    if room == "best_combination":
        return _decision(name, posterior, known, outcome, declared)
    if room == "reversal":
        return _order(name, fit, known)
    if room in SIGNS:
        return _linear(name, room, answer, fit, known, contexts)
    headline = _headline(answer)
    if room == "kappa":
        return _kappa(name, headline, fit, known)
    return _regressed(name, headline, known)


def _headline(answer: Estimate) -> Estimate:
    """Its known headline rows with finite draws, or all known rows where it has none."""
    known = answer.known()
    known = known.take(np.asarray(np.isfinite(known.draws).all(0)))
    found = known.where(statistic=None)
    found = found if found.rows.height else known
    if not found.rows.height:
        raise NotIdentifiedError(f"{answer.question} has no number with finite draws in this log; it cannot be planned for")
    return found


def _widths(draws: np.ndarray) -> np.ndarray:
    tail = (1 - INTERVAL) / 2
    low, high = np.quantile(draws, [tail, 1 - tail], axis=0)
    return high - low


def _mean_weights(known: Knowledge, regime: str, model: int) -> np.ndarray:
    """Weights of a model's level under its law, shape (D,)."""
    out = np.zeros(known.draws.shape[1])
    if regime in known.law:
        share = dict(zip(known.contexts[regime], known.law[regime][model], strict=True))
        for k, place in enumerate(known.places):
            if place.regime == regime and place.kind != "new" and known.model[k] == model:
                out[k] = share[place.context]
    return out


def _linear(name: str, room: str, answer: Estimate, fit: Fit, known: Knowledge, contexts: str) -> Goal:
    """`served D + bench B` of each model that the question answers for."""
    models = [fit.cells.levels["model"].index(model) for model in _headline(answer).rows["model"]]
    of_bench, of_served = SIGNS[room]
    bench = np.stack([of_bench * _mean_weights(known, "evaluation", m) for m in models])
    unit = answer.unit if room.endswith("_level") else unit_of(fit)
    if contexts == "new":
        draws = known.draws @ bench.T + of_served * known.universe[:, models]
        return _from_draws(name, unit, draws, known)
    weights = bench + np.stack([of_served * _mean_weights(known, "deployment", m) for m in models])
    draws = known.draws @ weights.T
    nothing = np.zeros(len(weights))
    return Goal(name, "width", unit, weights, nothing, _widths(draws), draws.mean(0), NOBODY)


def _regressed(name: str, headline: Estimate, known: Knowledge) -> Goal:
    return _from_draws(name, headline.unit, headline.draws, known)


def _from_draws(name: str, unit: str, draws: np.ndarray, known: Knowledge) -> Goal:
    """Numbers given by their draws: a line in the levels, and what it leaves."""
    size, theta = len(draws), known.draws - known.draws.mean(0)
    places = len(known.places)
    moved = theta[:, :places]
    scale = moved.std(0)
    used = np.flatnonzero(scale > 1e-12)
    unit_theta = moved[:, used] / scale[used]
    gram = unit_theta.T @ unit_theta + 1e-6 * size * np.eye(len(used))
    found = np.linalg.solve(gram, unit_theta.T @ (draws - draws.mean(0)))
    left = (draws - draws.mean(0) - unit_theta @ found).var(0) * size / max(size - len(used) - 1, 1)
    weights = np.zeros((draws.shape[1], known.draws.shape[1]))
    weights[:, used] = (found / scale[used, None]).T
    rest = np.minimum(left, draws.var(0))
    return Goal(name, "width", unit, weights, rest, _widths(draws), draws.mean(0), NOBODY, exact=False)


def _kappa(name: str, headline: Estimate, fit: Fit, known: Knowledge) -> Goal:
    """Standard deviation of each model's level over its law; B is its mean slope over the draws (Stein's lemma: the same
    as the regression's where levels are normal, with less chance in it)."""
    models = [fit.cells.levels["model"].index(model) for model in headline.rows["model"]]
    shares = np.stack([_mean_weights(known, "deployment", m)[: len(known.places)] for m in models])

    theta = known.draws[:, : len(known.places)]
    spread = np.sqrt(np.maximum(theta**2 @ shares.T - (theta @ shares.T) ** 2, 1e-24))
    weights = np.zeros((len(models), known.draws.shape[1]))
    for r, share in enumerate(shares):
        weights[r, : len(share)] = share * ((theta - (theta @ share)[:, None]) / spread[:, r, None]).mean(0)
    draws = headline.draws
    return Goal(name, "width", headline.unit, weights, np.zeros(len(models)), _widths(draws), draws.mean(0), NOBODY)


def _decision(name: str, posterior: Posterior, known: Knowledge, outcome: str | None, declared: Mapping) -> Goal:
    """Leads of the best combination over the others that may be chosen."""
    fit = posterior[outcome]
    chosen = [k for k, p in enumerate(known.places) if p.regime == "deployment" and p.kind == "logged"]
    notes: tuple[str, ...] = ()
    if declared.get("acceptance"):
        able = _meeting(posterior, outcome, declared)
        kept = [k for k in chosen if able.get((known.places[k].model, known.places[k].context), 0.0) >= MEETS_MIN]
        if len(kept) < 2:
            raise NotIdentifiedError(
                f"{len(kept)} of {len(chosen)} combinations meet the declared requirements with a chance of "
                f"{MEETS_MIN:g} or more, and a choice needs two: measure what the requirements are about with "
                "--goal deployed_level, or relax [acceptance]"
            )
        notes = (
            f"{len(kept)} of {len(chosen)} combinations meet the declared requirements with a chance of {MEETS_MIN:g} or "
            "more; the decision is among them.",
        )
        chosen = kept
    level = known.draws[:, chosen].mean(0)
    candidates = np.array(chosen)[np.argsort(-level, kind="stable")]
    best, others = candidates[0], candidates[1:]
    weights = np.zeros((len(others), known.draws.shape[1]))
    weights[:, best] = 1.0
    weights[np.arange(len(others)), others] -= 1.0
    draws = known.draws @ weights.T
    rest = np.zeros(len(others))
    return Goal(name, "decision", unit_of(fit), weights, rest, _widths(draws), draws.mean(0), candidates, notes=notes)


def _meeting(posterior: Posterior, outcome: str | None, declared: Mapping) -> dict[tuple[str, str], float]:
    """Chance of each combination to meet everything that was declared."""
    keep = {k: v for k, v in declared.items() if k in ("acceptance", "prices", "currency")}
    found = coherence(posterior, outcome=outcome, **keep)
    if not found.identified:
        raise NotIdentifiedError(f"the declared requirements cannot be judged in this log: {'; '.join(found.reasons)}")
    rows = found.where(statistic=None)
    pairs = zip(rows.rows["model"], rows.rows["context"], rows.reason, rows.draws.T, strict=True)
    return {(m, c): float(d.mean()) for m, c, why, d in pairs if c is not None and why is None}


def _order(name: str, fit: Fit, known: Knowledge) -> Goal:
    """Bench leads, then deployed leads, of every pair of models with both."""
    both = np.flatnonzero(models_with_rows(fit, True) & models_with_rows(fit, False))
    rows: list[np.ndarray] = []
    for regime in ("evaluation", "deployment"):
        means = {m: _mean_weights(known, regime, int(m)) for m in both}
        rows += [means[i] - means[j] for i, j in itertools.combinations(both, 2)]
    weights = np.stack(rows)
    draws = known.draws @ weights.T
    return Goal(
        name,
        "order",
        "probability",
        weights,
        np.zeros(len(weights)),
        _widths(draws),
        draws.mean(0),
        NOBODY,
        notes=("Widths are those of the leads of one model over another, bench and deployed.",),
    )
