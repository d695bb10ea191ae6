"""Beside the spine: where did behaviour go? Embeddings to Estimates.

Make a state of the rows once, with `paired_moments` (row i of both sides is the same item), `moments` (one sample) or
`moments_of_chunks` (a stream); shards merge with `state.merge(other)`. `cluster=` is written wherever rows enter: the
session of each row, or None where rows are independent.

| you ask | rows | call |
|---|---|---|
| did answers to the same items move, beyond what reruns move? | paired, reruns, one embedder | `displacement` |
| are two representations of the same items alike, whatever their axes? | paired, any embedders | `cka` |
| was it a shift of all, a turn, or another shape? | paired, one embedder | `shape_distance` |
"""

from divergence.geometry.cka import cka
from divergence.geometry.displacement import displacement
from divergence.geometry.moments import Moments, moments, moments_of_chunks, paired_moments
from divergence.geometry.shape_distance import shape_distance

__all__ = ["Moments", "cka", "displacement", "moments", "moments_of_chunks", "paired_moments", "shape_distance"]
