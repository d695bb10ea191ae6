"""Sufficient statistics of a log as arrays with named levels: the only bridge from Polars to JAX."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from divergence.numerics import combinations
from divergence.outcome_names import sign_of

KEYS = (
    "model",
    "regime",
    "context",
    "wave",
    "scorer",
    "chance",
    "task",
    "item",
    "session",
    "answer",
    "factor",
    "level",
    "block",
    "measure",
    "bin",
    "length",
    "task_length",
    "gold",
    "grade",
)
MISSING = -1  # code of a null: a pooled row without item, a row without session, an answer that was not parsed

DeclaredLaw = tuple[str, tuple[tuple[str, float], ...]]
"""A factor (or `context`) and the declared share of each of its levels."""

TABLES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    # table: (key columns, summed columns)
    "counts": (
        ("model", "regime", "context", "wave", "scorer", "chance", "task", "item"),
        ("n", "y", "yy", "rows", "unjudged", "grouped", "answered"),
    ),
    "sessions": (("model", "regime", "context", "wave", "scorer", "chance", "task", "item", "session"), ("n", "y", "yy")),
    "answers": (("model", "regime", "context", "wave", "task", "item", "session", "answer"), ("n",)),
    "designs": (("regime", "context", "factor", "level"), ("n",)),
    "measures": (("model", "regime", "context", "task", "block", "measure"), ("n", "y", "yy", "lost")),
    "histograms": (("model", "regime", "context", "block", "measure", "bin"), ("n",)),
    "episodes": (("model", "regime", "context", "task", "item", "block", "length"), ("n", "failed", "solved")),
    "lengths": (("model", "regime", "context", "task", "item", "task_length"), ("n", "y")),
    "golds": (("model", "regime", "context", "task", "item", "block", "gold"), ("n", "y")),
    "grades": (("model", "regime", "context", "wave", "scorer", "chance", "task", "item", "grade"), ("n",)),
    "session_grades": (
        ("model", "regime", "context", "wave", "scorer", "chance", "task", "item", "session", "grade"),
        ("n",),
    ),
    "mixed": (("model", "regime", "context", "task", "block", "factor", "level"), ("n", "y", "yy")),
}

ROWS_MAX = 2**18  # rows that `sessions` and `answers` keep: about 30 MB each, and a fit that takes seconds
ROWS_OF = {"sessions": "grouped", "answers": "answered", "session_grades": "grouped"}
"""The sum in `counts` that says how many rows each of these tables is about."""


def thinned_by(rows: float) -> int:
    """The smallest power of two that divides this many rows down to `ROWS_MAX`."""
    every = 1
    while rows > every * ROWS_MAX:
        every *= 2
    return every


@dataclasses.dataclass(frozen=True)
class Table:
    """One table of integer-coded keys and their sums; rows sorted by key, each key once."""

    keys: dict[str, np.ndarray]
    """Codes into `Cells.levels`, each of shape (rows,), int64; -1 = null."""
    sums: dict[str, np.ndarray]
    """Sums over the log's rows with that key, each of shape (rows,), float64."""

    def __len__(self) -> int:
        return len(next(iter(self.sums.values())))

    def __getitem__(self, name: str) -> np.ndarray:
        return self.keys[name] if name in self.keys else self.sums[name]

    def take(self, index: np.ndarray | slice) -> Table:
        """The rows at `index` (integers, booleans or a slice)."""
        return Table({k: v[index] for k, v in self.keys.items()}, {k: v[index] for k, v in self.sums.items()})

    def grouped(self, *keys: str) -> Iterator[tuple[np.ndarray, Table]]:
        """The rows of each combination of these keys, in order, the codes (keys,) before them."""
        found, place = combinations(*(self.keys[key] for key in keys))
        order = np.argsort(place, kind="stable")
        ends = np.searchsorted(place[order], np.arange(found.shape[1] + 1))
        for k, codes in enumerate(found.T):
            yield codes, self.take(order[ends[k] : ends[k + 1]])

    def of_model(self, model: int) -> Table:
        """The rows of one model; they lie together where it is the first key, so that no other row is looked at."""
        return self.take(slice(*np.searchsorted(self.keys["model"], [model, model + 1])))


@dataclasses.dataclass(frozen=True, repr=False)
class Cells:
    """What a fit needs to know about one outcome of a log: sums by model, regime, context and item.

    `collapse` makes it from a log and `merge` adds two; `fit` takes it. `levels` names the codes of every key; each table
    (`counts`, `sessions`, ...) holds integer keys, shape (cells,), and sums of the outcome in its own unit. Its size grows
    with the items, not with the rows.

    >>> import polars as pl
    >>> import divergence as dv
    >>> rows = {"regime": ["evaluation", "deployment"], "model": "m", "item": "i", "score": [1, 0], "context": ["a", "b"]}
    >>> dv.collapse(dv.read(pl.DataFrame(rows)))
    Cells of score (binary): 2 rows in 2 cells: 1 model, 2 contexts, 1 item; factors: context
    """

    outcome: str
    """Name of the outcome."""
    kind: str
    """`binary` (0/1 and counted rates), `fraction` (0..1, continuous), `ordinal` (grades: the place of each over that of the
    best, 0..1) or `positive` (s, usd: log scale)."""
    levels: dict[str, tuple[str, ...]]
    """Level names of every key, sorted."""
    counts: Table
    """Per (model, regime, context, wave, scorer, task, item): n trials, sum y, sum y^2, log rows, unjudged rows, judged
    rows with a session, rows with an item and an answer."""
    sessions: Table
    """The same per session, rows with a session only: n, y, yy. Of every k-th session where there are many, see
    `thinning`."""
    answers: Table
    """Per (model, regime, context, wave, task, item, session, answer): how often that answer was given. Thinned alike."""
    designs: Table
    """Per (regime, context, factor, level): log rows. Says what a context label stands for."""
    measures: Table
    """Per (model, regime, context, task, block, measure): rows with that time, cost or count, its sum, sum of squares, and
    the part of the sum that went into failures. `blocks` reads it; the measure `score` is the primary outcome."""
    histograms: Table
    """Per (model, regime, context, block, measure, bin): rows. `histograms` reads it."""
    episodes: Table
    """Per (model, regime, context, task, item, block, length in calls or turns): episodes, those that failed there, those
    that were solved; the others were censored. See `episodes`."""
    lengths: Table
    """Per (model, regime, context, task, item, declared task length): n trials and sum y."""
    golds: Table
    """Per (model, regime, context, task, item, block, right answer): n trials, sum y."""
    grades: Table
    """Per (model, regime, context, wave, scorer, task, item, grade): judged trials of an ordinal outcome."""
    session_grades: Table
    """The same per session, thinned as `sessions` is."""
    mixed: Table
    """Per (model, regime, context, task, block, factor, level): judged trials, sum y and y^2, of the factors that have
    several levels within one context. `within_contexts` reads it."""
    grade_names: tuple[str, ...] = ()
    """The grades of an ordinal outcome, the worst first."""
    declared_law: DeclaredLaw | str = "logged"
    """The deployment law: `logged`, `own`, `uniform`, or declared shares of a factor's (or of the context's) levels."""
    items: str = "new"
    """About which items levels speak: `new` ones of the same source, or the `observed` ones of the log themselves."""
    better: str = "higher"
    """Which values of the outcome are the better ones: the `higher` or the `lower`."""
    zero_cost: str = "missing"
    """What a cost of 0 in every row of a combination means: `missing` (not metered) or `free`."""
    notes: tuple[str, ...] = ()
    """Sentences about the log that belong beside every result."""

    cautions: tuple[str, ...] = ()
    """Sentences on what only the rows show, told by the audit: values set aside, copies, values without a place."""

    @property
    def sign(self) -> int:
        """1 where more of the outcome is better, -1 where less is: an order of levels times it has the best one last."""
        return sign_of(self.better)

    @property
    def unmetered(self) -> tuple[tuple[int, int, int], ...]:
        """(regime, model, context) codes of the combinations whose cost is 0 in every row and is read as missing."""
        if self.zero_cost == "free" or "cost_usd" not in self.levels["measure"]:
            return ()
        table = self.measures.take(self.measures["measure"] == self.levels["measure"].index("cost_usd"))
        keys, place = combinations(*(table[k] for k in ("regime", "model", "context")))
        spent, size = np.bincount(place, np.abs(table["y"]), keys.shape[1]), np.bincount(place, table["yy"], keys.shape[1])
        return tuple(
            (int(r), int(m), int(c)) for (r, m, c), y, yy in zip(keys.T, spent, size, strict=True) if not y and not yy
        )

    @property
    def design_weights(self) -> np.ndarray:
        """One over the chance with which the rows of `counts` were logged, 1 where none is given, shape (rows,)."""
        return self.weights_of(self.counts)

    def weights_of(self, counts: Table) -> np.ndarray:
        """The same of some of these rows."""
        chance = np.array([float(level) for level in self.levels["chance"]] + [1.0])
        return 1 / chance[counts["chance"]]

    def every(self, table: str) -> int:
        """One in how many clusters `sessions` or `answers` keeps; 1 = all of them."""
        return thinned_by(self.counts[ROWS_OF[table]].sum())

    @property
    def n_sessions(self) -> int:
        """Sessions with judged rows; an estimate where `sessions` is thinned."""
        return len(np.unique(self.sessions["session"])) * self.every("sessions")

    @property
    def factors(self) -> tuple[str, ...]:
        """The serving factors of the log."""
        return self.levels["factor"]

    def __repr__(self) -> str:
        from divergence.cells.cells_view import line

        return line(self)

    def _repr_html_(self) -> str:
        from divergence.cells.cells_view import card_of
        from divergence.identification.audit import audit
        from divergence.identification.log_design import log_design

        return card_of(self, [f"{found.level}: {found}" for found in audit(log_design(self))])
