"""How do declared features of a request move its risk, where its item is not known? One product a request more.

    probit risk' = probit risk + sum_k slope_k clip((x_k - centre_k) / scale_k, -3, 3)

`unseen_items` finds the slopes and decides whether they are used at all. A feature that is missing moves nothing. The
interval is the stratum's, widened by what is not known of the slopes. Reading and scoring need NumPy and Arrow only.
"""

from __future__ import annotations

import dataclasses
from statistics import NormalDist

import numpy as np
import pyarrow as pa

from divergence.numerics import NORMAL_95
from divergence.risk.item_lookup import place_of

CLIP = 3.0  # standard deviations: what lies further out was hardly there to learn from
EDGE = 1e-6
NUMBERS = ("centre", "scale", "slope", "covariance")


@dataclasses.dataclass(frozen=True, eq=False)
class UnseenShift:
    """Slopes of features on the probit scale of the risk."""

    names: tuple[str, ...]
    """Columns of the log."""
    centre: np.ndarray
    """Of each."""
    scale: np.ndarray
    """Of each, positive."""
    slope: np.ndarray
    """Probits a scale."""
    covariance: np.ndarray
    """Of the slopes, shape (features, features)."""
    held: list = dataclasses.field(default_factory=list, init=False, repr=False)
    """The last table and its probits."""

    def standard(self, values: np.ndarray) -> np.ndarray:
        """Features as they are multiplied, shape (rows, features); what is missing or no number is the centre."""
        z = (values - self.centre) / self.scale
        return np.where(np.isfinite(z), np.clip(z, -CLIP, CLIP), 0.0)

    def of(self, batch: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray]:
        """Shift in probits of each request of a batch, and its standard deviation."""
        values = np.full((batch.num_rows, len(self.names)), np.nan)
        for k, name in enumerate(self.names):
            if name in batch.schema.names:
                column = batch.column(name).cast(pa.float64())
                values[:, k] = column.to_numpy(zero_copy_only=False)
        z = self.standard(values)
        return z @ self.slope, np.sqrt(np.maximum(np.einsum("nk,kl,nl->n", z, self.covariance, z), 0.0))

    def probits(self, table: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """`stratum_probits` of a table of risks, found once."""
        if not self.held or self.held[0] is not table:
            self.held[:] = table, stratum_probits(*(table[name] for name in ("risk", "lower", "upper")))
        return self.held[1]

    def to_json(self) -> dict:
        """As plain values."""
        return {"names": list(self.names)} | {
            n: getattr(self, n).tolist() for n in ("centre", "scale", "slope", "covariance")
        }

    @classmethod
    def from_json(cls, words: dict) -> UnseenShift:
        """What `to_json` gave. Raises ValueError for anything else."""
        names = tuple(map(str, words["names"]))
        parts = [np.array(words[n], float) for n in NUMBERS]
        if [p.shape for p in parts] != [*[(len(names),)] * 3, (len(names),) * 2] or not (parts[1] > 0).all():
            raise ValueError(f"its features {names} and their slopes do not fit together")
        return cls(names, *parts)


def stratum_probits(risk: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probit of each risk of a table and the standard deviation of its interval, in probits."""
    probit = np.vectorize(NormalDist().inv_cdf, otypes=[float])
    middle, low, high = (probit(np.clip(v, EDGE, 1 - EDGE)) for v in (risk, lower, upper))
    return middle, (high - low) / (2 * NORMAL_95)


def shifted_places(
    shift: tuple[np.ndarray, np.ndarray], rows: np.ndarray, probits: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """Place of each request in the fixed table of answers (`item_lookup.answers`)."""
    return place_of(probits[0][rows] + shift[0], np.hypot(probits[1][rows], shift[1]))
