"""What do the same items score in another serving context? Runs a plan against live endpoints and writes executions.

| file | holds |
|---|---|
| `plan`, `reading` | the plan as data; reading and validating it and its items |
| `items` | the questions of the serving lab, made by construction |
| `client` | one streamed chat completion with retries |
| `scoring` | strict scorers |
| `store` | the crash-safe journal, and the final table |
| `campaign` | blocks, waves, the loop; `run(plan_path, out)` is the entry |
| `stack`, `server`, `weights` | real local llama.cpp servers and their weights |

`divergence.probe.run(plan_path, out, quiet=False, seed=0)` returns a `ProbeSummary`. aiohttp is needed for any run; the
local stack needs the `lab` extra as well. Nothing of either is imported before it is used.
"""

from divergence.probe.campaign import ProbeSummary, run

__all__ = ["ProbeSummary", "run"]
