"""At which step do agents break down, and do they break down faster the longer they go on?

    h(t) = P(step t fails and is not made good | still at work at step t) = failed_t / at risk_t

| `statistic` | what | unit | rows |
|---|---|---|---|
| null | mean hazard: failures over steps at risk | probability | per model, context, regime |
| `hazard` | the same within a band of steps, `level` = `3-4` | probability | per band |
| `survival` | P(no failure up to the end of the band), the product of 1 - h(t) | probability | per band |
| `half_life` | steps at which survival falls to one half, linear within a step | steps | per model, context, regime |
| `slope` | change of the log odds of failing per doubling of the step, from the bands | nats | the same |
| `frailty` | coefficient of variation of the hazard between tasks: some tasks break every episode | ratio | the same |

Discrete time. What a step is, and that a failure has `cells.episodes.ALLOWANCE` turns to be made good, is said in
`cells.episodes`; nothing looks ahead to how an episode ended, so independent turns have a flat hazard. At risk at t is
every episode that reached t: an episode that was solved leaves (a competing end), one that a cap ended is censored there,
and no number is conditioned on how long an episode turned out to be. A hazard that falls with t can be frailty alone: the
weak have gone; `frailty` (item hazards Beta distributed, posterior on a grid) says how far they differ. Intervals:
Bayesian bootstrap over blocks of sessions or items. Identified by episodes (see `cells.episodes`) with a failure, a half-
life by survival below one half. Source: Singer and Willett 1993; Vaupel, Manton and Stallard 1979.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from divergence.cells import Cells, Table
from divergence.cells.episodes import agent_episodes
from divergence.estimands.beta_binomial import draw_beta_binomial
from divergence.estimands.rows import answer, answered, frame
from divergence.estimate import Estimate
from divergence.identification import needs
from divergence.identification.log_design import LogDesign
from divergence.identification.question import Need, Question
from divergence.joint.posterior import Posterior
from divergence.numerics import combinations
from divergence.random_streams import stream

QUESTION, TEXT = "collapse_hazard", "the chance that an episode breaks down at a step that it reached"
EPISODES_MIN = 5


def episode_needs(design: LogDesign) -> Need:
    """Enough episodes of one combination, some of which failed."""
    episodes = agent_episodes(design.cells)
    if not len(episodes):
        return Need(
            False,
            "It needs episodes: rows with calls above 1 (map the column that counts them, for example "
            "`--map calls=n_messages`), or sessions with turns.",
        )
    _, place = combinations(*(episodes[k] for k in ("regime", "model", "context")))
    number, failed = np.bincount(place, episodes["n"]), np.bincount(place, episodes["failed"])
    if number.max() < EPISODES_MIN:
        return Need(False, f"It needs {EPISODES_MIN} episodes of one model in one context; this log has {number.max():.0f}.")
    if not failed[number >= EPISODES_MIN].any():
        return Need(False, f"It needs an episode that failed; none of {number.sum():.0f} did before a cap or its success.")
    return Need(True, f"{needs.many(int(number.sum()), 'episode')}, {failed.sum():.0f} of them failed.")


ROOM = Question(
    QUESTION,
    "where an agent breaks down",
    TEXT,
    episode_needs,
    example_log="agents",
)


@answered(ROOM, "probability")
def collapse_hazard(posterior: Posterior, *, outcome: str | None = None) -> Estimate:
    """Rows as in the table above."""
    fit = posterior[outcome]
    cells = fit.cells
    episodes = agent_episodes(cells)
    rng = stream(fit.seed, "episodes")
    weight = rng.standard_exponential((len(fit.effects), len(cells.levels["block"])))
    rows, draws, reasons = [], [], []
    for place, mine in _combinations(cells, episodes):
        for statistic, level, unit, value, reason in _numbers(cells, mine, weight, rng):
            rows.append((*place, statistic, level, unit))
            draws.append(value)
            reasons.append(reason)
    model, context, regime, statistic, level, unit = (list(c) for c in zip(*rows, strict=True))
    table = frame(model=model, context=context, regime=regime, statistic=statistic, level=level)
    return answer(
        fit,
        QUESTION,
        TEXT,
        "probability",
        table.with_columns(unit=pl.Series(unit)),
        np.stack(draws, 1),
        reason=tuple(reasons),
    )


def _combinations(cells: Cells, episodes: Table):
    keys = np.stack([episodes[k] for k in ("regime", "model", "context")])
    for combination in np.unique(keys, axis=1).T:
        r, m, c = combination
        names = cells.levels["model"][m], cells.levels["context"][c], cells.levels["regime"][r]
        yield names, episodes.take((keys == combination[:, None]).all(0))


def _numbers(cells: Cells, mine: Table, weight: np.ndarray, rng: np.random.Generator):
    """(statistic, level, unit, draws, reason) of one combination."""
    nothing = np.full(len(weight), np.nan)
    if mine["n"].sum() < EPISODES_MIN:
        yield None, None, "probability", nothing, f"{int(mine['n'].sum())} episodes; a hazard needs {EPISODES_MIN}"
        return
    if not mine["failed"].sum():
        why = "no episode failed before a cap or its success: the log shows no failure to time"
        yield None, None, "probability", nothing, why
        return
    length = np.array([int(name) for name in cells.levels["length"]])[mine["length"]]
    bands = step_bands(int(length.max()))
    failed, risk = banded(mine, length, bands, weight)
    hazard = failed / np.maximum(risk, 1e-300)
    for k in np.flatnonzero(~failed.any(0)):  # no failure in the band: the bootstrap would be certain, Jeffreys is not
        hazard[:, k] = rng.beta(0.5, _at_risk(mine, length, *bands[k]).sum() + 0.5, len(weight))
    yield None, None, "probability", failed.sum(1) / risk.sum(1), None
    # Within a band the hazard is level: survival over its steps is a power.
    survival = np.cumprod((1 - hazard) ** (bands[:, 1] - bands[:, 0] + 1), axis=1)
    names = [f"{a}" if a == b else f"{a}-{b}" for a, b in bands]
    for k, name in enumerate(names):
        yield "hazard", name, "probability", hazard[:, k], None
    for k, name in enumerate(names):
        yield "survival", name, "probability", survival[:, k], None
    half, why = half_life(hazard, survival, bands)
    yield "half_life", None, "steps", half, why
    yield ("slope", None, "nats", *_slope(failed, risk, bands))
    yield ("frailty", None, "ratio", *_frailty(mine, length, len(weight), rng))


def step_bands(last: int) -> np.ndarray:
    """Bands of steps that double: 1, 2, 3-4, 5-8, ..., the last one cut at the longest episode; shape (bands, 2)."""
    ends = [1]
    while ends[-1] < last:
        ends.append(min(2 * ends[-1], last))
    starts = [1, *(end + 1 for end in ends[:-1])]
    return np.array([starts, ends]).T


def banded(mine: Table, length: np.ndarray, bands: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted failures and episode-steps at risk in each band, each of shape (draws, bands)."""
    size = weight.shape[1]
    failed, risk = np.zeros((2, size, len(bands)))
    for k, (first, last) in enumerate(bands):
        ended = (length >= first) & (length <= last)
        np.add.at(failed[:, k], mine["block"], mine["failed"] * ended)
        np.add.at(risk[:, k], mine["block"], _at_risk(mine, length, first, last))
    return weight @ failed, weight @ risk


def _at_risk(mine: Table, length: np.ndarray, first: int, last: int) -> np.ndarray:
    """Episode-steps at risk from step `first` to `last`, by row."""
    return mine["n"] * np.clip(length - first + 1, 0, last - first + 1)


def half_life(hazard: np.ndarray, survival: np.ndarray, bands: np.ndarray) -> tuple[np.ndarray, str | None]:
    """Steps at which survival is one half in every draw, and why there are none."""
    below = survival <= 0.5
    if below.any(1).mean() < 0.95:
        left = float(survival[:, -1].mean())
        return np.full(len(hazard), np.nan), (
            f"survival is {left:.2f} at the end of the episodes seen, not surely below one half: "
            "the half-life lies beyond what was seen"
        )
    band = np.where(below.any(1), below.argmax(1), len(bands) - 1)
    before = np.where(band > 0, np.take_along_axis(survival, np.maximum(band - 1, 0)[:, None], 1)[:, 0], 1.0)
    rate = np.clip(np.take_along_axis(hazard, band[:, None], 1)[:, 0], 1e-9, 1 - 1e-9)
    return bands[band, 0] - 1 + np.log(np.minimum(0.5 / before, 1.0)) / np.log1p(-rate), None


def _slope(failed: np.ndarray, risk: np.ndarray, bands: np.ndarray) -> tuple[np.ndarray, str | None]:
    """Least squares of the log odds of the bands on the octave of the step, weighted by their failures."""
    used = failed.mean(0) >= 1
    if used.sum() < 2:
        return np.full(len(failed), np.nan), "failures lie in one band of steps: how the hazard changes is not seen"
    hits, at_risk = failed[:, used] + 0.5, risk[:, used] + 1.0  # half a failure: no log of zero (Haldane)
    octave = np.log2(bands[used].mean(1))
    odds, mass = np.log(hits / np.maximum(at_risk - hits, 0.5)), hits
    mean = (mass @ octave) / mass.sum(1)
    spread = octave - mean[:, None]
    return (mass * spread * odds).sum(1) / (mass * spread**2).sum(1), None


def _frailty(mine: Table, length: np.ndarray, draws: int, rng: np.random.Generator) -> tuple[np.ndarray, str | None]:
    known = mine["item"] >= 0
    _, item = np.unique(np.stack([mine["task"], mine["item"]])[:, known], axis=1, return_inverse=True)
    item = item.ravel()
    episodes = np.bincount(item, mine["n"][known])
    if (episodes >= 2).sum() < EPISODES_MIN:
        return np.full(draws, np.nan), (
            f"{int((episodes >= 2).sum())} tasks have two episodes; how tasks differ needs {EPISODES_MIN}"
        )
    steps, failed = np.bincount(item, (mine["n"] * length)[known]), np.bincount(item, mine["failed"][known])
    mean, correlation = draw_beta_binomial(steps, failed, draws, rng)
    return np.sqrt(correlation * (1 - mean) / mean), None
