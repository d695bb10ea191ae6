"""Stage 2: a log's sufficient statistics.

| file | what |
|---|---|
| `cells` | the value: coded tables with named levels |
| `collapse` | Executions -> Cells, streaming |
| `trials` | how many trials a row stands for |
| `thinning` | the tables by session and by answer, kept small |
| `measures` | what executions took: sums and histograms of times, costs and counts |
| `blocks` | random groups of whole clusters, for joint bootstraps of them |
| `histograms` | logarithmic bins and the quantiles they give |
| `merge` | Cells + Cells -> Cells, exactly |
| `grades` | an ordinal outcome at a threshold |
| `tasks` | an item's task where only one regime logs it |
| `overlap`, `replicates` | what the regimes share; what repeating a request shows |
"""

from divergence.cells.cells import Cells, Table
from divergence.cells.collapse import collapse, collapse_beside
from divergence.cells.grades import at_least
from divergence.cells.merge import merge

__all__ = ["Cells", "Table", "at_least", "collapse", "collapse_beside", "merge"]
