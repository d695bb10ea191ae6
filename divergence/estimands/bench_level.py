"""How good is each model on the bench?

    B_m = E_{c ~ Q_E} mu_mc,    mu_mc = sum_i pi_i p_mic

The expected outcome of new items of the bench's source, served as the bench serves them; evaluation contexts by their
share of the evaluation rows. Where other models tell that the items drawn were easy or hard for this one, the level lies off
the plain mean of its rows by up to about its error (`joint.paired`); with `items="observed"` it is that mean but for the
noise of single answers. Where the log has tasks, `statistic` = `task` gives the level on each alone (`task_levels`), and
where every task has a metric of its own the mean over them is refused. Of a time `median` and `quantile_95` are those of its
rows, by model and context (`time_quantiles`). Identified by evaluation rows of the model.
Unit: probability (or the outcome's own).
Source: Miller 2024 (arXiv 2411.00640) for items as a sample; Brennan 2001 for universe scores.
"""

from __future__ import annotations

import functools

import numpy as np
import polars as pl

from divergence.estimands.rows import about, answer, answered, frame, level_unit, models_with_rows
from divergence.estimands.task_levels import task_levels
from divergence.estimands.time_quantiles import time_quantiles
from divergence.estimate import Estimate
from divergence.identification import needs
from divergence.identification.question import Question
from divergence.joint.laws import Law
from divergence.joint.posterior import Posterior
from divergence.joint.predict import levels

QUESTION, TEXT = "bench_level", "the level of each model on the bench, for new items"


ROOM = Question(
    QUESTION,
    "level on the bench",
    TEXT,
    functools.partial(needs.task_level_needs, regime="evaluation"),
    of_levels=True,
)


@answered(ROOM, level_unit)
def bench_level(posterior: Posterior, *, outcome: str | None = None, items: str | None = None) -> Estimate:
    """Bench level of every model with evaluation rows: one row a model, and one a task, `regime` = evaluation."""
    posterior = about(posterior, items)
    return level(posterior, "evaluation", QUESTION, TEXT, outcome, None)


def level(posterior: Posterior, regime: str, question: str, text: str, outcome: str | None, law: Law | None) -> Estimate:
    """Levels of one regime; also what `deployed_level` calls."""
    fit = posterior[outcome]
    mu = levels(fit, regime, law)
    assert mu is not None  # the question's needs: judged rows of the regime
    seen = np.flatnonzero(models_with_rows(fit, regime == "deployment"))
    unlike = needs.unlike_tasks(fit.log_design, regime)
    draws = mu.mean()[:, seen]
    rows = [frame(regime=[regime] * len(seen), model=[mu.models[m] for m in seen])]
    reasons: list[str | None] = [unlike] * len(seen)
    if unlike:
        draws = np.full_like(draws, np.nan)
    found = list(task_levels(fit, regime, law))
    if found:
        nothing = np.full(len(draws), np.nan)
        draws = np.column_stack([draws, *(nothing if each.draws is None else each.draws for each in found)])
        reasons += [None if each.draws is not None else f"{each.items} item: a level needs two" for each in found]
        models, tasks = [each.model for each in found], [each.task for each in found]
        many = len(found)
        rows.append(frame(regime=[regime] * many, model=models, task=tasks, statistic=["task"] * many))
    times = list(time_quantiles(fit, regime))
    if times:
        draws = np.column_stack([draws, *(each.draws for each in times)])
        reasons += [each.reason for each in times]
        named = {name: [getattr(each, name) for each in times] for name in ("model", "context", "statistic")}
        rows.append(frame(regime=[regime] * len(times), **named))
    return answer(fit, question, text, level_unit(fit), pl.concat(rows, how="diagonal"), draws, reason=tuple(reasons))
