"""Does a fit predict items that it did not see better than one line of arithmetic does? A split of a log by its items.

    effect of model m in context c on an item i:   m_mci - mean over evaluation contexts of m_m.i

(m_.. the mean of that item's replicates; without a bench: less the mean over all contexts of the model), in contexts that
replay the bench: of traffic with items of its own a level weighs them as they were logged. Two baselines need no model: the
*paired mean* of each (model, context) over the items that both sides tried, with its t interval; and the *additive mean*,
the mean of these over the models. Both and the fit are made of some items and judged on the others: root mean square error
of effects, share of the other items' effects inside 90 % intervals widened by their own noise, and how far bench levels and
levels in deployment are off, beside the raw means of the same items. Unit: outcome scale.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl
from scipy.special import stdtrit

from divergence.cells import Cells
from divergence.cells.cells import TABLES
from divergence.cells.overlap import deployed_regimes, replaying_contexts
from divergence.errors import NotIdentifiedError
from divergence.joint.fit import fit as fit_cells
from divergence.joint.posterior import Fit, Posterior
from divergence.joint.predict import levels
from divergence.numerics import combinations
from divergence.random_streams import stream

ITEMS_MIN = 8  # of each part: below it no variance is worth a comparison
CHECKED_MIN = 40  # items of a log that is checked: halves of twenty
CHECKED_ARMS_MAX = 128  # a check refits the log twice: a second or two
AS_GOOD = 1.02  # of the better baseline's error: within it nobody could tell which is better
TAIL = 0.05  # on either side of a 90 % interval


@dataclasses.dataclass(frozen=True)
class Effects:
    """Paired effects of a log's items."""

    mean: np.ndarray
    """Mean effect of each (model, deployment context), shape (models, contexts); NaN where no item has both sides."""
    error: np.ndarray
    """Its standard error, the same shape."""
    items: np.ndarray
    """Items behind it, the same shape."""
    bench: np.ndarray
    """Raw bench level of each model over its items, shape (models,); NaN where it has none."""
    level: np.ndarray
    """Raw level of each (model, deployment context) over its items, shape (models, contexts); NaN where it has none."""


def item_names(cells: Cells) -> np.ndarray:
    """Codes of the items that were judged, each once, shape (items,)."""
    seen = cells.counts["item"][cells.counts["n"] > 0]
    return np.unique(seen[seen >= 0])


def of_items(cells: Cells, keep: np.ndarray) -> Cells:
    """The cells of these items only: every table that knows the item is cut."""
    cut = {}
    for name in (table for table, (keys, _) in TABLES.items() if "item" in keys):
        table = getattr(cells, name)
        cut[name] = table.take(np.isin(table["item"], keep))
    return dataclasses.replace(cells, **cut)


def paired_effects(cells: Cells) -> Effects:
    """Paired means of every model in every deployment context that replays the bench, as the module's formula has them."""
    counts = cells.counts.take((cells.counts["n"] > 0) & (cells.counts["item"] >= 0))
    models, contexts = len(cells.levels["model"]), len(cells.levels["context"])
    deployed = deployed_regimes(cells)[counts["regime"]]
    (_, item), place = combinations(counts["task"], counts["item"])
    shape = (2, models, contexts, len(item))
    total, trials = np.zeros(shape), np.zeros(shape)
    where = (deployed.astype(int), counts["model"], counts["context"], place)
    np.add.at(total, where, counts["y"])
    np.add.at(trials, where, counts["n"])
    seen = trials > 0
    mean = np.where(seen, total / np.maximum(trials, 1), np.nan)
    used = np.flatnonzero(seen[1].any((0, 2)))
    of_bench = np.where(seen[0], mean[0], 0.0).sum(1) / np.maximum(seen[0].sum(1), 1)
    on_bench = seen[0].any(1)
    if not on_bench.any():
        of_bench = np.where(seen[1], mean[1], 0.0).sum(1) / np.maximum(seen[1].sum(1), 1)
        on_bench = seen[1].any(1)
    moved = np.where(on_bench[:, None], mean[1] - of_bench[:, None], np.nan)[:, used]
    both = ~np.isnan(moved)
    if seen[0].any():
        both &= replaying_contexts(cells)[used][None, :, None]
    count = both.sum(2)
    centre = np.where(both, moved, 0.0).sum(2) / np.maximum(count, 1)
    spread = (np.where(both, moved - centre[:, :, None], 0.0) ** 2).sum(2) / np.maximum(count - 1, 1)
    level = np.where(on_bench.any(1), np.where(on_bench, of_bench, 0.0).sum(1) / np.maximum(on_bench.sum(1), 1), np.nan)
    known, tried = count >= ITEMS_MIN, seen[1].sum(2)
    reached = np.where(seen[1], mean[1], 0.0).sum(2) / np.maximum(tried, 1)
    return Effects(
        np.where(known, centre, np.nan),
        np.where(known, np.sqrt(spread / np.maximum(count, 1)), np.nan),
        count,
        level,
        np.where(tried >= ITEMS_MIN, reached, np.nan)[:, used],
    )


def fitted_effects(fit: Fit) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws by a fit: the same effects, (S, models, contexts), bench levels, (S, models), and deployed ones, as effects."""
    deployed, bench = (levels(fit, regime, items="new") for regime in ("deployment", "evaluation"))
    if deployed is None:
        raise NotIdentifiedError("the log has no deployment rows: there is no context to predict")
    if bench is None:
        centre = deployed.draws.mean(2, keepdims=True)
        return deployed.draws - centre, np.full(deployed.draws.shape[:2], np.nan), deployed.draws
    level = bench.draws.mean(2)
    return deployed.draws - level[:, :, None], level, deployed.draws


def compared(fit: Fit, seen: Effects, held: Effects, seed: int) -> dict[str, float]:
    """What one split says: errors and coverage of the fit and of both baselines, made of `seen` and judged on `held`."""
    draws, bench, deployed = fitted_effects(fit)
    known = ~np.isnan(seen.mean) & ~np.isnan(held.mean)
    models = known.any(1)
    common = np.where(known, seen.mean, 0.0).sum(0) / np.maximum(known.sum(0), 1)
    rng = stream(seed, "noise of held-out items")
    wide = draws + np.nan_to_num(held.error) * rng.standard_normal(draws.shape)
    lower, upper = np.quantile(wide, [TAIL, 1 - TAIL], axis=0)
    own = np.quantile(draws, [TAIL, 1 - TAIL], axis=0)
    half = stdtrit(np.maximum(seen.items - 1, 1), 1 - TAIL) * np.hypot(seen.error, held.error)
    on_bench = models & ~np.isnan(held.bench)
    middle, reached = draws.mean(0), deployed.mean(0)
    there = known & ~np.isnan(seen.level) & ~np.isnan(held.level)
    return {
        "effects": float(known.sum()),
        "fit": _square(middle - held.mean, known),
        "paired": _square(seen.mean - held.mean, known),
        "additive": _square(common - held.mean, known) if models.sum() > 1 else np.nan,
        "own_noise": float((held.error[known] ** 2).mean()),
        "covered": float(((lower <= held.mean) & (held.mean <= upper))[known].mean()),
        "covered_paired": float((np.abs(seen.mean - held.mean) <= half)[known].mean()),
        "half_width": float((own[1] - own[0])[known].mean() / 2),
        "half_width_paired": float((stdtrit(np.maximum(seen.items - 1, 1), 1 - TAIL) * seen.error)[known].mean()),
        "bench_minus_raw": float((bench.mean(0) - seen.bench)[on_bench].mean()) if on_bench.any() else np.nan,
        "bench": _square(bench.mean(0) - held.bench, on_bench),
        "bench_raw": _square(seen.bench - held.bench, on_bench),
        "level": _square(reached - held.level, there),
        "level_raw": _square(seen.level - held.level, there),
        "deployed": _square(_over(reached - held.level, there), there.sum(1) > 0),
        "deployed_raw": _square(_over(seen.level - held.level, there), there.sum(1) > 0),
    }


def _over(each: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Mean over the contexts of each model, shape (models,)."""
    return np.where(there, each, 0.0).sum(1) / np.maximum(there.sum(1), 1)


def _square(error: np.ndarray, known: np.ndarray) -> float:
    return float((error[known] ** 2).mean()) if known.any() else np.nan


def held_items_check(posterior: Posterior, *, outcome: str | None = None) -> pl.DataFrame:
    """One row a half of the items that was held out: effects, rmse of the fit and of both baselines, coverage, bench levels
    and levels in deployment beside the plain means of the same items.

    Raises NotIdentifiedError where the log has too few items for halves, no paired effect, or more combinations than a refit
    is worth.
    """
    fit = posterior[outcome]
    items = item_names(fit.cells)
    if len(items) < CHECKED_MIN:
        raise NotIdentifiedError(f"the log has {len(items)} items with a name; to hold out half of them takes {CHECKED_MIN}")
    if len(fit.arms) > CHECKED_ARMS_MAX:
        raise NotIdentifiedError(
            f"the log has {len(fit.arms)} combinations of model, regime and context; above {CHECKED_ARMS_MAX} it is not "
            "fitted again for a check"
        )
    order = stream(fit.seed, "halves of items").permutation(items)
    halves = [np.sort(order[: len(order) // 2]), np.sort(order[len(order) // 2 :])]
    rows = []
    for k, (kept, held) in enumerate((halves, halves[::-1])):
        part, rest = of_items(fit.cells, kept), of_items(fit.cells, held)
        seen, other = paired_effects(part), paired_effects(rest)
        if not (~np.isnan(seen.mean) & ~np.isnan(other.mean)).any():
            raise NotIdentifiedError(
                "no model tried the same items on the bench and in traffic that replays it, in both halves of the log"
            )
        found = compared(fit_cells(part, spec=posterior.spec, seed=fit.seed).fits[0], seen, other, fit.seed)
        rows.append(
            {
                "half": str(k + 1),
                "items": len(kept),
                "effects": int(found["effects"]),
                **{f"rmse_{name}": _root(found[name]) for name in ("fit", "paired", "additive")},
                "covered": found["covered"],
                "bench": _root(found["bench"]),
                "bench_raw": _root(found["bench_raw"]),
                **{f"rmse_{name}": _root(found[name]) for name in ("level", "level_raw")},
            }
        )
    some = "rmse_additive", "bench", "bench_raw", "rmse_level", "rmse_level_raw"
    return pl.DataFrame(rows, schema_overrides=dict.fromkeys(some, pl.Float64))


def pooled_errors(check: pl.DataFrame) -> dict[str, float]:
    """Root mean squares over both halves, by name of the prediction; of those that were made."""
    found = {}
    for name in ("fit", "paired", "additive", "level", "level_raw"):
        value = check[f"rmse_{name}"].to_numpy().astype(float)
        if np.isfinite(value).all():
            found[name] = float(np.sqrt(np.average(value**2, weights=check["effects"].to_numpy())))
    return found


def _root(square: float) -> float | None:
    return float(np.sqrt(square)) if np.isfinite(square) else None
