"""Does relabelling hold its level?"""

import numpy as np

from divergence.estimands.worlds_apart import outside, relabelled


def test_relabelling_keeps_its_level():
    """Regimes that draw from one item law: p below .1 in about a tenth of 200 logs (four standard errors)."""
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(200):
        law = rng.dirichlet(np.ones(80))
        mass = np.stack([rng.multinomial(150, law), rng.multinomial(150, law)]).astype(float)
        seen = outside(mass)
        null = np.array([outside(one) for one in relabelled(mass, 200, rng)])
        hits += (1 + (np.abs(null) >= abs(seen) - 1e-12).sum()) / 201 < 0.1
    assert hits / 200 < 0.1 + 4 * np.sqrt(0.09 / 200)
