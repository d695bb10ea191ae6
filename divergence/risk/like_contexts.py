"""What does a known item do in a context that was never seen? What it does in the contexts that were served most alike.

    risk(m, new, i) = sum_c w_c risk(m, c, i),    w_c proportional to exp(T * number of serving factors that c has in common)

over the contexts of the model, the bench included. T was chosen by leaving each known context out (`likeness`); at T = 0, or
where a request logs no factor, all contexts weigh the same and the place for a context never seen answers. The mixture is
made once for a combination of levels, from the places of known contexts, and rounded like them. Reading and scoring need
NumPy and Arrow only. Unit: probability.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa

from divergence.risk.context_definitions import UNKNOWN, Served
from divergence.risk.item_lookup import POINTS, SPREADS, ItemRisks, answers, probits, spreads
from divergence.risk.lookup import coded

BYTES_MAX = 2**28  # of mixtures that are held; combinations beyond are answered as by no factor
CHUNK = 2**20  # of items x models that are mixed at once


def shared_levels(levels: tuple[str | None, ...], served: Served, labels: tuple[str, ...]) -> np.ndarray:
    """How many serving factors each known context has in common with these levels, -1 for one that was never deployed.

    >>> shared_levels(("a", "x"), Served(("f", "g"), {"c": (("a", "y"),), "d": (("b", "y"),)}), ("c", "d", "bench"))
    array([ 1.,  0., -1.])
    """
    out = np.full(len(labels), -1.0)
    for k, label in enumerate(labels):
        if label in served.together:
            out[k] = max(
                sum(a is not None and a == b for a, b in zip(levels, one, strict=True)) for one in served.together[label]
            )
        elif label in served.apart:
            out[k] = sum(a is not None and a in mine for a, mine in zip(levels, served.apart[label], strict=True))
    return out


def weights(shared: np.ndarray, likeness: float) -> np.ndarray:
    """Weights of contexts by the factors that they share; contexts with -1 have none."""
    there = shared >= 0
    raw = np.where(there, np.exp(likeness * (shared - shared.max())), 0.0)
    return raw / raw.sum() if raw.sum() else raw


@dataclasses.dataclass(eq=False)
class LikeContexts:
    """Mixtures of known contexts, one a combination of factor levels."""

    items: ItemRisks
    """What is known of items."""
    served: Served
    """How known contexts were served."""
    labels: tuple[str, ...]
    """Labels of the known contexts, in the order of the places' last axis."""
    likeness: float
    """T, a number a shared factor."""

    def __post_init__(self) -> None:
        self.held: dict[tuple[str | None, ...], np.ndarray | None] = {}
        """Levels -> place of each item and model, shape (items, models + 1); None where there is no room, or no factor."""

    def places(self, batch: pa.RecordBatch, item: np.ndarray, model: np.ndarray) -> np.ndarray:
        """Places of requests in new contexts: `batch` are their rows, `item` and `model` their codes."""
        out = self.items.place[item, model, -1]
        combination, levels = self._levels(batch)
        for k, one in enumerate(levels):
            mixed = self._mixture(one)
            if mixed is not None:
                mine = combination == k
                out[mine] = mixed[item[mine], model[mine]]
        return out

    def _levels(self, batch: pa.RecordBatch) -> tuple[np.ndarray, list[tuple[str | None, ...]]]:
        """Combination of each row, and the levels of each combination; None for what is not logged."""
        codes, names = [], []
        for factor in self.served.factors:
            if factor not in batch.schema.names:
                codes.append(np.zeros(batch.num_rows, np.intp))
                names.append([None])
                continue
            column = coded(batch.column(factor))
            texts = [None if t in UNKNOWN else t for t in column.dictionary.cast(pa.string()).to_pylist()]
            names.append([*texts, None])
            codes.append(column.indices.cast(pa.int64()).fill_null(len(texts)).to_numpy(zero_copy_only=False))
        distinct, row = np.unique(np.stack(codes), axis=1, return_inverse=True)
        return row.ravel(), [tuple(n[k] for n, k in zip(names, one, strict=True)) for one in distinct.T.tolist()]

    def _mixture(self, levels: tuple[str | None, ...]) -> np.ndarray | None:
        if levels not in self.held:
            size = self.items.place[:, :, 0].size
            room = (len(self.held) + 1) * size * 2 <= BYTES_MAX
            logged = any(level is not None for level in levels)
            shared = shared_levels(levels, self.served, self.labels)
            useful = room and logged and (shared >= 0).any()
            self.held[levels] = mixture(self.items.place, weights(shared, self.likeness)) if useful else None
        return self.held[levels]


def mixture(place: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Places of the mean risk over contexts, with the spread within and between them; uint16, shape (items, models + 1)."""
    use = np.flatnonzero(weight)
    share, risk, sd, probit = weight[use], answers()["risk"], spreads(), probits()
    flat = place.reshape(-1, place.shape[2])
    out = np.empty(len(flat), np.uint16)
    steps = risk.reshape(POINTS, SPREADS)[:, 0]
    between = (steps[1:] + steps[:-1]) / 2
    along = np.log(sd)
    for start in range(0, len(flat), CHUNK):
        mine = flat[start : start + CHUNK][:, use]
        deviation = sd[mine % SPREADS]
        middle = probit[mine // SPREADS] * np.sqrt(1 + deviation**2)
        spread = (deviation**2 + middle**2) @ share - (middle @ share) ** 2
        point = np.searchsorted(between, risk[mine] @ share)
        wide = np.clip(0.5 * np.log(np.maximum(spread, 1e-12)), along[0], along[-1])
        out[start : start + CHUNK] = point * SPREADS + np.rint((wide - along[0]) / (along[1] - along[0])).astype(np.int64)
    return out.reshape(place.shape[:2])
