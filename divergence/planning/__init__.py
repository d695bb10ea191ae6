"""What to measure next, and what that buys: from a posterior to a design, before anything is measured.

| file | holds |
|---|---|
| `variance_parts` | what the noise of each level is made of, from the cells |
| `knowledge` | every place that could be measured: what is known of it, what a request there says and costs |
| `goals` | what is to be known better, as numbers that depend on levels |
| `preposterior` | width and regret after a design, before it is made |
| `allocation` | greedy by gain per cost; equal shares beside it |
| `offers` | items, trials, contexts, models and labels in one table |
| `measure` | `plan(posterior, goal=..., budget=...)`, which calls them |
| `result`, `words`, `page` | the plan as a value, as text, as a page |
| `next_plan` | the first design as a plan that the probe runs |
| `sample_size` | items that a `compare` needs, without a log |
| `rounds` | plan, probe, fit until done: what each round predicted and what came |

Names are imported from their files: a sample size needs no JAX.
"""
