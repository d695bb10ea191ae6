"""Figures: one file each, with `chart(...)` (an `altair.Chart`) and `sentence(...)` (what it shows, from the numbers).

| file | shows | from |
|---|---|---|
| `order.py` | bench order against deployed order | `bench_level`, `deployed_level` |
| `amplifier.py` | chance of a reversal over the bench gap | `bench_level`, `reversal`, `gap_for_confidence` |
| `score_kappa.py` | score against its spread over contexts | `bench_level`, `kappa` |
| `gap.py` | gap of each model | `gap` |
| `matrix.py` | five axes on which deployment can differ from the bench | `matrix` |
| `contexts.py` | effect of each context, over models | `context_effect` |
| `contrasts.py` | contexts against each other, without a bench | `context_effect` |
| `context_map.py` | effect of each context on each model | `context_effect` |
| `coherence_map.py` | chance of each model to meet all requirements in each context | `coherence` |
| `factors.py` | effect of each level of a serving factor | `serving_effect` |
| `flips.py` | items that change sides, against the A/A floor | `excess_flips` |
| `waves.py` | drift of the instrument | `instrument` |
| `repeats.py` | success k times in a row | `pass_power` |
| `survival.py` | episodes that have not failed by each step | `collapse_hazard` |
| `costs.py` | what one success takes | `cost_per_success` |
| `ledger.py` | what makes a success dearer than on the bench | `cost_ledger` |

`forest.py` is the frame that the forests share, `curves.py` that of lines; `theme.py` the look of all. A new figure is
one file and one row here. Importing this package does not load altair: the functions that draw do.
"""
