"""Stage 6, risk model x log -> results: every logged request scored, partition by partition, whole or not at all.

| file | what |
|---|---|
| `score` | a log to results: partitions, resume, manifest |
| `sources`, `filesystems` | which partitions a log has, how one is read; local or in an object store |
| `request_rules`, `dictionaries` | raw batches to the requests that keep every rule of the log |
| `jobs`, `model_folder` | the work of a partition and what became of it, as data; is the model still the same |
| `partitions` | one partition, start to end: the function that all executors run |
| `workers`, `cluster` | processes of this machine; a Ray cluster |
| `outputs`, `manifest` | results that appear whole or not at all, and the record of a run |
| `outcome_counts`, `stale` | what was predicted against what happened, as sums that add up; does the model still hold |
"""
