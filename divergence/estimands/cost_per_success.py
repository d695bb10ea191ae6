"""What does one success cost, with everything that was spent on failures?

    K_mc = E[spend of an execution, failed ones included] / P(success)

| `statistic` | what | unit | rows |
|---|---|---|---|
| null | K | currency | per model, context (evaluation too); per model under the deployment law, `context` null |
| `bench_ratio` | K in deployment over K on the bench | ratio | per model |
| `failed_share` | share of the spend that went into failures | probability | per model, context; per regime over all |
| `calls`, `tokens` | model calls, tokens for one success | calls, tokens | the same |
| `calls_failed_share` | share of the calls that were made on failures | probability | the same |
| `replay_factor` | prompt sent over sent once, if each call repeats all before: E c (c + 1) / 2 E c | ratio | the same |
| `over_budget` | P(K > budget), where a budget is declared; also where nothing succeeded | probability | the same |
| `expected_attempts` | E[min(tries until a success, cap)], tasks differ, at most `cap` tries | attempts | the same |

Over contexts it is the ratio of means, not the mean of ratios. Joint draws by the Bayesian bootstrap over blocks of
sessions or items: cost and success of one cluster move together. Identified by metered rows (`cost_usd`) or tokens with
declared prices, and by a success in the combination; with none, the cost of a success has no upper limit that the log
knows, and only a lower one is said. A ratio's mean need not exist, so those rows have none. Unit: USD, or the declared
currency. Source: Kapoor et al. 2024 (arXiv 2407.01502) for cost-controlled evaluation.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from divergence.cells.random_blocks import block_sums
from divergence.cells.scorer_trials import trials_by_scorer
from divergence.errors import InputError
from divergence.estimands.beta_binomial import beta_parameters, laws_of_scorers
from divergence.estimands.rows import answer, answered, frame, refuse
from divergence.estimands.spend import Prices, Spend, checked_prices, mean_spend, spend, weights
from divergence.estimate import Estimate
from divergence.identification import needs
from divergence.identification.log_design import LogDesign
from divergence.identification.question import Need, Question
from divergence.joint.laws import Law
from divergence.joint.posterior import Fit, Posterior
from divergence.joint.predict import levels
from divergence.random_streams import stream

QUESTION, TEXT = "cost_per_success", "what one success costs, failures included"
CAP = 5  # tries that a gateway's retry policy allows at most, unless told otherwise
NOT_A_SCORE = "the cost of a success is asked of the primary outcome, where it is a score"
MISSING = (
    "no row has a cost: log `cost_usd`, or declare [prices] per million tokens (with currency and date) for a log that "
    "counts `input_tokens` and `output_tokens`"
)


ROUNDING = 1e-9  # of a share: sums of floats
RATIOS = (None, "bench_ratio", "calls", "tokens")  # statistics whose mean need not exist


def cost_needs(design: LogDesign) -> Need:
    """A cost, or tokens with declared prices; calls and tokens of a success are given without."""
    if design.cells.kind == "positive":
        return Need(False, "It needs an outcome that can succeed: " + NOT_A_SCORE + ".")
    rows = {regime: known_spend(design, regime) for regime in design.logged}
    if any(rows.values()):
        return Need(True, "; ".join(f"{needs.many(n, 'row')} of {r} with a known cost" for r, n in rows.items() if n) + ".")
    instead = [name for name in ("tokens", "calls") if any(_counted(design, name, regime) for regime in design.logged)]
    if (design.arms.repeated >= 2).any() and design.cells.kind == "binary":
        instead.append("attempts")
    if not instead:
        return Need(False, "It needs a cost: no row has `cost_usd`, nor tokens that declared [prices] could be applied to.")
    return Need(
        True, f"No row has a cost and no prices are declared: only {' and '.join(instead)} of a success can be given."
    )


def _counted(design: LogDesign, name: str, regime: str) -> bool:
    """Is there a combination with a success whose rows count calls, or tokens of both directions?"""
    cells = design.cells
    columns = ("calls",) if name == "calls" else ("input_tokens", "output_tokens")
    known = [block_sums(cells, column, regime).n.sum(0) > 0 for column in columns]
    return bool((np.all(known, axis=0) & (block_sums(cells, "score", regime).y.sum(0) > 0)).any())


def known_spend(design: LogDesign, regime: str) -> int:
    """Rows of a regime whose spend is known."""
    counts = design.logged[regime]
    return counts["cost_usd"] or (counts["tokens"] if design.priced else 0)


ROOM = Question(
    QUESTION,
    "cost of one success",
    TEXT,
    cost_needs,
    declared=("cost",),
    example_log="agents",
)


@answered(ROOM, "usd", checked_prices)
def cost_per_success(
    posterior: Posterior,
    *,
    prices: Prices | None = None,
    currency: str = "USD",
    date: str | None = None,
    cap: int = CAP,
    budget: float | None = None,
    law: Law | None = None,
    outcome: str | None = None,
) -> Estimate:
    """Rows as in the table above; `date`: when the prices held. Raises InputError for what cannot be meant."""
    if isinstance(cap, bool) or not isinstance(cap, int) or cap < 1:
        raise InputError(f"cap is the largest number of tries, a whole number from 1 on, seen {cap!r}")
    if budget is not None and not (isinstance(budget, int | float) and budget > 0):
        raise InputError(f"budget is what one success may cost, a number above 0, seen {budget!r}")
    fit = posterior[outcome]
    unit = currency.lower()
    if fit is not posterior.fits[0]:
        return refuse(fit, QUESTION, TEXT, unit, NOT_A_SCORE)
    collected = _Rows(fit, unit)
    sums = {regime: spend(fit, regime, prices, currency) for regime in ("evaluation", "deployment")}
    weight = weights(fit)
    if not any(part.known.any() for part in sums.values()):  # calls and tokens follow: money is refused
        collected.add((None, None, None), None, unit, weight[:, 0], MISSING)
    for regime, of_regime in sums.items():
        _per_context(collected, fit, regime, of_regime, weight, budget)
    _over_contexts(collected, fit, sums, weight, law)
    for regime in sums:
        _calls_and_tokens(collected, fit, regime, weight)
        _attempts(collected, fit, regime, cap)
    return collected.estimate(TEXT + read_with(fit, prices, date))


def read_with(fit: Fit, prices: Prices | None, date: str | None) -> str:
    """What has to be said beside every number: whose prices these are, and whether the tasks are the same."""
    metered = np.sum([block_sums(fit.cells, "cost_usd", r).n.sum((0, 2)) for r in ("evaluation", "deployment")], 0)
    used = (
        any(name in prices and not rows for name, rows in zip(fit.cells.levels["model"], metered, strict=True))
        if prices
        else False
    )
    said = [f"declared prices {f'of {date}' if date else 'without a date'}"] if used else []
    if {"evaluation", "deployment"} <= set(fit.cells.levels["regime"]) and not fit.log_design.sharing.common:
        said.append("bench and traffic share no item: what is asked differs too")
    return f" ({'; '.join(said)})" if said else ""


class _Rows:
    """Collects coordinates, draws and reasons."""

    def __init__(self, fit: Fit, unit: str) -> None:
        self.fit, self.unit = fit, unit
        self.rows: list[tuple] = []
        self.draws: list[np.ndarray] = []
        self.reasons: list[str | None] = []

    def add(self, place: tuple, statistic: str | None, unit: str, draws: np.ndarray, reason: str | None = None) -> None:
        self.rows.append((*place, statistic, unit))
        self.draws.append(np.full(len(draws), np.nan) if reason else draws)
        self.reasons.append(reason)

    def estimate(self, text: str) -> Estimate:
        model, context, regime, statistic, unit = (list(c) for c in zip(*self.rows, strict=True))
        table = frame(model=model, context=context, regime=regime, statistic=statistic)
        return answer(
            self.fit,
            QUESTION,
            text,
            self.unit,
            table.with_columns(unit=pl.Series(unit, dtype=pl.String)),
            np.stack(self.draws, 1),
            reason=tuple(self.reasons),
            quantiles_only=np.array([name in RATIOS for name in statistic]),
        )


def _per_context(out: _Rows, fit: Fit, regime: str, sums: Spend, weight: np.ndarray, budget: float | None) -> None:
    cost, success = mean_spend(sums, weight)
    rng = stream(fit.seed, "failed spend")
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = cost / success
        lost = np.tensordot(weight, sums.lost, 1) / np.tensordot(weight, sums.cost, 1)
    spent: list[tuple[int, int]] = []
    for m, c in np.argwhere(sums.judged.sum(0) > 0):
        place = (fit.cells.levels["model"][m], fit.cells.levels["context"][c], regime)
        if not sums.known[m]:
            if sums.known.any():
                out.add(place, None, out.unit, weight[:, 0], f"{place[0]}: {MISSING}")
            continue
        if not sums.metered[:, m, c].sum():
            out.add(place, None, out.unit, weight[:, 0], "no row of this combination has a cost")
            continue
        why, draws = None, ratio[:, m, c]
        if sums.success[:, m, c].sum() == 0:
            clusters = np.count_nonzero(sums.judged[:, m, c])  # the evidence: rows of one cluster fail together
            draws = cost[:, m, c] / rng.beta(0.5, clusters + 0.5, len(weight))
            trials = int(sums.judged[:, m, c].sum())
            why = (
                f"none of {trials} trials succeeded: its cost has no upper limit that the log knows; with 95 % "
                f"it is above {np.quantile(draws, 0.05):.3g} {out.unit}"
            )
        out.add(place, None, out.unit, draws, why)
        if budget is not None:
            out.add(place, "over_budget", "probability", (draws > budget).astype(float))
        if sums.cost[:, m, c].sum() > 0 and np.isfinite(sums.lost[:, m, c].sum()):
            out.add(place, "failed_share", "probability", lost[:, m, c], _no_share(lost[:, m, c]))
            spent.append((m, c))
    if len({m for m, _ in spent}) > 1:
        at = tuple(np.array(spent).T)
        whole = [np.tensordot(weight, part[:, at[0], at[1]].sum(1), 1) for part in (sums.lost, sums.cost)]
        share = whole[0] / whole[1]
        out.add((None, None, regime), "failed_share", "probability", share, _no_share(share))


def _no_share(draws: np.ndarray) -> str | None:
    """Why a part of the spend is no share of it: refunds, which are costs below 0, can put it outside 0 to 1."""
    low, high = np.quantile(draws, [0.05, 0.95])
    if draws.min() >= -ROUNDING and draws.max() <= 1 + ROUNDING:
        return None
    return (
        f"the log has costs below 0 (refunds), and with them the spend on failures is {low:.2f} to {high:.2f} of the whole: "
        "that is no share of 0 to 1"
    )


def _over_contexts(out: _Rows, fit: Fit, sums: dict[str, Spend], weight: np.ndarray, law: Law | None) -> None:
    """K under the deployment law, and its ratio to the bench's."""
    mu = levels(fit, "deployment", law)
    missing = [regime for regime, part in sums.items() if not part.known.any()]
    if missing and len(missing) < len(sums):
        why = f"the log has no {missing[0]} rows with a known cost"
        out.add((None, None, None), "bench_ratio", "ratio", weight[:, 0], why)
    if mu is None or not sums["deployment"].known.any():
        return
    cost, success = mean_spend(sums["deployment"], weight)
    places = [fit.cells.levels["context"].index(name) for name in mu.contexts]
    bench = sums["evaluation"]
    metered = bench.metered.sum(0) > 0  # success where the spend is known, or the ratio would compare different rows
    spent, solved = (np.tensordot(weight, (part * metered).sum(2), 1) for part in (bench.cost, bench.success))
    rows, judged = (np.tensordot(weight, (part * metered).sum(2), 1) for part in (bench.metered, bench.judged))
    for m, model in enumerate(fit.cells.levels["model"]):
        used = mu.law[m] > 0
        seen = sums["deployment"].metered.sum(0)[m, places] > 0
        if not (used & seen).any():
            continue
        why = None if (seen | ~used).all() else "some contexts of the deployment law have no row of this model with a cost"
        share, columns = mu.law[m][used], [p for p, u in zip(places, used, strict=True) if u]
        with np.errstate(invalid="ignore", divide="ignore"):
            k = (cost[:, m, columns] @ share) / (success[:, m, columns] @ share)
            ratio = k / ((spent[:, m] / rows[:, m]) / (solved[:, m] / judged[:, m]))
        if why is None and not np.isfinite(k).all():
            why = "no trial succeeded in the contexts of the deployment law"
        out.add((model, None, "deployment"), None, out.unit, k, why)
        if not missing:
            known = (bench.success * metered)[:, m].sum() > 0
            free = "the bench was free" if known else "the model has no success with a known cost on the bench"
            out.add((model, None, None), "bench_ratio", "ratio", ratio, why or (None if np.isfinite(ratio).all() else free))


def _calls_and_tokens(out: _Rows, fit: Fit, regime: str, weight: np.ndarray) -> None:
    score, calls = block_sums(fit.cells, "score", regime), block_sums(fit.cells, "calls", regime)
    tokens = [block_sums(fit.cells, f"{kind}_tokens", regime) for kind in ("input", "output")]
    good = np.tensordot(weight, score.y, 1) / np.maximum(np.tensordot(weight, score.n, 1), 1e-300)
    for m, c in np.argwhere((score.n.sum(0) > 0) & (score.y.sum(0) > 0)):
        place = (fit.cells.levels["model"][m], fit.cells.levels["context"][c], regime)
        made = weight @ calls.y[:, m, c]
        if calls.n[:, m, c].sum():
            out.add(place, "calls", "calls", made / (weight @ calls.n[:, m, c]) / good[:, m, c])
            if np.isfinite(calls.lost[:, m, c].sum()) and calls.y[:, m, c].sum():
                out.add(place, "calls_failed_share", "probability", (weight @ calls.lost[:, m, c]) / made)
            if calls.y[:, m, c].sum():
                out.add(place, "replay_factor", "ratio", ((weight @ calls.yy[:, m, c]) / made + 1) / 2)
        if tokens[0].n[:, m, c].sum() and tokens[1].n[:, m, c].sum():
            used = sum((weight @ t.y[:, m, c]) / (weight @ t.n[:, m, c]) for t in tokens)
            out.add(place, "tokens", "tokens", used / good[:, m, c])


def _attempts(out: _Rows, fit: Fit, regime: str, cap: int) -> None:
    """E[min(tries, cap)] = sum over j < cap of E (1 - p)^j, tasks beta-binomial."""
    cells = fit.cells
    if cells.kind != "binary" or regime not in cells.levels["regime"]:
        return
    r = cells.levels["regime"].index(regime)
    counts = cells.counts.take((cells.counts["regime"] == r) & (cells.counts["item"] >= 0) & (cells.counts["n"] > 0))
    rng = stream(fit.seed, "attempts", r)
    for (m, c), mine in counts.grouped("model", "context"):
        n, y = trials_by_scorer(mine)
        place = cells.levels["model"][m], cells.levels["context"][c], regime
        repeated = (n >= 2).any(0).sum()
        if repeated < 2:
            out.add(
                place,
                "expected_attempts",
                "attempts",
                np.zeros(len(fit.effects)),
                f"{repeated} items have two trials: what a retry of a failed task brings is not known",
            )
            continue
        tries = np.mean([_tries(*law, cap) for law in laws_of_scorers(n, y, len(fit.effects), rng)], 0)
        out.add(place, "expected_attempts", "attempts", tries)


def _tries(mean: np.ndarray, correlation: np.ndarray, cap: int) -> np.ndarray:
    """E[min(tries, cap)] under tasks that differ by a beta law."""
    a, b = beta_parameters(mean, correlation)
    return np.sum([np.prod([(b + i) / (a + b + i) for i in range(j)], axis=0) * np.ones_like(a) for j in range(cap)], 0)
