"""How much of the spread of scores depends on the context? (evaluation context coupling, absolute)

    ECCa = (s2_c + s2_mc) / (s2_m + s2_c + s2_mc)  =  1 - Phi

As `coupling`, but a shift that every model shares counts too: for reading levels, not rankings. Identified by two
deployment contexts and two models. No unit. Source: Brennan 2001 (index of dependability).
"""

from __future__ import annotations

from divergence.estimands.coupling import absolute
from divergence.estimands.rows import about, answered
from divergence.estimate import Estimate
from divergence.identification import needs
from divergence.identification.question import Question
from divergence.joint.laws import Law
from divergence.joint.posterior import Posterior

QUESTION, TEXT = "coupling_absolute", "share of the spread of scores that depends on the context"


ROOM = Question(
    QUESTION,
    "coupling of level and context",
    TEXT,
    needs.crossed,
    of_levels=True,
)


@answered(ROOM, "ratio")
def coupling_absolute(
    posterior: Posterior, *, law: Law | None = None, outcome: str | None = None, items: str | None = None
) -> Estimate:
    """One number for the log."""
    posterior = about(posterior, items)
    return absolute(posterior, QUESTION, TEXT, law, outcome)
