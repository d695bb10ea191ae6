"""How good is each model in deployment?

    D_m = E_{c ~ Q_D} mu_mc

Contexts by the deployment law: shares of the logged traffic, common to all models, unless another law was declared.
A model that was not logged in some context has that cell filled by the joint model. The items of a context that replays a
part of the bench are all of the bench's, with `items="observed"`, too: what the bench says of the others is added.
Identified by deployment rows of the model. Unit: probability (or the outcome's own). Source: Brennan 2001 (universe score
over a fixed set of conditions).
"""

from __future__ import annotations

import functools

from divergence.estimands.bench_level import level
from divergence.estimands.rows import about, answered, level_unit
from divergence.estimate import Estimate
from divergence.identification import needs
from divergence.identification.question import Question
from divergence.joint.laws import Law
from divergence.joint.posterior import Posterior

QUESTION, TEXT = "deployed_level", "the level of each model in deployment, for new items"


ROOM = Question(
    QUESTION,
    "level in deployment",
    TEXT,
    functools.partial(needs.task_level_needs, regime="deployment"),
    of_levels=True,
)


@answered(ROOM, level_unit)
def deployed_level(
    posterior: Posterior, *, law: Law | None = None, outcome: str | None = None, items: str | None = None
) -> Estimate:
    """Deployed level of every model with deployment rows: one row a model, `regime` = deployment.

    `law`: `logged`, `own`, `uniform` or {context: probability}; None = what the log's configuration says.
    """
    posterior = about(posterior, items)
    return level(posterior, "deployment", QUESTION, TEXT, outcome, law)
