"""The rows of one model, and of each combination of keys, are those that a filter finds."""

import numpy as np

from divergence.cells import collapse
from divergence.executions import read
from divergence.simulate import simulate, world


def test_rows_of_a_model_and_of_every_combination():
    cells = collapse(read(simulate(world("baseline", n_models=4, n_contexts=3, n_items=20), 1)[0]))
    for table in (cells.counts, cells.sessions, cells.answers, cells.measures):
        for m in range(-1, 6):
            mine, plain = table.of_model(m), table.take(table["model"] == m)
            for name in (*table.keys, *table.sums):
                np.testing.assert_array_equal(mine[name], plain[name])
    counts, seen = cells.counts, 0
    for (r, m), part in counts.grouped("regime", "model"):
        plain = counts.take((counts["regime"] == r) & (counts["model"] == m))
        seen += len(part)
        for name in (*counts.keys, *counts.sums):
            np.testing.assert_array_equal(part[name], plain[name])
    assert seen == len(counts)
    assert not list(counts.take(slice(0, 0)).grouped("regime", "model"))
