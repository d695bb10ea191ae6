"""What bench and traffic have in common: items and scorers."""

from __future__ import annotations

import numpy as np

from divergence.cells.cells import Cells, Table
from divergence.cells.metric_kinds import metric_codes
from divergence.numerics import combinations

# Of the traffic's items and of its rows, for the reason of `choice.SHARED_MIN`: a twentieth that is the easiest moves a
# level by some 2 points. A tenth that was three logits easier was taken for the effect of an engine in one log of five.
REPLAYED_MIN = 0.95
ALIKE_MIN = 0.9  # share of rows judged alike: a tenth judged by another, ten points stricter, moves a level by one point


def replays(cells: Cells) -> bool:
    """Does the traffic replay the bench: are its items, and rows, but for a twentieth those of items that the bench tried?

    Tried, not judged: an answer that could not be parsed leaves the bench without the item's outcome, and makes its
    repetitions in deployment no traffic of their own. Nor does an item that one side lost.
    """
    return bool(_replayed(cells, np.zeros(len(cells.counts), int), 1)[0])


def replayed_shares(cells: Cells) -> np.ndarray:
    """Share of the bench's items that traffic which replays it tried in each model and context, of the tasks that were tried
    there at all, shape (models, contexts); 1 where there is none, or none replays it: all traffic, or a context alone."""
    out = np.ones((len(cells.levels["model"]), len(cells.levels["context"])))
    counts, deployed, replaying = _named(cells)
    if not replaying.any():
        return out
    bench = combinations(counts["task"][~deployed], counts["item"][~deployed])[0]
    size = np.bincount(bench[0] + 1, minlength=len(cells.levels["task"]) + 1)  # items of each task
    (model, context, task, _), _ = combinations(*(counts[k][replaying] for k in ("model", "context", "task", "item")))
    (_, _, of_task), part = combinations(model, context, task)
    arms, arm = combinations(model, context)
    first = np.unique(part, return_index=True)[1]
    offered = np.bincount(arm[first], size[of_task + 1][part[first]], arm.max() + 1)
    out[arms[0], arms[1]] = np.minimum(np.bincount(arm) / np.maximum(offered, 1), 1.0)
    return out


def replayed_together(cells: Cells) -> float:
    """Share of the bench's items that any traffic which replays it (as in `replayed_shares`) tried, of the tasks that it
    tried at all; 1 where none replays it."""
    counts, deployed, replaying = _named(cells)
    unit = combinations(counts["task"], counts["item"])[1]
    offered = ~deployed & np.isin(counts["task"], counts["task"][replaying])
    bench = np.unique(unit[offered])
    return float(np.isin(bench, unit[replaying]).mean()) if len(bench) else 1.0


def _named(cells: Cells) -> tuple[Table, np.ndarray, np.ndarray]:
    """Judged rows of `counts` that name their item; which are in deployment, and which of these replay the bench."""
    counts = cells.counts.take((cells.counts["item"] >= 0) & (cells.counts["n"] > 0))
    deployed = deployed_regimes(cells)[counts["regime"]]
    return counts, deployed, deployed if replays(cells) else deployed & replaying_contexts(cells)[counts["context"]]


def replaying_contexts(cells: Cells) -> np.ndarray:
    """Which contexts do so, each taken alone, shape (contexts,)."""
    return _replayed(cells, cells.counts["context"], len(cells.levels["context"]))


def _replayed(cells: Cells, group: np.ndarray, groups: int) -> np.ndarray:
    """Do the deployment rows of each group, a code a row of `counts`, shape (groups,)?"""
    counts = cells.counts
    deployed = deployed_regimes(cells)[counts["regime"]]
    offered = counts["item"][~deployed]
    mine = deployed & (counts["n"] > 0)
    group, item, trials = group[mine], counts["item"][mine], counts["n"][mine]
    (owner, named), _ = combinations(group[item >= 0], item[item >= 0])
    whole = np.bincount(owner, minlength=groups), np.bincount(group, trials, groups)
    known = (
        np.bincount(owner, np.isin(named, offered), groups),
        np.bincount(group, trials * ((item >= 0) & np.isin(item, offered)), groups),
    )
    shares = [part / np.maximum(all_of, 1) for part, all_of in zip(known, whole, strict=True)]
    return (whole[0] > 0) & (np.minimum(*shares) >= REPLAYED_MIN)


def scorers(cells: Cells) -> dict[str, set[str]]:
    """Names of the scorers that judged rows of each regime; rows without a scorer name none."""
    names, judged = cells.levels["scorer"], cells.counts["n"] > 0
    return {
        regime: {names[k] for k in np.unique(cells.counts["scorer"][judged & in_regime(cells, regime)]) if k >= 0}
        for regime in ("evaluation", "deployment")
    }


def scorer_conflict(cells: Cells) -> str | None:
    """Why the regimes cannot be compared, where most rows of a task were judged by others than in the other regime."""
    judges = scorers(cells)
    if not all(judges.values()):
        return None
    sides = [in_regime(cells, regime) for regime in ("evaluation", "deployment")]
    if judged_alike(cells, *sides):
        return None
    names = [", ".join(sorted(judges[regime])) for regime in ("evaluation", "deployment")]
    advice = one_judge(*(set(judges[regime]) for regime in ("evaluation", "deployment")))
    return f"the regimes were judged by different scorers ({names[0]} against {names[1]}); {advice}"


def context_conflict(cells: Cells, regime: str) -> str | None:
    """Why the contexts of a regime cannot be compared with each other: they were judged by different scorers."""
    here = in_regime(cells, regime) & (cells.counts["n"] > 0)
    if len(np.unique(cells.counts["scorer"][here & (cells.counts["scorer"] >= 0)])) < 2:
        return None
    contexts = _told_apart(cells, here)
    for place, first in enumerate(contexts):
        for second in contexts[place + 1 :]:
            one, two = (here & (cells.counts["context"] == c) for c in (first, second))
            if not judged_alike(cells, one, two):
                names = [cells.levels["context"][c] for c in (first, second)]
                judges = [
                    [cells.levels["scorer"][k] for k in np.unique(cells.counts["scorer"][side]) if k >= 0]
                    for side in (one, two)
                ]
                told = " against ".join(map(", ".join, judges))
                advice = one_judge(*map(set, judges))
                return f"{names[0]} and {names[1]} were judged by different scorers ({told}); {advice}"
    return None


def _told_apart(cells: Cells, here: np.ndarray) -> np.ndarray:
    """Codes of the contexts of these rows; of those whose scorers judged the same shares of each task and metric, one."""
    counts = cells.counts.take(here & (cells.counts["scorer"] >= 0))
    (context, task, scorer), place = combinations(*(counts[k] for k in ("context", "task", "scorer")))
    rows = np.bincount(place, counts["rows"] - counts["unjudged"], len(context))
    stratum = combinations(context, task)[1]
    share = rows / np.maximum(np.bincount(stratum, rows), 1)[stratum]
    kinds = metric_codes(cells)
    first: dict[bytes, int] = {}
    for c in np.unique(context):
        mine = (context == c) & (rows > 0)
        metrics = np.bincount(kinds[scorer[mine]], rows[mine]) / max(rows[mine].sum(), 1)
        pattern = np.concatenate([task[mine], scorer[mine], share[mine], metrics])
        first.setdefault(pattern.tobytes(), int(c))
    return np.array(list(first.values()), int)


def model_conflict(cells: Cells, regime: str) -> str | None:
    """Why the models of a regime cannot be compared: one was judged by other scorers than all the others."""
    here = in_regime(cells, regime) & (cells.counts["n"] > 0)
    named = here & (cells.counts["scorer"] >= 0)
    models = np.unique(cells.counts["model"][named])
    if len(np.unique(cells.counts["scorer"][named])) < 2 or len(models) < 2:
        return None
    (task, model, scorer), place = combinations(*(cells.counts[k][named] for k in ("task", "model", "scorer")))
    rows = np.bincount(place, (cells.counts["rows"] - cells.counts["unjudged"])[named], len(task))
    whole = np.zeros((len(np.unique(task)), len(models), len(cells.levels["scorer"])))
    whole[np.unique(task, return_inverse=True)[1], np.searchsorted(models, model), scorer] = rows
    least, told, kinds, all_models = ALIKE_MIN, None, metric_codes(cells), whole.sum(1)
    for m in range(len(models)):
        mine, rest = whole[:, m], all_models - whole[:, m]
        common = (mine.sum(1) > 0) & (rest.sum(1) > 0)
        pairs = [(mine[t], rest[t]) for t in np.flatnonzero(common)]
        for one, other in pairs or [tuple(np.bincount(kinds, side.sum(0), len(kinds)) for side in (mine, rest))]:
            alike = float(np.minimum(one / one.sum(), other / other.sum()).sum())
            least, told = (alike, (m, one, other)) if alike < least else (least, told)
    if told is None:
        return None
    m, *sides = told
    names = [cells.levels["model"][k] for k in models]
    judges = [[cells.levels["scorer"][k] for k in np.flatnonzero(side)] for side in sides]
    others = names[1 - m] if len(models) == 2 else "the other models"
    told = " against ".join(", ".join(side[:3]) for side in judges)
    advice = one_judge(*map(set, judges))
    return f"{names[m]} and {others} were judged by different scorers ({told}); {advice}"


def one_judge(first: set[str], second: set[str]) -> str:
    """What to write or to do where two sides were judged by different scorers: the rows of one that judged both.

    >>> one_judge({"exact", "judge-a"}, {"exact"})
    'take one that judged both: --where scorer=exact'
    """
    shared = sorted(first & second)
    if shared:
        return f"take one that judged both: --where scorer={shared[0]}"
    return "judge one side again as the other was; a judge with two names needs one in the column scorer"


def judged_alike(cells: Cells, first: np.ndarray, second: np.ndarray) -> bool:
    """Do the same scorers judge two sets of rows of `counts`, task by task? Rows that name no scorer are left out.

    Sets without a common task are compared as a whole, by what is measured: another task with another metric is no
    comparison.
    """
    counts = cells.counts
    judged = np.where(counts["scorer"] >= 0, counts["rows"] - counts["unjudged"], 0.0)
    size = len(cells.levels["scorer"])
    common = np.intersect1d(counts["task"][first & (judged > 0)], counts["task"][second & (judged > 0)])
    scorer = counts["scorer"] if len(common) else metric_codes(cells)[counts["scorer"]] if size else counts["scorer"]
    for these in [counts["task"] == task for task in common] or [np.ones(len(judged), bool)]:
        shares = []
        for side in (first, second):
            mine = side & these & (judged > 0)
            rows = np.bincount(scorer[mine], judged[mine], size)
            shares.append(rows / rows.sum() if rows.sum() else None)
        if shares[0] is not None and shares[1] is not None and np.minimum(*shares).sum() < ALIKE_MIN:
            return False
    return True


def deployed_regimes(cells: Cells) -> np.ndarray:
    """Which regime codes are deployment, shape (regimes,)."""
    return np.array([name == "deployment" for name in cells.levels["regime"]], bool)


def in_regime(cells: Cells, regime: str) -> np.ndarray:
    """Rows of `counts` of that regime, shape (rows,)."""
    return np.array([name == regime for name in cells.levels["regime"]], bool)[cells.counts["regime"]]
