"""Does the score tell requests apart, and better than a line of group-by? Sums that add up over partitions; the measures are
those of `risk.discrimination`.

The plain rate is that of the most specific group that the log of the model had: (item, model, context), (item, model),
(item), else (model, context, stratum). Requests whose item was known stand apart from the others. The clusters that
intervals leave out are items.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from divergence.risk.discrimination import BINS, BUDGETS, EDGES, GROUPS, SIDES, SUMS, even_bins, losses, measures
from divergence.risk.item_lookup import PLAIN, text_hashes

KINDS = ("seen", "unseen")
REPEATED_MIN = 100  # judged requests of known items, below which equal answers may be chance


class Sharpness:
    """The sums of one partition, while its batches pass."""

    def __init__(self, model) -> None:
        """`model` gives `answers` and `plain`, else nothing is counted."""
        self.model = model
        self.bins = np.zeros((len(KINDS), GROUPS, len(SIDES), BINS, 2))
        self.sums = np.zeros((len(KINDS), GROUPS, len(SIDES), len(SUMS)))
        self.requests = np.zeros((BINS, 2))
        """All requests, judged or not, by bin of risk: how many, and the sum of their risks."""
        self._counted, self._where = np.zeros(0, np.int64), np.zeros(0, np.intp)
        self._names: tuple[pa.Array | None, np.ndarray] = (None, np.zeros(0, np.intp))

    def add(self, batch: pa.RecordBatch, index: np.ndarray, outcome: np.ndarray, trials: np.ndarray) -> None:
        """Count a batch; `index` are the places of its requests in the model's answers."""
        risks = self.model.answers["risk"]
        if not len(self._counted):
            self._counted, self._where = np.zeros(len(risks), np.int64), np.searchsorted(EDGES, risks, side="right")
        self._counted += np.bincount(index, minlength=len(risks))
        judged = np.flatnonzero(~np.isnan(outcome))
        if not len(judged):
            return
        plain = self.model.plain(batch)[judged]
        index, n, failure = index[judged], trials[judged].astype(float), 1 - outcome[judged]
        place = ~self.model.of_items(index) * GROUPS + self._groups(batch)[judged]
        plain = np.where(np.isnan(plain), 0.5, plain)
        for side, (values, where) in enumerate(((risks.take(index), self._where.take(index)), (plain, even_bins(plain)))):
            at = (place * len(SIDES) + side) * BINS + where
            size = self.bins[..., 0].size
            self.bins += np.stack([np.bincount(at, v, size) for v in (n, n * failure)], 1).reshape(self.bins.shape)
            for k, loss in enumerate(losses(values, failure)):
                self.sums[:, :, side, k] += np.bincount(place, n * loss, len(KINDS) * GROUPS).reshape(-1, GROUPS)

    def _groups(self, batch: pa.RecordBatch) -> np.ndarray:
        """Random group of each request's item; of its place in the batch where it has none."""
        item = batch.column("item")
        if self._names[0] is not item.dictionary:
            hashed = (text_hashes(item.dictionary) % np.uint64(GROUPS)).astype(np.intp)
            self._names = item.dictionary, np.append(hashed, 0)
        if item.null_count == 0:
            return self._names[1].take(item.indices.to_numpy(zero_copy_only=False))
        code = item.indices.fill_null(len(item.dictionary)).to_numpy(zero_copy_only=False)
        return np.where(code == len(item.dictionary), np.arange(len(code)) % GROUPS, self._names[1].take(code))

    def record(self) -> dict:
        """The sums as plain numbers; only bins that something fell into."""
        if len(self._counted):
            risks = self.model.answers["risk"]
            n = self._counted
            self.requests += np.stack([np.bincount(self._where, v, BINS) for v in (n, n * risks)], 1)
            self._counted = np.zeros_like(n)
        flat = self.bins.reshape(-1, 2)
        there = np.flatnonzero(flat[:, 0])
        return {
            "bins": [there.tolist(), *(_whole(flat[there, k]) for k in range(2))],
            "sums": self.sums.round(12).ravel().tolist(),
            "requests": [_whole(self.requests[:, 0]), self.requests[:, 1].tolist()],
        }


def _whole(values: np.ndarray) -> list:
    return [int(v) if v == int(v) else v for v in values.tolist()]


def told(records: Iterable[dict]) -> dict:
    """`sharpness` and `audit` of the manifest from the records of all partitions."""
    bins = np.zeros((len(KINDS), GROUPS, len(SIDES), BINS, 2))
    sums, requests = np.zeros((len(KINDS), GROUPS, len(SIDES), len(SUMS))), np.zeros((2, BINS))
    for record in records:
        places, *values = record["bins"]
        if places:
            bins.reshape(-1, 2)[places] += np.array(values, float).T
        sums += np.array(record["sums"], float).reshape(sums.shape)
        requests += np.array(record["requests"], float)
    kinds = {"all": slice(None), **{name: slice(k, k + 1) for k, name in enumerate(KINDS)}}
    found = {name: measures(bins[k].sum(0), sums[k].sum(0)) for name, k in kinds.items() if bins[k].sum()}
    by_rate = bins[KINDS.index("seen"), :, SIDES.index("plain")].sum(0)
    return {"sharpness": found or None, "audit": _audit(*requests), "repeated": repeated(*by_rate.T)}


def repeated(n: np.ndarray, failures: np.ndarray) -> str | None:
    """A sentence where all judged requests of known items end as the model's log had it: its own rows, or exact copies.

    A risk is of a fresh answer, so rows that it was made from fail more often where they failed, and seem to say that it is
    off; their plain rate holds the very answers that it is asked about. They test nothing. It shows where requests of each
    plain rate fail exactly as often, those of the rates 0 and 1 without an exception. `n` and `failures` by bin of the rate,
    which is a multiple of 1 / `PLAIN`.
    """
    rate = np.arange(BINS) / PLAIN
    half_step = np.where((rate > 0) & (rate < 1), 0.5 / PLAIN, 0.0)
    if n[rate == 0] + n[rate == 1] < REPEATED_MIN or (np.abs(failures - n * rate) > n * half_step + 1e-6).any():
        return None
    return (
        f"all {n.sum():,.0f} judged requests of known items end as in the log that the model was made from: its own rows or "
        "exact copies, which test no calibration; the plain rate holds these very answers, and the risk is of a fresh one"
    )


def _audit(n: np.ndarray, risk: np.ndarray) -> dict | None:
    """What labels are expected to find, from risks alone: failures a label among the riskiest requests, beside any."""
    total = n.sum()
    if not total:
        return None
    most, expected = np.cumsum(n[::-1]), np.cumsum(risk[::-1])
    rows = {}
    for budget in BUDGETS:
        labels = budget * total
        found = float(np.interp(labels, np.r_[0, most], np.r_[0, expected]))
        rows[f"{budget:g}"] = {"requests": float(labels), "failures": found, "per_label": found / labels}
    anywhere = float(expected[-1] / total)
    first = rows[f"{BUDGETS[0]:g}"]
    return {
        "riskiest": rows,
        "at_random": anywhere,
        "sentence": "look first at the requests with the smallest audit: the riskiest 1 % "
        f"({first['requests']:,.0f}) are expected to hold {first['failures']:,.0f} failures, "
        f"{first['per_label']:.2f} a label, against {anywhere:.2f} at random",
    }
