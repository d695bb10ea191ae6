"""The first screen: does the bench order carry over to deployment? In words, with probabilities from joint draws."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import polars as pl

from divergence.estimate import Estimate
from divergence.report.content import PageContent
from divergence.report.names import spoken
from divergence.report.one_world import one_world
from divergence.report.reading import LOWER_IS_BETTER, chance_first, higher_is_better, identified, levels
from divergence.report.words import brief_chance, capital, chance, every, join, number, phrase, plural, verb

HALF = 0.5  # a model with less than this probability of being first does not lead
SURE = 0.9  # a pair whose order holds with at least this probability is called sure: the level of the intervals


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two neighbours of the bench order."""

    above: str
    """The model that is ahead on the bench (short name)."""
    below: str
    """The next one."""
    keeps: float
    """Probability that deployment keeps their order."""

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
    first, second = known.first.to_dicts(), known.second.to_dicts()
    # A model that one world left out may be first in the other: without the sentence the page would name the next one.
    alone = [
        told for told in (_leader_of_one_side(bench, models, True), _leader_of_one_side(deployed, models, False)) if told
    ]
    if len(models) == 1:
        one = _one_model(content, models[0], first[0], second[0])
        return dataclasses.replace(one, headline=" ".join((*alone, one.headline)))
    names = spoken(models)
    on_bench = chance_first(known.first_draws, higher_is_better(bench))
    in_deployment = chance_first(known.second_draws, higher_is_better(deployed))
    likeliest = int(np.argmax(in_deployment))
    opening = (
        f"{_bench_lead([names[model] for model in models], on_bench)} and reaches {phrase(first[0])}. "
        f"In deployment {names[models[likeliest]]} reaches {phrase(second[likeliest])}."
    )
    headline = _headline([names[model] for model in models], on_bench, in_deployment)
    if alone:
        both = f"Of the {plural(len(models), 'model')} judged in both"
        headline = f"{' '.join(alone)} {both}, {_continued(headline)}"
        opening = f"{both}: {_continued(opening)}"
    pairs, reason = _pairs(content, models)
    sentences = (opening, _pair_sentence(pairs)) if pairs else (opening,)
    sentences += (content.measure_next,) if content.measure_next else ()
    chances = tuple(zip(models, map(float, on_bench), map(float, in_deployment), strict=True))
    return Decision(headline, sentences, pairs, reason, chances)


def _leader_of_one_side(answer: Estimate, shared: list[str], bench: bool) -> str:
    """A sentence on the likeliest first model of one world where the other world never judged it; '' where it did."""
    frame, draws = identified(answer, "model")
    first = chance_first(draws, higher_is_better(answer))
    best = int(np.argmax(first))
    name = frame["model"][best]
    if name in shared or len(first) < 2:
        return ""
    here, there = ("on the bench", "in deployment") if bench else ("in deployment", "on the bench")
    lead = "is first" if first[best] >= HALF else "is the likeliest to be first"
    return f"{spoken(frame['model'].to_list())[name]} {lead} {here} ({chance(first[best])}) and was not judged {there}."


def contenders(chances: np.ndarray) -> list[int]:
    """The fewest models that together are first with a probability of at least `SURE`, the likeliest first."""
    order = np.argsort(-chances, kind="stable")
    needed = int(np.searchsorted(np.cumsum(chances[order]), SURE - 1e-9)) + 1
    return order[:needed].tolist()


def _bench_lead(names: list[str], on_bench: np.ndarray) -> str:
    """Who leads on the bench, or between whom the lead lies."""
    if on_bench[0] >= HALF:
        return f"On the bench {names[0]} is first with a probability of {chance(on_bench[0])}"
    tied = join([names[k] for k in contenders(on_bench)], 4)
    return f"On the bench the first place lies between {tied}; {names[0]} has the highest median"


def _headline(names: list[str], on_bench: np.ndarray, in_deployment: np.ndarray) -> str:
    """Who is first on the bench, and who most probably in deployment; names in bench order."""
    best = int(np.argmax(in_deployment))
    first, told = in_deployment[best], chance(in_deployment[best])
    if on_bench[0] < HALF:
        where = f"{names[best]} is first" if first >= SURE else f"{names[best]} is the likeliest"
        return f"The bench does not settle who is first; in deployment {where} ({told})."
    if best:
        return (
            f"{names[0]} is first on the bench, but {names[best]} is the likeliest to be first in deployment "
            f"({told} against {chance(in_deployment[0])})."
        )
    if first >= SURE:
        return f"{names[0]} is first on the bench and stays first in deployment (probability {told})."
    if first >= HALF:
        return f"{names[0]} is first on the bench and probably first in deployment too ({told})."
    return f"{names[0]} is first on the bench and the likeliest to be first in deployment, but only with {told}."


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
    words = ("falls", "rises") if row["unit"] in LOWER_IS_BETTER else ("loses level", "gains level")
    told = words[0] if row["upper"] < 0 else words[1] if row["lower"] > 0 else "shows no clear change"
    return Decision(f"{model} {told} between bench and deployment: {phrase(row, signed=True)}.", (text,), pairs_reason=alone)


def _reversals(reversal: Estimate) -> dict[frozenset[str], float]:
    """Probability that a pair changes its order, by the two models."""
    frame = identified(reversal, "model", "model_b")[0].filter(pl.col("model_b").is_not_null())
    return {frozenset((row["model"], row["model_b"])): row["mean"] for row in frame.iter_rows(named=True)}


def _pairs(content: PageContent, models: list[str]) -> tuple[tuple[Pair, ...], str | None]:
    """Neighbours of the bench order that the reversal estimate knows, and the reason where it knows none."""
    reversal = content.answer("reversal")
    if reversal is None:
        return (), content.reason("reversal")
    changed, names = _reversals(reversal), spoken(models)
    pairs = tuple(
        Pair(names[above], names[below], 1 - changed[frozenset((above, below))])
        for above, below in itertools.pairwise(models)
        if frozenset((above, below)) in changed
    )
    return pairs, None if pairs else "No neighbouring pair of the bench order is identified."


def _pair_sentence(pairs: tuple[Pair, ...]) -> str:
    """How many neighbours keep their order for sure, and which pair is the most doubtful."""
    sure = sum(pair.verdict == "sure" for pair in pairs)
    doubtful = min(pairs, key=lambda pair: pair.keeps)
    who = f"{doubtful.above} above {doubtful.below}"
    if len(pairs) == 1:
        return f"The order of {who} holds in deployment with a probability of {chance(doubtful.keeps)}."
    rest = f"with a probability of at least {SURE:.0%}; least certain is {who} ({chance(doubtful.keeps)})."
    if sure == len(pairs):
        return f"{capital(every(sure, 'neighbouring pair'))} keep their order {rest}"
    keep = f"{number(sure)} {verb(sure, 'keeps its', 'keep their')} order" if sure else "none keeps its order"
    return f"Of {plural(len(pairs), 'neighbouring pair')}, {keep} {rest}"
