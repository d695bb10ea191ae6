"""From a posterior to the table of risks: closed-form summaries of every (model, context, stratum), the unseen included.

The level of model m in context c is logit-normal as drawn by the joint model, the stratum adds its Gaussian deviation
(`strata`), so

    risk = E sigma(-(eta + d)) by Gauss-Hermite quadrature,
    limits = sigma of the median -+ hypot(half-width of eta, z sd d).

A context that was never seen follows the one law for it (`joint.unseen_context`), a model that was never seen takes a fresh
ability and fresh interactions drawn from the fitted hierarchy (its standard deviations included), so its interval is as wide
as what was learnt about the spread of contexts and models allows. Where the log has one context only nothing was learnt
about that spread: the prior's width takes its place.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from divergence.cells.overlap import in_regime
from divergence.errors import NotIdentifiedError
from divergence.joint.design import Term
from divergence.joint.posterior import Fit, Posterior
from divergence.joint.predict import levels
from divergence.joint.terms import StandsApart
from divergence.joint.unseen_context import unseen_link
from divergence.numerics import NORMAL_95, expit, logit
from divergence.random_streams import stream
from divergence.risk.strata import Strata, measure_strata

ROWS_MAX = 2_000_000  # combinations in the table: 100 MB
MATERIAL = 0.01  # contributions below one point are no reason
NODES = 15
NEVER = 1.0  # novelty of what no log has


@dataclasses.dataclass(frozen=True)
class Summaries:
    """The table before calibration; arrays have shape (models + 1, contexts + 1, strata + 1), or (.., .., 1)."""

    levels: dict[str, tuple[str, ...]]
    """Known levels of the keys."""
    risk: np.ndarray
    """Posterior mean of P(failure)."""
    lower: np.ndarray
    """5 % limit."""
    upper: np.ndarray
    """95 % limit."""
    promised: np.ndarray
    """P(failure) on the bench for this model and stratum; NaN without a bench."""
    novelty: np.ndarray
    """q_D / (q_D + q_E) of the stratum; 1 for what was never seen; NaN without strata."""
    known: np.ndarray
    """Seen in deployment, and in a stratum that was seen."""
    level_sd: np.ndarray
    """Posterior sd of each deployed level, shape (models + 1, contexts + 1)."""
    reason: np.ndarray
    """Codes into `reasons`."""
    reasons: tuple[str, ...]
    """Texts."""


def summarise(posterior: Posterior, outcome: str | None = None) -> Summaries:
    """The table of a posterior's outcome. Raises NotIdentifiedError where the log has no deployment or no such risk."""
    fit = posterior[outcome]
    if fit.arms.link != "logit":
        raise NotIdentifiedError(
            f"the outcome {fit.cells.outcome} has no failures (it is a positive quantity): risk is "
            "the probability of a failure, fit a score between 0 and 1"
        )
    if not fit.arms.deployed.any():
        raise NotIdentifiedError("the log has no judged deployment rows: what requests risk in deployment is not identified")
    strata = measure_strata(fit)
    labels = np.unique(fit.design.contexts[:, 1])
    models, contexts = fit.design.n_models, len(labels)
    size = (models + 1) * (contexts + 1) * (len(strata.tasks) + 1)
    if size > ROWS_MAX:
        raise NotIdentifiedError(
            f"{size} combinations of models, contexts and tasks are more than {ROWS_MAX}: "
            "name fewer factors, or leave out the task column"
        )
    eta = link_draws(fit, labels)
    d, v = _deviations(fit, strata, labels)
    seen = len(strata.tasks) > 0
    if not seen:
        d, v = d[:, :, -1:], v[:, :, -1:]
    low, middle, high = (q[:, :, None] for q in np.quantile(eta, [0.05, 0.5, 0.95], axis=0))
    mean, variance = eta.mean(0)[:, :, None], eta.var(0)[:, :, None]
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    sd = np.sqrt(variance + v)
    risk = np.zeros_like(mean + d)
    for z, w in zip(nodes, weights / weights.sum(), strict=True):
        risk += w * expit(-(mean + d + sd * z))
    known = np.zeros((models + 1, contexts + 1, d.shape[2]), bool)
    here = fit.arms.deployed
    known[fit.arms.model[here], np.searchsorted(labels, fit.arms.context[here])] = True
    if seen:
        known[:, :, -1] = False
    names = {"model": fit.cells.levels["model"], "context": tuple(fit.cells.levels["context"][c] for c in labels)}
    names |= {"task": strata.tasks} if seen else {}
    reason, reasons = _reasons(fit, labels, names, eta.mean(0), d)
    return Summaries(
        names,
        risk,
        expit(-(middle + d) - np.hypot(high - middle, NORMAL_95 * np.sqrt(v))),
        expit(-(middle + d) + np.hypot(middle - low, NORMAL_95 * np.sqrt(v))),
        _promised(fit, strata, risk.shape),
        _novelty(fit, names, risk.shape),
        known,
        expit(-eta).std(0),
        reason,
        reasons,
    )


def link_draws(fit: Fit, labels: np.ndarray) -> np.ndarray:
    """Draws of the deployed level on the link scale, (S, models + 1, contexts + 1); the last ones are never seen."""
    design, scales = fit.design, fit.scales
    draws, models = len(fit.effects), design.n_models
    rng = stream(fit.seed, "risk summaries")
    # A context that only the bench has is asked for as a deployed one, with the same factor levels.
    where = np.array([np.flatnonzero(design.contexts[:, 1] == label)[-1] for label in labels])
    one = np.arange(models)
    z = design.loadings(np.repeat(one, len(where)), np.ones(models * len(where), bool), np.tile(where, models))
    out = np.empty((draws, models + 1, len(labels) + 1))
    out[:, :-1, :-1] = (fit.effects @ z.T).reshape(draws, models, len(labels))

    def spread(term: Term) -> np.ndarray:
        if term.kind.given:  # no scale was fitted: models are as unlike as those of the log were
            return np.sqrt(np.square(fit.effects[:, term.columns]).mean(1))
        sd = scales[term.name]
        # Of levels with scales of their own a new one has that of one of them.
        return sd if sd.ndim == 1 else sd[np.arange(draws), rng.integers(sd.shape[1], size=draws)]

    def of_new_model(terms: list[Term]) -> np.ndarray:
        total = np.zeros(draws)
        for term in terms:
            sd = spread(term)
            # A combination that stands apart was seen once among all of them, so that is how often a new one does.
            often = rng.random(draws) < 1 / len(fit.arms) if isinstance(term.kind, StandsApart) else 1.0
            total += often * sd * rng.standard_normal(draws)
        return total

    out[:, :-1, -1] = unseen_link(fit, 1)[:, :, 0]
    theta = design.term("theta_D")
    ability = fit.effects[:, theta.columns]
    of_model = [t for t in design.terms if t.kind.of_model]
    own = [t for t in of_model if t.kind.of_context and not t.kind.given]
    own_items = [t for t in of_model if t.kind.of_context and t.kind.given]  # of some contexts only
    kept = z[: len(where)].copy()
    for term in of_model:
        kept[:, term.columns] = 0.0
    newcomer = of_new_model([theta]) if models > 1 else np.abs(rng.standard_normal(draws)) * 1.5 * rng.standard_normal(draws)
    shared = fit.effects @ kept.T
    for c in range(len(labels)):
        on_own_items = of_new_model([t for t in own_items if z[c, t.columns].any()])
        out[:, -1, c] = shared[:, c] + newcomer + of_new_model(own) + on_own_items
    out[:, -1, -1] = (out[:, :-1, -1] - ability).mean(1) + newcomer + of_new_model(own)
    return out


def targets(fit: Fit, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Model and deployed context of every (model, context) of the table, flat; -1 = never seen."""
    of_label = {label: j for j, (regime, label) in enumerate(fit.design.contexts) if regime == 1}
    places = np.array([of_label.get(label, -1) for label in labels] + [-1])
    models = np.append(np.arange(fit.design.n_models), -1)
    model, place = (g.ravel() for g in np.meshgrid(models, places, indexing="ij"))
    return model, place


def _deviations(fit: Fit, strata: Strata, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of the strata's deviations in deployment, (models + 1, contexts + 1, tasks + 1)."""
    mean, variance = strata.predict(*targets(fit, labels))
    shape = (fit.design.n_models + 1, len(labels) + 1, len(strata.tasks) + 1)
    return mean.reshape(shape), variance.reshape(shape)


def _promised(fit: Fit, strata: Strata, shape: tuple[int, ...]) -> np.ndarray:
    """P(failure) of each model and stratum on the bench, averaged over bench contexts; NaN where there is none."""
    out = np.full(shape, np.nan)
    bench = levels(fit, "evaluation", items="new")
    if bench is None:
        return out
    places = np.flatnonzero(fit.design.contexts[:, 0] == 0)
    total = np.zeros((fit.design.n_models, shape[2]))
    for k, place in enumerate(places):
        eta = logit(np.clip(bench.draws[:, :, k], 1e-9, 1 - 1e-9))
        mean, variance = strata.predict(np.arange(fit.design.n_models), np.full(fit.design.n_models, place))
        if shape[2] == 1:
            mean, variance = mean[:, -1:], variance[:, -1:]
        nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
        sd = np.sqrt(eta.var(0)[:, None] + variance)
        p = sum(
            w * expit(-(eta.mean(0)[:, None] + mean + sd * z)) for z, w in zip(nodes, weights / weights.sum(), strict=True)
        )
        total += bench.law[:, k, None] * p
    judged = np.isin(np.arange(fit.design.n_models), fit.arms.model[~fit.arms.deployed])
    out[:-1] = np.where(judged[:, None], total, np.nan)[:, None, :]
    return out


def _novelty(fit: Fit, names: dict[str, tuple[str, ...]], shape: tuple[int, ...]) -> np.ndarray:
    out = np.full(shape, np.nan)
    if "task" in names:
        counts = fit.cells.counts
        code = np.array([names["task"].index(t) if t in names["task"] else -1 for t in fit.cells.levels["task"]] + [-1])
        task = code[counts["task"]]
        share = []
        for regime in ("deployment", "evaluation"):
            mine = in_regime(fit.cells, regime) & (task >= 0)
            seen = np.bincount(task[mine], counts["rows"][mine], len(names["task"]))
            # Half a row each: a stratum that one regime lacks by chance has no infinite ratio. Without a bench: none.
            share.append((seen + 0.5) / (seen.sum() + 0.5 * len(seen)) if seen.sum() else np.zeros(len(seen)))
        out[:, :, :-1] = share[0] / (share[0] + share[1])
        out[:, :, -1] = NEVER
    out[-1], out[:, -1] = NEVER, NEVER
    return out


def _reasons(
    fit: Fit, labels: np.ndarray, names: dict[str, tuple[str, ...]], eta: np.ndarray, d: np.ndarray
) -> tuple[np.ndarray, tuple[str, ...]]:
    """What is new, or the two largest contributions to the risk in points, as codes and their texts."""
    design, effects = fit.design, fit.effects.mean(0)
    shape = d.shape
    texts: dict[str, int] = {}
    codes = np.zeros(shape, np.int32)
    where = [np.flatnonzero(design.contexts[:, 1] == label)[-1] for label in labels]
    for m, c, t in np.ndindex(*shape):
        new = [
            what
            for what, last in (
                ("model", m == shape[0] - 1),
                ("context", c == shape[1] - 1),
                ("stratum", "task" in names and t == shape[2] - 1),
            )
            if last
        ]
        if new:
            text = "; ".join(f"new {what}" for what in new)
        else:
            p = expit(-(eta[m, c] + d[m, c, t]))
            parts = _contributions(design, effects, m, where[c], names["context"][c])
            if "task" in names:
                parts[f"task={names['task'][t]}"] = float(d[m, c, t])
            points = {name: -value * p * (1 - p) for name, value in parts.items()}
            top = sorted((n for n in points if abs(points[n]) >= MATERIAL), key=lambda n: -abs(points[n]))[:2]
            text = "; ".join(f"{'+' if points[n] > 0 else '-'}{n}" for n in top) or "as usual"
        codes[m, c, t] = texts.setdefault(text, len(texts))
    return codes, tuple(texts)


def _contributions(design, effects: np.ndarray, model: int, context: int, label: str) -> dict[str, float]:
    """Link-scale effects of each factor's level in a context, and of what the factors do not explain."""
    out: dict[str, float] = {}
    z = design.loadings(np.array([model]), np.array([True]), np.array([context]))[0]
    most = {f: design.levels[f][int(shares[context].argmax())] for f, shares in design.mixtures.items()} | {"context": label}
    for term in design.terms:
        if term.kind.of_context:
            name = f"{term.kind.subject}={most[term.kind.subject]}"
            out[name] = out.get(name, 0.0) + float(z[term.columns] @ effects[term.columns])
    return out
