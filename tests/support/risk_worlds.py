"""Requests with known risks: arm levels, strata that move with model and context, items; one log and its true table."""

import numpy as np
import polars as pl

from divergence.numerics import expit
from divergence.simulate.truth import normal_nodes


def make(seed, models=4, contexts=4, tasks=5, items=40, trials=1, task_sd=(0.6, 0.3, 0.2, 0.15), difficulty=1.0):
    """A log (context 0 is the bench, all contexts replay its items) and P(failure), shape (models, contexts, tasks)."""
    rng = np.random.default_rng(seed)
    level = 0.3 + 0.7 * rng.standard_normal((models, 1)) + 0.35 * rng.standard_normal(contexts)
    level = level + 0.15 * rng.standard_normal((models, contexts))
    a, b, c, r = task_sd
    d = (
        a * rng.standard_normal(tasks)
        + b * rng.standard_normal((models, 1, tasks))
        + c * rng.standard_normal((contexts, tasks))
        + r * rng.standard_normal((models, contexts, tasks))
    )
    eta = level[:, :, None] + d
    nodes, weights = normal_nodes()
    truth = 1 - np.einsum("mctk,k->mct", expit(eta[..., None] - difficulty * nodes), weights)
    hard = difficulty * rng.standard_normal((tasks, items))
    axes = map(np.arange, (models, contexts, tasks, items, trials))
    m, c, t, i, k = (axis.ravel() for axis in np.meshgrid(*axes, indexing="ij"))
    y = rng.random(len(m)) < expit(eta[m, c, t] - hard[t, i])
    name = np.char.add
    log = pl.DataFrame(
        {
            "regime": np.where(c == 0, "evaluation", "deployment"),
            "model": name("m", m.astype(str)),
            "context": name("c", c.astype(str)),
            "task": name("t", t.astype(str)),
            "item": name(name(t.astype(str), "-"), i.astype(str)),
            "trial": k,
            "score": y.astype(float),
        }
    )
    return log, truth


def batch_of(rows):
    """Requests as `RiskModel.score` takes them."""
    return (
        pl.DataFrame(rows, schema=["execution_id", "model", "context", "task"], orient="row")
        .to_arrow()
        .combine_chunks()
        .to_batches()[0]
    )
