"""What a fit knows of every place that could be measured, and what one measurement there costs and says.

A place is one model in one context of one regime: those of the log, those the log left empty (the model fills them), and
new contexts, drawn as the fit draws a context that the log never saw. What is known of their levels are the posterior's
draws `theta` (S, D): the levels of all places, then the levels of the logged places on their own items (what further
trials of these items measure). What a measurement would say follows from the `variance_parts` of the logged arms; a place
without rows takes the means over its model's arms.

Unit: outcome scale; costs in requests, tokens, US dollars and seconds a request, as the log has them. A place whose cost
was not logged takes its model's mean, then the log's; a currency that nothing logs is NaN.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from divergence.cells.overlap import in_regime, replays
from divergence.cells.random_blocks import block_sums
from divergence.errors import NotIdentifiedError
from divergence.estimands.spend import Prices, spend
from divergence.joint.posterior import Fit
from divergence.joint.predict import Levels, levels
from divergence.numerics import nearest_psd, square_root
from divergence.planning.variance_parts import VarianceParts, structure, variance_parts
from divergence.random_streams import stream

REGIMES = ("evaluation", "deployment")
UNITS = ("requests", "tokens", "usd", "seconds")
"""What a budget can be counted in."""
EMPTY_MAX = 512  # places from which on those without rows are left out: the draws no longer tell so many apart
UNIVERSE = 200  # new contexts whose mean stands for all there could be: its own chance is a 200th of one context's variance
UNIVERSE_NUMBERS = 2**24  # of them kept at once; larger logs take fewer


@dataclasses.dataclass(frozen=True)
class Place:
    """One model in one context."""

    model: str
    """Name of the model."""
    context: str
    """Label of the context; of a new one `new context K`."""
    regime: str
    """`evaluation` or `deployment`."""
    kind: str = "logged"
    """`logged`, `empty` (both are in the log, not together) or `new` (a context that the log never saw)."""

    def __str__(self) -> str:
        return f"{self.model} in {self.context}"


@dataclasses.dataclass(frozen=True, eq=False)
class Knowledge:
    """What is known of K places, and what measuring them says and costs."""

    places: tuple[Place, ...]
    """The places: bench ones, deployed ones, then those of new contexts."""
    model: np.ndarray
    """Code of each place's model, shape (K,)."""
    draws: np.ndarray
    """Draws of their levels, then of the logged places' levels on their own items, outcome scale, shape (S, D)."""
    again: np.ndarray
    """Column of `draws` that holds the level on a place's own items; -1 where it has none, shape (K,)."""
    between: np.ndarray
    """Covariance of items' means over places, per item, shape (K, K)."""
    replicate: np.ndarray
    """Variance of one trial around its item, shape (K,); 0 where copies, or where it is not known and part of `between`."""
    session: np.ndarray
    """What sessions add, per item, shape (K,)."""
    items: np.ndarray
    """Items behind each place now, shape (K,)."""
    cost: dict[str, np.ndarray]
    """Unit of `UNITS` -> cost of one request, shape (K,); NaN where nothing tells it."""
    unjudged: np.ndarray
    """Rows of the log without a judgement, shape (K,)."""
    parts: VarianceParts
    """The parts of the logged arms."""
    arm: np.ndarray
    """Index of the place's arm among `parts`, -1 where it has none, shape (K,)."""
    universe: np.ndarray
    """Draws of each model's mean level over all contexts like the log's, shape (S, models); empty where not asked for."""
    law: dict[str, np.ndarray]
    """Regime -> weights of its contexts by model, shape (models, contexts)."""
    repeatable: np.ndarray
    """Places whose own items may be asked again to good effect: replicates are no copies, and an item counts once however
    often it is asked. Shape (K,)."""
    alike: bool
    """Do bench and traffic share items?"""
    contexts: dict[str, tuple[str, ...]]
    """Regime -> its contexts, in the order of `law`."""

    @property
    def logged(self) -> np.ndarray:
        """Which places have rows, shape (K,)."""
        return self.arm >= 0


def knowledge(
    fit: Fit, *, new_contexts: int = 0, universe: bool = False, prices: Prices | None = None, currency: str = "USD"
) -> Knowledge:
    """From a fit; `new_contexts` places are added a model, `universe` says whether the mean over all contexts is asked."""
    found = {regime: levels(fit, regime, items="new") for regime in REGIMES}
    places, columns = _logged_places(found)
    models = fit.cells.levels["model"]
    everywhere = np.zeros((len(fit.effects), 0))
    if new_contexts or universe:
        fresh, everywhere = _new_contexts(fit, new_contexts, universe)
        for k in range(new_contexts):
            places += [Place(model, f"new context {k + 1}", "deployment", "new") for model in models]
            columns.append(fresh[:, :, k])
    arms = fit.arms
    labels = fit.cells.levels["context"]
    code = {
        (models[m], labels[c], REGIMES[int(d)]): k
        for k, (m, d, c) in enumerate(zip(arms.model, arms.deployed, arms.context, strict=True))
    }
    arm = np.array([code.get((p.model, p.context, p.regime), -1) for p in places])
    again = np.where(arm >= 0, np.cumsum(arm >= 0) - 1 + len(places), -1)
    parts, alike = variance_parts(fit), fit.log_design.sharing.common > 0 or len(found) < 2 or None in found.values()
    drawn, seen = np.concatenate(columns, 1), np.flatnonzero(arm >= 0)
    own = np.zeros((len(drawn), len(arms)))
    own[:, arm[seen]] = drawn[:, seen]
    own = _own_items(own, parts, fit.seed)[:, arm[seen]]
    between, replicate, session = _measured(places, arm, parts, alike)
    return Knowledge(
        tuple(places),
        np.array([models.index(p.model) for p in places]),
        np.concatenate([drawn, own], 1),
        again,
        between,
        replicate,
        session,
        np.where(arm >= 0, parts.items[np.maximum(arm, 0)], 0.0),
        _costs(fit, places, prices, currency),
        _unjudged(fit, places),
        parts,
        arm,
        everywhere,
        {regime: mu.law for regime, mu in found.items() if mu is not None},
        _repeatable(fit, places, arm, parts),
        alike,
        {regime: mu.contexts for regime, mu in found.items() if mu is not None},
    )


def _logged_places(found: dict[str, Levels | None]) -> tuple[list[Place], list[np.ndarray]]:
    """Places of both regimes, and their draws."""
    total = sum(mu.observed.size for mu in found.values() if mu is not None)
    places, columns = [], []
    for regime, mu in found.items():
        if mu is None:
            continue
        for m, model in enumerate(mu.models):
            for c, context in enumerate(mu.contexts):
                if mu.observed[m, c] or total <= EMPTY_MAX:
                    places.append(Place(model, context, regime, "logged" if mu.observed[m, c] else "empty"))
                    columns.append(mu.draws[:, m, c, None])
    return places, columns


def _own_items(levels_of_arms: np.ndarray, parts: VarianceParts, seed: int) -> np.ndarray:
    """Draws of the arms' levels on their own items, as far as replicates leave doubt about them, shape (S, A).

    A level seen is `y = mu + e + r`: the luck of the items, `e ~ N(0, E)`, and of the answers, `r ~ N(0, R)`. Given mu and y
    the level on these items, `mu + e`, is `(1 - G) mu + G y` with `G = E (E + R)^-1`, and normal around it: `E - G E`.
    """
    size = np.maximum(parts.items, 1.0)
    luck = parts.between * parts.together / np.outer(size, size)
    answers = np.where(np.isfinite(parts.replicate), parts.replicate, 0.0) / (size * np.maximum(parts.trials, 1.0))
    whole = luck + np.diag(answers + 1e-12 * max(float(np.trace(luck)) / len(luck), 1e-12))
    pull = np.linalg.solve(whole, luck).T
    around = nearest_psd(luck - pull @ luck, 0.0)
    noise = stream(seed, "own items").standard_normal(levels_of_arms.shape) @ square_root(around)
    return levels_of_arms - (levels_of_arms - levels_of_arms.mean(0)) @ pull.T + noise


def _new_contexts(fit: Fit, count: int, universe: bool) -> tuple[np.ndarray, np.ndarray]:
    """Draws of `count` new contexts (S, models, count), and of the mean over all that there could be (S, models)."""
    room = UNIVERSE_NUMBERS // (len(fit.effects) * fit.design.n_models)
    many = max(20, min(UNIVERSE, room)) if universe else 0
    drawn = levels(fit, "deployment", contexts="new", count=count + many)
    if drawn is None:
        raise NotIdentifiedError("new contexts are deployment contexts, and the log has no deployment rows to be like")
    mean = drawn.draws[:, :, count:].mean(2) if many else np.zeros((len(fit.effects), 0))
    return drawn.draws[:, :, :count], mean


def _measured(
    places: list[Place], arm: np.ndarray, parts: VarianceParts, alike: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Parts of all places: those of the log's arms, and means over the model's arms where there is none."""
    names = {name: k for k, name in enumerate(dict.fromkeys(p.model for p in places))}
    model = np.array([names[p.model] for p in places])
    where = {key: k for k, key in enumerate(dict.fromkeys((p.regime, p.context) for p in places))}
    place = np.array([where[p.regime, p.context] for p in places])
    known = arm >= 0

    def filled(values: np.ndarray) -> np.ndarray:
        out = np.where(known, values[np.maximum(arm, 0)], 0.0)
        for m in np.unique(model):
            mine = (model == m) & known
            out[(model == m) & ~known] = out[mine].mean() if mine.any() else out[known].mean()
        return out

    variance = filled(np.diag(parts.between))
    sd = np.sqrt(np.diag(parts.between))
    seen = np.outer(known, known) & ~np.eye(len(places), dtype=bool)
    whole = parts.between / np.where(np.outer(sd, sd) > 0, np.outer(sd, sd), 1.0)
    correlation = np.where(seen, whole[np.ix_(np.maximum(arm, 0), np.maximum(arm, 0))], 0.0)
    usual = structure(correlation, seen.astype(float), model, place)
    if not alike:  # bench and traffic have items of their own
        regime = np.array([p.regime == "deployment" for p in places])
        usual = np.where(regime[:, None] == regime, usual, 0.0)
    correlation = np.where(seen, correlation, usual)
    np.fill_diagonal(correlation, 1.0)
    root = np.sqrt(variance)
    between = nearest_psd(correlation) * np.outer(root, root)
    replicate = np.zeros(len(places)) if not parts.repeated else filled(parts.replicate)
    return between, replicate, filled(parts.session)


def _costs(fit: Fit, places: list[Place], prices: Prices | None, currency: str) -> dict[str, np.ndarray]:
    """Mean cost of one request by place and unit; a place without its own takes its model's mean, then the log's."""
    sums: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {}
    for regime in REGIMES:
        tokens = [block_sums(fit.cells, f"{way}_tokens", regime) for way in ("input", "output")]
        seconds = block_sums(fit.cells, "latency_s", regime)
        money = spend(fit, regime, prices, currency)
        n = np.minimum(tokens[0].n, tokens[1].n).sum(0)
        ways = [t.y.sum(0) / np.maximum(t.n.sum(0), 1) for t in tokens]
        sums[regime] = {
            "tokens": (n * (ways[0] + ways[1]), n),
            "usd": (money.cost.sum(0), money.metered.sum(0)),
            "seconds": (seconds.y.sum(0), seconds.n.sum(0)),
        }
    models, contexts = fit.cells.levels["model"], fit.cells.levels["context"]
    out = {"requests": np.ones(len(places))}
    for unit in UNITS[1:]:
        each = np.full(len(places), np.nan)
        of_model = _mean(sum(sums[r][unit][0].sum(1) for r in REGIMES), sum(sums[r][unit][1].sum(1) for r in REGIMES))
        usual = _mean(sum(sums[r][unit][0].sum() for r in REGIMES), sum(sums[r][unit][1].sum() for r in REGIMES))
        for k, p in enumerate(places):
            m = models.index(p.model)
            spent, count = (part[m, contexts.index(p.context)] if p.kind != "new" else 0 for part in sums[p.regime][unit])
            own = spent / count if count else np.nan
            each[k] = next((float(v) for v in (own, of_model[m], usual) if np.isfinite(v)), np.nan)
        out[unit] = each
    return out


def _repeatable(fit: Fit, places: list[Place], arm: np.ndarray, parts: VarianceParts) -> np.ndarray:
    """Logged places whose replicates differ; traffic on items of its own weighs them by how often they were asked."""
    if not parts.repeated:
        return np.zeros(len(places), bool)
    deployed = np.array([p.regime == "deployment" for p in places])
    differ = (parts.replicate > 0) & ~parts.copies
    return (arm >= 0) & differ[np.maximum(arm, 0)] & (~deployed | replays(fit.cells))


def _mean(total, count):
    """A mean, NaN where nothing was counted."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(total, float) / np.asarray(count, float)


def _unjudged(fit: Fit, places: list[Place]) -> np.ndarray:
    """Rows without a judgement by place."""
    counts, levels_of = fit.cells.counts, fit.cells.levels
    waiting: dict[tuple[str, str, str], float] = {}
    for regime in REGIMES:
        mine = in_regime(fit.cells, regime) & (counts["unjudged"] > 0)
        for m, c, number in zip(*(counts[k][mine] for k in ("model", "context", "unjudged")), strict=True):
            key = (levels_of["model"][m], levels_of["context"][c], regime)
            waiting[key] = waiting.get(key, 0.0) + float(number)
    return np.array([waiting.get((p.model, p.context, p.regime), 0.0) for p in places])
