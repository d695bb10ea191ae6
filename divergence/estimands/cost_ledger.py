"""What makes a success cost more in deployment than on the bench: price, tokens, calls, attempts, caching, or failure?

    K = price x tokens per call x calls per attempt x attempts per task x cache mix x 1 / success

and the change of K splits exactly (logarithmic mean Divisia index, Ang 2005): part of factor f

    L(K_D, K_B) ln(f_D / f_B),     L(a, b) = (a - b) / (ln a - ln b),     the parts sum to K_D - K_B.

`factor` names the part, the headline (`factor` null) is K_D - K_B; one row each per model and deployment context. A factor
that the log does not hold in both regimes is 1 in both, its row is refused, and what it did is in the others; without tokens
`spend` (a call) stands for price and tokens. Cache mix is what was paid over what the tokens would have cost uncached:
without declared prices it is in the price. Identified by spend and a success in both regimes, and mean costs that are above
0 beyond doubt: refunds can take that away. Unit: the currency. Joint draws by the block bootstrap.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from divergence.cells.random_blocks import block_sums
from divergence.estimands.cost_per_success import NOT_A_SCORE, known_spend, read_with
from divergence.estimands.rows import answer, answered, frame, refuse
from divergence.estimands.spend import Prices, checked_prices, mean_spend, rates, spend, weights
from divergence.estimate import Estimate
from divergence.identification import needs
from divergence.identification.log_design import LogDesign
from divergence.identification.question import Need, Question
from divergence.joint.posterior import Fit, Posterior

QUESTION, TEXT = "cost_ledger", "what the change of the cost of a success is made of"
PARTS = ("price", "tokens", "spend", "calls", "attempts", "cache mix", "failure")
LOGGED_AS = {
    "price": "input and output tokens",
    "tokens": "input and output tokens",
    "calls": "calls",
    "attempts": "attempts",
    "cache mix": "cached tokens with declared prices",
}
"""What a part stands on."""
DOUBT = np.log(1e-6)  # of a mean cost: so seldom a draw of it may be 0 or less, and no draw of thousands is


def ledger_needs(design: LogDesign) -> Need:
    """A known spend in both regimes."""
    if design.cells.kind == "positive":
        return Need(False, "It needs an outcome that can succeed: " + NOT_A_SCORE + ".")
    missing = needs.no_regimes(design)
    if missing:
        return Need(False, missing)
    for regime in design.logged:
        if not known_spend(design, regime):
            return Need(False, f"It needs a known cost in both regimes; this log has 0 {regime} rows with one.")
    both = spending_models(design, "evaluation") & spending_models(design, "deployment")
    if not both:
        return Need(False, "It needs a model with a known cost and a success in both regimes; this log has none.")
    doubts = _doubtful(design)
    reasons = [doubts(m) for m in sorted(both)]
    if all(reasons):
        return Need(False, f"It needs mean costs above 0 on both sides: {reasons[0]}.")
    return Need(
        True, "; ".join(f"{needs.many(known_spend(design, r), 'row')} of {r} with a known cost" for r in design.logged) + "."
    )


def spending_models(design: LogDesign, regime: str) -> set[int]:
    """Models that spent something and had a success in one context of the regime."""
    score, cost = (block_sums(design.cells, name, regime) for name in ("score", "cost_usd"))
    spent = cost.y.sum(0) > 0
    if not cost.n.sum() and design.priced:
        spent = block_sums(design.cells, "output_tokens", regime).n.sum(0) > 0
    return set(np.flatnonzero((spent & (score.y.sum(0) > 0)).any(1)).tolist())


def sure_spend(design: LogDesign, regime: str) -> np.ndarray:
    """Is the mean cost above 0 in every draw of the bootstrap, refunds included? Shape (models, contexts).

    With weights that are exponential, P(sum of w y <= 0) is at most the smallest product of 1 / (1 + t y) over t (Chernoff).
    """
    spent = block_sums(design.cells, "cost_usd", regime).y
    deepest = np.maximum(-spent.min(0), 0.0)
    sure = (deepest == 0) & (spent.sum(0) > 0)
    for m, c in np.argwhere((deepest > 0) & (spent.sum(0) > 0)):
        steps = np.linspace(0.01, 0.99, 99)[:, None] / deepest[m, c]
        sure[m, c] = bool((-np.log1p(steps * spent[:, m, c]).sum(1)).min() < DOUBT)
    return sure


def _doubtful(design: LogDesign) -> Callable[[int], str | None]:
    """Why a model that spent in both regimes has no parts: its bench, or every context, may have cost nothing."""
    names, sides = design.cells.levels, {}
    for regime in ("evaluation", "deployment"):
        cost = block_sums(design.cells, "cost_usd", regime)
        if cost.n.sum():  # priced tokens are never refunded
            solved = block_sums(design.cells, "score", regime).y.sum(0) > 0
            sides[regime] = cost.y.sum(0), cost.n.sum(0), solved & (cost.n.sum(0) > 0), sure_spend(design, regime)

    def doubt(model: int) -> str | None:
        for regime, (spent, rows, known, sure) in sides.items():
            places = np.flatnonzero(known[model])
            unsure = [int(c) for c in places if not sure[model, c]]
            if unsure and (regime == "evaluation" or len(unsure) == len(places)):
                mean = spent[model, unsure[0]] / rows[model, unsure[0]]
                where = f"{needs.shortened(names['model'][model])} in {needs.shortened(names['context'][unsure[0]])}"
                return (
                    f"that of {where} is {mean:.3g} and, with its refunds, may be 0 or less, so a change of it has no parts"
                )
        return None

    return doubt


ROOM = Question(
    QUESTION,
    "what makes it cost more",
    TEXT,
    ledger_needs,
    declared=("dated",),
    example_log="agents",
)


@answered(ROOM, "usd", checked_prices)
def cost_ledger(
    posterior: Posterior,
    *,
    prices: Prices | None = None,
    currency: str = "USD",
    date: str | None = None,
    outcome: str | None = None,
) -> Estimate:
    """One row per model, deployment context and part, the whole first; `date`: when the prices held."""
    fit = posterior[outcome]
    unit = currency.lower()
    if fit is not posterior.fits[0]:
        return refuse(fit, QUESTION, TEXT, unit, NOT_A_SCORE)
    weight = weights(fit)
    bench, live = (_factors(fit, regime, prices, weight, currency) for regime in ("evaluation", "deployment"))
    contexts: dict[int, list[int]] = {}
    for m, c in bench:
        contexts.setdefault(m, []).append(c)
    nothing = np.full(len(fit.effects), np.nan)
    rows, draws, reasons = [], [], []
    for m, c in live:
        if m not in contexts:
            continue
        names = fit.cells.levels["model"][m], fit.cells.levels["context"][c]
        sides = [live[m, c], *(bench[m, b] for b in contexts[m])]
        if not all((side["paid"] > 0).all() for side in sides):
            rows.append((*names, None))
            draws.append(nothing)
            reasons.append(_doubtful(fit.log_design)(m) or f"the mean cost of {names[0]} in {names[1]} may be 0 or less")
            continue
        known = set.intersection(*(set(side) for side in sides))
        before = _pooled([_chain(bench[m, b], known) for b in contexts[m]])
        parts = lmdi(before, _chain(live[m, c], known))
        for part in (None, *PARTS):
            if part is not None and part not in parts and part not in LOGGED_AS:
                continue
            rows.append((*names, part))
            draws.append(sum(parts.values()) if part is None else parts.get(part, nothing))
            lacks = None if part is None or part in parts else LOGGED_AS[part]
            reasons.append(lacks and f"{lacks} are not logged in both regimes: what they did is in the rest")
    model, context, part = (list(column) for column in zip(*rows, strict=True))
    text, table = TEXT + read_with(fit, prices, date), frame(model=model, context=context, factor=part)
    return answer(fit, QUESTION, text, unit, table, np.stack(draws, 1), reason=tuple(reasons))


def lmdi(before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Parts of prod(after) - prod(before), one a factor; they sum to it. Factors must be above 0."""
    first, second = (np.prod([np.asarray(v, float) for v in factors.values()], axis=0) for factors in (before, after))
    ratio = np.log(second) - np.log(first)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(np.abs(ratio) > 1e-12, (second - first) / ratio, first)  # the limit where nothing changed
    return {name: mean * (np.log(after[name]) - np.log(before[name])) for name in before}


Factors = dict[str, np.ndarray]


def _factors(
    fit: Fit, regime: str, prices: Prices | None, weight: np.ndarray, currency: str
) -> dict[tuple[int, int], Factors]:
    """Draws of what the log holds of the models and contexts with spend and a success; what it lacks is not there."""
    sums = spend(fit, regime, prices, currency)
    cost, success = mean_spend(sums, weight)
    counted = {
        name: block_sums(fit.cells, name, regime)
        for name in ("calls", "attempts", "input_tokens", "output_tokens", "cached_tokens")
    }
    out = {}
    for m, c in np.argwhere((sums.success.sum(0) > 0) & (sums.metered.sum(0) > 0) & sums.known[:, None]):
        paid, model = cost[:, m, c], fit.cells.levels["model"][m]
        if not sums.cost[:, m, c].any():
            continue
        out[m, c] = {"paid": paid, "success": success[:, m, c]}
        for name, part in counted.items():
            rows = part.n[:, m, c].sum()
            if part.y[:, m, c].sum() or (rows and name == "cached_tokens"):
                out[m, c][name] = (weight @ part.y[:, m, c]) / (weight @ part.n[:, m, c])
        if prices and model in prices and "cached_tokens" in out[m, c]:  # `cached` takes the discount back
            out[m, c]["full"] = paid - rates(prices[model])["cached"] * out[m, c]["cached_tokens"]
    return out


def _chain(held: Factors, known: set[str]) -> Factors:
    """The factors of K from what the log holds, those of `known` only."""
    one = np.ones_like(held["paid"])
    used = [held[name] for name in ("input_tokens", "output_tokens") if name in known]
    attempts, calls = (held[name] if name in known else one for name in ("attempts", "calls"))
    full = held["full"] if "full" in known and used else held["paid"]
    parts = {"price": full / sum(used), "tokens": sum(used) / calls} if used else {"spend": full / calls}
    if "calls" in known:
        parts["calls"] = calls / attempts
    elif "attempts" in known:  # an attempt is of one call: what it cost is that of the call
        parts[next(reversed(parts))] = parts[next(reversed(parts))] / attempts
    if "attempts" in known:
        parts["attempts"] = attempts
    if full is not held["paid"]:
        parts["cache mix"] = held["paid"] / full
    return parts | {"failure": 1 / held["success"]}


def _pooled(several: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The geometric mean of the bench's contexts: exact for one, and products stay products."""
    return {part: np.exp(np.mean([np.log(one[part]) for one in several], axis=0)) for part in several[0]}
