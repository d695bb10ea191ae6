"""How well does the bench's ranking hold as a ranking in deployment?

    Kendall tau = mean over pairs of sign(B_m - B_m') sign(D_m - D_m')

and, per draw of the levels (its mean over draws is the number to read):

| `statistic` | what | rows |
|---|---|---|
| null | Kendall tau of the two orders, -1 .. 1 | one |
| `p_best` | is the model first? a shared first place is shared; the mean is the probability | per model and `regime` |
| `rank` | its place, 1 = first, ties take the mean place | per model and `regime` |
| `tied` | 1 for the fewest models that hold the first place with 90 %, else 0 | per model and `regime` |
| `top1_regret` | deployed level lost by taking the model that is first on the bench | one |

A place is 1 + the number of models above, ties 1/2: P(i > j) + P(j > i) = 1, and places add up to n (n + 1) / 2. The
smallest level is first for times, costs and counts. Identified by two models in both regimes. Unit: ratio; regret in points.
Source: Kendall 1938; Mogstad et al. 2024 (sets of tied ranks).
"""

from __future__ import annotations

import functools
import itertools

import numpy as np
import polars as pl

from divergence.estimands.pairs import signs_agree
from divergence.estimands.projection_instability import project
from divergence.estimands.rows import about, answer, answered, frame, unit_of
from divergence.estimate import Estimate
from divergence.identification import needs
from divergence.identification.question import Question
from divergence.joint.laws import Law
from divergence.joint.posterior import Posterior
from divergence.numerics import rankdata
from divergence.orders import contenders, share_of_first

QUESTION, TEXT = "rank_agreement", "agreement of the bench order with the deployed order (Kendall tau)"


ROOM = Question(
    QUESTION,
    "agreement of the two orders",
    TEXT,
    functools.partial(needs.models_in_both, least=2),
    of_levels=True,
)


@answered(ROOM, "ratio")
def rank_agreement(
    posterior: Posterior,
    *,
    law: Law | None = None,
    contexts: str = "logged",
    outcome: str | None = None,
    items: str | None = None,
) -> Estimate:
    """Kendall tau, top-1 regret, and per model and regime the probability to be first, the place, the tied set."""
    posterior = about(posterior, items)
    fit, line = project(posterior, outcome, law, contexts)
    sign = fit.cells.sign
    sides = {"evaluation": sign * line.bench, "deployment": sign * line.deployed}
    first = {regime: share_of_first(level) for regime, level in sides.items()}
    deployed = sides["deployment"]
    regret = deployed.max(1) - (first["evaluation"] * deployed).sum(1)
    rows = [
        frame(regime=[None] * 2, model=[None] * 2, statistic=[None, "top1_regret"]).with_columns(
            unit=pl.Series(["ratio", unit_of(fit)])
        )
    ]
    draws = [kendall(line.bench, line.deployed), regret]
    for (regime, level), (name, values) in itertools.product(
        sides.items(),
        (("p_best", lambda r, _: first[r]), ("rank", lambda _, v: place(v)), ("tied", lambda r, _: tied(first[r]))),
    ):
        rows.append(
            frame(
                regime=[regime] * len(line.models), model=list(line.models), statistic=[name] * len(line.models)
            ).with_columns(unit=pl.lit("probability" if name == "p_best" else "ratio"))
        )
        draws += list(values(regime, level).T)
    return answer(fit, QUESTION, TEXT, "ratio", pl.concat(rows), np.stack(draws, 1))


def kendall(bench: np.ndarray, deployed: np.ndarray) -> np.ndarray:
    """Kendall tau of every draw, shape (S,), of levels (S, models); a tied pair counts 0."""
    models = bench.shape[1]
    return signs_agree(bench, deployed) / (models * (models - 1) / 2)


def place(level: np.ndarray) -> np.ndarray:
    """Place of each model in every draw, 1 = largest; ties take the mean of their places. Shape (S, models)."""
    return rankdata(-level, axis=1)


def tied(first: np.ndarray) -> np.ndarray:
    """1 for the fewest models that together are first with probability `SURE`, else 0; the same in every draw."""
    out = np.zeros(first.shape[1])
    out[contenders(first.mean(0))] = 1.0
    return np.repeat(out[None], len(first), 0)
