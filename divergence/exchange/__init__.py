"""A log and our intervals in the files of another tool. Formats: `every-eval-ever`.

A format that is written has a module here, and an importer of the same name in `executions.importers` that reads it back.
"""

from divergence.exchange.intervals import Interval, level_intervals
from divergence.exchange.write_every_eval_ever import Evaluator, Written, write

__all__ = ["FORMATS", "Evaluator", "Interval", "Written", "level_intervals", "write"]

FORMATS = ("every-eval-ever",)
"""Names of the formats that can be written."""
