"""Worlds whose items have known risks in every model and context, and the risk models of their logs."""

import numpy as np
import polars as pl
from scipy.special import ndtr

import divergence as dv
from divergence.risk.build import risk_model

LOG = ("regime", "model", "context", "task", "item", "score")


def world(seed, models=3, contexts=4, tasks=3, items=40, trials=1):
    """A log, context 0 the bench, and P(failure) of every item in every (model, context), shape (m, c, t, i)."""
    random = np.random.default_rng(seed)
    level = 0.3 + 0.4 * random.standard_normal((models, 1, 1)) + 0.3 * random.standard_normal((contexts, 1))
    level = level + 0.3 * random.standard_normal(tasks)
    f = level[..., None] + 1.0 * random.standard_normal((tasks, items))
    f = (
        f
        + 0.6 * random.standard_normal((models, 1, tasks, items))
        + 0.5 * random.standard_normal((1, contexts, tasks, items))
    )
    truth = 1 - ndtr(f + 0.4 * random.standard_normal(f.shape))
    m, c, t, i, _ = (v.ravel() for v in np.indices((*truth.shape, trials)))
    y = random.random(len(m)) >= truth[m, c, t, i]
    text = np.char.add
    return pl.DataFrame(
        {
            "regime": np.where(c == 0, "evaluation", "deployment"),
            "model": text("m", m.astype(str)),
            "context": text("c", c.astype(str)),
            "task": text("t", t.astype(str)),
            "item": text(text(t.astype(str), "-"), i.astype(str)),
            "score": y.astype(float),
            "truth": truth[m, c, t, i],
        }
    )


def made(frame):
    """The risk model of a log."""
    log = dv.read(frame.select(LOG))
    return risk_model(dv.fit(dv.collapse(log), seed=0), log)


def scored(model, frame):
    """Its scores of some requests."""
    rows = frame.select("model", "context", "task", "item")
    return pl.from_arrow(model.score(rows.to_arrow().combine_chunks().to_batches()[0]))
