"""Does the score tell requests apart, and better than a line of group-by? Sums that add up over partitions.

    Brier, log loss    means over judged trials, exactly; their difference to the plain rate's beside them
    AUC       P(risk of a failure > risk of a success), ties half
    capture   share of all failures among the riskiest 1, 5, 10 % of requests: what an auditor finds for a budget of labels
    Murphy    Brier = reliability - resolution + uncertainty + within, over `BINS` bins

The plain rate is that of the most specific group that the log of the model had: (item, model, context), (item, model),
(item), else (model, context, stratum). Log loss takes both no nearer to 0 and 1 than `EDGE`: a plain rate of one row is 0 or
1 and would lose infinitely. Requests whose item was known stand apart from the others. Intervals (90 %) leave out one of
`GROUPS` random groups of items at a time. Unit: probability; log loss in nats. Source: Murphy 1973; Efron and Stein 1981 for
the jackknife.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from divergence.numerics import NORMAL_95
from divergence.risk.item_lookup import PROBIT_MAX, text_hashes

GROUPS, BINS = 16, 256
EDGE = 0.005
BUDGETS = (0.01, 0.05, 0.1)
SIDES = ("score", "plain")
EDGES = np.array([0.5 * math.erfc(-x / math.sqrt(2)) for x in np.linspace(-PROBIT_MAX, PROBIT_MAX, BINS + 1)[1:-1]])
"""Of the bins of risks, even in probits: the riskiest hundredth may all lie above .99. Plain rates have even bins."""
SUMS = ("brier", "log_loss")
KINDS = ("seen", "unseen")


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
        place = (index < self.model.items_from) * GROUPS + self._groups(batch)[judged]
        plain = np.where(np.isnan(plain), 0.5, plain)
        even = np.minimum((plain * BINS).astype(np.intp), BINS - 1)
        for side, (values, where) in enumerate(((risks.take(index), self._where.take(index)), (plain, even))):
            at = (place * len(SIDES) + side) * BINS + where
            size = self.bins[..., 0].size
            self.bins += np.stack([np.bincount(at, v, size) for v in (n, n * failure)], 1).reshape(self.bins.shape)
            edged = np.clip(values, EDGE, 1 - EDGE)
            losses = (
                failure * (1 - values) ** 2 + (1 - failure) * values**2,
                -failure * np.log(edged) - (1 - failure) * np.log1p(-edged),
            )
            for k, loss in enumerate(losses):
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
        places, *values = (np.array(v) for v in record["bins"])
        if len(places):
            bins.reshape(-1, 2)[places] += np.stack(values, 1)
        sums += np.array(record["sums"]).reshape(sums.shape)
        requests += np.array(record["requests"])
    kinds = {"all": slice(None), **{name: slice(k, k + 1) for k, name in enumerate(KINDS)}}
    found = {name: _of(bins[k].sum(0), sums[k].sum(0)) for name, k in kinds.items() if bins[k].sum()}
    return {"sharpness": found or None, "audit": _audit(*requests)}


def _of(bins: np.ndarray, sums: np.ndarray) -> dict:
    """Every measure of both sides with its interval; arrays by group of items."""
    whole = _measures(bins.sum(0), sums.sum(0))
    there = np.flatnonzero(bins[:, 0, :, 0].sum(-1))
    parts = [_measures(np.delete(bins, g, 0).sum(0), np.delete(sums, g, 0).sum(0)) for g in there] if len(there) > 1 else []
    out: dict = {"judged": float(bins[:, 0, :, 0].sum()), "failed": float(bins[:, 0, :, 1].sum())}
    for name in whole[0]:
        score, plain = (_interval(whole[s][name], [p[s][name] for p in parts]) for s in range(2))
        less = _interval(whole[0][name] - whole[1][name], [p[0][name] - p[1][name] for p in parts])
        out[name] = {"score": score, "plain": plain, "difference": less}
    return out


def _interval(value: float, parts: list[float]) -> list[float | None]:
    """The value and its 90 % limits by the delete-a-group jackknife; no limits from fewer than two groups."""
    left = np.array(parts)
    count = len(left)
    if count < 2 or np.isnan(value) or np.isnan(left).any():
        return [None if np.isnan(value) else float(value), None, None]
    error = np.sqrt((count - 1) / count * ((left - left.mean()) ** 2).sum())
    wide = NORMAL_95 * (1 + (NORMAL_95**2 + 1) / (4 * (count - 1)))  # the first term of Student's t
    return [float(value), float(value - wide * error), float(value + wide * error)]


def _measures(bins: np.ndarray, sums: np.ndarray) -> list[dict[str, float]]:
    return [
        {
            **{
                name: float(v / side[:, 0].sum()) if side[:, 0].sum() else np.nan for name, v in zip(SUMS, loss, strict=True)
            },
            **discrimination(*side.T),
        }
        for side, loss in zip(bins, sums, strict=True)
    ]


def discrimination(n: np.ndarray, failures: np.ndarray) -> dict[str, float]:
    """AUC, captures and Murphy's resolution and uncertainty of trials and failures in bins of ascending risk.

    >>> discrimination(np.array([90.0, 10.0]), np.array([0.0, 10.0]))["capture_0.05"]
    0.5
    """
    total, failed = n.sum(), failures.sum()
    fine = n - failures
    if not total or not failed or not fine.sum():
        return dict.fromkeys(("auc", *(f"capture_{b:g}" for b in BUDGETS), "resolution", "uncertainty"), np.nan)
    below = np.cumsum(fine) - fine
    auc = float(failures @ (below + fine / 2) / failed / fine.sum())
    most, caught = np.cumsum(n[::-1]), np.cumsum(failures[::-1])
    # A bin that a budget cuts is looked at in random order.
    captures = {f"capture_{b:g}": float(np.interp(b * total, np.r_[0, most], np.r_[0, caught]) / failed) for b in BUDGETS}
    there = n > 0
    rate, base = failures[there] / n[there], failed / total
    resolution = float(n[there] @ (rate - base) ** 2 / total)
    return {"auc": auc, **captures, "resolution": resolution, "uncertainty": float(base * (1 - base))}


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
