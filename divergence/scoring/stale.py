"""Does a risk model still hold for the traffic that it scores? Asked of every scored log, with labels or without.

With labels: in each context, and in each of its bins of risk, the failures minus the sum of risks are compared with what
sampling (times the design effect of a context, from how calibration's outcomes clustered within contexts) and the
posterior's own uncertainty allow,

    e = (1 + tau^2/s^2)^(-1/2) exp(z^2/2 * tau^2/(tau^2 + s^2)),    z = difference / s,  tau = .1,

a mixture likelihood ratio whose expectation is at most 1 if risks are right. The mean over groups is an e-value whatever
their dependence, so e-values of several nights may be multiplied (approximate: s is a large-sample standard error). What
is off by the same few points in all groups is weak in each and clear in their sum (calibration in the large): all failures
minus the sum of all risks, against whole clusters over all contexts and the posterior's uncertainty of its mean risk on this
mix of requests, by a normal two-sided p-value. `stale` at e >= 2 / .05 or p <= .05 / 2 is false with probability <= .05
(Markov, and Bonferroni over the two). Requests of a model, context or stratum that deployment never had when the
risk model was made are judged by the wide intervals that they were given. Without labels: `stale` when they are more than a
fifth of all. A change of outcomes within the same contexts is not
identified without labels. Unit: probability.
"""

from __future__ import annotations

import math

import numpy as np

from divergence.risk.reliability import effect
from divergence.scoring.outcome_counts import Draws, tally

TAU = 0.1  # effects worth finding are a few points to some tens of points
RATE = 0.05  # of false alarms, over both questions
E_MAX, P_MIN = 2 / RATE, RATE / 2
ROWS_MIN = 30  # judged trials of a group below which a normal law is a poor guess
UNSEEN_MAX = 0.2
BINS = 20  # of risk, in each context
ITEM_SD = 0.03  # of the mean risk of a bin of known items: what they share is the level that their stratum was given
INDIFFERENT = 0.01  # a difference of one point is not worth a flag


def stale(
    observed: dict,
    traffic: dict,
    unseen: float | None = None,
    new: dict | None = None,
    draws: Draws | None = None,
    items: dict | None = None,
    repeated: bool = False,
) -> dict:
    """Verdict on a scored log.

    `observed` are the counts of `outcome_counts` (context -> risks, their trials and failures), `traffic` what the risk
    model says of itself, `unseen` the share of all scored requests that it did not know (from judged rows and contexts
    where it is not given), `new` the counts of those: their risks are as uncertain as those of what was never seen.
    `draws` gives plausible risks of a context's requests (`RiskModel.draws`). `items` are the counts of what known items
    answered: their risks are off each on its own; where they were all `repeated` from the model's log they test nothing.
    """
    items = {} if repeated else items
    groups = []
    everything = [(name, sums, traffic["contexts"].get(name, traffic["unseen"])) for name, sums in observed.items()]
    everything += [(name, sums, traffic["unseen"]) for name, sums in (new or {}).items()]
    everything += [(name, sums, {"sd": 0.0, "cell_sd": ITEM_SD}) for name, sums in (items or {}).items()]
    for name, sums, of in everything:
        n, risk, failures = _binned(sums)
        worth = effect(traffic["clustering"], "context", n.sum())
        parts = [(n.sum(), risk.sum(), failures.sum(), _binomial(n, risk).sum(), of["sd"], "all its requests")]
        parts += [
            (
                n[b],
                risk[b],
                failures[b],
                _binomial(n, risk)[b],
                of["cell_sd"],
                f"requests of risk about {risk[b] / n[b]:.2f}",
            )
            for b in np.flatnonzero(n >= ROWS_MIN)
        ]
        for rows, expected, seen, binomial, sd, what in parts:
            if rows < ROWS_MIN:
                continue
            variance = worth * binomial / rows**2 + sd**2 + INDIFFERENT**2
            groups.append((_e_value((seen - expected) / rows, variance), name, what, seen / rows, expected / rows))
    total = sum(sum(sums["n"]) for _, sums, _ in everything)
    if unseen is None and total:
        elsewhere = sum(sum(sums["n"]) for _, sums, of in everything if of is traffic["unseen"])
        unseen = float(elsewhere / total)
    evidence = float(np.mean([g[0] for g in groups])) if groups else None
    level = _level(observed, traffic, draws, items or {})
    out = {"e_value": evidence, "level": level, "unseen_share": unseen, "judged": float(total)}
    by = [
        name
        for name, found in (
            ("groups", evidence is not None and evidence >= E_MAX),
            ("level", level is not None and level["p_value"] <= P_MIN),
            ("mix", unseen is not None and unseen > UNSEEN_MAX),
        )
        if found
    ]
    said = _sentence(by, max(groups) if groups else None, **out)
    if repeated and not total and not by:
        said = "all judged requests repeat the model's own log: whether outcomes have changed since is not identified"
    return {"stale": bool(by), **out, "reason": said}


def _level(observed: dict, traffic: dict, draws: Draws | None, items: dict) -> dict | None:
    """All failures of known requests beside the sum of their risks; None where too few are judged."""
    found = {name: tally(sums) for name, sums in observed.items()}
    both = [*found.values(), *map(tally, items.values())]
    n = sum(one.n.sum() for one in both)
    if n < ROWS_MIN:
        return None
    risk, failed = (
        sum(part.sum() for part in parts) / n
        for parts in ([one.n * one.risk for one in both], [one.failures for one in both])
    )
    binomial = sum((one.n * one.risk * (1 - one.risk)).sum() for one in both)
    kinds = [draws(name, one.risk) for name, one in found.items()] if draws is not None else [None]
    if not found:
        sd = 0.0
    elif kinds[0] is None:  # at most, as if all contexts were off together
        sd = sum(one.n.sum() * traffic["contexts"].get(name, traffic["unseen"])["sd"] for name, one in found.items()) / n
    else:
        sd = np.std(sum(kind @ one.n for kind, one in zip(kinds, found.values(), strict=True)) / n)
    error = math.sqrt(effect(traffic["clustering"], "all", n) * binomial / n**2 + sd**2 + INDIFFERENT**2)
    return {
        "risk": float(risk),
        "failed": float(failed),
        "se": error,
        "p_value": math.erfc(abs(failed - risk) / error / math.sqrt(2)),
    }


def _sentence(
    by: list[str],
    worst: tuple | None,
    *,
    e_value: float | None,
    level: dict | None,
    unseen_share: float | None,
    judged: float,
) -> str:
    words = []
    if worst is not None and "groups" in by:
        _, name, what, seen, expected = worst
        words.append(
            f"stale: in the context {name} {what} fail {seen:.1%} of the time, expected were {expected:.1%} "
            f"(evidence {e_value:.3g} to 1 against calibration); fit again with these rows"
        )
    if level is not None and "level" in by:
        words.append(
            f"stale: all known requests together fail {level['failed']:.1%} of the time, expected were "
            f"{level['risk']:.1%} (p = {level['p_value']:.2g}); fit again with these rows"
        )
    if "mix" in by:
        words.append(
            f"stale: {unseen_share:.0%} of the requests come from models, contexts or strata that deployment never "
            "had when the model was made; fit again with rows from them"
        )
    if not words and e_value is not None:
        overall = f"; p = {level['p_value']:.2g} of the overall rate, {P_MIN:g} would be one" if level else ""
        words.append(f"no sign that calibration has moved (evidence {e_value:.3g} to 1, {E_MAX:g} would be one{overall})")
    elif not words and judged:
        words.append(
            f"{judged:.0f} judged requests, fewer than {ROWS_MIN} in any one context: too few to tell whether "
            "calibration has moved"
        )
    elif not words:
        words.append("no labels: whether outcomes have changed within known contexts is not identified")
    return "; ".join(words)


def _binned(sums: dict) -> np.ndarray:
    """Trials, sum of risks and failures in equal bins of risk, shape (3, bins)."""
    risk, n, failures = (np.array(sums[k], float) for k in ("risk", "n", "failures"))
    place = np.minimum((risk * BINS).astype(int), BINS - 1)
    return np.stack([np.bincount(place, v, BINS) for v in (n, n * risk, failures)])


def _binomial(n: np.ndarray, risk: np.ndarray) -> np.ndarray:
    """Sum of p (1 - p) in each bin, at most, by its mean risk."""
    mean = risk / np.where(n > 0, n, 1.0)
    return n * mean * (1 - mean)


def _e_value(difference: float, variance: float) -> float:
    """The mixture likelihood ratio; _e_value(.1, .01) = 2**-.5 e**.25 = .9079."""
    exponent = difference**2 / variance / 2 * TAU**2 / (TAU**2 + variance)
    return float(np.exp(min(exponent, 500.0)) / np.sqrt(1 + TAU**2 / variance))
