"""Sentences of pages and of `check` that a person can read: not too long, in words, with names of columns in code marks."""

import re

import pytest
from page_sentences import page_of, without_charts
from random_logs import content_of, fitted

LONGEST = 300  # characters of a sentence
RAW = re.compile(r"(?<![`\w.\-\[=])[A-Za-z]+_[a-z0-9_]+")
CODE = re.compile(r"`[^`]*`")


def unreadable(sentence: str) -> list[str]:
    """What is wrong with a sentence; empty where nothing is."""
    told = [f"{len(sentence)} characters: {sentence}"] if len(sentence) > LONGEST else []
    raw = RAW.findall(CODE.sub("", sentence))
    return told + ([f"{', '.join(raw)} in: {sentence}"] if raw else [])


@pytest.mark.parametrize("seeds", [range(60, 66), range(66, 72)], ids=lambda s: f"{s[0]}-{s[-1]}")
def test_sentences_of_pages_and_of_check_are_readable(seeds, monkeypatch):
    without_charts(monkeypatch)
    found = []
    for seed in seeds:
        made = fitted(seed)
        if made is not None:
            said = [sentence for _, sentence in page_of(content_of(*made))]
            said += [sentence for a in made[0].answers() for sentence in re.split(r"(?<=[.;]) (?=[A-Z])", a.reason)]
            found += [f"seed {seed}: {fault}" for sentence in said for fault in unreadable(sentence)]
    assert found == []


def test_what_is_unreadable_is_seen():
    assert unreadable("The tokens (`output_tokens`) are not logged.") == []
    assert unreadable("It needs output_tokens.") != [] and unreadable("cvar_10 is not known.") != []
    assert unreadable("B_residual is 0.") != [] and unreadable("a " * 160) != []
