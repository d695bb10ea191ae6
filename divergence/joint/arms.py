"""Arm levels with their clustered covariance: what the hierarchical model sees of the log.

An arm is one (model, regime, context). Its level is the weighted mean of its items' means, `M_a = sum_i pi_i m_ai`;
items are a sample of their task (tasks are fixed strata; traffic that replays a part of the bench: `replayed_part`), so

    Cov(M_a, M_b) = sum_i phi_ai phi_bi,    phi_ai = pi_i (m_ai - M_a) sqrt(I / (I - 1)),

the influence of item i on both levels. Shared items, item-by-context movement and replicates that are copies are in it
by construction: a row that repeats an item adds no cluster. Sessions are a second way of clustering and add the excess
of the between-session sums over what their single items already gave (two-way clustering: Cameron, Gelbach and
Miller 2011). Waves are removed first: a shift that all contexts of a wave share is the instrument's, not an arm's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import scipy.sparse as sp

from divergence.cells import Cells, Table
from divergence.cells.overlap import deployed_regimes, replays
from divergence.errors import InputError
from divergence.identification.wave_agreement import wave_agreement
from divergence.joint.arm_noise import block_noise, check_waves, dense_noise, kept_dense
from divergence.joint.clusters import Sessions, item_influence, session_excess
from divergence.joint.methods import NOISE_LOG_SD_MAX, Diagnostic
from divergence.joint.noise import noise_of_noise
from divergence.joint.paired import FLIPS, flip_rates
from divergence.joint.replayed_part import carried_levels, carried_notes, carried_to_the_bench, replays_a_part
from divergence.joint.spec import Spec
from divergence.joint.waves import remove_waves
from divergence.joint.weights import item_weights
from divergence.numerics import column_squares, combinations, nearest_psd, on_scale, square_root


@dataclasses.dataclass(frozen=True)
class Arms:
    """A levels on the outcome scale, their covariance, and the instrument's shifts."""

    model: np.ndarray
    """Code of each arm's model, shape (A,)."""
    deployed: np.ndarray
    """True where the arm's regime is deployment, shape (A,)."""
    context: np.ndarray
    """Code of each arm's context, shape (A,)."""
    level: np.ndarray
    """Levels on the outcome scale, shape (A,)."""
    covariance: np.ndarray | None
    """Their sampling covariance for new items and new sessions, outcome scale, shape (A, A); None of more than
    many arms (`arm_noise.kept_dense`), of which only the root is kept."""
    clusters: np.ndarray
    """Effective number of items behind each level, shape (A,)."""
    link: str
    """`logit` for scores, `log` for times and costs."""
    wave: np.ndarray
    """Shift of each wave on the link scale, summing to zero; empty when there is one wave or they do not connect."""
    wave_covariance: np.ndarray
    """Covariance of the wave shifts."""
    notes: tuple[str, ...] = ()
    """Sentences on what was averaged over what, and on levels whose noise is hardly known."""
    noise_log_sd: np.ndarray | None = None
    """Sd of the log of each variance, an estimate itself (`noise`), shape (A,); None where variances are taken as known."""
    noise_lean: np.ndarray | None = None
    """Its correlation with the level's error, shape (A,)."""
    session_share: np.ndarray | None = None
    """Share of each variance that sessions add, shape (A,)."""
    root: np.ndarray | sp.csr_array | None = None
    """Root of the covariance, shape (R, A); None: it is made of it."""
    least: np.ndarray | None = None
    """Variance that a contrast with each arm has at least, outcome scale, shape (A,); None: nothing."""
    flips: np.ndarray | None = None
    """Mean squared difference of an item's outcome from the bench's (`paired.flip_rates`), shape (A,); None: not known."""
    sessions: np.ndarray | None = None
    """Sessions behind each level, shape (A,), 0 where none are logged; None: not counted."""
    gates: tuple[Diagnostic, ...] = ()
    """Of the computation that gave the levels, where it is a search; a fit has them among its `diagnostics`."""

    def __len__(self) -> int:
        return len(self.level)

    @property
    def variance(self) -> np.ndarray:
        """Sampling variance of each level, outcome scale, shape (A,)."""
        if self.covariance is not None:
            return np.diag(self.covariance)
        assert self.root is not None
        return column_squares(self.root)

    def covariance_of(self, arms: np.ndarray) -> np.ndarray:
        """The covariance of some arms (n,), shape (n, n)."""
        if self.covariance is not None:
            return self.covariance[np.ix_(arms, arms)]
        mine = sp.csr_array(self.root)[:, arms]
        return (mine.T @ mine).toarray()


def prior_centre(arms: Arms) -> float:
    """Prior mean of alpha: scores have a natural zero on the logit scale; times and costs have no natural unit, so theirs
    is their mean."""
    return 0.0 if arms.link == "logit" else float(np.log(arms.level).mean())


def measure_arms(cells: Cells, by_item: Callable | None = None) -> Arms:
    """The arms of a log with judged rows, in order of (model, regime, context).

    `by_item` (`item_levels.item_levels`) replaces means of items and their influence by those of an item-response model.
    """
    judged = cells.counts["n"] > 0
    counts = cells.counts.take(judged)
    keys, arm = combinations(counts["model"], counts["regime"], counts["context"])
    raw_keys, raw = combinations(arm, counts["wave"])
    regime = deployed_regimes(cells)[keys[1]]
    weight, notes = item_weights(cells, counts, raw, cells.design_weights[judged])
    if by_item is None:
        model, context, deployed = keys[0][raw_keys[0]], keys[2][raw_keys[0]], regime[raw_keys[0]]
        lacks = deployed & replays_a_part(cells)[model, context]
        parts = carried_to_the_bench(counts, raw, weight, model, deployed, lacks)
        means = np.bincount(parts.raw, parts.weight * parts.counts["y"] / parts.counts["n"])
        level, carry = carried_levels(parts.carry, means, cells.kind == "positive")
        answers = np.ones(len(level))
        own = means[: raw.max() + 1]
        influence, pooled = item_influence(parts.counts, parts.raw, parts.weight)
        influence, pooled = sp.csr_array(influence @ carry.T), carry.power(2) @ pooled
        notes, gates = (*notes, *carried_notes(cells, parts, model, context)), ()
    else:
        found = by_item(counts, raw, weight, regime[raw_keys[0]], replayed=replays(cells))
        level, influence, pooled = found.level, sp.csr_array(square_root(found.covariance)), np.zeros(len(found.level))
        own, answers, gates = level, found.answers, (found.gate,)
        notes += (
            f"Items have difficulties of standard deviation {found.sigma:.2f} on the logit scale; replicates of one "
            f"item have a correlation of {found.copies:.2f} beyond it.",
        )
    sessions = session_excess(cells, counts, raw, weight, own)
    if sessions is not None and by_item is None:
        sessions = sessions.scaled(carry.diagonal())
    link = "log" if cells.kind == "positive" else "logit"
    inner = level if link == "log" else np.clip(level, 0.02, 0.98)
    rows = np.bincount(raw, counts["n"])
    of_arm = np.bincount(raw_keys[0], rows * inner) / np.bincount(raw_keys[0], rows)  # one slope an arm, for exact ranks
    slope = (of_arm if link == "log" else of_arm * (1 - of_arm))[raw_keys[0]]
    dense = by_item is not None or kept_dense(keys[0])
    if not dense and len(np.unique(raw_keys[1])) > 1:
        check_waves(keys.shape[1], len(level))
    agreement = wave_agreement(cells)
    changed = agreement.changed if agreement.common else np.ones(len(agreement.changed), bool)
    combine, shifts = remove_waves(raw_keys[0], raw_keys[1], rows, slope, changed)
    noise = (dense_noise if dense else block_noise)(combine, influence, pooled, sessions, keys[0])
    shift_covariance = _shift_noise(shifts, influence, pooled, sessions)
    levels = combine @ level
    if link == "logit":
        levels = on_scale(levels)  # rounding, or a wave shift at the end of it
    clusters = _clusters(counts, raw, raw_keys[0], weight)
    between, count = np.zeros((2, len(levels)))
    if sessions is not None:
        between = combine**2 @ sessions.between
        np.maximum.at(count, raw_keys[0], sessions.count)
    variance = noise.variance
    share = np.minimum(noise.added / np.where(variance > 0, variance, 1.0), 1.0)
    log_sd, lean = noise_of_noise(levels, variance, variance * (1 - share), clusters, link, between, count)
    return Arms(
        keys[0],
        regime,
        keys[2],
        levels,
        noise.covariance,
        clusters,
        link,
        shifts @ level,
        shift_covariance,
        notes + _few(cells, keys, clusters, count, share, log_sd),
        log_sd,
        lean,
        share,
        noise.root,
        _least(cells, variance, clusters, _clusters(counts, raw, raw_keys[0], weight, answers))
        if link == "logit"
        else np.zeros(len(levels)),
        flip_rates(keys[0], regime, levels, noise.of_model, clusters) if link == "logit" else np.zeros(len(levels)),
        count,
        gates,
    )


def clustered_arms(cells: Cells, spec: Spec) -> Arms:
    """`measure_arms`, with the item terms of the spec. Raises InputError where the movement of items is left out."""
    if not spec.item_movement:
        raise InputError(
            "the arm-level method takes the movement of items from the data and cannot leave it out "
            "(item_movement is off): use ItemLevel()"
        )
    arms = measure_arms(cells)
    if spec.item_difficulty:
        return arms
    alone = None if arms.covariance is None else np.diag(arms.variance)
    root = None if alone is not None else sp.csr_array(sp.diags_array(np.sqrt(arms.variance)))
    return dataclasses.replace(arms, covariance=alone, root=root)


def _shift_noise(shifts: np.ndarray, influence: sp.csr_array, pooled: np.ndarray, sessions: Sessions | None) -> np.ndarray:
    """Covariance of the wave shifts, shape (W, W)."""
    if not len(shifts):
        return np.zeros((0, 0))
    part = sp.csr_array(shifts) @ influence.T
    covariance = (part @ part.T).toarray() + shifts @ np.diag(pooled) @ shifts.T
    return covariance if sessions is None else nearest_psd(covariance + shifts @ sessions.excess.toarray() @ shifts.T)


def _few(
    cells: Cells, keys: np.ndarray, clusters: np.ndarray, sessions: np.ndarray, share: np.ndarray, noise: np.ndarray
) -> tuple[str, ...]:
    """A sentence where the noise of a level is hardly known."""
    few = np.flatnonzero(noise >= NOISE_LOG_SD_MAX)
    if not len(few):
        return ()
    behind = np.where(share > 0.5, sessions, clusters)  # what most of the noise comes from
    worst = few[behind[few].argmin()]
    what = ("Few sessions", "sessions") if share[worst] > 0.5 else ("Few items for values this uneven", "effective items")
    where = f"{cells.levels['model'][keys[0, worst]]} in {cells.levels['context'][keys[2, worst]]}"
    more = f" and {len(few) - 1} more" if len(few) > 1 else ""
    return (
        f"{what[0]}: {behind[worst]:.0f} {what[1]} behind the level of {cells.outcome} of {where}{more}. "
        "How much chance moves it is hardly known, and its interval may be too narrow.",
    )


def _least(cells: Cells, variance: np.ndarray, clusters: np.ndarray, behind: np.ndarray) -> np.ndarray:
    """What `FLIPS` flips of what is `behind` each arm are worth for its contrast, outcome scale, shape (A,).

    An item that flips takes all of its replicates with it, but where each answer is drawn anew given its item's difficulty
    it is answers that flip.
    """
    # a flip of a score between 0 and 1 is as large as its items differ
    flip = 1.0 if cells.kind == "binary" else float((variance * clusters).mean())
    return flip * FLIPS / np.maximum(behind, 1.0) ** 2


def _clusters(
    counts: Table, raw: np.ndarray, arm_of_raw: np.ndarray, weight: np.ndarray, answers: np.ndarray | float = 1.0
) -> np.ndarray:
    """Effective number of items behind each arm's level, shape (A,), or of the `answers` that an item of each raw arm has:
    waves of one arm share theirs."""
    per_raw = answers / np.bincount(raw, weight**2 / np.where(counts["item"] < 0, counts["n"], 1.0))
    out = np.zeros(arm_of_raw.max() + 1)
    np.maximum.at(out, arm_of_raw, per_raw)
    return out
