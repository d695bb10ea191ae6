"""What is known of every item that a log repeats: from a posterior's cells and its table of risks to `ItemRisks`.

The level of an item's stratum is that of the table of risks (m_at of `item_factors` = the probit of one minus the risk), so
an item of which little is known gets little else. What an item does where it was not asked follows from its factors. For

    a (model, context) with deployed rows    the posterior of its own arm;
    a context that was never seen, or a pair    the mean over the arms of the model, or of the context, or half and half:
        risks are averaged, and what the arms differ by is added to the uncertainty. For a pair of known ones each arm is
        first moved to the pair's level;
    a model that was never seen    another draw of the models that were (`new_models`).

Items that come once say nothing of repeats: where most deployed items do, they are ids of requests, and none is kept.
Whether factors are kept at all is decided on cells of held-out items (`choose_factors`). Unit: probability.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
from scipy.special import ndtr, ndtri

from divergence.joint.posterior import Fit
from divergence.numerics import combinations
from divergence.risk.context_definitions import Served
from divergence.risk.discrimination import beside_plain
from divergence.risk.item_factors import Factors, ItemCells, Sites, choose_factors, converged
from divergence.risk.item_lookup import EVIDENCE, PLAIN, ItemRisks, place_of, prompt_hashes
from divergence.risk.likeness import choose_likeness
from divergence.risk.new_models import another_model
from divergence.risk.next_answer import next_failures, normal_risk, place_for

REPEATED_MIN = 20  # items with more than one cell or trial, below which nothing is learnt about repeats
PLACES_MAX = 2**26  # items x models x contexts: 200 MB
CHUNK = 2**22  # of items x arms that are worked on at once
EDGE = 1e-4  # of levels: a stratum of 34 items without a failure has not shown more


@dataclasses.dataclass(frozen=True)
class Known:
    """The items of a log as data."""

    cells: ItemCells
    """Their trials, arms numbered as in `arms`."""
    arms: np.ndarray
    """Model, regime (1 = deployment) and context label of each arm, shape (3, A)."""
    names: np.ndarray
    """Code of each item in the levels of the cells."""
    task: np.ndarray
    """Stratum of each item, an index into the table's last axis."""
    notes: tuple[str, ...]
    """What was left out, as sentences."""


def item_risks(
    fit: Fit,
    levels: dict[str, tuple[str, ...]],
    risk: np.ndarray,
    promised: np.ndarray,
    served: Served,
    seed: int = 0,
    prompts: dict[str, tuple[int, str]] | None = None,
) -> tuple[ItemRisks | None, dict]:
    """The known items of a fit's log, and what is to be said of them; None where items tell nothing.

    `risk`, `promised` are the tables of risks in deployment and on the bench, shape (models + 1, contexts + 1, strata).
    `prompts` has for each item whose prompts were hashed how many hashes it had, and one of them.
    """
    reused = {name for name, (hashes, _) in (prompts or {}).items() if hashes > 1}
    known, why = _known(fit, levels, risk, promised, reused)
    if known is None:
        return None, {"sentence": why}
    items, count = len(known.names), known.arms.shape[1]
    model, regime, label = known.arms
    chosen = choose_factors(known.cells, items, count, seed, (model, 2 * label - label.min() * 2 + regime))
    rank, gain = chosen.rank, chosen.gains[chosen.rank]
    told = {
        "items": items,
        "gains": {str(rank): value for rank, value in chosen.gains.items()},
        "error": chosen.error,
        "notes": list(known.notes),
    }
    if chosen.factors is None:
        words = (
            f"items are left out: what is known of an item's other answers predicts held-out ones by {gain:.4f} nats better "
            f"than its stratum (standard error {chosen.error:.4f}), not more than the {chosen.asked:.4f} that is asked"
        )
        return None, told | {"sentence": words}
    words = (
        f"{items:,} known items: an item's other answers predict a held-out one by {gain:.3f} nats better than its stratum "
        f"(standard error {chosen.error:.3f}, {rank} factor{'s' if rank > 1 else ''})"
    )
    likeness, more = choose_likeness(known.cells, items, known.arms, chosen.factors, served, levels["context"], seed)
    told |= {
        "likeness": likeness,
        "served": served.to_json() if likeness else None,
        "sharpness": {"seen": _left_out(chosen.check, known.arms[0])},
    }
    found = _places(known, chosen.factors, risk, levels)
    names = np.array(fit.cells.levels["item"], object)[known.names]
    strata = risk.shape[2] - 1 if "task" in levels else 0
    task = np.where(known.task < strata, known.task, strata).astype(np.int32)
    plain = _plain(known, len(levels["model"]), len(levels["context"]))
    prompt = None
    if prompts:
        prompt = prompt_hashes(pa.array([prompts.get(name, (0, ""))[1] for name in names], pa.large_string()))
    return ItemRisks(pa.array(names, pa.large_string()), *found, plain, task, prompt), told | {
        "sentence": "; ".join(filter(None, [words, more, *known.notes]))
    }


def _left_out(sites: Sites, model: np.ndarray) -> dict:
    """Cells of held-out items, each predicted from the item's other cells, beside the rate of the model's other cells of the
    item, else of the item's."""
    cells, failing = sites.cells, sites.cells.n - sites.cells.y
    single = (cells.n == 1) & ((cells.y == 0) | (cells.y == 1))
    p = np.exp(np.minimum(sites.held_out, 0.0))
    plain = np.full(len(p), failing.sum() / cells.n.sum())
    for keys in (cells.item, cells.item * (model.max() + 1) + model[cells.arm]):
        where = np.unique(keys, return_inverse=True)[1]
        n, failed = (np.bincount(where, v)[where] - v for v in (cells.n, failing))
        plain = np.where(n > 0, failed / np.maximum(n, 1e-9), plain)
    if not single.any():
        return {}
    return beside_plain(
        np.where(cells.y == 1, 1 - p, p)[single], plain[single], failing[single], np.ones(single.sum()), cells.item[single]
    )


def _known(fit: Fit, levels: dict, risk: np.ndarray, promised: np.ndarray, reused: set[str]) -> tuple[Known | None, str]:
    counts = fit.cells.counts
    counts = counts.take((counts["item"] >= 0) & (counts["n"] > 0))
    if not len(counts):
        rates = fit.cells.counts["n"] > fit.cells.counts["rows"]
        why = "; rates over several trials are not answers to one item" if rates.any() else ""
        return None, f"no judged answer of the log names its item{why}: nothing is known of a request beyond its stratum"
    regime = np.array([name == "deployment" for name in fit.cells.levels["regime"]], bool)[counts["regime"]].astype(int)
    label_of = {name: k for k, name in enumerate(levels["context"])}
    label = np.array([label_of.get(name, -1) for name in fit.cells.levels["context"]])[counts["context"]]
    names, item = np.unique(counts["item"], return_inverse=True)
    notes, tasks = [], combinations(counts["item"], counts["task"])[0]
    several = np.bincount(np.searchsorted(names, tasks[0]), minlength=len(names)) > 1
    trials, cells = np.bincount(item, counts["n"]), np.bincount(item)
    deployed = np.bincount(item, regime) > 0
    again = (cells > 1) | (np.bincount(item, counts["rows"]) > 1)
    if several.any():
        notes.append(f"{int(several.sum()):,} item ids that stand in several tasks are no known items")
    other = np.array([name in reused for name in np.array(fit.cells.levels["item"], object)[names]], bool)
    if other.any():
        notes.append(f"{int(other.sum()):,} item ids that stand for several prompts are no known items")
        several = several | other
    if (again & ~several).sum() < REPEATED_MIN:
        return None, (
            f"{int((again & ~several).sum())} items of this log come more than once, at least {REPEATED_MIN} are needed: "
            "nothing is known of a request beyond its stratum" + "".join(f"; {note}" for note in notes)
        )
    keep = ~several
    single = deployed & ~again
    if single.sum() > 0.5 * deployed.sum():
        keep &= ~single
        notes.append(f"{int(single.sum()):,} deployed items that came once, ids of requests, are not kept")
    size = (len(levels["model"]) + 1) * (len(levels["context"]) + 1)
    if keep.sum() * size > PLACES_MAX:
        most = np.argsort(np.where(keep, -trials, np.inf), kind="stable")[: PLACES_MAX // size]
        notes.append(f"the {len(most):,} items with most trials of {int(keep.sum()):,} are kept")
        keep = np.isin(np.arange(len(names)), most)
    mine = keep[item]
    arms, arm = combinations(counts["model"][mine], regime[mine], label[mine])
    item = (np.cumsum(keep) - 1)[item[mine]]
    keys, where = combinations(item, arm)
    task_of = {name: k for k, name in enumerate(levels.get("task", ()))}
    code = np.array([task_of.get(name, risk.shape[2] - 1) for name in fit.cells.levels["task"]] + [risk.shape[2] - 1])
    task = np.zeros(int(keep.sum()), int)
    task[item] = code[counts["task"][mine]]
    n, y = (np.bincount(where, counts[name][mine]) for name in ("n", "y"))
    middle = _middles(arms, risk, promised)[keys[1], task[keys[0]]]
    cells = ItemCells(keys[0], keys[1], n, y, middle)
    if (n == 1).all():
        notes.append(
            "no item was asked twice by one model in one context: how far an answer that was given once comes again is not "
            "known, and taken as half of what other answers leave open"
        )
    order = by_content(cells, task)
    rank = np.argsort(order)
    return Known(dataclasses.replace(cells, item=rank[cells.item]), arms, names[keep][order], task[order], tuple(notes)), ""


def by_content(cells: ItemCells, task: np.ndarray) -> np.ndarray:
    """The items in an order that their answers decide, not their names: a draw by number is then one by answers."""
    parts = np.stack([cells.arm.astype(float), cells.n, cells.y], 1)
    mixed = parts.view(np.uint64) * np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], np.uint64)
    one = mixed[:, 0] ^ (mixed[:, 1] >> np.uint64(7)) ^ (mixed[:, 2] >> np.uint64(13))
    one = (one ^ (one >> np.uint64(31))) * np.uint64(0x9E3779B97F4A7C15)
    total = np.zeros(len(task), np.uint64)
    np.add.at(total, cells.item, one ^ (one >> np.uint64(29)))
    return np.lexsort((task, total))


def _middles(arms: np.ndarray, risk: np.ndarray, promised: np.ndarray) -> np.ndarray:
    """Probit level of each arm in each stratum, shape (arms, strata)."""
    model, regime, label = arms
    failing = np.where((regime == 1)[:, None], risk[model, label], promised[model, label])
    return ndtri(1 - np.clip(np.where(np.isnan(failing), risk[model, label], failing), EDGE, 1 - EDGE))


class Sources:
    """Which arms answer for a (model, context), found when it is asked: tables of all pairs would grow with the square of
    their number."""

    def __init__(self, arms: np.ndarray, models: int, contexts: int) -> None:
        """The arms of each model and of each context; `models` and `contexts` stand for what was never seen."""
        self.model, self.regime, self.shape = arms[0], arms[1], (models, contexts)
        self.of_model = [np.flatnonzero(arms[0] == m) for m in range(models)] + [np.zeros(0, int)]
        self.of_label = [np.flatnonzero(arms[2] == c) for c in range(contexts)] + [np.zeros(0, int)]
        self.every = self._deployed(np.arange(arms.shape[1]))

    def _deployed(self, arms: np.ndarray) -> np.ndarray:
        there = arms[self.regime[arms] == 1]
        return there if len(there) else arms

    def alone(self, model: int, context: int) -> bool:
        """Is it asked what an item does in another model or context, and one answers for it? How far its answers carry
        over is not known then, and taken as half: the stratum has the other half."""
        models, contexts = self.shape
        return (model == models and self.models(context) < 2) or (context == contexts and contexts < 2)

    def models(self, context: int) -> int:
        """How many models answer for a new one in a context."""
        return len(np.unique(self.model[self.of(self.shape[0], context)[0]]))

    def of(self, model: int, context: int) -> tuple[np.ndarray, np.ndarray, bool]:
        """The arms, their weights, and whether they are moved to the pair's level."""
        of_model, of_context = self.of_model[model], self._deployed(self.of_label[context])
        own = self._deployed(np.intersect1d(of_model, self.of_label[context]))
        if len(own):
            return own, np.full(len(own), 1 / len(own)), bool((self.regime[own] == 0).all())
        parts = [arms for arms in (of_model, of_context) if len(arms)] or [self.every]
        share = np.concatenate([np.full(len(arms), 1 / len(arms) / len(parts)) for arms in parts])
        return np.concatenate(parts), share, model < self.shape[0] and context < self.shape[1]


def _places(known: Known, factors: Factors, risk: np.ndarray, levels: dict) -> tuple[np.ndarray, np.ndarray]:
    """Places in the table of answers and evidence, shape (items, models + 1, contexts + 1)."""
    models, contexts = len(levels["model"]), len(levels["context"])
    items, count = len(known.names), known.arms.shape[1]
    middles = _middles(known.arms, risk, np.full_like(risk, np.nan))
    place = np.empty((items, models + 1, contexts + 1), np.uint16)
    sources = Sources(known.arms, models, contexts)
    target = ndtri(1 - np.clip(risk, EDGE, 1 - EDGE))
    scale = np.sqrt(1 + factors.variance)
    size = max(CHUNK // max(count, 1), 1)
    for start in range(0, items, size):
        inside = (np.arange(items) >= start) & (np.arange(items) < start + size)
        task = known.task[inside]
        sites = converged(known.cells.of(inside), len(task), factors)
        z, covariance = sites.posterior(factors)
        mean, variance = sites.in_arms(factors, z, covariance)
        level = middles[:, task].T * scale
        first, second = normal_risk(mean + level, variance)
        tried = known.arms[1, sites.cells.arm] == 1  # at the level that is asked for: the bench has its own
        at = sites.cells.item[tried], sites.cells.arm[tried]
        cavity = (v[tried] for v in sites.cavity(factors, z, covariance))
        first[at], second[at] = next_failures(sites.cells.y[tried], sites.cells.n[tried], *cavity)
        for m in range(models + 1):
            for c in range(contexts + 1):
                use, share, moved = sources.of(m, c)
                if m == models and not sources.alone(m, c):
                    f, v = another_model(z, covariance, factors, level, use, sources.model[use])
                    place[inside, m, c] = _placed(ndtr(-f / np.sqrt(1 + v)), v)
                elif moved:
                    f, v = mean[:, use] + target[m, c, task][:, None] * scale[use], variance[:, use]
                    place[inside, m, c] = _placed(ndtr(-f / np.sqrt(1 + v)) @ share, (v + f**2) @ share - (f @ share) ** 2)
                else:
                    risks = first[:, use] @ share, second[:, use] @ share
                    if sources.alone(m, c):
                        typical = scale[use].mean()
                        stratum = normal_risk(target[m, c, task] * typical, np.full(len(task), typical**2 - 1))
                        risks = tuple((a + b) / 2 for a, b in zip(risks, stratum, strict=True))
                    place[inside, m, c] = place_for(*risks)
    return place, _evidence(known, models, contexts)


def _placed(failing: np.ndarray, variance: np.ndarray) -> np.ndarray:
    return place_of(ndtri(np.clip(failing, 1e-6, 1 - 1e-6)), np.sqrt(np.maximum(variance, 0)))


def _evidence(known: Known, models: int, contexts: int) -> np.ndarray:
    """What each answer rests on, as places in `EVIDENCE`."""
    model, regime, label = known.arms[:, known.cells.arm]
    item = known.cells.item
    out = np.full((len(known.names), models + 1, contexts + 1), EVIDENCE.index("bench"), np.uint8)
    there = regime == 1
    out[item[there]] = EVIDENCE.index("other model")
    out[item[there], model[there]] = EVIDENCE.index("other context")
    out[item[there], model[there], label[there]] = EVIDENCE.index("here")
    return out


def _plain(known: Known, models: int, contexts: int) -> np.ndarray:
    """The failure rate of the most specific group of rows that the log has, in `PLAIN`ths."""
    model, regime, label = known.arms[:, known.cells.arm]
    cells, item, items = known.cells, known.cells.item, len(known.names)

    def rate(keys: tuple[np.ndarray, ...], shape: tuple[int, ...], rows: np.ndarray) -> np.ndarray:
        place = np.ravel_multi_index(tuple(k[rows] for k in keys), shape)
        n, y = (np.bincount(place, v[rows], int(np.prod(shape))) for v in (cells.n, cells.y))
        with np.errstate(invalid="ignore"):
            return np.rint(PLAIN * (1 - y / n)).reshape(shape)

    every = np.ones(len(item), bool)
    out = np.empty((items, models + 1, contexts + 1), np.uint8)
    out[:] = rate((item,), (items,), every)[:, None, None]
    of_model = rate((item, model), (items, models), every)
    out[:, :-1] = np.where(np.isnan(of_model)[:, :, None], out[:, :-1], np.nan_to_num(of_model)[:, :, None])
    there = regime == 1
    exact = rate((item, model, label), (items, models, contexts), there)
    out[:, :-1, :-1] = np.where(np.isnan(exact), out[:, :-1, :-1], np.nan_to_num(exact))
    return out
