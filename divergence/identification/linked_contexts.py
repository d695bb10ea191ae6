"""Which contexts a model can be compared in: those linked with its own by models that ran in several.

A model that ran in two contexts links them, and everything that was judged in either; a label that occurs in both regimes
is one context. Between parts without a link nothing tells what a context does from what its models can.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from divergence.identification.arm_counts import ArmCounts


def linked_parts(model: np.ndarray, context: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The part of each model and of each context label, from the arms' codes (A,); shapes (models,), (contexts,).

    A code without an arm is a part of its own. Whatever meets in pairs has parts: waves and arms, tasks and metrics.
    """
    if not len(model):
        return np.zeros(0, int), np.zeros(0, int)
    models, contexts = int(model.max()) + 1, int(context.max()) + 1
    links = sp.coo_array((np.ones(len(model)), (model, models + context)), shape=(models + contexts,) * 2)
    _, part = connected_components(links, directed=False)
    return part[:models], part[models:]


@dataclasses.dataclass(frozen=True, eq=False)
class LinkedArms:
    """Parts of a log between which nothing tells a context's doing from a model's.

    Here a label of both regimes is two contexts: what deployment itself does would else pass for what the context does.
    """

    models: np.ndarray
    """Part of each model, shape (models,)."""
    contexts: np.ndarray
    """Part of each label on the bench (row 0) and in deployment (row 1), shape (2, contexts)."""

    def of_models(self, models: np.ndarray) -> np.ndarray:
        """The parts, sorted, that these models (codes) lie in: one where their order can be told."""
        return np.unique(self.models[models])


def linked_arms(arms: ArmCounts) -> LinkedArms:
    """The parts of a log's arms."""
    size = int(arms.context.max(initial=-1)) + 1
    if not size:
        return LinkedArms(np.zeros(0, int), np.zeros((2, 0), int))
    models, contexts = linked_parts(arms.model, arms.context + size * arms.deployed.astype(int))
    both = np.full(2 * size, -1)
    both[: len(contexts)] = contexts
    return LinkedArms(models, both.reshape(2, size))
