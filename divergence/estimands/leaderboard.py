"""Which model is best under this traffic, how sure is its place, and who moves when the traffic moves?

    level_m = sum_c w_c mu_mc,     rank_m = 1 + number of models above it, in every draw of the joint posterior

| `statistic` | what | rows |
|---|---|---|
| null | level under the law; `axis` = `measured`, `partly forecast` (in a context without rows), `forecast` | each |
| `rank` | its place, ties share; the interval is that of the draws | per model |
| `tied_group` | its first model and those next below that it does not beat with 90 % | per model |
| `p_first`, `p_top` | is it first? among the first `level`? 1 or 0: the mean is the probability | per model |
| `bench`, `bench_rank` | what the bench alone says of the same models | per model with evaluation rows |
| `what_if`, `what_if_rank`, `moved` | level, place, places lost under another law (`level` = its name) | per model |

Models stand in the order of their mean level. Groups are made from the top with one comparison a model, so nothing over all
pairs is ever held: models of one group may differ from each other by more than from the first of the next. Only the first
models of two neighbouring groups are settled; one further down that is known less well may still stand higher. A model with
bench rows only is forecast (`forecast`) and marked; one that cannot be is refused by name. Laws are linear: a mixture of two
laws has the mixture of their levels in every draw.
Identified by two models with a deployed level. Unit: that of the outcome; `ratio` for places.
Source: Mogstad et al. 2024 (confidence sets of ranks); Goldstein and Spiegelhalter 1996 (ranks of institutions).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from divergence.errors import InputError
from divergence.estimands.rows import about, answer, answered, level_unit, refuse
from divergence.estimands.standing import MEASURED, MODELS_MIN, Standing, candidates_of, known_models, like_names, standing
from divergence.estimate import INTERVAL, Estimate
from divergence.identification import needs
from divergence.identification.log_design import LogDesign
from divergence.identification.question import Need, Question
from divergence.joint.laws import Law
from divergence.joint.posterior import Fit, Posterior
from divergence.numerics import rankdata
from divergence.orders import share_of_first

QUESTION, TEXT = "leaderboard", "which model is best under the deployment law, and how sure its place is"
NUMBERS_MAX = 12_000_000  # draws times rows that are kept, 96 MB: of thousands of models some draws are left out
DRAWS_MIN = 400  # but so many stay: the end of a 90 % interval is then known to 1.1 %
TOP, TOP_FEW = 10, 3
FEW = 20  # models up to which "the top" are three, not ten


def leaderboard_needs(design: LogDesign) -> Need:
    """Two models with a deployed level, a forecast one included."""
    found = needs.level_needs(design, "deployment")
    if not found.met:
        return found
    judged_apart = needs.no_order(design, "deployment")
    if judged_apart:
        return Need(False, judged_apart)
    served = design.models["deployment"]
    forecast = candidates_of(design)[1] if needs.models_in_both(design, MODELS_MIN).met else 0
    if served + forecast < 2:
        return Need(False, "It needs two models in deployment; this log has one.")
    apart = needs.unlinked_models(design, "deployment")
    if apart:
        return Need(False, apart)
    return Need(True, f"{needs.many(served, 'model')} in deployment" + (f" and {forecast} forecast." if forecast else "."))


ROOM = Question(
    QUESTION,
    "leaderboard under the deployment law",
    TEXT,
    leaderboard_needs,
    # A candidate is forecast by its drawn distance from the line of the others: counts say who may be, values who is.
    depends="a candidate counts where it can be forecast",
    declared=("laws", "incumbent"),
    of_levels=True,
)


def _checked(fit: Fit, given: Mapping) -> None:
    known_models(fit, given.get("incumbent"))


@answered(ROOM, level_unit, _checked)
def leaderboard(
    posterior: Posterior,
    *,
    law: Law | None = None,
    what_if: Mapping[str, Law] | None = None,
    incumbent: str | Sequence[str] | None = None,
    top: int | None = None,
    outcome: str | None = None,
    items: str | None = None,
) -> Estimate:
    """Rows as in the table above, best model first. Raises InputError for a law over levels never seen.

    `incumbent` is checked and named in the answer's text, so that a page can mark it.
    """
    posterior = about(posterior, items)
    fit = posterior[outcome]
    seen = standing(fit)
    if seen is None or len(seen.names) < 2:
        return refuse(fit, QUESTION, TEXT, level_unit(fit), "a leaderboard needs two models with a deployed level")
    laws = {name: _weights(seen, name, other) for name, other in (what_if or {}).items()}
    sign = fit.cells.sign
    weights = seen.weights(law)
    keep = _kept(len(seen.draws), len(seen.names) * (8 + 3 * len(laws)))
    level = seen.level(weights)[keep]
    order = sorted(range(len(seen.names)), key=lambda k: (-sign * level[:, k].mean(), seen.names[k]))
    names = [seen.names[k] for k in order]
    status = [seen.status(weights)[k] for k in order]
    level = level[:, order]
    rank = ranks(sign * level)
    count = min(top or (TOP if len(order) > FEW else TOP_FEW), len(order))
    blocks = [
        _block(names, status, None, level_unit(fit), level),
        _block(names, status, "rank", "ratio", rank),
        _block(names, status, "tied_group", "ratio", np.repeat(tied_groups(sign * level)[None], len(level), 0)),
        _block(names, status, "p_first", "probability", _share(rank, 1)),
        _block(names, status, "p_top", "probability", _share(rank, count), level=str(count)),
        *_bench(seen, order, status, keep, sign),
    ]
    for name, other in laws.items():
        under = seen.level(other)[keep][:, order]
        place = ranks(sign * under)
        where = {"factor": "what_if", "level": name}
        blocks += [
            _block(names, status, "what_if", level_unit(fit), under, **where),
            _block(names, status, "what_if_rank", "ratio", place, **where),
            _block(names, status, "moved", "ratio", place - rank, **where),
        ]
    reasons: list[str | None] = [None] * sum(table.height for table, _ in blocks)
    if seen.left_out:
        gone = list(seen.left_out)
        blocks.append(_block(gone, [None] * len(gone), None, level_unit(fit), np.full((len(level), len(gone)), np.nan)))
        reasons += seen.left_out.values()
    rows = pl.concat([table for table, _ in blocks], how="diagonal")
    draws = np.concatenate([drawn for _, drawn in blocks], 1)
    text = TEXT + _told(seen, known_models(fit, incumbent), status)
    return answer(fit, QUESTION, text, level_unit(fit), rows, draws, reason=tuple(reasons))


def ranks(level: np.ndarray) -> np.ndarray:
    """Place in every draw, 1 = largest, ties take the mean of their places, shape (S, models).

    >>> ranks(np.array([[0.2, 0.9, 0.2]])).tolist()
    [[2.5, 1.0, 2.5]]
    """
    return rankdata(-level, axis=1)


def tied_groups(level: np.ndarray) -> np.ndarray:
    """Group of each model, 1, 2, ..., of levels (S, models) with the models in order, best first.

    A model opens a group where the first of the group before lies above it in at least 90 % of the draws.

    >>> tied_groups(np.array([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [2.0, 3.0, 1.0]])).tolist()
    [1, 1, 2]
    """
    group, first = np.ones(level.shape[1], int), 0
    for m in range(1, level.shape[1]):
        above = (level[:, first] > level[:, m]).mean() + (level[:, first] == level[:, m]).mean() / 2
        group[m] = group[m - 1]
        if above >= INTERVAL:
            group[m], first = group[m] + 1, m
    return group


def _share(rank: np.ndarray, count: int) -> np.ndarray:
    """1 where the place is surely within the first `count`; tied models share the places that are left."""
    if count == 1:
        return share_of_first(rank, highest=False)
    return (rank <= count).astype(float)


def _kept(draws: int, rows: int) -> slice:
    """Which draws are kept."""
    wanted = max(NUMBERS_MAX // max(rows, 1), DRAWS_MIN)
    return slice(0, None, max(1, draws // wanted))


def _weights(seen: Standing, name: str, law: Law) -> np.ndarray:
    try:
        return seen.weights(law)
    except InputError as error:
        told = str(error).replace("the declared deployment law", "the law")
        raise InputError(f"In [what_if] {name}: {told}") from error


def _block(
    names: list[str], status: Sequence[str | None], statistic: str | None, unit: str, draws: np.ndarray, **where: str
) -> tuple[pl.DataFrame, np.ndarray]:
    """Rows of one statistic, one a model."""
    count = len(names)
    columns = {
        "model": names,
        "axis": list(status),
        "statistic": [statistic] * count,
        "regime": ["evaluation" if (statistic or "").startswith("bench") else "deployment"] * count,
        "factor": [where.get("factor")] * count,
        "level": [where.get("level")] * count,
    }
    table = pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String)).with_columns(unit=pl.lit(unit))
    return table, draws


def _bench(
    seen: Standing, order: list[int], status: list[str], keep: slice, sign: float
) -> list[tuple[pl.DataFrame, np.ndarray]]:
    """Level and place on the bench, of the models that have one."""
    bench = seen.bench[keep][:, order]
    known = np.all(np.isfinite(bench), axis=0)
    if known.sum() < 2:
        return []
    names = [seen.names[k] for k, yes in zip(order, known, strict=True) if yes]
    kinds = [told for told, yes in zip(status, known, strict=True) if yes]
    unit = level_unit(seen.fit)
    return [
        _block(names, kinds, "bench", unit, bench[:, known]),
        _block(names, kinds, "bench_rank", "ratio", ranks(sign * bench[:, known])),
    ]


def _told(seen: Standing, incumbent: tuple[str, ...], status: list[str]) -> str:
    """What must be said beside the numbers."""
    told = [f"the incumbent is {', '.join(incumbent)}"] if incumbent else []
    marked = sum(one != MEASURED for one in status)
    if marked:
        told.append(f"{marked} of {len(status)} models are forecast in all or some contexts, and marked")
    same = like_names(seen.names)
    if same:
        told.append(same.rstrip("."))
    return f" ({'; '.join(told)})" if told else ""
