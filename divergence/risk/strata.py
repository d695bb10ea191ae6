"""How much harder or easier is a stratum (a task) for one model in one context than its level says?

The joint model knows arm levels (model x context x regime); traffic is made of strata. For the arms a and tasks t

    z_at = logit(level of a in t) - logit(level of a) = d_at + noise,      noise_t ~ N(0, V_t)
    d_at = task + (task, model) + (task, context) + rest,      each N(0, its own variance),

with V_t the clustered covariance of the levels over the items of task t (shared items, copies and items that move with
the context are in it by construction; shrunk as in `joint.covariance`), less what the arm's own level, a mean over the same
tasks, shares of it. Bernoulli noise is that of the fitted level p_at, and z_at the working response there (penalised
quasi-likelihood): a rate that came out near 0 or 1 is not the least certain one because it did so. Given the four standard
deviations d is Gaussian in closed form, for arms and tasks that were never seen too. They are integrated over by eight
points of equal weight around the mode of their logarithms (marginal likelihood times half-normal priors): with five tasks,
what the next one may be is not known, and taken at their mode intervals for a new task held 74 % in simulated worlds. A
level is that of the log's own mix of tasks: with shares w_t and s = sum w_t^2 seen deviations lie around their own mean and
have 1 - 2/T + s of the variance of tasks, one more task has 1 + s, which is larger by (T + 1) / (T - 1) at equal shares.
Identified by two or more tasks. Unit: logits. Sources: best linear unbiased prediction (Henderson 1975), penalised
quasi-likelihood (Breslow and Clayton 1993), third-degree cubature (Stroud 1971).
"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.linalg
import scipy.optimize
import scipy.sparse as sp

from divergence.cells.overlap import replays
from divergence.joint.covariance import shrunk_covariance
from divergence.joint.link import PSEUDO, start
from divergence.joint.posterior import Fit
from divergence.numerics import expit, logit, nearest_psd

WIDTHS = np.array([1.0, 0.7, 0.5, 0.5])
"""Half-normal prior widths of the four standard deviations, in logits: a task may move a level of 50 % by 23 points."""
TASKS_FITTED = 24  # the variances need no more; every task gets its own deviations
STEP = 0.2  # of the finite differences, in logarithms of standard deviations: a fifth of what matters
FLAT = 1.0  # curvature of the logarithm of a standard deviation that the data say nothing about: known within a factor 2.7
FITTED_AGAIN = 2  # times that noise is taken at the fitted levels; a third moved Brier scores of `serving-lab` by .0001
LEVEL_EDGE = 0.02  # fitted levels stay so far from 0 and 1: beyond, one answer would move a level by 50 logits
SHARE_MIN = 0.05  # of a task's noise: of a task that is nearly all of the log, what is left has no precision
RATIO_MIN = 0.05  # items' variance over a Bernoulli item's: below it a level would be believed for no reason


@dataclasses.dataclass(frozen=True)
class Strata:
    """Deviations of tasks given what was seen."""

    tasks: tuple[str, ...]
    """Names of the tasks; empty where the log has fewer than two."""
    deviations: np.ndarray
    """Points of the standard deviations of task, (task, model), (task, context) and rest, in logits, shape (points, 4)."""
    seen: tuple[tuple[tuple[np.ndarray, np.ndarray, np.ndarray], ...], ...]
    """For each point and task: its arms (A_t,), the Cholesky root of their covariance and the whitened z."""
    model: np.ndarray
    """Model of each arm, (A,)."""
    place: np.ndarray
    """Context of each arm, an index into `design.contexts`, (A,)."""
    fresh: float = 1.0
    """Variance of a task never seen over that of a seen one, both around the level of the seen ones."""

    def predict(self, model: np.ndarray, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Means and variances of d for these targets (-1 = never seen), in every task and, last, in a task never seen.

        Shapes (targets, tasks + 1), in logits.
        """
        same_model = (model[:, None] == self.model) * 1.0
        same_place = (place[:, None] == self.place) * 1.0
        shared = np.stack([np.ones_like(same_model), same_model, same_place, same_model * same_place])
        shape = (len(self.deviations), len(model), len(self.tasks) + 1)
        mean, spread = np.zeros(shape), np.zeros(shape)
        for k, (variance, tasks) in enumerate(zip(self.deviations**2, self.seen, strict=True)):
            cross = np.tensordot(variance, shared, 1)
            spread[k] = variance.sum()
            for t, (arms, root, white) in enumerate(tasks):
                part = scipy.linalg.solve_triangular(root, cross[:, arms].T, lower=True)
                mean[k, :, t] = part.T @ white
                spread[k, :, t] -= (part**2).sum(0)
        spread[:, :, -1] *= self.fresh
        return mean.mean(0), np.maximum(spread, 0.0).mean(0) + mean.var(0)

    def draw(self, model: np.ndarray, place: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
        """Joint draws of d for these targets, shape (draws, targets, tasks + 1); their law is that of `predict`."""
        kinds = _kinds(model, place)
        same_model, same_place = (np.equal.outer(*k) * 1.0 for k in ((model, self.model), (place, self.place)))
        shared = np.stack([np.ones_like(same_model), same_model, same_place, same_model * same_place])
        out = np.empty((draws, len(model), len(self.tasks) + 1))
        point = np.arange(draws) % len(self.deviations)
        for k, (variance, tasks) in enumerate(zip(self.deviations**2, self.seen, strict=True)):
            mine = np.flatnonzero(point == k)
            prior, cross = np.tensordot(variance, kinds, 1), np.tensordot(variance, shared, 1)
            for t, seen in enumerate((*tasks, None)):
                part = (
                    np.zeros((1, len(model)))
                    if seen is None
                    else scipy.linalg.solve_triangular(seen[1], cross[:, seen[0]].T, lower=True)
                )
                mean = np.zeros(len(model)) if seen is None else part.T @ seen[2]
                values, vectors = np.linalg.eigh((self.fresh if seen is None else 1.0) * prior - part.T @ part)
                root = vectors * np.sqrt(np.maximum(values, 0.0))
                out[mine, :, t] = mean + rng.standard_normal((len(mine), len(model))) @ root.T
        return out


def no_strata() -> Strata:
    """The strata of a log without tasks: there is nothing to predict, and nothing to be unsure of."""
    return Strata((), np.zeros((1, 4)), ((),), np.zeros(0, int), np.zeros(0, int))


def measure_strata(fit: Fit) -> Strata:
    """The deviations of the tasks of a fit's log."""
    names = fit.cells.levels["task"]
    counts = fit.cells.counts.take(fit.cells.counts["n"] > 0)
    tasks = np.unique(counts["task"][counts["task"] >= 0])
    if len(tasks) < 2:
        return no_strata()
    arms = fit.arms
    place_of = {tuple(k): j for j, k in enumerate(fit.design.contexts)}
    place = np.array([place_of[k] for k in zip(arms.deployed.astype(int), arms.context, strict=True)])
    level, weight, influence = _levels(fit, counts, tasks)
    middle, ratio = logit(start(arms)), _ratio(level, weight, influence)
    n = np.bincount(counts["task"][counts["task"] >= 0], counts["n"][counts["task"] >= 0])[tasks]
    ratio *= _around_their_mean(n)
    seen = []
    for t in range(len(tasks)):
        there = np.flatnonzero(weight[t] > 0)
        labels = np.stack([arms.model[there], arms.deployed[there], arms.context[there]])
        sample = shrunk_covariance(influence[t][:, there].tocsr(), labels)
        seen.append(_Task(there, level[t][there], weight[t][there], middle[there], _correlation(sample), ratio[t]))
    kinds = _kinds(arms.model, place)
    z = [task.rates() for task in seen]
    for _ in range(FITTED_AGAIN):
        z = [task.at(_fitted(z_t, WIDTHS / 2, kinds)[0]) for task, z_t in zip(seen, z, strict=True)]
    largest = np.argsort([-len(task.there) for task in seen], kind="stable")[:TASKS_FITTED]
    deviations = _points([z[t] for t in largest], kinds)
    parts = []
    for point in deviations:
        fitted = [_fitted(z_t, point, kinds) for z_t in z]
        parts.append(tuple((z_t[0], root, white) for z_t, (_, root, white) in zip(z, fitted, strict=True)))
    return Strata(tuple(names[t] for t in tasks), deviations, tuple(parts), arms.model, place, _fresh(n))


@dataclasses.dataclass(frozen=True)
class _Task:
    """The levels of one task as they were seen."""

    there: np.ndarray
    """Its arms."""
    level: np.ndarray
    """Their success rates."""
    weight: np.ndarray
    """Effective items behind each."""
    middle: np.ndarray
    """Logit of each arm's own level."""
    correlation: np.ndarray
    """Of their noise."""
    ratio: float
    """Variance of the noise over that of Bernoulli items."""

    def rates(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Arms, deviations and their noise as the rates themselves have them."""
        p = (self.weight * self.level + PSEUDO) / (self.weight + 2 * PSEUDO)
        return self.there, logit(p) - self.middle, self._noise(p)

    def at(self, fitted: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The same at fitted deviations: the working response, and the noise of the fitted level."""
        p = np.clip(expit(self.middle + fitted), LEVEL_EDGE, 1 - LEVEL_EDGE)
        return self.there, logit(p) - self.middle + (self.level - p) / (p * (1 - p)), self._noise(p)

    def _noise(self, p: np.ndarray) -> np.ndarray:
        sd = np.sqrt(self.ratio / (self.weight * p * (1 - p)))
        # Arms that repeat one another make it singular, and rounding then indefinite.
        return nearest_psd(self.correlation * np.outer(sd, sd))


def _correlation(sample: np.ndarray) -> np.ndarray:
    scale = np.sqrt(np.diag(sample))
    tied = (scale[:, None] > 1e-12) & (scale > 1e-12)
    out = np.where(tied, sample / np.where(tied, np.outer(scale, scale), 1.0), 0.0)
    np.fill_diagonal(out, 1.0)
    return out


def _fitted(seen: tuple[np.ndarray, ...], deviations: np.ndarray, kinds: np.ndarray) -> tuple[np.ndarray, ...]:
    """Mean of a task's d at these standard deviations, the root of the covariance of z, and z whitened by it."""
    there, z, noise = seen
    prior = np.tensordot(deviations**2, kinds[:, there][:, :, there], 1)
    root = _root(prior + noise)
    white = scipy.linalg.solve_triangular(root, z, lower=True)
    return scipy.linalg.solve_triangular(root, prior, lower=True).T @ white, root, white


def _around_their_mean(n: np.ndarray) -> np.ndarray:
    """Variance of each task's noise around its arm's level over that of its own; 3 tasks of equal size give 2/3.

    >>> _around_their_mean(np.ones(3)).round(3).tolist()
    [0.667, 0.667, 0.667]
    """
    share = n / n.sum()
    return np.maximum(1 - 2 * share + (share**2).sum(), SHARE_MIN)


def _fresh(n: np.ndarray) -> float:
    """Variance of one more task over that of the seen ones around their own mean; equal shares of 3 tasks give 2."""
    s = float(((n / n.sum()) ** 2).sum())
    return (1 + s) / (1 - 2 / len(n) + s)


def _kinds(model: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Which arms share each part of d, shape (4, A, A)."""
    same_model, same_place = (np.equal.outer(k, k).astype(float) for k in (model, place))
    return np.stack([np.ones_like(same_model), same_model, same_place, same_model * same_place])


def _levels(fit: Fit, counts, tasks: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[sp.csc_array]]:
    """Level and effective items of every (task, arm), shape (tasks, A), and the influence of items, per task (I_t, A)."""
    arms = fit.arms
    regime = np.array([name == "deployment" for name in fit.cells.levels["regime"]], bool)[counts["regime"]]
    arm_of = {k: a for a, k in enumerate(zip(arms.model, arms.deployed, arms.context, strict=True))}
    arm = np.array([arm_of[k] for k in zip(counts["model"], regime, counts["context"], strict=True)])
    alike = ~regime | replays(fit.cells)  # bench items weigh the same, traffic weighs as it was logged
    level, weight = np.zeros((len(tasks), len(arms))), np.zeros((len(tasks), len(arms)))
    influences = []
    for t, task in enumerate(tasks):
        mine = counts["task"] == task
        # A row without item stands for as many items as it has trials; all of them are one row of influence.
        keys, where = np.unique(np.stack([arm[mine], counts["item"][mine]]), axis=1, return_inverse=True)
        where = where.ravel()
        n, y = (np.bincount(where, counts[name][mine]) for name in ("n", "y"))
        pooled = keys[1] < 0
        flat = np.bincount(where, alike[mine]) > 0
        mass = np.where(flat & ~pooled, 1.0, n)
        share = mass / np.bincount(keys[0], mass, len(arms))[keys[0]]
        level[t] = np.bincount(keys[0], share * y / n, len(arms))
        effective = np.bincount(keys[0], share**2 / np.where(pooled, n, 1.0), len(arms))
        weight[t] = np.where(effective > 0, 1 / np.where(effective > 0, effective, 1.0), 0.0)
        bessel = np.sqrt(weight[t] / np.maximum(weight[t] - 1, 1.0))[keys[0]]
        phi = share * (y / n - level[t][keys[0]]) * bessel
        items, row = np.unique(keys[1], return_inverse=True)
        influences.append(
            sp.csc_array(sp.coo_array((np.where(pooled, 0.0, phi), (row.ravel(), keys[0])), shape=(len(items), len(arms))))
        )
    return level, weight, influences


def _ratio(level: np.ndarray, weight: np.ndarray, influence: list[sp.csc_array]) -> float:
    """Variance between items over that of Bernoulli items, over all levels that have items."""
    squares = np.stack([np.asarray(one.multiply(one).sum(axis=0)).ravel() for one in influence])
    there = squares > 0
    if not there.any():
        return 1.0
    seen = (weight * squares)[there].sum() / (level * (1 - level))[there].sum()
    return float(np.clip(seen, RATIO_MIN, 1.0))


def _points(parts: list, kinds: np.ndarray) -> np.ndarray:
    """Eight points of the four standard deviations that have the mean and the covariance of their logarithms, (8, 4)."""

    def loss(x: np.ndarray) -> float:
        deviations = np.exp(x)
        total = 0.5 * ((deviations / WIDTHS) ** 2).sum() - x.sum()  # half-normal prior, density of the logarithm
        for there, value, noise in parts:
            root = _root(np.tensordot(deviations**2, kinds[:, there][:, :, there], 1) + noise)
            white = scipy.linalg.solve_triangular(root, value, lower=True)
            total += np.log(np.diag(root)).sum() + 0.5 * white @ white
        return total

    size = len(WIDTHS)
    mode = scipy.optimize.minimize(loss, np.log(WIDTHS / 2), method="L-BFGS-B", bounds=[(-6.0, 2.0)] * size).x
    step = STEP * np.eye(size)
    curvature = np.array(
        [[loss(mode + a + b) - loss(mode + a - b) - loss(mode - a + b) + loss(mode - a - b) for b in step] for a in step]
    ) / (4 * STEP**2)
    values, vectors = np.linalg.eigh(curvature)
    root = vectors / np.sqrt(np.maximum(values, FLAT)) * np.sqrt(size)
    return np.exp(np.clip(np.concatenate([mode + root.T, mode - root.T]), -6.0, 2.0))


def _root(covariance: np.ndarray) -> np.ndarray:
    return np.linalg.cholesky(covariance + 1e-10 * np.trace(covariance) / len(covariance) * np.eye(len(covariance)))
