"""The first screen: does the bench order carry over to deployment? In words, with probabilities from joint draws."""

from __future__ import annotations

import dataclasses
import functools
import itertools

import numpy as np
import polars as pl

from divergence.estimate import Estimate
from divergence.orders import SURE, First, chance_first, first_of
from divergence.report.content import PageContent
from divergence.report.names import spoken
from divergence.report.one_world import one_world, without_order
from divergence.report.reading import SCORES, Levels, higher_is_better, identified, levels
from divergence.report.words import brief_chance, capital, chance, every, number, phrase, plural, sentence, verb

NO_ORDER = "Who is first, on the bench or in deployment, cannot be told."


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two neighbours of the bench order."""

    above: str
    """The model that is ahead on the bench (short name)."""
    below: str
    """The next one."""
    keeps: float
    """Probability that it is ahead in deployment, too."""

    @property
    def words(self) -> str:
        """The probability as text."""
        return brief_chance(self.keeps)

    @property
    def verdict(self) -> str:
        """How sure the order is, in words."""
        if self.keeps >= SURE:
            return "sure"
        return "open" if self.keeps > 1 - SURE else "reversed"


@dataclasses.dataclass(frozen=True)
class Decision:
    """What a reader decides by."""

    headline: str
    """The decision in one sentence."""
    sentences: tuple[str, ...]
    """What it rests on."""
    pairs: tuple[Pair, ...] = ()
    """Neighbouring pairs of the bench order, from the top."""
    pairs_reason: str | None = None
    """Why there are no pairs, where there are none."""
    chances: tuple[tuple[str, float, float], ...] = ()
    """Model, probability to be first on the bench, probability to be first in deployment; in bench order."""


def decide(content: PageContent) -> Decision:
    """The decision that the levels allow, or why they allow none."""
    bench, deployed = content.answer("bench_level"), content.answer("deployed_level")
    if bench is None or deployed is None:
        alone = one_world(content)
        if alone is not None:
            return Decision(*alone, pairs_reason="The log has one regime: there is no second order to compare with.")
        missing = [q for q, answer in (("bench_level", bench), ("deployed_level", deployed)) if answer is None]
        headline = "This log cannot say how the bench carries over to deployment."
        return Decision(headline, tuple(dict.fromkeys(content.reason(q) for q in missing)))
    known = levels(bench, deployed)
    models = known.models
    if not models and not any(identified(answer, "model")[0].height for answer in (bench, deployed)):
        return Decision("No mean over the tasks of this log is given; each task has a level of its own.", ())
    if not models:
        return Decision("No model of this log is known in both worlds.", ("Bench and deployment share no model.",))
    bench_rows, deployed_rows = known.first.to_dicts(), known.second.to_dicts()
    if not ordered(content) and any(identified(answer, "model")[0].height > 1 for answer in (bench, deployed)):
        told = [
            without_order(rows, spoken(models), where)
            for rows, where in ((bench_rows, "on the bench"), (deployed_rows, "in deployment"))
        ]
        why = dict.fromkeys(map(sentence, content.no_order.values()))
        more = (content.measure_next,) if content.measure_next else ()
        return Decision(NO_ORDER, (*why, *told, *more), pairs_reason=next(iter(why)))
    sides = _side(bench, "first on the bench"), _side(deployed, "first in deployment")
    # A model that one world left out may be first in the other: without the sentence the page would name the next one.
    elsewhere = "and was not judged in deployment", "and was not judged on the bench"
    alone = [
        f"{side.told()} {why}."
        for side, why in zip(sides, elsewhere, strict=True)
        if side.leader not in models and len(side.models) > 1 and not side.first.open
    ]
    if len(models) == 1:
        one = _one_model(content, models[0], bench_rows[0], deployed_rows[0])
        return dataclasses.replace(one, headline=" ".join((*alone, one.headline)))
    here, there = (side.among(models) for side in sides) if alone else sides
    opening = (
        f"On the bench {here.names[here.leader]} reaches {phrase(bench_rows[models.index(here.leader)])}; in deployment "
        f"{there.names[there.leader]} reaches {phrase(deployed_rows[models.index(there.leader)])}."
    )
    headline = _headline(here, there)
    if alone:
        both = f"Of the {plural(len(models), 'model')} judged in both"
        headline = f"{' '.join(alone)} {both}, {_continued(headline)}"
        opening = f"{both}: {_continued(opening)}"
    pairs, reason = _pairs(content, known, higher_is_better(deployed))
    sentences = (opening, _pair_sentence(pairs)) if pairs else (opening,)
    sentences += (content.measure_next,) if content.measure_next else ()
    chances = tuple((model, here.chance_of(model), there.chance_of(model)) for model in models)
    return Decision(headline, sentences, pairs, reason, chances)


def ordered(content: PageContent) -> bool:
    """Is there an order of the models that were judged in both worlds?"""
    return not content.no_order or content.answer("reversal") is not None


@dataclasses.dataclass(frozen=True, eq=False)
class _Side:
    """Who is first in one of the two worlds: of all its models, or of those that both judged."""

    word: str
    models: list[str]
    draws: np.ndarray
    highest: bool
    names: dict[str, str]

    @functools.cached_property
    def chances(self) -> np.ndarray:
        """Probability of each model to be first."""
        return chance_first(self.draws, self.highest)

    @property
    def first(self) -> First:
        """Who it is, as far as the draws tell."""
        return first_of(self.chances)

    @property
    def leader(self) -> str:
        """The model that is likeliest to be first."""
        return self.models[self.first.at]

    @property
    def shown(self) -> list[str]:
        """The names of the models, in their order."""
        return [self.names[model] for model in self.models]

    def told(self) -> str:
        """`a is first on the bench (97%)`, or what may be said below that."""
        return self.first.told(self.shown, self.word)

    def chance_of(self, model: str) -> float:
        """Probability of one model to be first."""
        return float(self.chances[self.models.index(model)])

    def among(self, models: list[str]) -> _Side:
        """The same of these models alone."""
        draws = self.draws[:, [self.models.index(model) for model in models]]
        return dataclasses.replace(self, models=models, draws=draws)


def _side(answer: Estimate, word: str) -> _Side:
    frame, draws = identified(answer, "model")
    return _Side(word, frame["model"].to_list(), draws, higher_is_better(answer), spoken(frame["model"]))


def _headline(here: _Side, there: _Side) -> str:
    """Who is first on the bench, and who in deployment."""
    if not here.first.settled:
        return f"The bench does not settle who is first: {here.told()}; {there.told()}."
    if here.leader != there.leader:
        return f"{here.told()}, but {there.told()}."
    if there.first.settled:
        return f"{here.told()}, and stays first in deployment {there.first.bracket(there.shown)}."
    return f"{here.told()}; {there.told()}."


def _continued(sentence: str) -> str:
    """A sentence after a colon or a comma: its first word small, unless that is a model's name."""
    plain = sentence.startswith(("The bench", "On the bench"))
    return sentence[0].lower() + sentence[1:] if plain else sentence


def _one_model(content: PageContent, model: str, bench: dict, deployed: dict) -> Decision:
    """What one model keeps of its bench level."""
    text = f"{model} reaches {phrase(bench)} on the bench and {phrase(deployed)} in deployment."
    gap, alone = content.answer("gap"), "There is one model, so there is no order to compare."
    frame = identified(gap, "model")[0].filter(pl.col("model") == model) if gap is not None else pl.DataFrame()
    if not frame.height:
        return Decision(text, (), pairs_reason=alone)
    row = frame.row(0, named=True)
    words = ("loses level", "gains level") if row["unit"] in SCORES else ("falls", "rises")
    told = words[0] if row["upper"] < 0 else words[1] if row["lower"] > 0 else "shows no clear change"
    return Decision(f"{model} {told} between bench and deployment: {phrase(row, signed=True)}.", (text,), pairs_reason=alone)


def _pairs(content: PageContent, known: Levels, highest: bool) -> tuple[tuple[Pair, ...], str | None]:
    """Neighbours of the bench order that the reversal estimate knows, and the reason where it knows none.

    How sure their order in deployment is the deployed levels say: a reversal counts draws in which the bench itself has them
    the other way, and where the bench does not tell them apart these are half.
    """
    reversal = content.answer("reversal")
    if reversal is None:
        return (), content.reason("reversal")
    listed = identified(reversal, "model", "model_b")[0].filter(pl.col("model_b").is_not_null())
    asked = {frozenset(pair) for pair in listed.select("model", "model_b").iter_rows()}
    lead = known.second_draws[:, :-1] - known.second_draws[:, 1:]
    ahead = ((lead > 0) if highest else (lead < 0)).mean(0) + 0.5 * (lead == 0).mean(0)
    names = spoken(known.models)
    pairs = tuple(
        Pair(names[above], names[below], float(keeps))
        for (above, below), keeps in zip(itertools.pairwise(known.models), ahead, strict=True)
        if frozenset((above, below)) in asked
    )
    return pairs, None if pairs else "No neighbouring pair of the bench order is identified."


def _pair_sentence(pairs: tuple[Pair, ...]) -> str:
    """How many neighbours keep their order for sure, and what the most doubtful pair does."""
    sure = sum(pair.verdict == "sure" for pair in pairs)
    doubtful = min(pairs, key=lambda pair: pair.keeps)
    who = f"{doubtful.above} above {doubtful.below}"
    if len(pairs) == 1:
        return f"The order of {who} holds in deployment with a probability of {chance(doubtful.keeps)}."
    rest = f"with a probability of at least {SURE:.0%}; that of {who} holds with {chance(doubtful.keeps)}."
    if sure == len(pairs):
        return f"{capital(every(sure, 'neighbouring pair'))} keep their order {rest}"
    keep = f"{number(sure)} {verb(sure, 'keeps its', 'keep their')} order" if sure else "none keeps its order"
    return f"Of {plural(len(pairs), 'neighbouring pair')}, {keep} {rest}"
