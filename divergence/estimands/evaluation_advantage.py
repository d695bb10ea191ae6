"""How much does the bench flatter each model?

    ECA_m = B_m - D_m

The signed form of coupling: positive where the evaluation context is kinder than deployment. Identified as the gap is.
Unit: fraction (points are hundredths of it).
"""

from __future__ import annotations

from divergence.estimands.gap import difference
from divergence.estimands.rows import about, answered, unit_of
from divergence.estimate import Estimate
from divergence.identification import needs
from divergence.identification.question import Question
from divergence.joint.laws import Law
from divergence.joint.posterior import Posterior

QUESTION, TEXT = "evaluation_advantage", "bench level minus deployed level of each model"


ROOM = Question(
    QUESTION,
    "advantage on the bench",
    TEXT,
    needs.compared,
    of_levels=True,
)


@answered(ROOM, unit_of)
def evaluation_advantage(
    posterior: Posterior, *, law: Law | None = None, outcome: str | None = None, items: str | None = None
) -> Estimate:
    """One row a model; minus the gap, draw by draw."""
    posterior = about(posterior, items)
    return difference(posterior, QUESTION, TEXT, -1.0, law, outcome)
