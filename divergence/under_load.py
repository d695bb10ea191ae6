"""A log to its curve over load: the telemetry joined to the executions, and the question asked of what was counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from divergence.calling import sentences
from divergence.errors import NotIdentifiedError
from divergence.estimands.load_curve import QUESTION, TEXT, WORDS
from divergence.estimands.load_curve import load_curve as curve
from divergence.estimate import Estimate
from divergence.executions.load import METRIC, loads, offered
from divergence.executions.unchanged import one_pass
from divergence.outcome_names import unit_named

if TYPE_CHECKING:
    from divergence.executions import Executions

UNITS = {"binary": "probability", "proportion": "probability", "fraction": "probability", "ordinal": "probability"}
"""Kind of an outcome -> unit of its level; another kind has the unit that its name says."""


@sentences
@one_pass
def load_curve(log: Executions, *, metric: str = METRIC, seed: int = 0) -> Estimate:
    """The level of each model in each context over a logged load, with a band; refused where items and load do not overlap.

    `log`: what `read` returns, with telemetry beside it or a column `load`, which goes before it. `metric` names the gauge
    of the telemetry that is the load (`requests_running`, `kv_cache_usage`, ...), in its own unit. `seed`: of the
    bootstrap. Returns an Estimate, one row a model, context and point of the load (`axis`), in the unit of the outcome.
    Raises InputError for a metric that the telemetry lacks.

    >>> import divergence as dv
    >>> from divergence.simulate import simulate, world
    >>> log = dv.read(simulate(world("baseline"), 0)[0])
    >>> dv.load_curve(log).identified
    True
    """
    unit = UNITS.get(log.kind, unit_named(log.outcome))
    try:
        found = loads(log, metric)
    except NotIdentifiedError as error:
        return Estimate.refused(QUESTION, TEXT, unit, str(error), outcome=log.outcome, words=WORDS)
    return curve(found.table, found.load, found.source, outcome=log.outcome, unit=unit, seed=seed)


def under_load(log: Executions) -> dict[str, Estimate]:
    """The answer of a log that offers a load: telemetry, a column `load`, or a concurrency; else nothing is asked."""
    return {QUESTION: load_curve(log)} if offered(log) else {}
