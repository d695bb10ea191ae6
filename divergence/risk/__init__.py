"""Stage 5, posterior -> risk: for every logged request the probability that it falls short, with an interval.

| file | what |
|---|---|
| `gather` | from dictionary codes to the row of a small summary table, then one take an output column |
"""
