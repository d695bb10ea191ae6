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
import math
from collections.abc import Iterable

import numpy as np

from divergence.cells.replicates import replicates
from divergence.cells.scorer_trials import answers_once
from divergence.estimands.flip_pairs import FlipPairs, Repeats, count_pairs, label_pairs, outcome_pairs, pair_order, repeats
from divergence.estimands.item_weights import ItemWeights, MeanExcess
from divergence.estimands.rows import answer, answered, frame
from divergence.estimate import Estimate
from divergence.identification import needs
from divergence.identification.log_design import LogDesign
from divergence.identification.question import Need, Question
from divergence.joint.posterior import Fit, Posterior
from divergence.random_streams import stream

QUESTION, TEXT = "excess_flips", "answers that a change of context flips, beyond the noise of repeating a request"
REPLICATED_MIN = 10  # items with replicates (or all shared items, where there are fewer): three say nothing of thousands
PAIRS_MAX = 300  # pairs of contexts times models shown one by one; beyond it only those against the bench and means
# Pairs of contexts without repeats: of more of them bounds are told of those against the bench, the rest once a model.
BOUNDED_MAX = 2000


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
    names = design.cells.levels["regime"]
    code = np.array([names.index("deployment" if deployed else "evaluation") for deployed in design.arms.deployed], int)
    arms = np.stack([code, design.arms.context], 1)
    most = floor = 0
    for model in np.unique(design.arms.model):
        codes = arms[design.arms.model == model]
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
    models = range(fit.design.n_models)
    columns, weights = _Columns(fit), _weights(fit)
    columns.add(((m, found) for m in models for found in outcome_pairs(fit, m)), weights, None)
    columns.add_floors(((m, repeats(fit, m)) for m in models), weights)
    if len(fit.cells.answers):
        given = answers_once(fit.cells)
        labels = ((m, found) for m in models for found in label_pairs(fit, given.of_model(m)))
        columns.add(labels, weights, "answers")
    return columns.estimate()


NO_ITEM = "the bench and this context share no item"
NO_REPEATS = "fewer than two shared items have two replicates in both: the noise of repeating a request is not known"


@dataclasses.dataclass(frozen=True)
class AgainstBench:
    """What each deployment context flips against the bench, where that is known; keys are (model, deployment context)."""

    flips: dict[tuple[int, int], np.ndarray]
    """Draws of the excess flips, (S,) each."""
    change: dict[tuple[int, int], np.ndarray]
    """Draws of the items' mean change, (S,) each."""
    few: frozenset[tuple[int, int]]
    """Where items are shared, but too few of them repeated."""

    def why_not(self, model: int, context: int) -> str | None:
        """Why it is not known; None where it is."""
        key = model, context
        return None if key in self.flips else NO_REPEATS if key in self.few else NO_ITEM


def against_bench(fit: Fit) -> AgainstBench | str:
    """Excess flips of each deployment context against the bench, and the items' mean change between them; or why of none.

    With the same weights of items as `excess_flips`; of several evaluation contexts the one with the most flips counts.
    """
    contexts = fit.design.contexts
    bench = int((contexts[:, 0] == 0).sum())
    if fit.cells.kind == "positive" or not bench:
        return "the log has no evaluation rows to count flips against" if not bench else "flips are counted for scores"
    weights = _weights(fit)
    flips, change, few = {}, {}, set()
    for m in range(fit.design.n_models):
        for stats in outcome_pairs(fit, m, bench=True):
            excess, moved = weights.of_excess(stats.excess, stats.items), weights.means(stats.difference, stats.items)
            for j, c in enumerate((stats.pairs[:, 1] - bench).tolist()):
                if _known(stats, j) < _least(stats, j):
                    few.add((m, c))
                elif (m, c) not in flips or excess.draws[:, j].mean() > flips[m, c].mean():
                    flips[m, c], change[m, c] = excess.draws[:, j], -moved[:, j]
    return AgainstBench(flips, change, frozenset(few))


def _known(stats: FlipPairs, pair: int) -> int:
    """Items of a pair whose excess is known."""
    return int(np.isfinite(stats.excess[pair]).sum())


def _least(stats: FlipPairs, pair: int) -> int:
    """How many of its shared items have to be."""
    return max(2, min(REPLICATED_MIN, int(np.isfinite(stats.disagreement[pair]).sum())))


def _weights(fit: Fit) -> ItemWeights:
    return ItemWeights(len(fit.effects), len(fit.cells.levels["item"]), stream(fit.seed, "items of flips"))


@dataclasses.dataclass(frozen=True)
class _Row:
    """One number of the answer."""

    model: str | None
    pair: tuple[int, int] | None
    statistic: str | None
    draws: np.ndarray
    reason: str | None = None
    floor: float = math.nan
    bound: bool = False
    items: int | None = None


class _Columns:
    """Collects the answer row by row."""

    def __init__(self, fit: Fit) -> None:
        self.fit, self.contexts = fit, fit.design.contexts
        self.each = sum(count_pairs(fit, m) for m in range(fit.design.n_models)) <= BOUNDED_MAX
        self.rows: list[_Row] = []

    def add(self, per_model: Iterable[tuple[int, FlipPairs]], weights: ItemWeights, statistic: str | None) -> None:
        """All pairs of all models, then the means over models."""
        models = self.fit.cells.levels["model"]
        few = math.comb(len(self.contexts), 2) * len(models) <= PAIRS_MAX
        rows: dict[tuple[int, int], list[_Row]] = {}
        means: dict[tuple[int, int], MeanExcess] = {}
        floors: dict[tuple[int, int], list[float]] = {}
        untold: dict[int, int] = {}
        for m, stats in per_model:
            repeated = np.isfinite(stats.excess).any(1)
            excess, place = weights.of_excess(stats.excess[repeated], stats.items), np.cumsum(repeated) - 1
            for k, (i, j) in enumerate(stats.pairs.tolist()):
                apart, known = self.contexts[i, 0] != self.contexts[j, 0], _known(stats, k)
                if known < _least(stats, k) and not (apart or self.each):
                    untold[m] = untold.get(m, 0) + 1
                    continue
                mine = rows.setdefault((i, j), [])
                if known < _least(stats, k):
                    mine += self._bounds(stats, k, models[m], statistic, weights)
                    continue
                one, floor = excess.of(place[k]), float(np.nanmean(stats.floor[k]))
                means.setdefault((i, j), MeanExcess()).add(one)
                floors.setdefault((i, j), []).append(floor)
                if few or apart:
                    mine.append(_Row(models[m], (i, j), statistic, one.draws[:, 0], floor=floor, items=known))
        pairs = np.array(list(rows), int).reshape(-1, 2)
        for pair in map(tuple, pairs[pair_order(self.contexts, pairs)].tolist()):
            self.rows += rows[pair]
            if pair in means:
                self.rows.append(_Row(None, pair, statistic, means.pop(pair).draws, floor=float(np.mean(floors[pair]))))
        for m, pairs_left in untold.items():
            told = (
                f"{pairs_left:,} pairs of contexts in which {models[m]} answered the same items lack two replicates: "
                f"the noise of repeating a request is not known, and bounds are told of at most {BOUNDED_MAX:,} pairs"
            )
            self.rows.append(_Row(models[m], None, statistic, np.full(weights.draws, np.nan), told))

    def add_floors(self, per_model: Iterable[tuple[int, Repeats]], weights: ItemWeights) -> None:
        """What repeating a request flips in each context, per model."""
        for m, found in per_model:
            repeated, known = weights.means(found.noise, found.items), np.isfinite(found.noise).sum(1)
            for k in np.flatnonzero(known):
                c, model = int(found.contexts[k]), self.fit.cells.levels["model"][m]
                self.rows.append(_Row(model, (c, c), "floor", repeated[:, k], items=int(known[k])))

    def _bounds(self, stats: FlipPairs, k: int, model: str, statistic: str | None, weights: ItemWeights) -> list[_Row]:
        shared, (i, j) = int(np.isfinite(stats.disagreement[k]).sum()), stats.pairs[k].tolist()
        reason = (
            f"{_known(stats, k)} of {shared} shared items have two replicates in both contexts: the noise of repeating a "
            "request is not known, only bounds"
        )
        rows = [_Row(model, (i, j), statistic, np.full(weights.draws, np.nan), reason)]
        if statistic is None:
            upper, lower = weights.means(np.stack([stats.disagreement[k], stats.difference[k]]), stats.items).T
            for name, draws in (("lower_bound", lower**2), ("upper_bound", upper)):
                rows.append(_Row(model, (i, j), name, draws, reason, bound=True))
        return rows

    def _regime(self, pair: tuple[int, int] | None) -> str | None:
        if pair is None:
            return None
        one, other = self.contexts[list(pair), 0]
        return None if one != other else "deployment" if one else "evaluation"

    def estimate(self) -> Estimate:
        """The answer."""
        labels = self.fit.cells.levels["context"]
        first, second = (
            [None if row.pair is None else labels[self.contexts[row.pair[side], 1]] for row in self.rows] for side in (0, 1)
        )
        rows = frame(
            model=[row.model for row in self.rows],
            context=first,
            context_b=second,
            statistic=[row.statistic for row in self.rows],
            regime=[self._regime(row.pair) for row in self.rows],
            n_items=[row.items for row in self.rows],
        )
        return answer(
            self.fit,
            QUESTION,
            TEXT,
            "probability",
            rows,
            np.stack([row.draws for row in self.rows], 1),
            reason=tuple(row.reason for row in self.rows),
            noise_floor=np.array([row.floor for row in self.rows]),
            bounds=np.array([row.bound for row in self.rows]),
        )
