"""What do the same items score in another serving context? Runs a plan against live endpoints and writes executions.

| file | holds |
|---|---|
| `plan`, `reading` | the plan as data; reading and validating it and its items |
| `item_files`, `replay` | the items: JSON lines, Parquet, or a log of another tool to ask again |
| `allocation` | which items each system is asked in each context, where a plan allots them; what was asked before |
| `factorial` | crossed contexts, fractions of them, and what they confound |
| `workloads`, `agent` | single questions, conversations, episodes with tools |
| `arrivals`, `budget`, `telemetry` | when requests go out, what a run may cost, what servers say meanwhile |
| `dry_run`, `endpoint_check` | what a plan would ask, without asking; is the endpoint there? |
| `client`, `reply_stream` | one streamed chat completion with retries; what came back, within bounds |
| `scoring` | strict and lenient scorers |
| `store` | the crash-safe journal, and the final table |
| `campaign`, `block` | blocks in random order, waves; `run(plan_path, out)` is the entry |
| `stack`, `server`, `second_engine`, `router` | real local servers of two engines, a router before them |

`divergence.probe.run(plan_path, out, quiet=False, seed=0)` returns a `ProbeSummary`, `dry_run(plan_path)` a `DryRun`.
aiohttp is needed for any run; the local stack needs the `lab` extra as well. Neither is imported before it is used.
"""

from divergence.probe.campaign import ProbeSummary, run
from divergence.probe.dry_run import DryRun, dry_run

__all__ = ["DryRun", "ProbeSummary", "dry_run", "run"]
