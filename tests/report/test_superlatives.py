"""No sentence of a page says first, best, cheapest, largest ... with less than the stated probability."""

import dataclasses

import numpy as np
import pytest
from page_sentences import page_of, without_charts
from random_logs import content_of, fitted
from superlative_claims import SURE, claims, faults

from divergence import orders
from divergence.estimate import INTERVAL


def overclaims(seed: int) -> tuple[list[str], int]:
    """Sentences of the page of a random log that say more than its draws, and how many claims there were."""
    found = fitted(seed)
    if found is None:
        return [], 0
    content = content_of(*found)
    told = page_of(content)
    seen = sum(len(claims(sentence)[0]) for _, sentence in told)
    return [f"seed {seed}: {fault}" for where, sentence in told for fault in faults(content, where, sentence)], seen


@pytest.mark.parametrize("seeds", [range(k, k + 5) for k in range(0, 15, 5)], ids=lambda s: f"{s[0]}-{s[-1]}")
def test_no_superlative_says_more_than_its_draws(seeds, monkeypatch):
    without_charts(monkeypatch)
    found = [overclaims(seed) for seed in seeds]
    assert [line for lines, _ in found for line in lines] == []
    assert sum(count for _, count in found) >= 5, "pages that claim nothing show nothing"


@pytest.mark.prove
def test_no_superlative_says_more_than_its_draws_over_many_logs(monkeypatch):
    without_charts(monkeypatch)
    assert [line for seed in range(2000, 2200) for line in overclaims(seed)[0]] == []


def test_the_check_sees_what_overclaims(monkeypatch):
    """Pages that call a bare majority settled, name the wrong one, or slip in a superlative, are found out."""
    without_charts(monkeypatch)
    pages = [content_of(*found) for found in map(fitted, (0, 1, 5)) if found is not None]

    def seen():
        return [fault for content in pages for where, one in page_of(content) for fault in faults(content, where, one)]

    assert seen() == []
    with monkeypatch.context() as planted:
        planted.setattr(orders, "SURE", 0.5)
        assert "is said to be" in " ".join(seen())
    with monkeypatch.context() as planted:
        right = orders.First.bracket
        wrong = lambda self, names: right(dataclasses.replace(self, chance=self.chance / 2), names)  # noqa: E731
        planted.setattr(orders.First, "bracket", wrong)
        assert "and the draws say" in " ".join(seen())
    with monkeypatch.context() as planted:
        right = orders.First.told
        planted.setattr(
            orders.First, "told", lambda self, names, *more, **what: right(self, [*reversed(names)], *more, **what)
        )
        assert seen() != []
    content = dataclasses.replace(pages[0], cautions=("m1 is the cheapest of all.",))
    assert any("no probability" in fault for where, one in page_of(content) for fault in faults(content, where, one))


def test_orders_are_as_sure_as_intervals():
    assert orders.SURE == INTERVAL == SURE


def test_counts_and_numbers_count_things_that_draws_do_not_know():
    content = None
    assert faults(content, "log", "91% of the rows are judged, as counted fewest in c0 (87%).") == []
    assert faults(content, "log", "At least two models are needed.") == []
    assert faults(content, "top", "How far are the first models truly apart?") == []
    assert faults(content, "log", "Fewest rows are judged in c0.") != []


@pytest.mark.parametrize(("best", "chance"), [(0.95, True), (0.9, True), (0.89, False), (0.4, False)])
def test_one_probability_decides_how_it_is_said(best, chance):
    found = orders.first_of(np.array([best, 1 - best]) if best > 0.5 else np.array([best, 0.3, 0.3]))
    assert found.settled is chance and ("likeliest" not in found.told(["a", "b", "c"], "the cheapest")) is chance
    assert ("likeliest" not in found.led("The cheapest", ["a", "b", "c"])) is chance
    assert bool(found.others) is not chance
