"""Did this re-served model get worse? Two runs (or one against several), paired item by item, with a margin.

    import divergence as dv
    found = dv.compare("runs/before", "runs/after", margin=0.02)
    found.verdict                         # "no worse", "worse", "not settled"
    found.to_frame()                      # the whole and every (model, task), one row each

| file | what it decides |
|---|---|
| `sides`, `opening` | one side: rows of anything that `read` or `import` takes, and how the run was set |
| `logged_settings`, `changes` | what differs between the settings of two runs |
| `pairs`, `near_ids` | which items both sides answered; ids that differ only in how they are written |
| `moves`, `tango` | the interval of a paired difference: flips, replicates, clusters |
| `same_items` | the interval for these very items, from replicates alone |
| `items_needed` | how many items would settle it |
| `flips` | scores and answers that changed, down and up, and how many of them repeating alone explains |
| `anytime`, `state` | limits that hold over repeated looks, and what is kept between them |
| `two_runs`, `many_runs` | the verdicts: of one change; of several, with Holm's correction and who differs from whom |
| `comparison` | the result |
| `words`, `screen`, `page`, `markdown`, `junit`, `write`, `figure` | the result as text, files and a figure |

The folder is not called `compare`, because a public function never has the name of a folder: the import of one would
hide the other, and `dv.compare` is the function.
"""

from divergence.comparison.comparison import Comparison
from divergence.comparison.many_runs import Comparisons, compare_runs
from divergence.comparison.two_runs import compare

__all__ = ["Comparison", "Comparisons", "compare", "compare_runs"]
