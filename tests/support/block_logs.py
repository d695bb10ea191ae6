"""Logs of several shapes as the density that logs of many arms have, whatever their size."""

import numpy as np
import polars as pl

import divergence as dv
from divergence.cells.telling_items import prepared
from divergence.joint import arms as measuring
from divergence.joint.arms import measure_arms, prior_centre
from divergence.joint.block_hierarchy import BlockHierarchy
from divergence.joint.design import make_design
from divergence.joint.linearisation import linearisation
from divergence.joint.problem import target_data
from divergence.joint.spec import Spec

# name: models, contexts, items, logged factors, share of combinations that are missing, spec
SHAPES = {
    "five models": (5, 4, 20, 0, 0.0, Spec()),
    "one model": (1, 5, 25, 0, 0.0, Spec()),
    "two models, seventeen contexts": (2, 17, 15, 0, 0.0, Spec()),
    "ragged": (9, 6, 15, 0, 0.3, Spec()),
    "factors": (6, 8, 15, 3, 0.0, Spec()),
    "own scales": (7, 5, 15, 0, 0.0, Spec(instability="per_model")),
    "200 models": (200, 3, 12, 0, 0.1, Spec()),
}


def log_of(shape: str, seed: int = 0) -> dv.Executions:
    """A log of one trial an item."""
    models, contexts, items, factors, missing, _ = SHAPES[shape]
    rng = np.random.default_rng([seed, models, contexts])
    m, c, i = (a.ravel() for a in np.meshgrid(*map(np.arange, (models, contexts, items)), indexing="ij"))
    gone = rng.random((models, contexts)) < missing
    gone[:, 0] = False
    chance = rng.uniform(0.35, 0.85, models)[m] - np.where(c, rng.uniform(0, 0.2, contexts)[c], 0)
    columns = {
        "regime": np.where(c == 0, "evaluation", "deployment"),
        "model": [f"m{k}" for k in m],
        "item": [f"i{k}" for k in i],
        "score": (0.5 * rng.random(items)[i] + 0.5 * rng.random(len(m)) < chance).astype(int),
    }
    columns |= {f"factor.f{f}": [f"l{k}" for k in (c >> f) & 1] for f in range(factors)}
    columns |= {} if factors else {"context": [f"c{k}" for k in c]}
    return dv.read(pl.DataFrame(columns).filter(~gone[m, c]))


def block_target(shape: str) -> BlockHierarchy:
    """The density of its coordinates, in blocks."""
    cells, spec = prepared(dv.collapse(log_of(shape))), SHAPES[shape][-1]
    dense, measuring.kept_dense = measuring.kept_dense, lambda _: False
    try:
        arms = measure_arms(cells)
    finally:
        measuring.kept_dense = dense
    found = linearisation(make_design(cells, arms, spec), arms, spec)
    target = target_data(found.design, found.response, found.telling, prior_centre(arms))
    assert isinstance(target, BlockHierarchy)
    return target
