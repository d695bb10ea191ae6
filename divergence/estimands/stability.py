"""Can a model's level be counted on in whatever context it meets?

| `statistic` | what | rows |
|---|---|---|
| null | DS(eps) = P_{c ~ Q_D}( abs(mu_mc - D_m) <= eps ) | per model |
| `quantile_10` | level that 90 % of the law reaches or exceeds (`quantile_90` where less is better) | per model |
| `cvar_10` | mean level over the worst 10 % of the deployment law | per model |
| `Phi(lambda)` | how surely one context's level tells the models' levels from the required one (dependability) | one |
| `pass^k_within` | success k times in a row in one context | per model |
| `pass^k_across`, `pass^k_movement` | the same with each try in a context drawn anew, and what is lost by it | per model |

All are functionals of the posterior levels under the deployment law, but for pass^k (`repeated_success`). `eps` is half the
width of the band on the outcome's scale: .05 for scores, for other outcomes it has to be given. `Phi(lambda)` needs
`quality_required`. Identified by two deployment contexts, Phi(lambda) by two models in them, pass^k by k replicates of
items in every context that the model itself ran in. Unit: probability; levels in the outcome's. Source: Rockafellar and
Uryasev 2000 (CVaR); Brennan and Kane 1977 (Phi(lambda)).
"""

from __future__ import annotations

import numpy as np
import polars as pl

from divergence.errors import InputError
from divergence.estimands.coupling import components, crossed_levels
from divergence.estimands.generalizability import dependability
from divergence.estimands.repeated_success import repeated_success
from divergence.estimands.rows import about, answer, answered, deployed_contexts, frame, level_unit, models_with_rows, refuse
from divergence.estimate import Estimate
from divergence.identification import needs
from divergence.identification.question import Question
from divergence.joint.laws import Law
from divergence.joint.posterior import Fit, Posterior
from divergence.joint.predict import Levels
from divergence.random_streams import stream

QUESTION, TEXT = "stability", "share of the deployment law in which a model's level is within eps of its mean"
BLOCK = 2**22  # levels that are sorted at once
EPS = 0.05  # five points: what a reader of a leaderboard acts on
TAIL = 0.1  # the worst share of the law


ROOM = Question(
    QUESTION,
    "stability over contexts",
    TEXT,
    needs.moves_over_contexts,
    declared=("stability",),
    of_levels=True,
)


@answered(ROOM, "probability")
def stability(
    posterior: Posterior,
    *,
    eps: float | None = None,
    quality_required: float | None = None,
    k: int = 2,
    law: Law | None = None,
    outcome: str | None = None,
    items: str | None = None,
) -> Estimate:
    """Rows as in the table above. Raises InputError for an eps or a required level that is no level, or a k below 2."""
    posterior = about(posterior, items)
    _check(eps, quality_required, k)
    fit, mu, reason = deployed_contexts(posterior, outcome, law, 2)
    if mu is None:
        return refuse(fit, QUESTION, TEXT, "probability", reason)
    seen = np.flatnonzero(models_with_rows(fit, True))
    names = [mu.models[m] for m in seen]
    single = [
        None
        if (mu.observed[m] & (mu.law[m] > 0)).sum() > 1
        else f"{mu.models[m]} was logged in one deployment context of the law; how its level holds needs two"
        for m in seen
    ]
    nothing = np.full((len(mu.draws), len(seen)), np.nan)
    unknown = None
    if eps is None:
        eps = EPS
        unknown = (
            None
            if fit.cells.kind != "positive"
            else (f"no eps is declared in the unit of {fit.cells.outcome}: the band of stability has no width")
        )
    less_is_better = fit.cells.better == "lower"
    low, worst = tail(mu, TAIL, less_is_better)
    columns = [
        (None, "probability", nothing if unknown else inside(mu, eps)[:, seen], [unknown or why for why in single]),
        ("quantile_90" if less_is_better else "quantile_10", level_unit(fit), low[:, seen], single),
        ("cvar_10", level_unit(fit), worst[:, seen], single),
    ]
    rows, draws, reasons = [], [], []
    for statistic, unit, values, why in columns:
        rows.append(_rows(names, statistic, unit))
        draws.append(np.where([w is None for w in why], values, np.nan))
        reasons += why
    for more in (_dependability(posterior, quality_required, law, outcome), _repeats(fit, mu, seen, k)):
        rows.append(more[0])
        draws.append(more[1])
        reasons += more[2]
    text = TEXT.replace("eps", f"{eps:g}") if unknown is None else TEXT
    return answer(fit, QUESTION, text, "probability", pl.concat(rows), np.concatenate(draws, 1), reason=tuple(reasons))


def inside(mu: Levels, eps: float) -> np.ndarray:
    """DS(eps) of each model, shape (S, models)."""
    near = np.abs(mu.draws - mu.mean()[:, :, None]) <= eps
    return np.einsum("smc,mc->sm", near, mu.law)


def tail(mu: Levels, share: float, high: bool) -> tuple[np.ndarray, np.ndarray]:
    """Quantile and mean of the worst `share` of the law over contexts, each (S, models); `high`: large levels are worse."""
    found = np.empty((2, *mu.draws.shape[:2]))
    step = max(1, BLOCK // (len(mu.draws) * len(mu.contexts)))
    for begin in range(0, len(mu.models), step):
        some = slice(begin, begin + step)
        draws = mu.draws[:, some]
        order = np.argsort(-draws if high else draws, axis=2)
        level = np.take_along_axis(draws, order, 2)
        weight = np.take_along_axis(np.broadcast_to(mu.law[some], draws.shape), order, 2)
        reached = np.cumsum(weight, 2)
        found[0, :, some] = np.take_along_axis(level, (reached >= share - 1e-12).argmax(2)[:, :, None], 2)[:, :, 0]
        part = np.minimum(weight, np.maximum(share - (reached - weight), 0.0))
        found[1, :, some] = (part * level).sum(2) / share
    return found[0], found[1]


def _check(eps: float | None, quality_required: float | None, k: int) -> None:
    if eps is not None and not 0 <= eps < np.inf:
        raise InputError(f"eps is half the width of a band and so a number from 0 on, seen {eps!r}")
    if quality_required is not None and not np.isfinite(quality_required):
        raise InputError(f"quality_required is a level, seen {quality_required!r}")
    if isinstance(k, bool) or not isinstance(k, int) or k < 2:
        raise InputError(f"k is how often in a row a success is wanted, a whole number from 2 on, seen {k!r}")


def _rows(names: list, statistic: str | None, unit: str) -> pl.DataFrame:
    return frame(model=names, statistic=[statistic] * len(names)).with_columns(unit=pl.lit(unit))


def _dependability(posterior: Posterior, required: float | None, law: Law | None, outcome: str | None):
    """Row, draws and reason of Phi(lambda)."""
    fit, mu, reason = crossed_levels(posterior, outcome, law)
    if required is None:
        reason = "no required level is declared (`quality_required`): Phi(lambda) is dependability at that level"
    rows = _rows([None], "Phi(lambda)", "ratio")
    if mu is None or required is None:
        return rows, np.full((len(fit.effects), 1), np.nan), [reason]
    grand = mu.mean().mean(1)
    return rows, dependability(components(mu), {"c": 1}, distance=grand - required)[:, None], [None]


def _own(mu: Levels, model: int) -> np.ndarray:
    """The law over the contexts that the model ran in: what others ran in beside them is none of its tries."""
    law = np.where(mu.observed[model], mu.law[model], 0.0)
    return law / law.sum() if law.sum() > 0 else mu.law[model]


def _repeats(fit: Fit, mu: Levels, seen: np.ndarray, k: int):
    """Rows, draws and reasons of pass^k within a context, across contexts, and their difference."""
    draws, reasons = np.full((len(mu.draws), 3, len(seen)), np.nan), []
    contexts = np.flatnonzero(fit.design.contexts[:, 0] == 1)
    rng = stream(fit.seed, "repeated success")
    for j, m in enumerate(seen):
        found = (
            f"success {k} times in a row is counted where each outcome is 0 or 1; {fit.cells.outcome} has other values"
            if fit.cells.kind != "binary"
            else repeated_success(fit, int(m), contexts, _own(mu, m), k, rng)
        )
        if not isinstance(found, str):
            draws[:, :, j] = np.stack([*found, found[0] - found[1]], 1)
        reasons.append(found if isinstance(found, str) else None)
    names = [mu.models[m] for m in seen]
    parts = [
        (f"pass^{k}_{kind}", unit)
        for kind, unit in (("within", "probability"), ("across", "probability"), ("movement", "fraction"))
    ]
    return pl.concat([_rows(names, *part) for part in parts]), draws.reshape(len(draws), -1), reasons * 3
