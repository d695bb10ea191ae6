"""Logs with known movement: every model, context and item has a true mean, every run scatters about it or copies it."""

import numpy as np

from divergence.geometry.movement import movement

EVALUATION = "bench"


def rows(means, noise, runs=2, seed=0, scores=None):
    """`means` (models, contexts, items, d), context 0 the evaluation; `noise` sd by context; arguments of `movement`."""
    generator = np.random.default_rng(seed)
    models, contexts, items, d = means.shape
    m, c, i, _ = (a.ravel() for a in np.indices((models, contexts, items, runs)))
    sd = np.broadcast_to(noise, contexts)[c]
    vectors = means[m, c, i] + sd[:, None] * generator.standard_normal((len(m), d))
    # Copies are one text: runs without noise share the row of the first run of the same vector.
    _, first, text = np.unique(vectors, axis=0, return_index=True, return_inverse=True)
    names = np.array([EVALUATION, *[f"context {k}" for k in range(1, contexts)]])
    labels = dict(
        model=[f"model {k}" for k in m],
        context=names[c].tolist(),
        item=[f"item {k:04d}" for k in i],
        evaluation=(c == 0).tolist(),
    )
    if scores is not None:
        labels["score"] = scores[m, c, i].tolist()
    return vectors[first].astype(np.float32), text.ravel().tolist(), labels


def state(*arguments, cluster=None, **more):
    """The state of such a log."""
    vectors, text, labels = rows(*arguments, **more)
    return movement(vectors, text, cluster=cluster, **labels)


def jumps(generator, models, contexts, items, d, rate):
    """Means of a log of short answers: each item has its answer; in a context a share `rate` of the items has another."""
    answers = generator.standard_normal((items, d))
    means = np.broadcast_to(answers, (models, contexts, items, d)).copy()
    for c in range(1, contexts):
        moved = generator.random((models, items)) < np.broadcast_to(rate, contexts)[c]
        means[:, c][moved] = generator.standard_normal((moved.sum(), d))
    return means
