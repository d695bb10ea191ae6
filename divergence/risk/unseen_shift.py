"""How does what is known of a request move its risk, where its item is not known? One product a request more.

    probit risk' = probit risk + sum_k slope_k clip((x_k - centre_k) / scale_k, -3, 3)

over declared features, what prompt neighbours lend (`prompt_neighbours`), and how far answers agree (`answer_agreement`).
`unseen_items` finds the slopes and decides what is used at all. What is missing moves nothing. The interval is the
stratum's, widened by what is not known of the slopes. Reading and scoring need NumPy and Arrow only.
"""

from __future__ import annotations

import dataclasses
from statistics import NormalDist

import numpy as np
import pyarrow as pa

from divergence.numerics import NORMAL_95
from divergence.risk.answer_agreement import Agreement
from divergence.risk.item_lookup import place_of
from divergence.risk.prompt_neighbours import Neighbours

CLIP = 3.0  # standard deviations: what lies further out was hardly there to learn from
EDGE = 1e-6
NUMBERS = ("centre", "scale", "slope", "covariance")
NEAR, AGREE = "prompt_neighbours", "answer_agreement"
"""Columns that no log has: they are made from `SOURCES`, or given."""
SOURCES = {NEAR: "prompt_embedding", AGREE: "answer"}


@dataclasses.dataclass(frozen=True, eq=False)
class UnseenShift:
    """Slopes on the probit scale of the risk."""

    names: tuple[str, ...]
    """Columns of the log, `NEAR` and `AGREE`."""
    centre: np.ndarray
    """Of each."""
    scale: np.ndarray
    """Of each, positive."""
    slope: np.ndarray
    """Probits a scale."""
    covariance: np.ndarray
    """Of the slopes, shape (features, features)."""
    neighbours: Neighbours | None = None
    """Where `NEAR` is used."""
    agreement: Agreement | None = None
    """Where `AGREE` is used."""
    held: list = dataclasses.field(default_factory=list, init=False, repr=False)
    """The last table and its probits."""

    def standard(self, values: np.ndarray) -> np.ndarray:
        """Features as they are multiplied, shape (rows, features); what is missing or no number is the centre."""
        z = (values - self.centre) / self.scale
        return np.where(np.isfinite(z), np.clip(z, -CLIP, CLIP), 0.0)

    def values(self, batch: pa.RecordBatch) -> np.ndarray:
        """What is known of each request of a batch, shape (rows, names); NaN where it is not."""
        out = np.full((batch.num_rows, len(self.names)), np.nan)
        for k, name in enumerate(self.names):
            if name in batch.schema.names:
                out[:, k] = batch.column(name).cast(pa.float64()).to_numpy(zero_copy_only=False)
            elif self.neighbours is not None and name == NEAR and SOURCES[NEAR] in batch.schema.names:
                embedders = batch.column("embedder") if "embedder" in batch.schema.names else None
                out[:, k] = self.neighbours.of_column(batch.column(SOURCES[NEAR]), embedders)
        return out

    def of(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Shift in probits of requests of which this is known, and its standard deviation."""
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
            **{n: getattr(self, n).tolist() for n in NUMBERS},
            "embedder": None if self.neighbours is None else self.neighbours.embedder,
            "agreement": None if self.agreement is None else self.agreement.to_json(),
        }

    def arrays(self) -> dict[str, np.ndarray]:
        """What is saved beside that: the neighbours, where they are used."""
        return {} if self.neighbours is None else self.neighbours.arrays()

    @classmethod
    def from_json(cls, words: dict, arrays: dict[str, np.ndarray]) -> UnseenShift:
        """What `to_json` gave, and the arrays of its neighbours. Raises ValueError for anything else."""
        names = tuple(map(str, words["names"]))
        parts = [np.array(words[n], float) for n in NUMBERS]
        if [p.shape for p in parts] != [*[(len(names),)] * 3, (len(names),) * 2] or not (parts[1] > 0).all():
            raise ValueError(f"its features {names} and their slopes do not fit together")
        embedder, agreement = words.get("embedder"), words.get("agreement")
        if (NEAR in names) != bool(arrays) or (AGREE in names) != (agreement is not None):
            raise ValueError(f"what {names} are made from is not there, or there for nothing")
        if not isinstance(embedder, str | None):
            raise ValueError(f"its embedder is {embedder!r}")
        return dataclasses.replace(
            cls(names, parts[0], parts[1], parts[2], parts[3]),
            neighbours=Neighbours.of_arrays(arrays, embedder) if arrays else None,
            agreement=None if agreement is None else Agreement.from_json(agreement),
        )


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
