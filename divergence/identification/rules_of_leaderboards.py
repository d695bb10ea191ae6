"""Rules about what a table of models hides: unequal denominators, missing runs, failures left out or mixed with errors."""

from __future__ import annotations

import numpy as np

from divergence.cells.measures import ERRED
from divergence.cells.random_blocks import rows_of
from divergence.identification.finding import Finding
from divergence.identification.log_design import REGIMES, LogDesign

MODELS_MIN = 3  # models of one regime from which on there is something usual to differ from
FEW_ITEMS = 0.5  # of the usual number: below, half of the others' items may be why a level differs
MORE_MISSING = 0.1  # share of runs without a score beyond the usual one: worth as many points as leaderboards argue about
RUNS_MIN = 20  # runs below which a share says little
ERRED_SHARE = 0.01  # of a model's judged rows from which on errors count: a point of its level
ZEROS_USUAL = 0.1  # share of zeros of the other models from which on none at all is worth a look
CHANCE_MAX = 0.05  # that any one of a log's models would be named were all alike, runs independent


def unlike_denominators(design: LogDesign) -> Finding | None:
    """A model that was judged on less than half of what the others of its context were judged on."""
    arms = design.arms
    size = np.where(arms.items > 0, arms.items, arms.trials)
    worst: tuple[float, int, float] | None = None
    for key in np.unique(np.stack([arms.deployed, arms.context], 1), axis=0):
        here = np.flatnonzero((arms.deployed == key[0]) & (arms.context == key[1]))
        usual = float(np.median(size[here]))
        least = here[size[here].argmin()]
        if (
            len(here) >= MODELS_MIN
            and size[least] < FEW_ITEMS * usual
            and (worst is None or float(size[least]) / usual < worst[0])
        ):
            worst = (float(size[least]) / usual, int(least), usual)
    if worst is None:
        return None
    _, k, usual = worst
    names = design.cells.levels
    return Finding(
        "unlike_denominators",
        "caution",
        f"{names['model'][arms.model[k]]} was judged on {int(size[k]):,} {'item' if size[k] == 1 else 'items'} in "
        f"{names['context'][arms.context[k]]}, the others on {usual:,.0f}: its level is over fewer, perhaps easier ones.",
        "Judge all models on the same items.",
        ("leaderboard", "bench_level", "deployed_level"),
    )


def missing_runs(design: LogDesign) -> Finding | None:
    """A model that lacks a score in more of its runs than others do, and than chance lets one of so many models: errors of
    the harness, or failures left out."""
    counts = design.cells.counts
    for regime in REGIMES[::-1]:
        code = design.cells.levels["regime"].index(regime) if regime in design.cells.levels["regime"] else -1
        mine = counts["regime"] == code
        size = len(design.cells.levels["model"])
        rows = np.bincount(counts["model"][mine], counts["rows"][mine], size)
        gone = np.bincount(counts["model"][mine], counts["unjudged"][mine], size)
        known = np.flatnonzero(rows >= RUNS_MIN)
        if len(known) < 2:
            continue
        share = gone[known] / rows[known]
        k = int(share.argmax())
        many, runs = float(gone[known[k]]), float(rows[known[k]])
        if len(known) >= MODELS_MIN:
            usual, others = float(np.median(share)), "the models usually"
            chance = len(known) * _at_least(many, runs, usual)
        else:  # of two, neither is the usual one: the other's share is as uncertain as this one's
            usual, others = float(share[1 - k]), design.cells.levels["model"][known[1 - k]]
            chance = _as_far_apart(gone[known], rows[known])
        if share[k] > usual + MORE_MISSING and chance < CHANCE_MAX:
            name = design.cells.levels["model"][known[k]]
            return Finding(
                "missing_runs",
                "caution",
                f"{name} has no score in {100 * share[k]:.0f}% of its {rows[known[k]]:,.0f} {regime} runs, {others} in "
                f"{100 * usual:.0f}%: levels are over the runs that were judged. A table that counts the others as "
                "failures, or leaves them out, gives it another place.",
                "Say with error_type whether a run failed by the model or by the harness.",
                ("leaderboard", "bench_level", "deployed_level"),
            )
    return None


def _as_far_apart(count: np.ndarray, runs: np.ndarray) -> float:
    """Chance that two shares lie so far apart where both are alike; `count` of `runs`, each shape (2,)."""
    from scipy.special import ndtr

    together = count.sum() / runs.sum()
    noise = np.sqrt(together * (1 - together) * (1 / runs).sum())
    return float(2 * ndtr(-abs(np.subtract(*(count / runs))) / noise)) if noise else 1.0


def _at_least(count: float, runs: float, share: float) -> float:
    """Chance of so many or more of independent runs that each have this share; _at_least(2, 2, .5) = .25."""
    from scipy.special import bdtrc

    return float(bdtrc(count - 1, int(runs), share)) if count > 0 else 1.0


def no_failures(design: LogDesign) -> Finding | None:
    """A model without a single 0 where the others have so many that chance leaves none of them without: rows of score 0 may
    have been left out."""
    counts = design.cells.counts
    if design.cells.kind == "positive":
        return None
    single = counts["n"] == 1
    size = len(design.cells.levels["model"])
    rows = np.bincount(counts["model"][single], minlength=size)
    zeros = np.bincount(counts["model"][single], counts["y"][single] == 0, size)
    known = np.flatnonzero(rows >= RUNS_MIN)
    if len(known) < MODELS_MIN:
        return None
    share = zeros[known] / rows[known]
    usual = float(np.median(share))
    without = known[(share == 0) & (len(known) * (1 - usual) ** rows[known] < CHANCE_MAX)]
    if usual < ZEROS_USUAL or not len(without):
        return None
    name = design.cells.levels["model"][without[0]]
    return Finding(
        "no_failures",
        "caution",
        f"{name} has no score of 0 in {rows[without[0]]:,} rows, the models usually in {100 * usual:.0f}% of theirs: "
        "rows with a score of 0 may have been left out, and then its level is over its successes.",
        "Log every run, the failed ones too.",
        ("leaderboard", "bench_level", "deployed_level"),
    )


def errors_as_failures(design: LogDesign) -> Finding | None:
    """Rows that say that something failed and have a score of 0: the harness may have failed, not the model."""
    cells = design.cells
    if ERRED not in cells.levels["measure"]:
        return None
    size = len(cells.levels["model"])
    worst: tuple[float, float, float, int, str] | None = None
    for regime in REGIMES[::-1]:
        if regime not in cells.levels["regime"]:
            continue
        mine = cells.counts["regime"] == cells.levels["regime"].index(regime)
        judged = cells.counts["rows"][mine] - cells.counts["unjudged"][mine]
        rows = np.bincount(cells.counts["model"][mine], judged, size)
        erred = rows_of(cells, cells.measures, ERRED, regime)
        failed = np.bincount(erred["model"], erred["n"], size)
        share = failed / np.maximum(rows, 1)
        k = int(share.argmax())
        if share[k] >= ERRED_SHARE and (worst is None or share[k] > worst[0]):
            worst = (float(share[k]), float(failed[k]), float(np.median(share[rows > 0])), k, regime)
    if worst is None:
        return None
    share, failed, usual, k, regime = worst
    return Finding(
        "errors_as_failures",
        "caution",
        f"{cells.levels['model'][k]} has an error_type and a score of 0 in {failed:,.0f} of its judged {regime} rows "
        f"({100 * share:.0f}%), the models usually in {100 * usual:.0f}%: these errors count as failures of the model, "
        "whether the model or the harness failed.",
        "Leave the score of a run empty where the harness failed: it then counts as not judged.",
        ("leaderboard", "bench_level", "deployed_level"),
    )
