"""The absolute coupling against loops: what of a level's variance belongs to the context, the interaction included."""

import numpy as np

import divergence as dv
from divergence.joint import levels


def test_against_loops(waves_posterior):
    mu = levels(waves_posterior.fits[0], "deployment")
    table, law = mu.draws[7], mu.law.mean(0)
    rows = [sum(w * v for w, v in zip(law, row, strict=True)) for row in table]
    columns = [np.mean([row[c] for row in table]) for c in range(len(law))]
    grand = np.mean(rows)
    models = np.mean([(row - grand) ** 2 for row in rows])
    contexts = sum(w * (column - grand) ** 2 for w, column in zip(law, columns, strict=True))
    both = np.mean(
        [
            sum(w * (v - row - column + grand) ** 2 for v, w, column in zip(line, law, columns, strict=True))
            for line, row in zip(table, rows, strict=True)
        ]
    )
    found = dv.coupling_absolute(waves_posterior).draws[7, 0]
    assert np.isclose(found, (contexts + both) / (models + contexts + both), rtol=1e-10)
