"""Which combination meets what was declared: the first screen in words and one table, from `coherence` and
`best_combination`. How sure, what would change it, and what to measure next.

What more data would buy is arithmetic on the widths that are there: an interval shrinks as 1 / sqrt(items), so a side that
lies d from its limit with standard deviation s is settled at 95 % one-sided with (1.645 s / d)^2 times the items.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import polars as pl

from divergence.estimate import Estimate
from divergence.numerics import NORMAL_95
from divergence.orders import SURE, First, first_of
from divergence.report.content import PageContent
from divergence.report.names import spoken
from divergence.report.reading import SCORES
from divergence.report.words import (
    amount,
    brief_chance,
    capital,
    chance,
    every,
    exact,
    join,
    phrase,
    plural,
    span,
    verb,
)

HALF = 0.5
SETTLED = NORMAL_95  # standard deviations between a value and its limit that make it 95 % sure
SENSIBLE = 100  # times the items, beyond which more of them is no advice
MOST = 8  # combinations of the first table
VALUES = {  # bound -> statistic of its value, heading, is it a lower limit, unit of the limit
    "quality_min": ("quality", "level", True, "probability"),
    "bench_gap_max": ("bench_gap", "distance from the bench", False, "fraction"),
    "latency_p95_max_s": ("latency_p95", "p95 latency", False, "s"),
    "cost_per_success_max_usd": ("cost_per_success", "cost per success", False, "usd"),
    "excess_flips_max": ("excess_flips", "excess flips", False, "probability"),
}
UNDECLARED = (
    "No requirements are declared, so no combination of model and context is called good enough: write thresholds under "
    f"[acceptance] in divergence.toml ({', '.join(f'`{name}`' for name in VALUES)}) and this page opens with the decision."
)


def undeclared(content: PageContent) -> str:
    """That no requirements are declared, and how to; nothing where they are, or where the outcome is no score."""
    asked = [content.estimates[q] for q in ("deployed_level", "bench_level") if q in content.estimates]
    return "" if content.acceptance or not any(e.unit in SCORES for e in asked) else UNDECLARED


@dataclasses.dataclass(frozen=True)
class Option:
    """One combination of model and context."""

    model: str
    """Name of the model."""
    context: str
    """Label of the context."""
    best: float
    """Probability that it is the best one."""
    meets: float
    """Probability that it meets all requirements."""
    sides: dict[str, float]
    """Bound -> probability that it is met."""
    values: dict[str, dict]
    """Statistic -> the row of the results table."""
    draws: dict[str, np.ndarray]
    """Statistic -> draws, shape (S,)."""
    tied: bool
    """Is it one of the fewest that hold the first place with 90 %?"""
    regret: float
    """Expected level lost by choosing it."""


@dataclasses.dataclass(frozen=True)
class Choice:
    """What a reader decides by, where requirements are declared."""

    headline: str
    """The decision in one sentence."""
    points: tuple[tuple[str, str], ...]
    """(label, sentence): how sure, what would change it, what to measure next."""
    options: tuple[Option, ...]
    """The combinations: first those that hold the first place together, the surest first; then the likeliest best."""
    names: dict[str, str]
    """Short names of models and contexts."""

    @property
    def bars(self) -> list[tuple[str, str, float, str]]:
        """Model, context, probability of meeting all requirements, and it in words; for the list of the first screen."""
        return [(self.names[o.model], self.names[o.context], o.meets, brief_chance(o.meets)) for o in self.options[:5]]


def choose(content: PageContent) -> Choice | None:
    """The choice that the declared requirements allow; None where there are none, or no combination can be judged."""
    coherent, best = content.answer("coherence"), content.answer("best_combination")
    if not content.acceptance or coherent is None or best is None:
        return None
    options = _options(coherent, best)
    if not options:
        return None
    names = spoken(o.model for o in options) | spoken(o.context for o in options)
    bounds = content.acceptance
    points = (
        ("How sure", _how_sure(options, names, content)),
        ("What would change it", _change(options, bounds, best)),
        ("What to measure next", f"{_next(options, bounds, names, coherent)} {content.measure_next}".strip()),
    )
    return Choice(_headline(options, names, bounds), tuple((a, b) for a, b in points if b), tuple(options), names)


def _options(coherent: Estimate, best: Estimate) -> list[Option]:
    """Every combination that can be judged: those that hold the first place together, then by chance to be the best."""
    known: dict[tuple[str, str], dict] = {}
    for estimate in (coherent, best):
        for k, row in enumerate(estimate.to_frame().iter_rows(named=True)):
            if row["context"] is not None and row["model"] is not None and row["identified"]:
                place = known.setdefault((row["model"], row["context"]), {})
                if row["question"] == "coherence" or row["statistic"] is not None:
                    place[row["statistic"]] = row, estimate.draws[:, k]
    options = []
    for (model, context), found in known.items():
        if None not in found or "p_best" not in found:
            continue
        values = {name: found[name] for name, *_ in VALUES.values() if name in found}
        options.append(
            Option(
                model,
                context,
                found["p_best"][1].mean(),
                found[None][1].mean(),
                {bound: found[bound][1].mean() for bound in VALUES if bound in found},
                {name: row for name, (row, _) in values.items()},
                {name: draws for name, (_, draws) in values.items()},
                bool(found["tied"][1][0]),
                found["regret"][1].mean(),
            )
        )
    # Of those that hold the first place together the level tells none apart, so the surest to meet everything leads.
    return sorted(
        options, key=lambda o: (not o.tied, -o.meets if o.tied else 0.0, -o.best, -o.meets, -o.values["quality"]["median"])
    )


def limit(bound: str, value: float) -> str:
    """A requirement in words: `a level of at least 60%`."""
    _, heading, lower, unit = VALUES[bound]
    return f"{heading} of at {'least' if lower else 'most'} {exact(value, unit)}"


def _who(option: Option, names: Mapping[str, str]) -> str:
    return f"{names[option.model]} in {names[option.context]}"


def _headline(options: list[Option], names: Mapping[str, str], bounds: Mapping[str, float]) -> str:
    first = options[0]
    all_of = every(len(bounds), "requirement").replace("the one", "the")
    if first.meets < 1 - SURE:
        able = max(options, key=lambda o: o.meets)
        does = f"{_who(able, names)} does with a probability of {chance(able.meets)}"
        return f"No combination is likely to meet {all_of}: {does}."
    opening = f"Choose {_who(first, names)}" if first.meets >= SURE else f"No choice is settled: {_who(first, names)}"
    what = f"{'; it meets' if first.meets >= SURE else ' meets'} {all_of} with a probability of {chance(first.meets)}"
    others = sum(o.tied for o in options) - 1
    if others > 0:
        return f"{opening}{what}; {plural(others, 'other')} may have as high a level."
    return f"{opening}{what}. {_best_one(options, names)}."


def _best_one(options: list[Option], names: Mapping[str, str]) -> str:
    """Which meets everything and has the highest level of those that do."""
    found = first_of(np.array([o.best for o in options]))
    return found.led("The best that meets everything", [_who(o, names) for o in options])


def _how_sure(options: list[Option], names: Mapping[str, str], content: PageContent) -> str:
    first = options[0]
    sentences = []
    if first.best > 0:
        if sum(o.tied for o in options) > 1:
            sentences.append(
                f"{_best_one(options, names)}. Of those that may be, none meets everything with a higher probability "
                f"than {_who(first, names)} ({chance(first.meets)})."
            )
        lost = amount(first.regret, "fraction", max(first.regret, 0.005))
        sentences.append(f"Choosing it loses {lost} of level on average against the one that turns out in front.")
    enough = sum(o.meets >= SURE for o in options)
    sentences.append(
        f"{capital(plural(enough, 'combination'))} of {len(options)} "
        f"{verb(enough, 'meets', 'meet')} everything with at least {SURE:.0%}."
    )
    reasons = [r for r in content.estimates["coherence"].where(statistic=None, factor=None).reason if r]
    if reasons:
        sentences.append(
            f"{capital(plural(len(reasons), 'combination'))} cannot be judged, for example because {reasons[0]}."
        )
    return " ".join(sentences)


def _margin(option: Option, bound: str, value: float) -> float:
    """How many standard deviations the value lies inside its limit; negative outside."""
    name, _, lower, _ = VALUES[bound]
    draws = option.draws[name]
    low, middle, high = np.quantile(draws, [0.16, 0.5, 0.84])
    return float((middle - value if lower else value - middle) / max((high - low) / 2, 1e-12))


def _change(options: list[Option], bounds: Mapping[str, float], best: Estimate) -> str:
    """The nearest threshold of the first option, and which model for all traffic each what-if law would ask for."""
    first = options[0]
    bound = min(bounds, key=lambda b: _margin(first, b, bounds[b]))
    name, _, _, unit = VALUES[bound]
    row, met = first.values[name], first.sides[bound] >= HALF
    value = phrase(row) if row["upper"] is not None else "without an upper limit"
    turn = amount(row["median"], unit, (row["upper"] or row["median"]) - row["lower"])
    does = f"set beyond {turn} it would more likely be missed" if met else f"it would more likely be met from {turn} on"
    near = f"The requirement that decides is “{limit(bound, bounds[bound])}”"
    return f"{near}: the value is {value}; {does}. {_laws(best)}".strip()


def laws(best: Estimate) -> list[tuple[str | None, str | None, float]]:
    """Per law over contexts (None = as logged): the likeliest best model and its probability, or None and p_none."""
    table = best.to_frame().filter(pl.col("context").is_null())
    told: list[tuple[str | None, str | None, float]] = []
    for law in table["level"].unique(maintain_order=True):
        part = table.filter(pl.col("level").eq_missing(law) & pl.col("identified"))
        p = part.filter(pl.col("statistic") == "p_best").sort("mean", descending=True)
        none = part.filter((pl.col("statistic") == "p_none") & (pl.col("axis") == "models"))["mean"].to_list()
        if p.height and none:
            told.append((law, None, none[0]) if none[0] > HALF else (law, p["model"][0], p["mean"][0]))
    return told


def first_model(best: Estimate, law: str | None) -> tuple[First, list[str]]:
    """Which model meets everything over a law of contexts and has the highest level of those that do; and all of them."""
    table = best.to_frame().filter(pl.col("context").is_null() & (pl.col("statistic") == "p_best") & pl.col("identified"))
    table = table.filter(pl.col("level").eq_missing(pl.lit(law, pl.String)))
    return first_of(table["mean"].to_numpy()), table["model"].to_list()


def _laws(best: Estimate) -> str:
    """What one model for all of the traffic would do, as logged and under each what-if."""
    told = laws(best)
    names = spoken(model for law, _, _ in told for model in first_model(best, law)[1])
    called = {law: "the log's own mix of contexts" if law is None else f"“{law}”" for law, _, _ in told}
    nothing = [called[law] for law, model, _ in told if model is None]
    sentences = [f"One model for all traffic is not likely to meet everything over {join(nothing)}."] if nothing else []
    for law in called:
        found, models = first_model(best, law)
        if law not in {law for law, model, _ in told if model is None}:
            place = found.led("the best model for all traffic", [names[model] for model in models])
            sentences.append(f"Over {called[law]} {place}.")
    return " ".join(sentences)


def _next(options: list[Option], bounds: Mapping[str, float], names: Mapping[str, str], coherent: Estimate) -> str:
    """The quantity whose interval decides, and how many times the items would settle it."""
    items = coherent.counts.get("n_items") or 0
    first = options[0]
    if 1 - SURE < first.meets < SURE:
        bound = min(bounds, key=lambda b: abs(_margin(first, b, bounds[b])))
        factor = (SETTLED / max(abs(_margin(first, bound, bounds[bound])), 1e-9)) ** 2
        what = f"the {VALUES[bound][1]} of {_who(first, names)}, which lies near its limit"
        return _more(what, factor, items)
    rivals = [o for o in options[1:] if o.tied]
    if rivals and first.best > 0:
        difference = first.draws["quality"] - rivals[0].draws["quality"]
        factor = (SETTLED * difference.std() / max(abs(difference.mean()), 1e-9)) ** 2
        low, high = np.quantile(difference, [0.05, 0.95])
        what = (
            f"the level of {_who(first, names)} against {_who(rivals[0], names)} (difference "
            f"{span(float(low), float(high), 'fraction')} points)"
        )
        return _more(what, factor, items)
    return "The decision is settled at these thresholds; more items would not change it."


def _more(what: str, factor: float, items: int) -> str:
    text = f"What decides is {what}. "
    if factor > SENSIBLE:
        return text + (f"It would take more than {SENSIBLE} times the items to settle it: let something else decide.")
    if factor <= 1:
        return text + "Its interval already lies on one side."
    more = int(np.ceil(items * (factor - 1) / 10) * 10)
    return text + (
        f"About {more:,} more items (in all {factor:.1f} times the log's {items:,}) would settle it, if it lies where "
        "it seems to and widths fall with the square root of the items."
    )
