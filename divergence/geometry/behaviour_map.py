"""Where do models and contexts lie, seen from the evaluation? A plane with the evaluation at its origin.

The corrected inner products of displacements (`movement.py`) are the Gram matrix G of the places about the evaluation:
classical scaling (Torgerson 1952) with the evaluation as the origin instead of the mean,

    G = U L U',   place k in the direction of the k-th row of U_2 L_2^(1/2), at its whole distance G_kk^(1/2)

as maps of the earth about a pole are drawn: distances from the evaluation are exact, those between places are as good as
the plane (`plane`: the share of the squared displacement that lies in it). Directions are shared by all models: two
arrows side by side are answers that moved the same way. Lengths are in units of the root of the mean spread: 1 = as far
as answers to different items lie apart. Every draw takes new weights of the items (Bayesian bootstrap), is scaled anew
and turned onto the estimate (orthogonal Procrustes, no shift, no stretch). A context lies in the mean direction of its
models, at the root of their mean squared distance.

A place whose squared displacement is not above the floor (its lower 5 % limit against the upper 95 % limit of its
model's rerun variance) is not put anywhere: the Estimate refuses its coordinates, with that as the reason, and the floor
is drawn as one disc. Rows: `axis` 1 and 2 of each place (model, context) and of each context (no model); `statistic`
`floor` is the disc's radius, `plane` the share of the squared displacement that the plane shows.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from divergence.estimate import Estimate
from divergence.geometry.movement import Movement, over

QUESTION, TEXT = "behaviour_map", "where models in contexts lie, seen from the evaluation"
DRAWS = 400  # an ellipse's axis to 4 %
LIMIT = 0.05  # one-sided
WITHIN = "within the floor: not shown to move more than the evaluation's own reruns"
METHOD = "classical scaling about the evaluation, Bayesian bootstrap over items, Procrustes"


def behaviour_map(state: Movement, *, model: str | None = None) -> Estimate:
    """Coordinates of places and contexts; `model` = only the places of that model, else all, each from its own bench."""
    chosen = np.array([model is None or name == model for name in state.model])
    defined = np.array([f"{m}, {c}" not in state.missing for m, c in zip(state.model, state.context, strict=True)])
    index = np.flatnonzero(chosen & defined)
    if not len(index):
        reason = next(iter(state.missing.values()), f"no place of model {model} in this log")
        return Estimate.refused(QUESTION, TEXT, "ratio", reason, outcome="embedding", counts=state.counts)
    weights = state.weights(DRAWS)
    above = beyond(state)[index]
    unit = float(np.mean(state.spread[state.home[index]]))
    point = scaled(mean_gram(state, index, np.ones((1, len(state.gram)))), np.zeros((1, 1, 1)))[0]
    draws, share = scaled(mean_gram(state, index, weights), point)
    size = np.sqrt(unit) if unit > 0 else 1.0
    point = at_distance(point, state.squared(np.ones((1, len(state.gram))))[:, index])
    distances = state.squared(weights)[:, index]
    draws = at_distance(draws, distances)
    centred = draws - draws.mean(0) + point[0]  # about the estimate: the mean of draws on an arc lies inside the arc
    places = [(state.model[k], state.context[k]) for k in index]
    rows = [(None, m, c, a, None if up else WITHIN) for (m, c), up in zip(places, above, strict=True) for a in "12"]
    values = [centred.reshape(len(centred), -1) / size]
    contexts = list(dict.fromkeys(c for _, c in places)) if model is None else []
    for context in contexts:
        inside = [k for k, (_, c) in enumerate(places) if c == context]
        rows += [(None, None, context, a, None if above[inside].any() else WITHIN) for a in "12"]
        middle = at_distance(draws[:, inside].mean(1)[:, None], distances[:, inside].mean(1)[:, None])[:, 0]
        values.append(middle / size)
    radius = np.sqrt(state.noise_high[np.unique(state.home[index])].max()) / size
    rows += [("floor", model, None, None, None), ("plane", model, None, None, None)]
    values += [np.full((len(centred), 1), radius), share[:, None]]
    table = np.concatenate(values, 1)
    reason = tuple(why for *_, why in rows)
    table[:, [why is not None for why in reason]] = np.nan
    names = ("statistic", "model", "context", "axis")
    frame = pl.DataFrame(
        {name: [row[j] for row in rows] for j, name in enumerate(names)}, schema=dict.fromkeys(names, pl.String)
    )
    return Estimate(QUESTION, TEXT, "ratio", frame, table, "embedding", reason=reason, counts=state.counts, method=METHOD)


def beyond(state: Movement) -> np.ndarray:
    """Is the squared displacement of each place above its floor? (K,)"""
    squared = state.squared(state.weights(2000))
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(np.quantile(squared, LIMIT, axis=0)) > state.noise_high[state.home]


def mean_gram(state: Movement, index: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Gram matrices of these places for each row of weights, (draws, k, k); 0 where no item gives one."""
    pick = np.ix_(np.arange(len(state.gram)), index, index)
    size = len(index)
    total, count = (of[pick].reshape(len(state.gram), -1) for of in (state.gram, state.items))
    return np.nan_to_num(over(weights @ total, weights @ count)).reshape(len(weights), size, size)


def at_distance(points: np.ndarray, squared: np.ndarray) -> np.ndarray:
    """The points (draws, k, 2) in their direction at their whole distance; 0 where the corrected distance is not above 0."""
    length = np.linalg.norm(points, axis=2)
    factor = np.divide(np.sqrt(np.maximum(squared, 0)), length, out=np.zeros_like(length), where=length > 0)
    return points * factor[..., None]


def scaled(gram: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates in the first two directions, turned onto `target` (1, k, 2) unless it is 0; and the share they show."""
    values, vectors = np.linalg.eigh(gram)
    positive = np.maximum(values, 0)
    total = positive.sum(1)
    share = np.divide(positive[:, -2:].sum(1), total, out=np.zeros_like(total), where=total > 0)
    plane = vectors[:, :, -2:][:, :, ::-1] * np.sqrt(positive[:, None, -2:][:, :, ::-1])
    if plane.shape[2] < 2:
        plane = np.concatenate([plane, np.zeros((*plane.shape[:2], 2 - plane.shape[2]))], 2)
    if not target.any():
        sign = np.where(plane.sum(1, keepdims=True) < 0, -1.0, 1.0)
        return plane * sign, share
    left, _, right = np.linalg.svd(plane.transpose(0, 2, 1) @ target[0])
    return plane @ (left @ right), share
