"""How far apart do systems that are equal on the bench land in deployment?

    delta^D | delta^E ~ N(beta delta^E, tau_p^2),    PI0 = E |delta^D| at delta^E = 0 = tau_p sqrt(2 / pi)

over all pairs of the models of the log, by least squares through 0 on the outcome scale: `delta^E = B_m - B_m'` on the
bench, `delta^D = D_m - D_m'` in deployment, `tau_p` the root mean square of what is left. The regression is made anew in
every posterior draw of the levels: binomial and item noise is in the draws, so it neither inflates `tau_p` nor flattens
`beta`, as a regression of raw scores would. A finite-population quantity: of the models of this log. With
`contexts="new"`, here and in the other questions of the amplifier, D is the level in one context that the log never saw, not
the mean over those that it saw: wider.
Identified by four models with rows in both regimes; three pairs of three models nearly fit themselves. Unit: points, for
`beta` none. Source: regression through the origin over pairs; PI0 is the mean of a half-normal law.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import polars as pl

from divergence.estimands.rows import about, answer, answered, frame, models_with_rows, unit_of
from divergence.estimate import Estimate
from divergence.identification import needs
from divergence.identification.question import Question
from divergence.joint.laws import Law
from divergence.joint.posterior import Fit, Posterior
from divergence.joint.predict import levels

QUESTION, TEXT = "projection_instability", "how far apart systems that are equal on the bench land in deployment"
MODELS_MIN = 4  # with three models two of the three pairs decide the line


@dataclasses.dataclass(frozen=True)
class Projection:
    """Draws of bench and deployed levels, and of the line between their pairwise gaps."""

    models: tuple[str, ...]
    """Models with rows in both regimes."""
    bench: np.ndarray
    """Bench levels, shape (S, models)."""
    deployed: np.ndarray
    """Deployed levels, shape (S, models)."""
    within: np.ndarray
    """Levels in every deployment context, shape (S, models, contexts)."""
    law: np.ndarray
    """Weights of these contexts, shape (contexts,)."""
    gap: np.ndarray
    """Root mean square of the bench gap over pairs, shape (S,)."""
    beta: np.ndarray
    """Slope through 0, shape (S,); 0 in a draw where all models are equal on the bench."""
    tau: np.ndarray
    """Root mean square residual of the deployed gap over pairs, shape (S,)."""


ROOM = Question(
    QUESTION,
    "how far apart equal systems land",
    TEXT,
    functools.partial(needs.models_in_both, least=MODELS_MIN),
    of_levels=True,
)


@answered(ROOM, unit_of)
def projection_instability(
    posterior: Posterior,
    *,
    law: Law | None = None,
    contexts: str = "logged",
    outcome: str | None = None,
    items: str | None = None,
) -> Estimate:
    """Three numbers for the log: PI0 (`statistic` null), `tau_p` and `beta`; PI0 again under its own name."""
    posterior = about(posterior, items)
    fit, line = project(posterior, outcome, law, contexts)
    unit = unit_of(fit)
    apart = line.tau * np.sqrt(2 / np.pi)
    rows = frame(statistic=[None, "tau_p", "beta", "PI0"]).with_columns(unit=pl.Series([unit, unit, "ratio", unit]))
    return answer(fit, QUESTION, TEXT, unit, rows, np.stack([apart, line.tau, line.beta, apart], 1))


def project(posterior: Posterior, outcome: str | None, law: Law | None, contexts: str = "logged") -> tuple[Fit, Projection]:
    """The fit and the line; what every question of the amplifier asks, once its needs are met."""
    fit = posterior[outcome]
    bench, deployed = levels(fit, "evaluation"), levels(fit, "deployment", law, contexts=contexts)
    assert bench is not None and deployed is not None  # the questions' needs: models in both, and one judge
    both = models_with_rows(fit, True) & models_with_rows(fit, False)
    names = tuple(name for name, yes in zip(bench.models, both, strict=True) if yes)
    b, d = bench.mean()[:, both], deployed.mean()[:, both]
    weights = deployed.law[both].mean(0)
    return fit, Projection(names, b, d, deployed.draws[:, both], weights, *regress(b, d))


def regress(bench: np.ndarray, deployed: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Root mean square bench gap, beta and tau_p over all pairs, each (S,), of levels (S, models).

    A sum over pairs of products of gaps is `models` times the sum of products of centred levels.
    """
    x, y = bench - bench.mean(1, keepdims=True), deployed - deployed.mean(1, keepdims=True)
    scale = 2 / (bench.shape[1] - 1)
    xx, xy = (x**2).sum(1), (x * y).sum(1)
    beta = np.where(xx > 0, xy / np.where(xx > 0, xx, 1.0), 0.0)
    left = ((y - beta[:, None] * x) ** 2).sum(1)
    return np.sqrt(scale * xx), beta, np.sqrt(scale * left)
