"""How likely is a model to solve a task k times in a row, and does it pass the single turn and fail the loop?

| `statistic` | what | rows |
|---|---|---|
| null | pass^k at the largest k that the trials allow | per model, context, regime |
| `pass^k` | mean over tasks of C(c_i, k) / C(n_i, k), c_i successes of n_i trials: the unbiased count | the same, per k |
| `pass^k_model` | E p^k under tasks that differ (beta-binomial): for any k, an extrapolation beyond the trials | the same |
| `task_correlation` | intra-class correlation of the trials of a task: 0 all alike, 1 always or never | the same |
| `agreement`, `agreement_answers` | all runs of an item alike in score, in answer (`repeat_agreement`) | per N runs |
| `single_turn_gap` | success of single executions minus that of episodes, capped ones no success | per model and regime |

(E p)^k, which takes tasks for alike, is wrong by a factor of six at k = 4 on tau-bench. Tasks are a sample: intervals are
those of new tasks (Bayesian bootstrap; the grid posterior for the model). Scorers of one answer are judges and no trials:
each counts by itself, and their values are averaged. Identified by items with k trials; the gap by executions of both kinds.
Trials that are copies (greedy decoding) are what they are: always or never. Unit: probability;
the gap in points. Source: Yao et al. 2024 (arXiv 2406.12045) for pass^k.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from scipy.special import gammaln

from divergence.cells import Cells
from divergence.cells.episodes import agent_episodes
from divergence.cells.scorer_trials import trials_by_scorer
from divergence.errors import InputError
from divergence.estimands.beta_binomial import laws_of_scorers, power_mean
from divergence.estimands.repeat_agreement import repeat_agreement
from divergence.estimands.rows import answer, answered, frame
from divergence.estimate import Estimate
from divergence.identification import needs
from divergence.identification.log_design import REGIMES, LogDesign
from divergence.identification.question import Need, Question
from divergence.joint.posterior import Fit, Posterior
from divergence.random_streams import stream

QUESTION, TEXT = "pass_power", "the chance that a model solves a task k times in a row"
POWERS = (1, 2, 3, 4)
TASKS_MIN = 2


def trial_needs(design: LogDesign) -> Need:
    """Two items that one model answered in one context."""
    if design.cells.kind != "binary":
        return Need(
            False,
            f"Success k times in a row is counted where each outcome is 0 or 1; {design.cells.outcome} has other values.",
        )
    known, repeated = int(design.arms.items.max(initial=0)), int(design.arms.repeated.max(initial=0))
    if known < TASKS_MIN:
        items = sum(design.sharing.items.values())
        return Need(
            False,
            f"It needs items with an identity, {TASKS_MIN} of them answered by one model in one context; this log has "
            f"{items}.",
        )
    unlike, names = {regime: needs.unlike_tasks(design, regime) for regime in design.rows}, design.cells.levels
    found = []
    for a in np.flatnonzero(design.arms.items >= TASKS_MIN):
        regime = REGIMES[int(design.arms.deployed[a])]
        place = names["model"][design.arms.model[a]], regime, names["context"][design.arms.context[a]]
        found.append(unlike[regime] or needs.driven(design, *place))
    if all(found):
        return Need(False, found[0] or "")
    if repeated < TASKS_MIN:
        return Need(True, f"{needs.many(known, 'item')} with one trial each: only the first power can be counted.")
    return Need(True, f"{needs.many(repeated, 'item')} with two trials of one model in one context.")


ROOM = Question(
    QUESTION,
    "success k times in a row",
    TEXT,
    trial_needs,
    example_log="agents",
)


@answered(ROOM, "probability")
def pass_power(posterior: Posterior, *, powers: tuple[int, ...] = POWERS, outcome: str | None = None) -> Estimate:
    """Rows as in the table above. Raises InputError for a power that is no whole number from 1 on."""
    for k in powers:
        if isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise InputError(f"k is how often in a row a success is wanted, a whole number from 1 on, seen {k!r}")
    fit = posterior[outcome]
    rng = stream(fit.seed, "success in a row")
    rows, draws, reasons = [], [], []
    unlike = {regime: needs.unlike_tasks(fit.log_design, regime) for regime in fit.log_design.rows}
    for place, n, y in _combinations(fit.cells):
        for statistic, value, reason in _numbers(n, y, powers, len(fit.effects), rng):
            why = unlike[place[2]] or needs.driven(fit.log_design, place[0], place[2], place[1])
            rows.append((*place, statistic, "probability", n.shape[1], None))
            draws.append(np.full_like(value, np.nan) if why else value)
            reasons.append(why or reason)
    for model, regime, value, reason in _single_turn(fit, rng):
        rows.append((model, None, regime, "single_turn_gap", "fraction", None, None))
        draws.append(value)
        reasons.append(reason)
    for model, context, regime, statistic, runs, items, value in repeat_agreement(fit, stream(fit.seed, "agreement")):
        rows.append((model, context, regime, statistic, "probability", items, str(runs)))
        why = needs.driven(fit.log_design, model, regime, context)
        draws.append(np.full_like(value, np.nan) if why else value)
        reasons.append(why)
    model, context, regime, statistic, unit, items, level = (list(c) for c in zip(*rows, strict=True))
    table = frame(model=model, context=context, regime=regime, statistic=statistic, n_items=items, level=level)
    return answer(
        fit,
        QUESTION,
        TEXT,
        "probability",
        table.with_columns(unit=pl.Series(unit)),
        np.stack(draws, 1),
        reason=tuple(reasons),
    )


def _combinations(cells: Cells):
    """(model, context, regime) names with trials and successes (scorers, items), for combinations with enough items."""
    counts = cells.counts.take((cells.counts["item"] >= 0) & (cells.counts["n"] > 0))
    for (r, m, c), mine in counts.grouped("regime", "model", "context"):
        n, y = trials_by_scorer(mine)
        if n.shape[1] >= TASKS_MIN:
            yield (cells.levels["model"][m], cells.levels["context"][c], cells.levels["regime"][r]), n, y


def _numbers(n: np.ndarray, y: np.ndarray, powers: tuple[int, ...], size: int, rng: np.random.Generator):
    """(statistic, draws, reason) of one combination, the headline first."""
    nothing = np.full(size, np.nan)
    # Tasks with the same trials and successes have the same value: the sum of their exponential weights is a Gamma one.
    alike, tasks = np.unique(np.concatenate([n, y]), axis=1, return_counts=True)
    trials, solved = np.split(alike, 2)
    weight = rng.standard_gamma(tasks, (size, len(tasks)))
    counted = {}
    for k in powers:
        judged = trials >= k  # by which scorer: judges of one answer are no trials of it, and their values are averaged
        known = judged.any(0)
        if tasks[known].sum() >= TASKS_MIN:
            values = np.where(judged, unbiased(trials, solved, k), 0.0).sum(0)[known] / judged.sum(0)[known]
            counted[k] = _bootstrapped(values, tasks[known], weight[:, known])
    laws = laws_of_scorers(n, y, size, rng)
    most = n.max(0)
    several = (n >= 2).any(0).sum() >= TASKS_MIN
    alone = "no item has two trials: how tasks differ, and so every power above 1, is not known"
    if counted:
        yield None, counted[max(counted)], None
    for k in powers:
        yield (
            f"pass^{k}",
            counted.get(k, nothing),
            None if k in counted else f"{int((most >= k).sum())} items have {k} trials; the count needs {TASKS_MIN}",
        )
    for k in powers:
        known = several or k == 1
        yield (
            f"pass^{k}_model",
            np.mean([power_mean(*law, k) for law in laws], 0) if known else nothing,
            None if known else alone,
        )
    yield "task_correlation", np.mean([law[1] for law in laws], 0) if several else nothing, None if several else alone


def unbiased(n: np.ndarray, y: np.ndarray, k: int) -> np.ndarray:
    """C(y, k) / C(n, k) of each task; n = 4, y = 3, k = 2 is 1/2."""

    def log_choose(x: np.ndarray) -> np.ndarray:
        return gammaln(x + 1) - gammaln(np.maximum(x - k, 0) + 1)

    return np.where(y >= k, np.exp(log_choose(y) - log_choose(n)), 0.0)


def _bootstrapped(values: np.ndarray, tasks: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Bayesian-bootstrap draws of a mean over tasks; their own mean is the count itself, not its Monte Carlo estimate.

    `values` are those of groups of so many `tasks`, `weight` (S, groups) the sums of their weights.
    """
    if values.min() == values.max():  # nothing differed: the bootstrap would be certain, Jeffreys' half a task is not
        count = int(tasks.sum())
        good = values[0] * count
        return np.random.default_rng(count).beta(good + 0.5, count - good + 0.5, len(weight))
    draws = weight @ values / weight.sum(1)
    return draws + tasks @ values / tasks.sum() - draws.mean()


def _single_turn(fit: Fit, rng: np.random.Generator):
    """(model, regime, draws, reason): success of single executions minus that of episodes."""
    cells = fit.cells
    episodes, measures = agent_episodes(cells), cells.measures
    if not len(episodes) or "score" not in cells.levels["measure"]:
        return
    score = measures.take(measures["measure"] == cells.levels["measure"].index("score"))
    weight = rng.standard_exponential((len(fit.effects), len(cells.levels["block"])))
    task = np.unique(episodes["task"])
    for r, regime in enumerate(cells.levels["regime"]):
        for m, model in enumerate(cells.levels["model"]):
            loop = episodes.take((episodes["model"] == m) & (episodes["regime"] == r))
            single = score.take((score["model"] == m) & (score["regime"] == r) & ~np.isin(score["task"], task))
            if not len(loop):
                continue
            if not len(single):
                yield (
                    model,
                    regime,
                    np.full(len(weight), np.nan),
                    "the log has no single executions of this model in tasks of their own beside its episodes",
                )
                continue
            rates = [
                _weighted(t["block"], top, bottom, weight)
                for t, top, bottom in ((single, single["y"], single["n"]), (loop, loop["solved"], loop["n"]))
            ]
            yield model, regime, rates[0] - rates[1], None


def _weighted(block: np.ndarray, top: np.ndarray, bottom: np.ndarray, weight: np.ndarray) -> np.ndarray:
    size = weight.shape[1]
    return (weight @ np.bincount(block, top, size)) / np.maximum(weight @ np.bincount(block, bottom, size), 1e-300)
