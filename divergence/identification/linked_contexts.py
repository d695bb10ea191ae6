"""Which contexts a model can be compared in: those linked with its own by models that ran in several.

A model that ran in two contexts links them, and everything that was judged in either; a label that occurs in both regimes
is one context. Between parts without a link nothing tells what a context does from what its models can.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components


def linked_parts(model: np.ndarray, context: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The part of each model and of each context label, from the arms' codes (A,); shapes (models,), (contexts,).

    A code without an arm is a part of its own.
    """
    models, contexts = int(model.max()) + 1, int(context.max()) + 1
    links = sp.coo_array((np.ones(len(model)), (model, models + context)), shape=(models + contexts,) * 2)
    _, part = connected_components(links, directed=False)
    return part[:models], part[models:]
