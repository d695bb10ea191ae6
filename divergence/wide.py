"""What `[wide]` of the configuration declares: a table of models by benchmarks. `executions.shaped` unfolds it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

WIDE = ("item", "task")
"""What the columns of a wide table can be."""


@dataclasses.dataclass(frozen=True)
class Wide:
    """A table with one row a model and one column a benchmark: every cell is a row of the log."""

    model: str | None = None
    """Column with the models' names; None = `model`."""
    columns: tuple[str, ...] | None = None
    """Columns whose cells are outcomes; None = every column of numbers that nothing else names."""
    becomes: str = "item"
    """What a column's name is: an `item` (a benchmark counts as one item of one suite), or a `task` of one item."""
    trials: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Trials behind the rate of each column, where they are known: column -> number."""
