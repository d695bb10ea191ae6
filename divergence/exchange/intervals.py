"""How sure is the level of each model in each context, task by task?

    mu_mc = sum_i pi_i p_mic        for new items of the task's source

The posterior interval of the joint model (see `joint.predict`), fitted to one task at a time: levels of unlike tasks are
no one number. Identified where the task's rows can be fitted; else there is no interval, and the reason is said. Unit: the
outcome's own. Source: as `estimands.bench_level`, of which this is the part of one context.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl

from divergence.cells import collapse
from divergence.configuration import Configuration
from divergence.errors import InputError, NotIdentifiedError
from divergence.estimate import INTERVAL
from divergence.executions import Executions, read
from divergence.joint import fit
from divergence.joint.predict import levels

METHOD = "equal-tailed posterior interval of the level for new items, joint model of divergence"

Key = tuple[str | None, str, str, str]
"""Task, regime, model, context."""


@dataclasses.dataclass(frozen=True)
class Interval:
    """What is known of one level."""

    lower: float
    """Lower limit, in the unit of the outcome."""
    upper: float
    """Upper limit."""
    mean: float
    """Posterior mean."""
    sd: float
    """Posterior standard deviation."""
    level: float
    """Probability that the limits hold, 0 to 1."""
    method: str
    """How it was computed, in a few words; names a failed diagnostic."""


def level_intervals(log: Executions, seed: int = 0) -> tuple[dict[Key, Interval], tuple[str, ...]]:
    """The intervals of every cell with judged rows, and a sentence for every task that could not be fitted."""
    found: dict[Key, Interval] = {}
    notes = []
    for task, part in _tasks(log):
        try:
            posterior = fit(collapse(part), seed=seed)
        except (InputError, NotIdentifiedError) as error:
            notes.append(f"{task or 'The log'} has no intervals: {error}")
            continue
        failed = [d.name for d in posterior.diagnostics if not d.passed]
        method = METHOD + (f"; failed: {', '.join(failed)}" if failed else "")
        for regime in ("evaluation", "deployment"):
            known = levels(posterior[None], regime)
            for m, model in enumerate(known.models if known else ()):
                for c, context in enumerate(known.contexts if known else ()):
                    if known is not None and known.observed[m, c]:
                        found[task, regime, model, context] = _interval(known.draws[:, m, c], method)
    return found, tuple(notes)


def _tasks(log: Executions) -> list[tuple[str | None, Executions]]:
    """The log itself where it has one task; else its rows task by task, each as a log of its own."""
    names = log.scan().select("task").unique().collect(engine="streaming")["task"].sort().to_list()
    if len(names) < 2:
        return [(names[0] if names else None, log)]
    factors = None if log.factors in ((), ("context",)) else log.factors
    # The rows that are scanned have canonical names already, so that only what they mean is declared again.
    meant = Configuration(outcome=log.outcome, kind=log.kind, grades=log.configuration.grades, factors=factors)
    rows = log.valid.drop("outcome", "file", "row", strict=False)
    return [(name, read(rows.filter(pl.col("task").eq_missing(name)), configuration=meant)) for name in names]


def _interval(draws: np.ndarray, method: str) -> Interval:
    tail = (1 - INTERVAL) / 2
    lower, upper = np.quantile(draws, [tail, 1 - tail])
    return Interval(float(lower), float(upper), float(draws.mean()), float(draws.std(ddof=1)), INTERVAL, method)
