"""Worlds with known truth: what every estimand is tested against.

| file | what |
|---|---|
| `worlds` | the kinds of world, their sizes and their arm-level draws |
| `draw` | an execution log from a world |
| `truth` | the estimands' true values, by quadrature |
| `write` | both as files |
"""

from divergence.simulate.draw import simulate
from divergence.simulate.worlds import KINDS, World, world
from divergence.simulate.write import write

__all__ = ["KINDS", "World", "simulate", "world", "write"]
