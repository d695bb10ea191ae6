"""Stage 1, logs -> table. `read` turns files of any common kind into one validated log, `Executions`."""

from divergence.executions.answers import Answer
from divergence.executions.executions import Counts, Executions
from divergence.executions.read import read
from divergence.executions.schema import EXECUTIONS, OUTCOMES, REGIMES, SERVING_FACTORS, TELEMETRY, Column, markdown

__all__ = [
    "EXECUTIONS", "OUTCOMES", "REGIMES", "SERVING_FACTORS", "TELEMETRY", "Answer", "Column", "Counts", "Executions",
    "markdown", "read",
]
