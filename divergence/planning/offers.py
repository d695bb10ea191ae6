"""What is there to buy, one thing at a time? Items, trials, contexts, models and labels in one table.

Every row takes a tenth of the budget (labels: as many labels as that buys requests) and says what it alone would leave.
Rows are in order of gain per cost. What a *new* context or model is worth to a decision is the expected improvement of the
chosen level,

    E max(0, level seen of the new one - level of the best one now),

with the new one drawn as the fit draws it: contexts as those of the log differ, a model as the log's models differ. Labels
judge rows that were logged and never scored; they cost no request. Which requests of a stratum to label first is
`risk.labelfree.audit_next`. Unit: that of the goal.
"""

from __future__ import annotations

import math

import numpy as np

from divergence.joint.link import from_link, to_link
from divergence.joint.posterior import Fit
from divergence.planning.allocation import Move, bought, moves
from divergence.planning.knowledge import knowledge
from divergence.planning.preposterior import Preposterior, Purchase
from divergence.planning.result import SingleMove
from divergence.random_streams import stream

SHARE = 10  # of the budget that one row takes: a tenth
ROWS, LABEL_ROWS = 12, 3  # of the table


def offers(of: Preposterior, fit: Fit, budget: float, unit: str, bank: float) -> tuple[SingleMove, ...]:
    """The table, what gains most per unit of cost first; then labels, which cost no request."""
    known = of.known
    nothing = Purchase.nothing(len(known.places))
    value = of.objective(of.left(nothing))
    rated = []
    for move in moves(known, of.goal):
        design = bought(known, nothing, move, budget / SHARE, unit, bank)
        if design is None:
            continue
        gain = value - of.objective(of.left(design))
        rated.append((gain / max(design.cost(known, unit), 1e-300), gain, move, design))
    rated.sort(key=lambda row: -row[0])
    new = [row for row in rated if row[2].kind == "context"]  # one stands for all: they are drawn alike
    rated = [row for row in rated if row[2].kind != "context" or row is new[0]]
    found = [_row(of, move, design, gain) for _, gain, move, design in rated[:ROWS] if gain > 0]
    if of.goal.kind == "decision":
        found += _newcomers(of, fit, budget, unit)
    return tuple(found + _labels(of, value, budget))


def _row(of: Preposterior, move: Move, design: Purchase, gain: float) -> SingleMove:
    known, place = of.known, of.known.places[move.places[0]]
    requests = int(design.requests(known).sum())
    amount = int(design.again[move.places[0]] if move.kind == "trials" else design.items[move.places[0]])
    several = len(move.places) > 1
    what = {
        "items": f"the same new items for {_named(of, move)}" if several else f"new items for {place}",
        "trials": f"trials of all {known.items[move.places[0]]:.0f} items of {place}",
        "context": f"{place.context}, new items for each of {len(move.places)} models",
    }[move.kind]
    usd = design.cost(known, "usd")
    return SingleMove(
        move.kind, what, amount, requests, usd if math.isfinite(usd) else None, of.width(design), of.regret(design), gain
    )


def _named(of: Preposterior, move: Move) -> str:
    """The places of a move in words."""
    places = [of.known.places[k] for k in move.places]
    models = list(dict.fromkeys(p.model for p in places))
    if len(places) == len(of.known.arm[of.known.logged]):
        return "every combination"
    if len(models) == 1 and len(places) > 2:
        return f"{models[0]} in {len(places)} contexts"
    return " and ".join(map(str, places))


def _newcomers(of: Preposterior, fit: Fit, budget: float, unit: str) -> list[SingleMove]:
    """What a new context for all models, and a new model in all contexts, would add to the chosen level."""
    known, out = of.known, []
    best = of.goal.candidates[0]
    level = float(known.draws[:, best].mean())
    variance = float(np.mean(np.diag(known.between) + known.replicate + known.session))
    price = float(np.nanmean(known.cost[unit]))
    usd = float(np.nanmean(known.cost["usd"])) if np.isfinite(known.cost["usd"]).any() else math.nan
    models = fit.design.n_models
    contexts = len(known.contexts["deployment"])
    wide = knowledge(fit, new_contexts=1)
    mine = [k for k, p in enumerate(wide.places) if p.kind == "new"]
    newcomers = [("context", "a context that the log never saw, new items for every model", wide.draws[:, mine], models)]
    if models > 1:
        newcomers.append(
            ("model", "a model like those of the log, new items in every deployment context", _new_model(of, fit), contexts)
        )
    for kind, what, draws, places in newcomers:
        items = max(1, int(budget / SHARE / max(price * places, 1e-300)))
        seen = draws.mean(0) + (draws - draws.mean(0)) * (draws.var(0) / (draws.var(0) + variance / items))
        noise = stream(fit.seed, "noise of measurements", 1).standard_normal(draws.shape)
        slope = draws.var(0) / (draws.var(0) + variance / items)
        seen = seen + slope * np.sqrt(variance / items) * noise
        gain = float(np.maximum(seen.max(1) - level, 0.0).mean())
        cost = usd * items * places
        out.append(SingleMove(kind, what, items, items * places, cost if math.isfinite(cost) else None, None, None, gain))
    return out


def _new_model(of: Preposterior, fit: Fit) -> np.ndarray:
    """Draws of the levels of one more model in the deployment contexts, (S, contexts): as the log's models differ."""
    known = of.known
    columns = {}
    for k, place in enumerate(known.places):
        if place.regime == "deployment" and place.kind != "new":
            columns.setdefault(place.context, []).append(k)
    apart = fit.scales["theta_D"] * np.sqrt(1 + 1 / fit.design.n_models)
    own = apart * stream(fit.seed, "noise of measurements", 2).standard_normal(len(known.draws))
    out = []
    for places in columns.values():
        levels = np.clip(known.draws[:, places], 1e-6, 1 - 1e-6)
        out.append(from_link(to_link(levels, fit.arms.link).mean(1) + own, fit.arms.link))
    return np.stack(out, 1)


def _labels(of: Preposterior, value: float, budget: float) -> list[SingleMove]:
    """Judgements of rows that were logged and never scored."""
    known, rows = of.known, []
    nothing = Purchase.nothing(len(known.places))
    for k in np.flatnonzero(known.unjudged > 0):
        number = int(min(known.unjudged[k], max(1, budget / SHARE)))
        design = nothing.more(int(k), items=number)
        gain = value - of.objective(of.left(design))
        what = f"labels of logged requests of {known.places[k]} ({known.unjudged[k]:,.0f} are not judged)"
        rows.append((gain / number, SingleMove("labels", what, number, 0, 0.0, of.width(design), of.regret(design), gain)))
    rows.sort(key=lambda row: -row[0])
    return [row for _, row in rows[:LABEL_ROWS] if row.gain > 0]
