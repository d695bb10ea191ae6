"""What the page is made from: the answers, and everything that must stand beside them.

All of it is data: the caller maps its diagnostics, rejected rows and provenance onto these values, so that the report
imports no other stage.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import polars as pl

from divergence.estimate import Estimate
from divergence.report.changes import Changes
from divergence.report.words import capital, question_name, sentence

Answers = Mapping[str, Estimate]


@dataclasses.dataclass(frozen=True)
class Check:
    """One diagnostic of the fit, with the threshold it was held against."""

    name: str
    """What was looked at, in words (`largest R-hat`)."""
    value: float | str
    """What was seen."""
    threshold: str
    """What passes, as text (`at most 1.01`)."""
    passed: bool
    """Did it pass?"""
    meaning: str
    """One sentence: what it would mean if it failed."""


@dataclasses.dataclass(frozen=True)
class Review:
    """A check of the model beside the gates: what was found, to be told and tabulated."""

    kind: str
    """`predictive`, `prior`, `new context` or `held items`."""
    rows: pl.DataFrame
    """What was found; empty where the log does not allow the check."""
    numbers: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """`limit`, and numbers about all rows."""
    reason: str = ""
    """Why the log does not allow it."""
    outcome: str = ""
    """Of which further outcome; empty = of the one that the decision is about."""


@dataclasses.dataclass(frozen=True)
class LogSummary:
    """What the log holds, after rejection."""

    rows: Mapping[str, int]
    """Valid rows by regime (`evaluation`, `deployment`)."""
    models: int
    """Models in the valid rows."""
    contexts: int
    """Serving contexts, those of the bench included."""
    items: int
    """Items, or strata where a row stands for many."""
    sessions: int | None = None
    """Sessions; None where none are logged."""
    waves: int | None = None
    """Measuring campaigns; None where none are logged."""
    judged: pl.DataFrame | None = None
    """Judged share: columns `regime`, `context`, `rows`, `judged` (a count); None where every row is judged."""
    unjudged: str = "the others are taken as missing at random"
    """What is said of rows without a judged outcome."""
    files: tuple[str, ...] = ()
    """Names of the files that were read."""
    joining: tuple[str, ...] = ()
    """What joins bench and deployment, and what does not."""
    bench_contexts: tuple[str, ...] = ()
    """Labels of the evaluation contexts; empty = taken from the pairs of `excess_flips`."""


@dataclasses.dataclass(frozen=True)
class PageContent:
    """Everything that one page shows."""

    title: str
    """The page's title, usually the name of the log."""
    estimates: Answers
    """Answers about the outcome that the decision is about, by question."""
    summary: LogSummary
    """What the log holds."""
    rejected: pl.DataFrame
    """Rejected rows, one a row: `file`, `row`, `rule`, `sentence`; further columns are not shown."""
    checks: tuple[Check, ...] = ()
    """Diagnostics, in the order in which they are shown."""
    reviews: tuple[Review, ...] = ()
    """Checks of the model, in the order in which they are told."""
    refusals: tuple[tuple[str, str], ...] = ()
    """(question, reason) for what the log cannot answer at all; those of unidentified estimates are added."""
    skipped: tuple[tuple[str, str], ...] = ()
    """(file, reason) for files of a folder that are no log."""
    unused_columns: tuple[tuple[str, str], ...] = ()
    """(column, reason) for optional columns that could not be used."""
    notes: tuple[str, ...] = ()
    """Sentences about assumptions that hold for all of the page."""
    provenance: Mapping[str, object] = dataclasses.field(default_factory=dict)
    """Versions, seed, data hashes, configuration: text, numbers, or one more level of mapping."""
    acceptance: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """The declared requirements: bound -> number, in the unit of the results table; empty = none are declared."""
    measure_next: str = ""
    """What to measure next, and what it buys, in a sentence or two; empty where nothing can be planned."""
    cautions: tuple[str, ...] = ()
    """Sentences about the log that the first screen must carry (differing scorers, unjudged rows)."""
    no_order: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Regime -> why its models have levels and no order (`evaluation`, `deployment`); empty where they have one."""
    counted: Mapping[str, Mapping[str, tuple[float, int, int]]] = dataclasses.field(default_factory=dict)
    """Regime -> model -> plain mean of its own rows, contexts it was judged in, and contexts that any was judged in."""
    calibration: Mapping | None = None
    """What calibration a risk model was measured to have (`RiskModel.check`); None where none was made."""
    changes: Changes | None = None
    """What changed since an earlier report; None where none was named."""
    other_outcomes: Mapping[str, Answers] = dataclasses.field(default_factory=dict)
    """Answers about further outcomes (latency, cost), by outcome and question."""

    @property
    def failed(self) -> tuple[Check, ...]:
        """The diagnostics that did not pass."""
        return tuple(check for check in self.checks if not check.passed)

    def answer(self, question: str) -> Estimate | None:
        """The answer to a question, or None where it was not asked or nothing of it is identified."""
        estimate = self.estimates.get(question)
        return estimate if estimate is not None and estimate.identified else None

    def words(self, question: str) -> str:
        """A question's name in plain words, as a heading begins."""
        estimate = self.estimates.get(question)
        return capital(question_name(estimate) if estimate is not None else question.replace("_", " "))

    def reason(self, question: str) -> str:
        """Why there is no answer to a question."""
        estimate = self.estimates.get(question)
        if estimate is not None and estimate.reasons:
            return sentence(estimate.reasons[0])
        return sentence(dict(self.refusals).get(question, "This question was not asked of this log"))
