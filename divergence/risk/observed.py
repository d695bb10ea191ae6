"""Did what was predicted happen? Counts of risk against outcome, which add up over partitions in their order.

For each context and each of 20 equal bins of risk: judged trials n, the sum of their risks, failures, and the sum of
squared errors. Everything that calibration reports about a run (reliability, its error, the Brier score, by context)
follows from these sums. A failure is one minus the score, trial by trial. Unit: probability.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

BINS = 20
SUMS = ("n", "risk", "failures", "squares")

Observed = dict[str, dict[str, list[float]]]
"""Context -> name of a sum -> its value in each bin of risk."""


class Observations:
    """The sums of one partition, while its batches pass."""

    def __init__(self) -> None:
        self.sums: Observed = {}

    def add(self, context: pa.DictionaryArray, risk: np.ndarray, outcome: np.ndarray, trials: np.ndarray) -> None:
        """Count the judged rows of a batch."""
        judged = np.flatnonzero(~np.isnan(outcome) & ~np.isnan(risk))
        if not len(judged):
            return
        names = context.dictionary.to_pylist()
        code = context.indices.to_numpy(zero_copy_only=False)[judged].astype(np.intp)
        risk, n = risk[judged], trials[judged].astype(float)
        failures = n * (1 - outcome[judged])
        place = code * BINS + np.minimum((risk * BINS).astype(np.intp), BINS - 1)
        squares = failures * (1 - risk) ** 2 + (n - failures) * risk**2
        size = len(names) * BINS
        values = [np.bincount(place, v, size).reshape(-1, BINS) for v in (n, n * risk, failures, squares)]
        for k in np.flatnonzero(values[0].sum(axis=1)):
            mine = self.sums.setdefault(names[k], {name: [0.0] * BINS for name in SUMS})
            for name, value in zip(SUMS, values, strict=True):
                mine[name] = (np.array(mine[name]) + value[k]).tolist()


def merge(parts: list[Observed]) -> Observed:
    """The sums of several partitions, added in the order given."""
    out: Observed = {}
    for part in parts:
        for context, sums in part.items():
            mine = out.setdefault(context, {name: [0.0] * BINS for name in SUMS})
            for name in SUMS:
                mine[name] = (np.array(mine[name]) + sums[name]).tolist()
    return dict(sorted(out.items()))
