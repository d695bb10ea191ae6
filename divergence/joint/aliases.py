"""Serving factors that the log cannot tell apart: they change together in every context."""

from __future__ import annotations

import itertools

import numpy as np

from divergence.joint.design import Design


def aliased_factors(design: Design) -> tuple[tuple[str, str], ...]:
    """Pairs of factors whose levels name the same groups of contexts, so that either one's effects fit as well."""
    centred = {f: m - m.mean(0) for f, m in design.mixtures.items()}
    rank = {f: np.linalg.matrix_rank(m) for f, m in centred.items()}
    return tuple(
        (f, g)
        for f, g in itertools.combinations(centred, 2)
        if rank[f] == rank[g] == np.linalg.matrix_rank(np.concatenate([centred[f], centred[g]], axis=1))
    )


def alias_notes(design: Design) -> tuple[str, ...]:
    """A sentence for each such pair."""
    return tuple(
        f"The factors {f} and {g} change together in every context of this log: their effects cannot be told "
        "apart, and the prior shares them out."
        for f, g in aliased_factors(design)
    )
