"""Which models does deployment treat unlike all others, and how far are their effects left as measured?

What deployment does to one model is drawn to what it does to the others, as far as these agree. Two snapshots of which the
one gains what the other loses, or a small model that breaks where two large ones hold, are drawn to them all the same: with
two or three models nothing tells how much models differ but the one difference that is judged. So each model's shift y is
held against what the others say about it,

    t_m = (Q y)_m / sqrt(Q_mm),    Q = S^-1 - S^-1 1 1' S^-1 / 1' S^-1 1,    S = V + tau2[-m] I

with V the noise of the shifts and tau2[-m] how much the *other* models differ (DerSimonian and Laird 1986; the deleted
residual of Viechtbauer and Cheung 2010). Of M models that differ no more, the largest t^2 is about 2 log M; what is beyond
that of as many as there are pairs is variance of the model's own,

    w_m = OWN (t_m^2 - 2 log M (M - 1)) / Q_mm    where positive,

at `OWN` = 1 its estimate of greatest likelihood, with which a shift t standard errors out is drawn back by 1 / t of them:
the further out, the less (a translation that is limited as in Efron and Morris 1972, and ends). It moves estimates and
widens intervals; the law of models, which says how a model never seen would fare, is left as it is.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from scipy.special import ndtri

from divergence.joint.block_hierarchy import BlockHierarchy
from divergence.joint.design import Design, free_terms
from divergence.joint.hierarchy import Hierarchy

MODELS_MAX = 24  # of more the law is known from the models themselves
# On held-out items of two models that turn round 1 leaves 10 % of error beside paired means where 2 leaves 6
# (`benchmarks/heldout.md` has what else was tried).
OWN = 2.0
CHANCE = 0.01  # of a sentence in a log whose models all shift alike
WIDE, TOGETHER = 3.0, 8.0  # coordinates at which levels and the common shift are free, and models shift alike


@dataclasses.dataclass(frozen=True)
class Unlike:
    """What models have of their own."""

    variance: np.ndarray
    """`w`: variance of each model's shift beside that of all, link scale, shape (models,)."""
    z: np.ndarray
    """`t`: how far it lies from what the others say, in standard errors, shape (models,); 0 of models not judged."""
    judged: np.ndarray
    """Codes of those that were: with rows in deployment, beside at least one other, shape (at most models,)."""

    @classmethod
    def nothing(cls, models: int) -> Unlike:
        """No model has anything of its own."""
        return cls(np.zeros(models), np.zeros(models), np.zeros(0, int))


def unlike_models(
    design: Design, loadings: np.ndarray | sp.csr_array, target: Hierarchy | BlockHierarchy, x: np.ndarray
) -> Unlike:
    """Of the models of a log with a bench and deployment; `x` is the mode, `loadings` (A, P) those of its arms."""
    found = Unlike.nothing(design.n_models)
    if not design.has("shift") or not 2 <= design.n_models <= MODELS_MAX:
        return found
    moved = loadings[:, design.term("theta_D").columns]
    moved = moved if isinstance(moved, np.ndarray) else moved.toarray()
    there = np.flatnonzero((moved != 0).any(0))
    if len(there) < 2:
        return found
    shifts, noise = shifts_of_models(design, moved[:, there], target, x)
    t, error = deleted(shifts, noise)
    own = OWN * np.maximum(t**2 - largest_by_chance(len(there)), 0.0) * error**2
    found.variance[there], found.z[there] = own, t
    return dataclasses.replace(found, judged=there)


def largest_by_chance(models: int) -> float:
    """The t^2 up to which a shift is drawn to the others: 2 log M (M - 1).

    >>> round(largest_by_chance(2), 2), round(largest_by_chance(6), 2)
    (1.39, 6.8)
    """
    return float(2 * np.log(models * (models - 1)))


def shifts_of_models(
    design: Design, moved: np.ndarray, target: Hierarchy | BlockHierarchy, x: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Shift of each model (M,) about their mean as measured, and its noise (M, M), by generalised least squares: of levels
    on `moved` (A, M), with bench levels and the common shift free, and the spreads of all other effects as at the mode x."""
    at = x.copy()
    at[0], at[1], at[2] = WIDE, 0.0, TOGETHER
    for k, term in enumerate(free_terms(design)):
        if term.name == "shift":
            at[target.layout.term(k)] = WIDE
    if isinstance(target, BlockHierarchy):
        s = np.repeat(target.variances(at[None]), moved.shape[1], 0)
        solved = target.solve(s, np.ascontiguousarray(moved.T), np.ones((moved.shape[1], 1))).T
    else:
        solved = np.linalg.solve(target.covariances(at[None])[0], moved)
    contrasts = scipy.linalg.helmert(moved.shape[1])  # where levels are all but known, what is free has no digit left
    information = contrasts @ (moved.T @ solved) @ contrasts.T
    noise = contrasts.T @ np.linalg.solve((information + information.T) / 2, contrasts)
    return noise @ (solved.T @ target.value), noise


def deleted(shifts: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far each shift (M,) lies from what the others say about it, in standard errors, and these; `noise` is (M, M)."""
    t, error = np.empty((2, len(shifts)))
    for m in range(len(shifts)):
        others = np.arange(len(shifts)) != m
        spread = between(shifts[others], noise[np.ix_(others, others)])
        about = about_the_mean(noise + spread * np.eye(len(shifts)))
        error[m] = 1 / np.sqrt(about[m, m])
        t[m] = about[m] @ shifts * error[m]
    return t, error


def between(shifts: np.ndarray, noise: np.ndarray) -> float:
    """Variance of true shifts (M,) about their mean beyond their `noise` (M, M), by the method of moments; of one: 0.

    >>> between(np.array([0.0, 2.0]), np.eye(2))
    1.0
    """
    if len(shifts) < 2:
        return 0.0
    about = about_the_mean(noise)
    return float(max(0.0, (shifts @ about @ shifts - (len(shifts) - 1)) / np.trace(about)))


def about_the_mean(covariance: np.ndarray) -> np.ndarray:
    """`Q`: the precision of (M,) about a mean that is free, shape (M, M): that of M - 1 contrasts, in which what all have in
    common cancels, however large it is."""
    contrasts = scipy.linalg.helmert(len(covariance))
    return contrasts.T @ np.linalg.solve(contrasts @ covariance @ contrasts.T, contrasts)


def unlike_notes(names: tuple[str, ...], found: Unlike) -> tuple[str, ...]:
    """A sentence for each model whose shift chance does not explain, were all alike; of two, one on both."""
    if not len(found.judged):
        return ()
    limit = float(-ndtri(CHANCE / (2 * len(found.judged))))
    far = np.flatnonzero((np.abs(found.z) > limit) & (found.variance > 0))
    if len(found.judged) == 2 and len(far):
        pair = [names[k] for k in found.judged]
        return (
            f"What deployment does to {pair[0]} and what it does to {pair[1]} lie {np.abs(found.z).max():.1f} standard "
            "errors apart: the effects of the one are drawn to those of the other less.",
        )
    return tuple(
        f"What deployment does to {names[k]} lies {abs(found.z[k]):.1f} standard errors "
        f"{'above' if found.z[k] > 0 else 'below'} what the other models say about it, which chance does in less than "
        f"{CHANCE:.0%} of logs whose models all shift alike: its effects are drawn to theirs less."
        for k in far
    )
