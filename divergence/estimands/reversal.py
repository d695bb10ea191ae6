"""Would deployment put two models in the other order than the bench does?

    P( sign(B_m - B_m') != sign(D_m - D_m') )

A posterior probability for each pair of models: the draws are 0 or 1, their mean is the probability; their interval
only says whether the order is certain. Identified by two models with rows in both regimes. Unit: probability.
"""

from __future__ import annotations

import itertools

import numpy as np

from divergence.estimands.rows import answer, frame, models_with_rows, refuse
from divergence.estimate import Estimate
from divergence.joint.posterior import Posterior
from divergence.joint.predict import levels

QUESTION, TEXT = "reversal", "probability that deployment reverses the bench order of a pair"


def reversal(posterior: Posterior, *, law: object = None, outcome: str | None = None) -> Estimate:
    """One row a pair (`model`, `model_b`), in the order of the model names."""
    fit = posterior[outcome]
    bench, deployed = levels(fit, "evaluation"), levels(fit, "deployment", law)
    if bench is None or deployed is None:
        missing = "evaluation" if bench is None else "deployment"
        return refuse(fit, QUESTION, TEXT, "probability", f"the log has no {missing} rows")
    both = np.flatnonzero(models_with_rows(fit, True) & models_with_rows(fit, False))
    if len(both) < 2:
        return refuse(fit, QUESTION, TEXT, "probability",
                      f"{len(both)} model(s) have rows in both regimes; an order needs at least two")
    pairs = np.array(list(itertools.combinations(both, 2)))
    b, d = bench.mean(), deployed.mean()
    flipped = (b[:, pairs[:, 0]] > b[:, pairs[:, 1]]) != (d[:, pairs[:, 0]] > d[:, pairs[:, 1]])
    rows = frame(model=[bench.models[i] for i, _ in pairs], model_b=[bench.models[j] for _, j in pairs])
    return answer(fit, QUESTION, TEXT, "probability", rows, flipped.astype(float))
