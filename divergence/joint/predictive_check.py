"""Does the fitted model produce levels like those seen? Posterior predictive checks per regime and context.

    replicated = eta + e,  e ~ N(0, V)        on the link scale, for the very arms of the log (V as sure as `noise` says)

| row | observed | compared with |
|---|---|---|
| a context of a regime | mean over models of the working responses | its replications |
| a context's `spread` | their variance over models | its replications |
| all | (value - eta)' V^-1 (value - eta) | the same of replications (chi-square: Gelman, Meng and Stern 1996) |

`p` is the share of replications at or above the observed one; near 0 or 1 the model does not produce what was seen. Such
p-values are drawn towards 1/2, as the data were used twice: an extreme one is strong evidence. Unit: link scale.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from divergence.joint.block_checks import noise_form
from divergence.joint.design import arm_loadings
from divergence.joint.link import Response
from divergence.joint.noise import draw_noise
from divergence.joint.posterior import Posterior
from divergence.random_streams import stream

JITTER = 1e-9  # of a variance: arms that are copies of each other have a covariance without an inverse
P_EXTREME = 0.005  # on either side: one in a hundred checks of a right model, at most


def predictive_check(posterior: Posterior, *, outcome: str | None = None) -> pl.DataFrame:
    """One row a check: regime, context, statistic, observed, mean, lower, upper (90 %), p, extreme."""
    fit = posterior[outcome]
    rng = stream(fit.seed, "replications")
    eta = fit.effects @ arm_loadings(fit.design, fit.arms).T
    response = fit.response
    noise, _ = draw_noise(response, len(eta), rng)
    again, value = eta + noise, fit.response.value
    rows = [_row("all", None, "chi_square", *(_chi_square(response, error) for error in (value - eta, noise)))]
    for deployed, context in fit.design.contexts:
        mine = (fit.arms.deployed == bool(deployed)) & (fit.arms.context == context)
        regime, name = "deployment" if deployed else "evaluation", fit.cells.levels["context"][context]
        rows.append(_row(regime, name, "mean", value[mine].mean(), again[:, mine].mean(1)))
        if mine.sum() > 1:
            rows.append(_row(regime, name, "spread", value[mine].var(), again[:, mine].var(1)))
    return pl.DataFrame(rows)


def _chi_square(response: Response, error: np.ndarray) -> np.ndarray:
    """`e' V^-1 e` of errors (S, A), shape (S,)."""
    if response.parts is not None:
        return noise_form(response.parts, error, JITTER)
    root = np.linalg.cholesky(response.matrix + JITTER * np.diag(response.variance))
    return np.square(np.linalg.solve(root, error.T)).sum(0)


def _row(regime: str, context: str | None, statistic: str, observed: np.ndarray | float, again: np.ndarray) -> dict:
    p = float((again > observed).mean() + 0.5 * (again == observed).mean())
    lower, upper = np.quantile(again, [0.05, 0.95])
    return {
        "regime": regime,
        "context": context,
        "statistic": statistic,
        "observed": float(np.mean(observed)),
        "mean": float(again.mean()),
        "lower": float(lower),
        "upper": float(upper),
        "p": p,
        "extreme": min(p, 1 - p) < P_EXTREME,
    }


def surprises(fit_check: pl.DataFrame) -> tuple[str, ...]:
    """A sentence for each extreme check."""
    return tuple(
        f"the model does not produce the {row['statistic']} seen in {row['context'] or 'all arms'} ({row['regime']}): "
        f"{row['observed']:.3g} against {row['lower']:.3g} to {row['upper']:.3g} (p = {row['p']:.3f})"
        for row in fit_check.filter("extreme").iter_rows(named=True)
    )
