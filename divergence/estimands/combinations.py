"""Joint draws of what a combination of model and context has to meet: level, gap, latency, spend, flips.

A target is a model in one deployment context, or a model under a law over contexts (a single context is the law that
gives it all the weight w_c), so one path serves both:

    quality = sum_c w_c mu_mc              gap = abs(quality - B_m)            both from the fit, joint by construction
    latency = p95 of the mixture sum_c w_c F_mc                                block bootstrap of histograms
    cost    = sum_c w_c spend_mc / quality                                     block bootstrap of mean spend
    flips   = sum_c w_c XF(bench, c)                                           bootstrap over items

The fit and the two bootstraps are draws about the same rows, made apart. Each bootstrap also redraws the combination's own
success rate (the flips: its change against the bench), so how latency or spend moves with success is known from it.
`couple` hands that dependence to the fit's level by a Gaussian copula: marginal draws stay exactly those of the bootstrap,
their correlation with success becomes one with the fit's level, and what is left of them stays joint over combinations.
Identified by judged rows of the combination, and for each side by the rows that side needs; what is missing is a sentence
per target and side. Unit: outcome scale; s; usd; probability. Source: Nelsen 2006 (copulas); Rubin 1981 (the bootstrap).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from scipy.special import ndtri

from divergence.cells.histograms import histogram, quantile
from divergence.cells.overlap import scorer_conflict
from divergence.cells.random_blocks import block_sums, block_weights
from divergence.errors import InputError
from divergence.estimands.excess_flips import against_bench
from divergence.estimands.rows import logged_levels, models_with_rows
from divergence.estimands.spend import Prices, spend
from divergence.joint.laws import Law
from divergence.joint.posterior import Fit
from divergence.joint.predict import Levels, levels

BLOCKS_MIN = 10  # filled blocks of a bootstrap: with B of them an interval's width is off by about sqrt(1 / (2 B)), 22 %
TARGETS_MAX = 400  # combinations that are looked at, best levels first: beyond, draws would outgrow the fit's own
P95 = 0.95
SIDES = ("quality", "gap", "latency", "cost", "flips")


@dataclasses.dataclass(frozen=True)
class CombinationTarget:
    """A model in a context, or under a law over contexts."""

    model: int
    """Code of the model."""
    context: str | None
    """The one context; None under a law."""
    what_if: str | None
    """Name of the declared what-if; None for a context and under the log's own deployment law."""
    weights: np.ndarray
    """Weight of each deployment context, summing to one, shape (contexts,)."""


@dataclasses.dataclass(frozen=True)
class Combinations:
    """Draws of every side of every target."""

    targets: tuple[CombinationTarget, ...]
    """The targets, single contexts first."""
    models: tuple[str, ...]
    """Model names by code."""
    draws: dict[str, np.ndarray]
    """Side of `SIDES` that was asked for -> draws, shape (S, targets); NaN where it is not identified."""
    reasons: dict[str, tuple[str | None, ...]]
    """Side -> per target why it is not identified, or None."""
    left_out: int = 0
    """Combinations beyond `TARGETS_MAX`."""

    def reason(self, target: int) -> str | None:
        """Why a target has no answer: the first side that is missing."""
        return next(
            (self.reasons[side][target] for side in SIDES if side in self.reasons and self.reasons[side][target]), None
        )


def combinations(
    fit: Fit,
    sides: tuple[str, ...] = ("quality",),
    *,
    prices: Prices | None = None,
    currency: str = "USD",
    what_if: Mapping[str, Law] | None = None,
) -> Combinations | None:
    """Draws of the `sides` of every logged combination and of every model under each law; None without deployment."""
    mu = levels(fit, "deployment")
    if mu is None:
        return None
    targets, left_out = _targets(fit, mu, what_if or {})
    columns = [fit.cells.levels["context"].index(name) for name in mu.contexts]
    quality = np.stack([mu.draws[:, t.model] @ t.weights for t in targets], 1)
    unseen = tuple(_unseen(mu, t) for t in targets)
    draws, reasons = {"quality": quality}, {"quality": unseen}
    weight = block_weights(len(fit.effects), fit.seed)
    own = _own_rates(fit, columns, targets, weight)
    if "gap" in sides:
        draws["gap"], reasons["gap"] = _gap(fit, targets, quality)
    if "latency" in sides:
        draws["latency"], reasons["latency"] = _latency(fit, columns, targets, weight)
    if "cost" in sides:
        draws["cost"], reasons["cost"] = _spend(fit, columns, targets, weight, prices, currency)
    for side in {"latency", "cost"} & draws.keys():
        draws[side] = np.stack([couple(draws[side][:, k], own[:, k], quality[:, k]) for k in range(len(targets))], 1)
    if "cost" in draws:  # spend an execution over the level of the same draw
        with np.errstate(divide="ignore", invalid="ignore"):
            draws["cost"] = np.where(quality > 0, draws["cost"] / quality, np.inf)
    if "flips" in sides:
        draws["flips"], reasons["flips"] = _flips(fit, targets, quality)
    for side, why in reasons.items():
        draws[side] = np.where([w is None for w in why], draws[side], np.nan)
    return Combinations(targets, mu.models, draws, reasons, left_out)


def couple(values: np.ndarray, own: np.ndarray, other: np.ndarray) -> np.ndarray:
    """`values` in another order, so that they hang together with `other` as they now do with `own`; each (draws,).

    Normal scores z: with r the correlation of z(values) and z(own), z = r z(other) + (z(values) - r z(own)) gives the
    order. Where one of them does not vary there is nothing to hand on, and the order stays.
    """
    if not (np.isfinite(values).all() and np.isfinite(own).all()) or min(map(np.ptp, (values, own, other))) == 0:
        return values
    value, mine, theirs = (_scores(x) for x in (values, own, other))
    r = float(np.corrcoef(value, mine)[0, 1])
    order = np.argsort(np.argsort(r * theirs + value - r * mine, kind="stable"), kind="stable")
    return np.sort(values)[order]


def _scores(x: np.ndarray) -> np.ndarray:
    """Normal scores; equal values take the mean of theirs."""
    _, where, count = np.unique(x, return_inverse=True, return_counts=True)
    return ndtri((np.cumsum(count) - (count - 1) / 2 - 0.5) / len(x))[where]


def _targets(fit: Fit, mu: Levels, what_if: Mapping[str, Law]) -> tuple[tuple[CombinationTarget, ...], int]:
    """Logged combinations, then models under the deployment law, then under every what-if."""
    logged = np.argwhere(mu.observed)
    sign = fit.cells.sign
    best_first = np.argsort(-sign * mu.draws.mean(0)[tuple(logged.T)], kind="stable")
    kept = logged[np.sort(best_first[:TARGETS_MAX])]
    eye = np.eye(len(mu.contexts))
    found = [CombinationTarget(int(m), mu.contexts[c], None, eye[c]) for m, c in kept]
    models = np.flatnonzero(mu.observed.any(1))
    found += [CombinationTarget(int(m), None, None, mu.law[m]) for m in models]
    for name, law in what_if.items():
        try:
            other = logged_levels(fit, "deployment", law)
        except InputError as error:
            told = str(error).replace("the declared deployment law", "the law")
            raise InputError(f"In [what_if] {name}: {told}") from error
        found += [CombinationTarget(int(m), None, name, other.law[m]) for m in models]
    return tuple(found), len(logged) - len(kept)


def _unseen(mu: Levels, target: CombinationTarget) -> str | None:
    missing = [
        name
        for name, w, seen in zip(mu.contexts, target.weights, mu.observed[target.model], strict=True)
        if w > 0 and not seen
    ]
    return (
        f"{mu.models[target.model]} has no judged rows in {', '.join(missing[:3])}, which the law gives weight to"
        if missing
        else None
    )


def _own_rates(fit: Fit, columns: list[int], targets: tuple[CombinationTarget, ...], weight: np.ndarray) -> np.ndarray:
    """The block bootstrap's own success rate of each target, shape (S, targets)."""
    score = block_sums(fit.cells, "score", "deployment")
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = np.nan_to_num(np.tensordot(weight, score.y, 1) / np.tensordot(weight, score.n, 1))[:, :, columns]
    return np.stack([rate[:, t.model] @ t.weights for t in targets], 1)


def _gap(fit: Fit, targets: tuple[CombinationTarget, ...], quality: np.ndarray) -> tuple[np.ndarray, tuple[str | None, ...]]:
    bench, conflict = levels(fit, "evaluation"), scorer_conflict(fit.cells)
    if bench is None or conflict:
        why = conflict or "the log has no evaluation rows: there is no bench level"
        return np.full_like(quality, np.nan), (why,) * len(targets)
    measured = models_with_rows(fit, False)
    why = tuple(None if measured[t.model] else f"{bench.models[t.model]} has no evaluation rows" for t in targets)
    return np.abs(quality - bench.mean()[:, [t.model for t in targets]]), why


def _filled(counts: np.ndarray, target: CombinationTarget, columns: list[int], what: str) -> str | None:
    """Why a bootstrap over blocks says nothing about a target; `counts` (blocks, models, contexts)."""
    for w, c in zip(target.weights, columns, strict=True):
        blocks = int((counts[:, target.model, c] > 0).sum())
        if w > 0 and blocks < BLOCKS_MIN:
            return (
                f"{what} is known in {blocks} groups of sessions or items; its uncertainty needs {BLOCKS_MIN}"
                if blocks
                else f"no row of this combination has {what}"
            )
    return None


def _latency(fit: Fit, columns: list[int], targets: tuple[CombinationTarget, ...], weight: np.ndarray):
    """p95 of each target's mixture of contexts."""
    bins, counts = histogram(fit.cells, "latency_s", "deployment")
    rows = counts.sum(3)
    why = tuple(_filled(rows, t, columns, "latency_s") for t in targets)
    draws = np.full((len(weight), len(targets)), np.nan)
    laws = {}
    for k, t in enumerate(targets):
        if why[k] is None:
            mixed = np.zeros(len(bins))
            for w, c in zip(t.weights, columns, strict=True):
                if w > 0:
                    if (t.model, c) not in laws:
                        drawn = weight @ counts[:, t.model, c]
                        laws[t.model, c] = (drawn / drawn.sum(1, keepdims=True)).astype(np.float32)
                    mixed = mixed + w * laws[t.model, c]
            draws[:, k] = quantile(bins, mixed, P95)
    return draws, why


def _spend(
    fit: Fit,
    columns: list[int],
    targets: tuple[CombinationTarget, ...],
    weight: np.ndarray,
    prices: Prices | None,
    currency: str,
):
    """Mean spend an execution of each target."""
    sums = spend(fit, "deployment", prices, currency)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.tensordot(weight, sums.cost, 1) / np.tensordot(weight, sums.metered, 1)
    mean = np.nan_to_num(mean[:, :, columns])
    draws = np.stack([mean[:, t.model] @ t.weights for t in targets], 1)
    why = []
    for t in targets:
        if not sums.known[t.model]:
            why.append("no row of this combination has a cost: log `cost_usd`, or declare [prices] for its tokens")
        elif currency.upper() != "USD" and prices:
            why.append(f"the bound is in US dollars and the prices are declared in {currency}")
        else:
            why.append(_filled(sums.metered, t, columns, "the cost"))
    return draws, tuple(why)


def _flips(fit: Fit, targets: tuple[CombinationTarget, ...], quality: np.ndarray):
    """Excess flips against the bench, coupled through the change against the bench."""
    found = against_bench(fit)
    draws, why = np.full_like(quality, np.nan), []
    if isinstance(found, str):
        return draws, (found,) * len(targets)
    bench = logged_levels(fit, "evaluation").mean()
    for k, t in enumerate(targets):
        used = np.flatnonzero(t.weights > 0)
        why.append(next((told for c in used if (told := found.why_not(t.model, int(c)))), None))
        if why[k] is None:
            parts = (np.stack([part[t.model, int(c)] for c in used], 1) for part in (found.flips, found.change))
            drawn, moved = (part @ t.weights[used] for part in parts)
            draws[:, k] = couple(drawn, moved, quality[:, k] - bench[:, t.model])
    return draws, tuple(why)
