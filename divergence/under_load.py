"""A log to its curve over load: the telemetry joined to the executions, and the question asked of what was counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from divergence.errors import NotIdentifiedError
from divergence.estimands.load_curve import QUESTION, TEXT, WORDS
from divergence.estimands.load_curve import load_curve as curve
from divergence.estimate import Estimate
from divergence.executions.load import METRIC, loads

if TYPE_CHECKING:
    from divergence.executions import Executions

UNITS = {"binary": "probability", "proportion": "probability", "fraction": "probability", "ordinal": "probability"}
"""Kind of an outcome -> unit of its level; another kind has the unit that its name says."""


def load_curve(log: Executions, *, metric: str = METRIC, seed: int = 0) -> Estimate:
    """The level of each model in each context over a logged load, with a band; refused where items and load do not overlap.

    `metric` names the gauge of the telemetry that is the load (`requests_running`, `kv_cache_usage`, ...); a column `load`
    of the executions goes before it.
    """
    unit = UNITS.get(log.kind, "usd" if log.outcome.endswith("_usd") else "s" if log.outcome.endswith("_s") else log.outcome)
    try:
        found = loads(log, metric)
    except NotIdentifiedError as error:
        return Estimate.refused(QUESTION, TEXT, unit, str(error), outcome=log.outcome, words=WORDS)
    return curve(found.table, found.load, found.source, outcome=log.outcome, unit=unit, seed=seed)


def under_load(log: Executions) -> dict[str, Estimate]:
    """The answer of a log that offers a load: telemetry, a column `load`, or a concurrency; else nothing is asked."""
    offered = log.telemetry is not None or {"load", "concurrency"} & log.present
    return {QUESTION: load_curve(log)} if offered else {}
