"""What does the name of an outcome say: is more of it better, or less, and what is its unit?

What is declared decides the direction, else the words of the name, else the user is asked. Scores of 0 to 1 are shares of
success: more is better, unless the name says that failures are counted. Of other quantities times, costs and counts are the
better the smaller, rates of work the better the larger (`tokens_per_s`); a name that says neither, or both, is no ground
for an order.
"""

from __future__ import annotations

import re

from divergence.configuration import Configuration
from divergence.errors import InputError

HIGHER, LOWER = "higher", "lower"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


FAILURE = _words(
    """
    error errors failure failures fail fails failed loss losses toxicity toxic hallucination hallucinations
    hallucinated wer cer violation violations violated harm harmful unsafe timeout timeouts crash crashes crashed
    regret
    """
)
"""Words of which less is better wherever they stand."""
SPENT = _words(
    """
    s sec secs second seconds ms millisecond milliseconds us ns minute minutes hour hours day days latency time
    duration delay wait waiting queue ttft tpot itl tbt elapsed runtime cost costs usd eur gbp cny jpy dollar
    dollars cents price spend spent fee memory mem bytes kb mb gb kib mib gib energy joule joules j wh kwh watt
    watts w power carbon co2 emissions
    """
)
"""Time, money and means."""
WORK = _words(
    """
    token tokens request requests call calls query queries item items sample samples episode episodes task tasks
    turn turns step steps retry retries attempt attempts image images word words character characters
    """
)
"""What a rate has the more of the better; of one execution less is better."""
SUCCESS = _words(
    """
    throughput goodput tps rps qps speedup reward rewards return returns accuracy acc score scores rating ratings
    star stars point points win wins elo like likes upvotes f1 bleu rouge chrf success successes solved passed correct
    quality utility revenue profit conversion conversions retention satisfaction nps csat similarity agreement hits recall
    precision auc ndcg mrr grade grades helpfulness faithfulness relevance groundedness likelihood
    """
)
"""Words of which more is better."""


def known_direction(outcome: str, bounded: bool) -> str | None:
    """`higher` or `lower`, as the name says; None where it says neither, or both. `bounded`: values lie between 0 and 1."""
    words = [word for word in re.split(r"[^a-z0-9]+", _spaced(outcome).lower()) if word]
    if bounded:
        return LOWER if FAILURE.intersection(words) else HIGHER
    if "per" in words[1:-1]:
        place = words.index("per", 1)
        over, under = set(words[:place]), set(words[place + 1 :])
        if under & SPENT and over & WORK and not over & (FAILURE | SPENT):
            return HIGHER
        words = words[:place]
    less, more = (FAILURE | SPENT | WORK).intersection(words), SUCCESS.intersection(words)
    return None if bool(less) == bool(more) else LOWER if less else HIGHER


def direction(outcome: str, kind: str, configuration: Configuration) -> str:
    """`higher` or `lower` for an outcome that is read. Raises InputError where its name does not say, and where scores would
    be shares of failure."""
    bounded, declared = kind != "positive", configuration.better
    ranked = kind == "ordinal" or (bounded and outcome in configuration.values)  # what its values mean is declared
    found = declared or (HIGHER if ranked else known_direction(outcome, bounded))
    if found is None:
        raise InputError(
            f'Is more of {outcome} better, or less? Its name does not say: write outcome = "{outcome}" and better = '
            '"higher" (or "lower") in divergence.toml.'
        )
    if bounded and found == LOWER:
        keep = "" if declared else ', or better = "higher" if more of it is better'
        raise InputError(
            f"Less of {outcome} is better, and values between 0 and 1 are read as shares of success: write [values] and "
            f"below it {outcome} = {{ scale = [1, 0] }} in divergence.toml{keep}."
        )
    return found


def sign_of(better: str) -> int:
    """1 where the higher values are the better ones, -1 where the lower are."""
    return 1 if better == HIGHER else -1


def unit_named(outcome: str) -> str:
    """Unit of an outcome that is no score: `s`, `usd`, else the name itself, as of a rate."""
    if re.search(r"_per_[a-z]+$", outcome):
        return outcome
    return "usd" if outcome.endswith("_usd") else "s" if outcome.endswith("_s") else outcome


def _spaced(name: str) -> str:
    """`wordError` and `TTFTms` with the words apart."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
