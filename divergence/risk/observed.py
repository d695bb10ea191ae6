"""Did what was predicted happen? Counts of risk against outcome, which add up over partitions in their order.

For each context and each of 20 equal bins of risk: judged trials n, the sum of their risks, failures, and the sum of
squared errors. Everything that calibration reports about a run (reliability, its error, the Brier score, by context)
follows from these sums. A failure is one minus the score, trial by trial. Unit: probability.

The calibration error `ECE = sum_b n_b / n |mean risk_b - share of failures_b|` of a perfect score is not zero at finite
n (about .004 at 1e5 rows), so it stands beside what a perfect score would have: each bin's failures drawn with its mean
risk, the differences widened by the square root of the design effect of sessions.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

BINS = 20
SUMS = ("n", "risk", "failures", "squares")

DRAWS = 999
"""Perfect scores drawn: the 95 % point is the 950th, and its own error is small beside the error it judges."""

Observed = dict[str, dict[str, list[float]]]
"""Context -> name of a sum -> its value in each bin of risk."""


class Observations:
    """The sums of one partition, while its batches pass."""

    def __init__(self, contexts: frozenset[str]) -> None:
        """`contexts` are those that deployment had when the model was made."""
        self.contexts = contexts
        self.sums: Observed = {}
        self.elsewhere = 0
        """Requests in other contexts, judged or not."""

    def place(self, context: pa.DictionaryArray) -> None:
        """Count the requests of a batch that come from contexts that are new."""
        new = np.array([name not in self.contexts for name in context.dictionary.to_pylist()] + [False])
        self.elsewhere += int(new.take(context.indices.to_numpy(zero_copy_only=False)).sum())

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


def calibration(observed: Observed, design_effect: float = 1.0, seed: int = 0) -> dict | None:
    """What the sums say, as data: None where nothing was judged.

    `design_effect` is how many times the variance of a mean exceeds that of independent trials.
    """
    if not observed:
        return None
    total = {name: np.sum([sums[name] for sums in observed.values()], axis=0) for name in SUMS}
    n = total["n"].sum()
    contexts = {context: {"judged": sum(s["n"]), "risk": sum(s["risk"]) / sum(s["n"]),
                          "failed": sum(s["failures"]) / sum(s["n"])} for context, s in observed.items()}
    worst = max(contexts, key=lambda c: _surprise(**contexts[c]))
    random = np.random.default_rng(seed)
    count, mean = np.round(total["n"]).astype(int), total["risk"] / np.maximum(total["n"], 1)
    perfect = np.abs(random.binomial(count, np.clip(mean, 0, 1), (DRAWS, BINS)) - count * mean).sum(axis=1) / n
    perfect *= np.sqrt(design_effect)
    error = float(np.abs(total["risk"] - total["failures"]).sum() / n)
    limit = float(np.quantile(perfect, 0.95))
    return {
        "judged": float(n), "risk": float(total["risk"].sum() / n), "failed": float(total["failures"].sum() / n),
        "brier": float(total["squares"].sum() / n), "ece": error, "ece_perfect_95": limit, "calibrated": error <= limit,
        "reliability": [{"judged": float(total["n"][b]), "risk": float(mean[b]),
                         "failed": float(total["failures"][b] / total["n"][b])} for b in np.flatnonzero(total["n"])],
        "worst_context": {"context": worst, **contexts[worst]}, "contexts": contexts,
    }


def _surprise(judged: float, risk: float, failed: float) -> float:
    """How many standard errors the failures of a context lie from its risk."""
    return abs(failed - risk) / np.sqrt(max(risk * (1 - risk), 1e-4) / judged)
