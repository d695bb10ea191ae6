"""Did what was predicted happen? Trials and failures of each risk in each context, counts that add up over partitions.

A risk is read from a table, so few values occur and each has its own count: calibration from these counts is that of all
rows at once (`reliability.tallied`; every row on its own), whatever the partitions, and the manifest holds them. A context
with more than `DISTINCT_MAX` different risks (another model than ours) has them rounded to 1/512, which moves a mean
risk by less than .001. A failure is one minus the score, trial by trial. Unit: probability.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from divergence.risk.reliability import RiskTally, effect, tallied

DISTINCT_MAX = 512  # risks of a context that are counted one by one: 10 kB of the manifest
DENSE = 4  # combinations of context and risk a row, up to which a batch is counted without sorting
HELD_MAX = 2**18  # counts that are held before they are added up: 8 MB
COUNTS = ("risk", "n", "failures")
KINDS = 3  # known, new, answered by a known item

Draws = Callable[[str, np.ndarray], np.ndarray | None]
"""Context and risks -> plausible values of each, shape (draws, risks)."""
Observed = dict[str, dict[str, list[float]]]
"""Context -> its distinct risks, ascending, and trials and failures of each."""


class Observations:
    """The counts of one partition, while its batches pass: what the model knew apart from what it did not, and from what its
    items answered."""

    def __init__(self) -> None:
        self.elsewhere = 0
        """Requests of a model, context or stratum that deployment never had when the risk model was made, judged or not."""
        self._names: dict[str, int] = {}
        self._held: list[np.ndarray] = []
        self._rounded: set[int] = set()

    def add(
        self,
        context: pa.DictionaryArray,
        risk: np.ndarray,
        known: np.ndarray,
        outcome: np.ndarray,
        trials: np.ndarray,
        by_item: np.ndarray | None = None,
    ) -> None:
        """Count a batch; `by_item` says which requests a known item answered."""
        self.elsewhere += int(len(known) - known.sum())
        judged = np.flatnonzero(~np.isnan(outcome) & ~np.isnan(risk))
        if not len(judged):
            return
        names = np.array([self._names.setdefault(n, len(self._names)) for n in context.dictionary.to_pylist()])
        kind = np.where(known[judged], 0, 1) if by_item is None else np.where(known[judged], 2 * by_item[judged], 1)
        code = KINDS * context.indices.to_numpy(zero_copy_only=False)[judged].astype(np.intp) + kind
        coded = pa.array(risk[judged]).dictionary_encode()
        distinct = coded.dictionary.to_numpy()
        place = code * len(distinct) + coded.indices.to_numpy()
        size = KINDS * len(names) * len(distinct)
        cells, place = np.unique(place, return_inverse=True) if size > DENSE * len(judged) else (np.arange(size), place)
        n = trials[judged].astype(float)
        n, failures = (np.bincount(place, v, len(cells)) for v in (n, n * (1 - outcome[judged])))
        there = np.flatnonzero(n)
        code, risk = np.divmod(cells[there], len(distinct))
        self._held.append(np.stack([KINDS * names[code // KINDS] + code % KINDS, distinct[risk], n[there], failures[there]]))
        if sum(part.shape[1] for part in self._held) > HELD_MAX:
            self._add_up()

    def _add_up(self) -> dict[int, RiskTally]:
        """One count of each risk in each context; a context that had too many risks once is rounded from then on."""
        if not self._held:
            return {}
        all_of = np.concatenate(self._held, axis=1)
        all_of = all_of[:, np.argsort(all_of[0], kind="stable")]
        codes, first = np.unique(all_of[0].astype(int), return_index=True)
        out = {}
        for code, (_, risk, n, failures) in zip(codes.tolist(), np.split(all_of, first[1:], axis=1), strict=True):
            found = RiskTally.of(rounded(risk) if code in self._rounded else risk, n, failures)
            if len(found.risk) > DISTINCT_MAX + 1:  # so many as there are rounded ones
                self._rounded.add(code)
                found = RiskTally.of(rounded(risk), n, failures)
            out[code] = found
        self._held = [np.stack([np.full(len(t.risk), float(code)), t.risk, t.n, t.failures]) for code, t in out.items()]
        return out

    @property
    def sums(self) -> tuple[Observed, Observed, Observed]:
        """The counts so far: of what was known, of what was new, and of what known items answered."""
        found = self._add_up()
        known, new, items = (
            {name: _lists(found[KINDS * code + k]) for name, code in self._names.items() if KINDS * code + k in found}
            for k in range(KINDS)
        )
        return known, new, items


def rounded(risk: np.ndarray) -> np.ndarray:
    """The nearest of `DISTINCT_MAX` + 1 even risks."""
    return np.round(risk * DISTINCT_MAX) / DISTINCT_MAX


def merge(parts: list[Observed], limit: int = DISTINCT_MAX) -> Observed:
    """The counts of several partitions together; rounded where more than `limit` risks of a context differ."""
    out: Observed = {}
    for context in sorted({name for part in parts for name in part}):
        columns = [np.concatenate([np.array(part[context][k], float) for part in parts if context in part]) for k in COUNTS]
        found = RiskTally.of(*columns)
        if len(found.risk) > limit + 1:
            found = RiskTally.of(rounded(columns[0]), *columns[1:])
        out[context] = _lists(found)
    return out


def tally(counts: dict[str, list[float]]) -> RiskTally:
    """The counts of one context as arrays."""
    return RiskTally(*(np.array(counts[name], float) for name in COUNTS))


def calibration(
    observed: Observed,
    clustering: dict | None = None,
    draws: Draws | None = None,
    seed: int = 0,
    items: Observed | None = None,
) -> dict | None:
    """What the counts say, with the names of `reliability`: None where nothing was judged.

    `items` are counts of requests that known items answered: their errors are each their own, so that `draws`, which hold
    what all requests of a stratum share, are not asked about them. `clustering` says how trials hang together
    (`reliability.clustering` within bins of risk); `draws` gives plausible risks of a context's requests
    (`RiskModel.draws`), None where the model keeps none.
    """
    strata = {context: tally(counts) for context, counts in observed.items()}
    parts = {context: tally(counts) for context, counts in merge([observed, items or {}], 2**30).items()}
    if not parts:
        return None
    whole = RiskTally.of(*(np.concatenate([getattr(t, name) for t in parts.values()]) for name in COUNTS))
    contexts = {context: _rates(found) for context, found in parts.items()}
    worst = max(contexts, key=lambda c: _surprise(**contexts[c]))
    drawn = [] if draws is None else [draws(context, found.risk) for context, found in strata.items()]
    kept, plausible = [values for values in drawn if values is not None], None
    if kept or (items and draws is not None):
        known = [tally(counts) for counts in (items or {}).values()]
        kept += [np.tile(one.risk, (len(kept[0]) if kept else 1, 1)) for one in known]
        risk, n = (np.concatenate([getattr(t, name) for t in [*strata.values(), *known]]) for name in ("risk", "n"))
        plausible = np.concatenate(kept, axis=1), risk, n
    worth = effect(clustering or {}, "bin", whole.n.sum())
    return {
        **_rates(whole),
        "design_effect": worth,
        **tallied(whole, design_effect=worth, plausible=plausible, seed=seed),
        "worst_context": {"context": worst, **contexts[worst]},
        "contexts": contexts,
    }


def _lists(found: RiskTally) -> dict[str, list[float]]:
    whole = {name: getattr(found, name).tolist() for name in COUNTS}
    return {name: [int(v) if name != "risk" and v == int(v) else v for v in values] for name, values in whole.items()}


def _rates(found: RiskTally) -> dict[str, float]:
    n = found.n.sum()
    return {"judged": float(n), "risk": float(found.n @ found.risk / n), "failed": float(found.failures.sum() / n)}


def _surprise(judged: float, risk: float, failed: float) -> float:
    """How many standard errors the failures of a context lie from its risk."""
    return abs(failed - risk) / np.sqrt(max(risk * (1 - risk), 1e-4) / judged)
