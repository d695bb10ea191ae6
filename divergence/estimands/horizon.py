"""How long a task does a model still solve half of the time, or four times in five?

    P(success | length) = sigmoid(a + b log2 length),     T_q = 2^((logit q - a) / b)

| `statistic` | what | unit | rows |
|---|---|---|---|
| null | T_50, the declared length at which half of the tasks are solved | declared | per model, context, regime |
| `T80` | the same for 80 % | declared | the same |
| `slope` | b: change of the log odds of success per doubling of the length | nats | the same |

Length is what the log declares (`task_length`, for example human minutes), never how long an episode turned out to be.
Tasks are clustered by family: the Bayesian bootstrap weighs whole families (`task`) where there are five or more, else
items, widened for few clusters (Cameron and Miller 2015). Identified by three declared lengths, success that falls with
length (P(b >= 0) at most .05), and a horizon within one doubling of the lengths that were tried; beyond that it would be an
extrapolation. Under a constant hazard T80 / T50 = .322 (`half_life_ratio`).
Source: Kwa et al. 2025 (arXiv 2503.14499); Ord 2025.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from divergence.cells import Cells, Table
from divergence.estimands.rows import answer, answered, frame
from divergence.estimate import Estimate
from divergence.identification import needs
from divergence.identification.log_design import LogDesign
from divergence.identification.question import Need, Question
from divergence.joint.posterior import Posterior
from divergence.numerics import combinations, few_clusters
from divergence.random_streams import stream

QUESTION, TEXT = "horizon", "the declared task length at which a model still solves half of the tasks"
LENGTHS_MIN = 3
FAMILIES_MIN = 5
SURE = 0.95
PRIOR_SD = 5.0  # of both coefficients: keeps separated data finite, and moves no estimate of twenty tasks by a digit


def length_needs(design: LogDesign) -> Need:
    """Tasks of several declared lengths, and names to cluster them by."""
    lengths = design.cells.lengths
    if not len(lengths):
        return Need(False, "It needs the declared length of the tasks; no row of this log has `task_length`.")
    keys, place = combinations(*(lengths[k] for k in ("regime", "model", "context")))
    for k in range(keys.shape[1]):
        mine = lengths.take(place == k)
        if len(np.unique(mine["task_length"])) >= LENGTHS_MIN and named_clusters(mine) >= FAMILIES_MIN:
            return Need(True, f"{needs.many(int(lengths['n'].sum()), 'row')} of tasks with a declared length.")
    return Need(
        False,
        f"It needs {LENGTHS_MIN} declared lengths and {FAMILIES_MIN} named tasks or families of one model in one context.",
    )


def named_clusters(mine: Table) -> int:
    """Families where there are enough of them, else items, that have a name."""
    families = np.unique(mine["task"])
    cluster = mine["task"] if len(families) >= FAMILIES_MIN else mine["item"]
    return len(np.unique(cluster[cluster >= 0]))


ROOM = Question(
    QUESTION,
    "task length that is still solved",
    TEXT,
    length_needs,
    # That success falls with the length, and where it crosses one half, is what is asked of the scores.
    depends="success must surely fall with the declared length, to one half near the lengths tried",
    example_log="tasks",
)


@answered(ROOM, "declared")
def horizon(posterior: Posterior, *, outcome: str | None = None) -> Estimate:
    """Rows as in the table above."""
    fit = posterior[outcome]
    cells = fit.cells
    rng = stream(fit.seed, "horizons")
    rows, draws, reasons = [], [], []
    for place, mine in _combinations(cells):
        length = np.array([float(name) for name in cells.levels["task_length"]])[mine["task_length"]]
        found, why = _fit(mine, length, len(fit.effects), rng)
        numbers = zip((None, "T80", "slope"), ("declared", "declared", "nats"), found, strict=True)
        for statistic, unit, value in numbers:
            reason = why if why or statistic == "slope" else beyond(value, length)
            rows.append((*place, statistic, unit, len(np.unique(mine["item"]))))
            draws.append(value if reason is None else np.full(len(fit.effects), np.nan))
            reasons.append(reason)
    model, context, regime, statistic, unit, items = (list(c) for c in zip(*rows, strict=True))
    table = frame(model=model, context=context, regime=regime, statistic=statistic, n_items=items)
    return answer(
        fit, QUESTION, TEXT, "declared", table.with_columns(unit=pl.Series(unit)), np.stack(draws, 1), reason=tuple(reasons)
    )


def half_life_ratio(share: float) -> float:
    """T_share / T_50 when every step fails with the same chance; half_life_ratio(.8) is .3219281."""
    return float(np.log(share) / np.log(0.5))


def _combinations(cells: Cells):
    lengths = cells.lengths
    keys = np.stack([lengths[k] for k in ("regime", "model", "context")])
    for combination in np.unique(keys, axis=1).T:
        r, m, c = combination
        names = cells.levels["model"][m], cells.levels["context"][c], cells.levels["regime"][r]
        yield names, lengths.take((keys == combination[:, None]).all(0))


def _fit(mine: Table, length: np.ndarray, draws: int, rng: np.random.Generator) -> tuple[np.ndarray, str | None]:
    """T50, T80 and slope, each (draws,), and the reason why the log does not identify them."""
    nothing = np.full((3, draws), np.nan)
    distinct = len(np.unique(length))
    if distinct < LENGTHS_MIN:
        return nothing, f"tasks declare {distinct} lengths; how success falls with length needs {LENGTHS_MIN}"
    families = np.unique(mine["task"])
    cluster = mine["task"] if len(families) >= FAMILIES_MIN else mine["item"]
    _, code = np.unique(cluster, return_inverse=True)
    named = len(np.unique(cluster[cluster >= 0]))
    if named < FAMILIES_MIN:  # rows without a name are one cluster: reweighing it alone would look certain
        return nothing, f"{named} tasks have a name (`item`); how sure a horizon is needs {FAMILIES_MIN}"
    weight = rng.standard_exponential((draws, code.max() + 1))[:, code]
    a, b = (
        np.median(v) + few_clusters(named) * (v - np.median(v))
        for v in logistic(np.log2(length), mine["n"], mine["y"], weight)
    )
    falls = float((b < 0).mean())
    if falls < SURE:
        return nothing, (
            f"success does not surely fall with the declared length (probability {falls:.2f}): no length is "
            "known at which it reaches one half"
        )
    with np.errstate(over="ignore"):  # a slope near 0 puts a draw beyond all numbers: the median is what is told
        return np.stack([2 ** ((logit - a) / b) for logit in (0.0, np.log(4.0))] + [b]), None


def logistic(x: np.ndarray, n: np.ndarray, y: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Penalised maximum likelihood of a + b x for every row of weights (draws, rows), by Newton's method."""
    centre = (n @ x) / n.sum()
    z = np.stack([np.ones_like(x), x - centre])
    coefficients = np.zeros((len(weight), 2))
    penalty = np.eye(2) / PRIOR_SD**2
    for _ in range(30):
        p = 1 / (1 + np.exp(-np.clip(coefficients @ z, -30, 30)))
        gradient = (weight * (y - n * p)) @ z.T - coefficients @ penalty
        curvature = np.einsum("sr,ir,jr->sij", weight * n * p * (1 - p), z, z) + penalty
        step = np.linalg.solve(curvature, gradient[:, :, None])[:, :, 0]
        coefficients = coefficients + np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-8:
            break
    return coefficients[:, 0] - coefficients[:, 1] * centre, coefficients[:, 1]


def beyond(value: np.ndarray, length: np.ndarray) -> str | None:
    """Why a horizon is not given: its median lies more than one doubling outside the lengths that were tried."""
    middle = float(np.median(value))
    if length.min() / 2 <= middle <= length.max() * 2:
        return None
    side = "below" if middle < length.min() else "above"
    return (
        f"the horizon lies {side} the lengths that were tried ({length.min():g} to {length.max():g}) by more than one "
        "doubling: it would be an extrapolation"
    )
