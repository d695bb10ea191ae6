"""Structural drift: when every dashboard is green and the regime has changed.

| question | where |
|---|---|
| has the regime changed, since when, in which couplings? | `detect` (a whole stream), `monitor` (batches as they come) |
| what are the statistics of a chunk? | `surface`, `structural`, made of `ranks`; listed by `layout` |
| how long is a chunk, and are chunks independent enough? | `chunking`, `daily` (time of day), `hold` (at an alarm) |
| what is the evidence, and what does it promise? | `evidence`, `conformal` (cross-check), `delay` (what a promise costs) |
| what changed, how much, with which factor? | `edges`, `trend` (a rate), `attribution`, `settings`, `topology` |
| how does it go on tomorrow, elsewhere, on a board? | `state`, `summary`, `cluster`, `exporter`, `many` (10,000 streams) |
| how is it shown? | `page`, `figures`, `evidence_table`, `bridges` (what it means for other answers) |

Structural: a change of how columns go together inside a chunk, whatever each does alone. Surface: a change of a column.
"""

from divergence.drift.detect import Detection, detect
from divergence.drift.monitor import Monitor, monitor
from divergence.drift.verdict import Alarm, Edge, Verdict

__all__ = ["Alarm", "Detection", "Edge", "Monitor", "Verdict", "detect", "monitor"]
