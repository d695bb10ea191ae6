"""Worlds with known truth: what every estimand is tested against.

| file | what |
|---|---|
| `worlds` | the kinds of world, their sizes and their arm-level draws |
| `draw` | an execution log from a world |
| `truth` | the estimands' true values, by quadrature |
| `agents` | a world of agents: episodes that break down, caps, costs; with its own truths |
| `streams` | streams of requests whose couplings, margins or nothing changes at a known row: for drift |
| `write` | both as files |
"""

from divergence.simulate.agents import AgentWorld, simulate_agents
from divergence.simulate.draw import simulate, simulate_both, with_a_candidate
from divergence.simulate.streams import SCENARIOS, changed_edges, stream
from divergence.simulate.worlds import KINDS, World, world
from divergence.simulate.write import write

__all__ = [
    "KINDS",
    "SCENARIOS",
    "AgentWorld",
    "World",
    "changed_edges",
    "simulate",
    "simulate_agents",
    "simulate_both",
    "stream",
    "with_a_candidate",
    "world",
    "write",
]
