"""Stage 1, logs -> table: `read` turns files and frames of any common kind into one validated log, `Executions`.

    log = read("logs/*.parquet")              # or evaluation="bench.jsonl", deployment="prod/"
    log.scan()                                # the valid rows, lazily, in canonical columns and types
    log.rejected                              # the others: file, row, rule, sentence, value
    log.answers()                             # which questions this log can answer, and why not the others

A log is read in this order, one file a step:

| file | what it decides |
|---|---|
| `schema` | the canonical columns, as data |
| `files`, `json_records` | what a path, folder, glob, address or frame holds, as lazy frames of raw columns |
| `recognise` | which of the three tables each file is, and whether every declared name exists |
| `columns` | raw columns -> canonical columns and types; what cannot be typed is kept as text beside them |
| `rules`, `duplicates` | which rows are set aside, and by which rule |
| `further_tables` | the same for the tables of further outcomes and of telemetry |
| `embedded_texts` | vectors by distinct text, joined to the executions that gave it |
| `tally`, `counted`, `labels` | large Parquet files counted by their distinct rows first: the same numbers, sooner |
| `random_groups` | blocks and samples of whole sessions (or items), by a hash |
| `profile` | what all rows hold, counted in streaming passes |
| `outcome`, `contexts` | kind of the outcome; which serving factors vary; what contexts are called |
| `with_outcome` | the same log read for another outcome |

Nothing is repaired silently: a bad value in a needed column rejects its row, one in an optional column makes that
column unusable, and both are named. A new canonical column is a line in `schema`, a new rule one in `rules`.
"""

from divergence.executions.executions import Counts, Executions
from divergence.executions.read import read
from divergence.executions.schema import EXECUTIONS, OUTCOMES, REGIMES, SERVING_FACTORS, TELEMETRY, Column, markdown
from divergence.executions.with_outcome import with_outcome

__all__ = [
    "EXECUTIONS",
    "OUTCOMES",
    "REGIMES",
    "SERVING_FACTORS",
    "TELEMETRY",
    "Column",
    "Counts",
    "Executions",
    "markdown",
    "read",
    "with_outcome",
]
