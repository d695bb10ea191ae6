"""How many answers does a change of context flip, beyond what repeating the same request flips?

    XF(c, c') = F(c, c') - (F(c, c) + F(c', c')) / 2  =  E_i (p_ic - p_ic')^2

`F` is the disagreement rate of two replicates, `(F(c,c) + F(c',c')) / 2` the noise floor (`F(c,c)` itself: rows with
`statistic` = `floor`, `context` = `context_b`). Unbiased with two replicates per item and context; the same U-statistic
holds for continuous outcomes and, label by label, for answers (`statistic` = `answers`). Waves: the difference between
contexts is taken within a wave, so a shift of the instrument is no flip.

The unbiased estimate may fall below 0, XF cannot: draws are `max(0, max(estimate, 0) + error)`, so a lower limit may be 0
and an upper limit never is. Where XF is 0 or small beside its error only the lower limit can miss, and 90 % intervals hold
it 95 % of the time by construction; farther away 90 %. Where no item ever flipped, the draws are the mid-P confidence law of
0 among n items: one half exactly 0, one half Beta(1, n). The mean over models is taken before the limit at 0.
One replicate: refused, with bounds `(M_c - M_c')^2 <= XF <= F(c, c')`. No shared items: refused. Items are a sample
(Bayesian bootstrap within tasks). Unit: probability.
Source: half the squared maximum mean discrepancy of Gao, Liang and Guestrin 2024 (arXiv 2410.20247) for two answers.
"""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np

from divergence.cells.replicates import Replicates, answer_pairs, replicates
from divergence.estimands.item_weights import Excess, ItemWeights
from divergence.estimands.rows import answer, answered, context_codes, frame
from divergence.estimate import Estimate
from divergence.identification import needs
from divergence.identification.log_design import LogDesign
from divergence.identification.question import Need, Question
from divergence.joint.posterior import Fit, Posterior
from divergence.random_streams import stream

QUESTION, TEXT = "excess_flips", "answers that a change of context flips, beyond the noise of repeating a request"
REPLICATED_MIN = 10  # items with replicates (or all shared items, where there are fewer): three say nothing of thousands
PAIRS_MAX = 300  # pairs of contexts times models shown one by one; beyond it only those against the bench and means


@dataclasses.dataclass(frozen=True)
class _Pairs:
    """Per-item statistics of every pair of contexts of one model; NaN where a pair lacks the item or the replicates."""

    excess: np.ndarray
    floor: np.ndarray
    disagreement: np.ndarray
    difference: np.ndarray
    noise: np.ndarray
    items: np.ndarray


def flip_needs(design: LogDesign) -> Need:
    """Items that one model answered in two contexts, with two replicates in each; with fewer only bounds."""
    if design.cells.kind == "positive":
        return Need(False, f"Flips are counted for scores and answers; {design.cells.outcome} is a time or a cost.")
    shared = design.sharing.in_several
    if not shared:
        return Need(
            False,
            "It needs items that one model answered in two contexts; this log has none "
            f"({needs.many(sum(design.sharing.items.values()), 'item')} with an identity).",
        )
    told = f"{needs.many(shared, 'item')} answered in two contexts or more"
    replicated, repeated = replicated_items(design)
    if not replicated and repeated:
        return Need(
            True,
            f"{told}; too few of them have two replicates in two contexts, so only the noise of repeating a request is "
            f"given ({needs.many(repeated, 'item')}), and bounds.",
        )
    if not replicated:
        inside = " (rows of one session are none of each other)" if (design.arms.repeated > 0).any() else ""
        return Need(
            False,
            f"It needs two replicates per item and context; the {told} have one{inside}, so there is no "
            "noise floor and only bounds can be given.",
            bounds=True,
        )
    return Need(True, f"{told}, {replicated} of them with two replicates in two contexts.")


def replicated_items(design: LogDesign) -> tuple[int, int]:
    """The most items of one model that are replicated in each of two contexts (0 where no pair has enough of them), and the
    most in one context."""
    contexts = np.unique(np.stack([design.arms.deployed.astype(int), design.arms.context], 1), axis=0)
    names = design.cells.levels["regime"]
    code = [names.index("deployment" if deployed else "evaluation") for deployed in contexts[:, 0]]
    codes = np.stack([np.array(code, int), contexts[:, 1]], 1)
    most = floor = 0
    for model in np.unique(design.arms.model):
        whole = replicates(design.cells, int(model), codes)[0].pooled()
        once, twice = whole.n[:, 0] > 0, whole.pairs[:, 0] > 0
        known, shared = twice.astype(float) @ twice.T, once.astype(float) @ once.T
        enough = known >= np.maximum(2, np.minimum(REPLICATED_MIN, shared))
        enough[range(len(enough)), range(len(enough))] = False
        most, floor = max(most, int(known[enough].max(initial=0))), max(floor, int(twice.sum(1).max(initial=0)))
    return most, floor


ROOM = Question(
    QUESTION,
    "items that change sides",
    TEXT,
    flip_needs,
)


@answered(ROOM, "probability")
def excess_flips(posterior: Posterior, *, outcome: str | None = None) -> Estimate:
    """Rows (model, context, context_b), and over models with `model` null."""
    fit = posterior[outcome]
    contexts = fit.design.contexts
    pairs = _ordered_pairs(contexts)
    models = range(fit.design.n_models)
    shared = {m: _outcome_pairs(fit, m, pairs) for m in models}
    columns = _Columns(fit, pairs)
    weights = _weights(fit)
    columns.add(shared, weights, None)
    columns.add_floors(shared, weights)
    if len(fit.cells.answers):
        columns.add({m: _label_pairs(fit, m, pairs) for m in models}, weights, "answers")
    return columns.estimate()


def against_bench(fit: Fit) -> tuple[np.ndarray, np.ndarray, list[list[str | None]]] | str:
    """Draws of the excess flips of each deployment context against the bench, and of the items' mean change between them.

    Each of shape (S, models, deployment contexts), with the same weights of items as `excess_flips`; of several evaluation
    contexts the one with the most flips counts. With them a reason per model and context, or None; or one reason for all.
    """
    contexts = fit.design.contexts
    bench, deployed = np.flatnonzero(contexts[:, 0] == 0), np.flatnonzero(contexts[:, 0] == 1)
    if fit.cells.kind == "positive" or not len(bench):
        return "the log has no evaluation rows to count flips against" if not len(bench) else "flips are counted for scores"
    weights = _weights(fit)
    pairs = [(int(b), int(c)) for c in deployed for b in bench]
    shape = (weights.draws, fit.design.n_models, len(deployed))
    flips, change = np.full((2, *shape), np.nan)
    reasons: list[list[str | None]] = [[None] * len(deployed) for _ in range(fit.design.n_models)]
    for m, k in itertools.product(range(fit.design.n_models), range(len(deployed))):
        if not k:
            stats = _outcome_pairs(fit, m, pairs)
            excess, moved = weights.of_excess(stats.excess, stats.items), weights.means(stats.difference, stats.items)
        best = -np.inf
        why = (
            "the bench and this context share no item"
            if np.isnan(stats.disagreement).all()
            else ("fewer than two shared items have two replicates in both: the noise of repeating a request is not known")
        )
        for j in range(k * len(bench), (k + 1) * len(bench)):
            known = stats.excess[j][np.isfinite(stats.excess[j])]
            if len(known) < max(2, min(REPLICATED_MIN, int(np.isfinite(stats.disagreement[j]).sum()))):
                continue
            if excess.draws[:, j].mean() > best:
                best, why = excess.draws[:, j].mean(), None
                flips[:, m, k], change[:, m, k] = excess.draws[:, j], -moved[:, j]
        reasons[m][k] = why
    return flips, change, reasons


def _weights(fit: Fit) -> ItemWeights:
    return ItemWeights(len(fit.effects), len(fit.cells.levels["item"]), stream(fit.seed, "items of flips"))


def _ordered_pairs(contexts: np.ndarray) -> list[tuple[int, int]]:
    """All pairs, those with the bench first; the evaluation context is the first of its pair."""
    pairs = list(itertools.combinations(range(len(contexts)), 2))
    return sorted(pairs, key=lambda p: (contexts[p[0], 0] + contexts[p[1], 0] != 1, p))


def _outcome_pairs(fit: Fit, model: int, pairs: list[tuple[int, int]]) -> _Pairs:
    data, items = replicates(fit.cells, model, context_codes(fit))
    first, second = (np.array(side) for side in zip(*pairs, strict=True))
    whole = data.pooled()
    with np.errstate(invalid="ignore", divide="ignore"):
        excess = _within_waves(data, first, second)
        mean = whole.y[:, 0] / whole.n[:, 0]
        square = whole.products[:, 0] / whole.pairs[:, 0]
        plain = square[first] + square[second] - 2 * mean[first] * mean[second]
        excess = np.where(np.isfinite(excess), excess, plain)
        second_moment = whole.yy[:, 0] / whole.n[:, 0]
        noise = 2 * (second_moment - square)  # F(c, c): E (y - y')^2 of two replicates
        floor = (noise[first] + noise[second]) / 2
        disagreement = second_moment[first] + second_moment[second] - 2 * mean[first] * mean[second]
    return _Pairs(excess, floor, disagreement, mean[first] - mean[second], noise, items)


def _within_waves(data: Replicates, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Mean over pairs of waves (w, w') of the product of the contexts' differences in w and in w', shape (pairs, items).

    Within one wave the U-statistic, across waves the product of two independent differences.
    """
    mean = data.y / data.n
    square = data.products / data.pairs
    waves = mean.shape[1]
    terms = []
    for w in range(waves):
        terms.append(square[first, w] + square[second, w] - 2 * mean[first, w] * mean[second, w])
        for v in range(w + 1, waves):
            product = (mean[first, w] - mean[second, w]) * (mean[first, v] - mean[second, v])
            terms += [product, product]  # (w, v) and (v, w)
    if not terms:  # no row has an item of its own
        return np.full((len(first), mean.shape[2]), np.nan)
    stacked = np.stack(terms)
    known = np.isfinite(stacked)
    return np.where(known, stacked, 0).sum(0) / known.sum(0)


def _label_pairs(fit: Fit, model: int, pairs: list[tuple[int, int]]) -> _Pairs:
    agree, share, items = answer_pairs(fit.cells, model, context_codes(fit))
    first, second = (np.array(side) for side in zip(*pairs, strict=True))
    disagreement = np.stack([1 - (share[i] * share[j]).sum(1) for i, j in pairs])
    floor = 1 - (agree[first] + agree[second]) / 2
    nothing = np.full_like(disagreement, np.nan)
    return _Pairs(disagreement - floor, floor, disagreement, nothing, 1 - agree, items)


class _Columns:
    """Collects draws, coordinates and reasons, row by row."""

    def __init__(self, fit: Fit, pairs: list[tuple[int, int]]) -> None:
        self.fit, self.pairs = fit, pairs
        labels = fit.cells.levels["context"]
        self.names = [labels[c] for c in fit.design.contexts[:, 1]]
        self.deployed = fit.design.contexts[:, 0] == 1
        self.rows: list[tuple] = []
        self.draws, self.reasons, self.floors, self.bounds, self.items = [], [], [], [], []

    def add(self, per_model: dict[int, _Pairs], weights: ItemWeights, statistic: str | None) -> None:
        """All pairs of all models, then the means over models."""
        models = self.fit.cells.levels["model"]
        few = len(self.pairs) * len(models) <= PAIRS_MAX
        excess = {m: weights.of_excess(stats.excess, stats.items) for m, stats in per_model.items()}
        for k, (i, j) in enumerate(self.pairs):
            drawn, floors = [], []
            for m, stats in per_model.items():
                if not np.isfinite(stats.disagreement[k]).any():
                    continue
                known = stats.excess[k][np.isfinite(stats.excess[k])]
                shared_items = int(np.isfinite(stats.disagreement[k]).sum())
                if len(known) < max(2, min(REPLICATED_MIN, shared_items)):
                    self._bounds(stats, k, models[m], statistic, weights, len(known), shared_items)
                    continue
                mine = excess[m].of(k)
                floor = float(np.nanmean(stats.floor[k]))
                drawn.append(mine)
                floors.append(floor)
                if few or self.deployed[i] != self.deployed[j]:
                    self._row(models[m], k, statistic, mine.draws[:, 0], None, floor, False, len(known))
            if drawn:
                self._row(None, k, statistic, Excess.mean(drawn).draws[:, 0], None, float(np.mean(floors)), False, None)

    def add_floors(self, per_model: dict[int, _Pairs], weights: ItemWeights) -> None:
        """What repeating a request flips in each context, per model."""
        for m, stats in per_model.items():
            repeated = weights.means(stats.noise, stats.items)
            for c, name in enumerate(self.names):
                known = np.isfinite(stats.noise[c])
                if known.any():
                    self._append(
                        self.fit.cells.levels["model"][m],
                        name,
                        name,
                        "floor",
                        bool(self.deployed[c]),
                        repeated[:, c],
                        int(known.sum()),
                    )

    def _append(self, model, first, second, statistic, deployed, draws, items) -> None:
        self.rows.append((model, first, second, statistic, "deployment" if deployed else "evaluation", items))
        self.draws.append(draws)
        self.reasons.append(None)
        self.floors.append(np.nan)
        self.bounds.append(False)

    def _bounds(
        self, stats: _Pairs, k: int, model: str, statistic: str | None, weights: ItemWeights, known: int, shared: int
    ) -> None:
        reason = (
            f"{known} of {shared} shared items have two replicates in both contexts: the noise of repeating a request "
            "is not known, only bounds"
        )
        self._row(model, k, statistic, np.full(weights.draws, np.nan), reason, np.nan, False, None)
        if statistic is None:
            upper, lower = weights.means(np.stack([stats.disagreement[k], stats.difference[k]]), stats.items).T
            self._row(model, k, "lower_bound", lower**2, reason, np.nan, True, None)
            self._row(model, k, "upper_bound", upper, reason, np.nan, True, None)

    def _row(self, model, k, statistic, draws, reason, floor, bound, items) -> None:
        i, j = self.pairs[k]
        alike = self.deployed[i] == self.deployed[j]
        regime = None if not alike else "deployment" if self.deployed[i] else "evaluation"
        self.rows.append((model, self.names[i], self.names[j], statistic, regime, items))
        self.draws.append(draws)
        self.reasons.append(reason)
        self.floors.append(floor)
        self.bounds.append(bound)

    def estimate(self) -> Estimate:
        """The answer."""
        model, first, second, statistic, regime, items = (list(c) for c in zip(*self.rows, strict=True))
        rows = frame(model=model, context=first, context_b=second, statistic=statistic, regime=regime, n_items=items)
        return answer(
            self.fit,
            QUESTION,
            TEXT,
            "probability",
            rows,
            np.stack(self.draws, 1),
            reason=tuple(self.reasons),
            noise_floor=np.array(self.floors),
            bounds=np.array(self.bounds),
        )
