"""The border value of the first stage: a validated log, and beside it everything that was set aside."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from divergence.configuration import Configuration
from divergence.errors import InputError, NotIdentifiedError
from divergence.executions.embedded_texts import by_text, comparable, distinct, joined, stacked
from divergence.executions.files import Source
from divergence.executions.names import BROKEN, FILE_NUMBER
from divergence.executions.rules import Rule, rejected_rows
from divergence.executions.unchanged import check, one_pass, unchanged
from divergence.outcome_names import direction
from divergence.shown import counted

if TYPE_CHECKING:
    from divergence.cells import Cells
    from divergence.identification import Answer, LogDesign

ALWAYS = (
    "regime",
    "model",
    "item",
    "score",
    "score_n",
    "task",
    "trial",
    "session",
    "turn",
    "time",
    "execution_id",
    "parent_id",
    "context",
    "wave",
    "answer",
    "gold",
    "scorer",
    "probability",
)
"""Columns that `scan` always has, null where the log has nothing."""


NO_EMBEDDINGS = "The log has no embeddings: add a column embedding, or a file with text_hash and embedding beside it."


@dataclasses.dataclass(frozen=True)
class Counts:
    """How many rows were read and what became of them."""

    rows: int
    """Rows read (after `[where]`)."""
    valid: int
    """Rows that keep every rule."""
    rejected: dict[str, int]
    """Rows set aside, by the first rule that each breaks."""
    unjudged: int
    """Valid rows whose outcome is null, or outside the range of its kind; they count in no answer about the outcome."""
    regimes: dict[str, int]
    """Valid rows by regime."""


@dataclasses.dataclass(frozen=True, eq=False)
class Tallied:
    """The distinct valid rows of a large log."""

    frame: pl.DataFrame
    """Canonical labels and `outcome`, with `TIMES` (how many rows) and `GROUP`. A session or an answer is an example."""
    blocks: np.ndarray
    """Rows by group and block of clusters, shape (groups, 128)."""
    sessions: Callable[[int], pl.LazyFrame | None]
    """The valid rows of one in so many sessions, with the same columns; None where they are not held."""


@dataclasses.dataclass(frozen=True, eq=False)
class Executions:
    """A validated execution log. The rows stay on disk until they are asked for.

    `read` makes it. `valid` and `rejected` are its rows (one an execution, those set aside with the rule that they break),
    `counts` how many there are, `answers()` which questions it can answer and why not the others. `collapse` takes it.

    >>> import polars as pl
    >>> import divergence as dv
    >>> rows = {"regime": ["evaluation", "deployment"], "model": "m", "item": "i", "score": [1, 7], "context": "c"}
    >>> log = dv.read(pl.DataFrame(rows), accept_rejected=0.5)
    >>> log.counts.valid, log.rejected["rule"].to_list()
    (1, ['score_in_range'])
    """

    frame: pl.LazyFrame
    """All rows, typed and checked, the rejected ones included; use `scan`."""
    rules: tuple[Rule, ...]
    """The rules that were asked, in their order."""
    configuration: Configuration
    """What was declared."""
    factors: tuple[str, ...]
    """The serving factors in use; `("context",)` where only the label is known; empty where there is one context."""
    outcome: str
    """Name of the outcome."""
    kind: str
    """`binary`, `proportion`, `fraction`, `ordinal` or `positive`."""
    kind_reason: str
    """A sentence: how the kind is known."""
    counts: Counts
    """Rows read, valid, rejected by rule."""
    sources: tuple[Source, ...]
    """The files that hold the log: name, bytes, SHA-256 (computed when asked for)."""
    skipped: tuple[tuple[str, str], ...] = ()
    """Files that were left aside, with the reason."""
    unused: tuple[tuple[str, str], ...] = ()
    """Columns that could not be typed as a whole and are not used, with the reason."""
    notes: tuple[str, ...] = ()
    """Other things that a reader should know about how the log was read."""
    cautions: tuple[str, ...] = ()
    """What was seen in reading that the audit tells first: values set aside, copies, values without a place."""
    outcomes: pl.LazyFrame | None = None
    """The table of further outcomes, if the log has one."""
    telemetry: pl.LazyFrame | None = None
    """The table of windowed telemetry, if the log has one."""
    embeddings: pl.LazyFrame | None = None
    """Embeddings of answers and prompts by text, if files beside the log hold them."""
    ignored: tuple[str, ...] = ()
    """Columns of the files that are neither canonical nor declared."""
    rejected_elsewhere: pl.DataFrame | None = None
    """Rows set aside from the second and the third table."""
    all_named: bool = False
    """Does every row bring its own execution id?"""
    present: frozenset[str] = frozenset()
    """Usable canonical columns that hold a value in some row."""
    tally: Tallied | None = None
    """The distinct rows, where the log is large and they are few."""
    sample: Callable[[tuple[str, ...], int], pl.LazyFrame] | None = None
    """The valid rows of one in so many clusters; a cluster is the first of these columns that is given."""
    by_file: Callable[[tuple[str, ...], int], list[pl.LazyFrame]] | None = None
    """The same file by file."""
    ray: str | None = None
    """Address of the cluster that counts and sums the files, each by itself; None = this machine, all together."""
    beside: tuple[Source, ...] = ()
    """The files of further tables: outcomes, telemetry, embeddings."""

    def unchanged(self) -> AbstractContextManager[None]:
        """A block in which the files are read: InputError where one is no longer the file that `read` saw, before it or
        after it. Files at remote addresses are not looked at."""
        return unchanged((*self.sources, *self.beside))

    def distinct(self) -> pl.LazyFrame:
        """The valid rows for counting: combinations of labels with their `TIMES` where the log is tallied, else `scan`."""
        return self.scan() if self.tally is None else self.tally.frame.lazy()

    def scan(self) -> pl.LazyFrame:
        """The valid rows, lazily: canonical columns of canonical types, the factors, `outcome`, `file` and `row`.

        `outcome` is the chosen outcome where it can be used and null elsewhere; `context` is never null. Raises InputError
        where a file has changed since it was read; collect it in a block `with log.unchanged()` to know at the end, too.
        """
        check((*self.sources, *self.beside))
        names = self.frame.collect_schema().names()
        columns = [name for name in names if not name.startswith("__")]
        frame = self.frame.filter(pl.col(BROKEN).is_null())
        if not self.all_named:
            made = {number: (s.sha256 or s.file)[:16] for number, s in enumerate(self.sources)}
            file = pl.col(FILE_NUMBER).replace_strict(made, return_dtype=pl.String)
            identity = pl.concat_str(file, pl.col("row").cast(pl.String), separator=":")
            frame = frame.with_columns(pl.coalesce("execution_id", identity).alias("execution_id"))
        return frame.select(columns)

    @functools.cached_property
    @one_pass
    def valid(self) -> pl.DataFrame:
        """The valid rows in memory."""
        return self.scan().collect(engine="streaming")

    @functools.cached_property
    @one_pass
    def rejected(self) -> pl.DataFrame:
        """The rows set aside: file, row (from 1), rule, sentence, value."""
        rows = rejected_rows(self.frame, self.rules)
        return rows if self.rejected_elsewhere is None else pl.concat([rows, self.rejected_elsewhere])

    @one_pass
    def embedded(self) -> pl.DataFrame:
        """The valid rows with `embedding` (of the answer) and `prompt_embedding`, from the log's own columns or from
        the files of embeddings beside it. Raises InputError where neither has any, or where embedders are mixed."""
        if self.embeddings is not None:
            return joined(self.valid, self.embeddings.collect())
        if "embedding" not in self.valid.columns:
            raise InputError(NO_EMBEDDINGS)
        return self.valid.with_columns(comparable(self.valid))

    @one_pass
    def embedded_texts(self) -> tuple[pl.DataFrame, np.ndarray]:
        """The same with every distinct vector held once: the valid rows with `text`, a row of the vectors, (texts, d).

        Raises InputError as `embedded` does.
        """
        if self.embeddings is not None:
            return by_text(self.valid, self.embeddings.collect())
        if "embedding" not in self.scan().collect_schema().names():
            raise InputError(NO_EMBEDDINGS)
        given = self.embedded()["embedding"]
        known = given.is_not_null().to_numpy()
        vectors, number = distinct(stacked(given.drop_nulls()))
        text = np.zeros(len(known), np.uint32)
        text[known] = number
        rows = self.valid.with_columns(pl.when(pl.Series(known)).then(pl.Series(text)).alias("text"))
        return rows.drop("embedding", "prompt_embedding", strict=False), vectors

    # What lies above this room is asked when somebody asks for it, and not before.

    @functools.cached_property
    def cells(self) -> Cells:
        """Sufficient statistics of the log's outcome, collapsed once."""
        from divergence.cells.collapse import collapse

        return collapse(self)

    @functools.cached_property
    def design(self) -> LogDesign:
        """What the log can tell of models, contexts, items, scorers and costs, counted once."""
        from divergence.cells.collapse import collapse_design
        from divergence.identification.log_design import log_design

        declared = self.configuration
        cells = self.cells if "cells" in vars(self) else collapse_design(self)
        given = dataclasses.asdict(declared.acceptance) if declared.acceptance else {}
        bounds = tuple(name for name, value in given.items() if value is not None)
        return log_design(cells, priced=declared.prices is not None, required=bounds)

    @property
    def better(self) -> str:
        """`higher` or `lower`: which values of the outcome are the better ones."""
        return direction(self.outcome, self.kind, self.configuration)

    def __repr__(self) -> str:
        lines = [
            f"Executions: {self.counts.valid} valid rows of {self.counts.rows} in {counted(len(self.sources), 'file')}, "
            + ", ".join(f"{number} {regime}" for regime, number in self.counts.regimes.items()),
            self.kind_reason,
            f"factors: {', '.join(self.factors) or 'none, one context'}",
        ]
        lines += [f"rejected by {rule}: {number}" for rule, number in self.counts.rejected.items()]
        lines += [f"not used: {column}, {reason}" for column, reason in self.unused]
        return "\n".join((*lines, *self.notes))

    def _repr_html_(self) -> str:
        from divergence.executions.log_view import audited, card_of
        from divergence.identification.audit import audit

        if not audited(self):
            return card_of(self, [], [])
        answers = [[a.question, "yes" if a.identified else "no", a.reason] for a in self.answers()]
        return card_of(self, answers, [f"{found.level}: {found}" for found in audit(self.design)])

    def answers(self) -> tuple[Answer, ...]:
        """Which questions this log can answer by its design, and why not the others; `load_curve` where a load is logged.

        A report also fits what serving took and the thresholds of grades: what only these answer is answered, and said so.
        """
        from divergence.cells.further_outcomes import further_outcomes
        from divergence.estimands import QUESTIONS
        from divergence.executions.load import offered
        from divergence.identification.further_designs import further_designs
        from divergence.identification.question import answerable, answerable_beside

        further = further_outcomes(self, self.design.cells, design=True)
        found = answerable_beside(QUESTIONS, answerable(QUESTIONS, self.design), further_designs(self.design, further))
        return (*found, self.answer_under_load()) if offered(self) else found

    @one_pass
    def answer_under_load(self) -> Answer:
        """Can this log say how quality changes with the load of the server? Its rows and telemetry tell, not its design."""
        from divergence.estimands import UNDER_LOAD, load_curve_needs
        from divergence.executions.load import loads
        from divergence.identification.question import Answer, Need

        try:
            found = loads(self)
            need = load_curve_needs(found.table, found.load, found.source)
        except NotIdentifiedError as error:
            need = Need(False, str(error))
        return Answer(UNDER_LOAD, need.met, need.sentence)
