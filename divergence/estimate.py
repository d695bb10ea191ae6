"""What an answer is: draws with named coordinates, a unit, and the reasons where there is no answer.

Every question of `divergence` returns one `Estimate`. One row is one number of the results table; `draws` holds its
posterior (or bootstrap) draws until a figure or a table reduces them. A number that the log does not identify is never
0 and never a prior in disguise: its draws are NaN, `identified` is False and `reason` says what is missing.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from divergence.calling import nearest, sentences
from divergence.errors import ArgumentError
from divergence.shown import card, fold, html_table, listing, text_table

if TYPE_CHECKING:
    import altair as alt

INTERVAL = 0.9  # equal-tailed, everywhere unless asked otherwise

COORDINATES = [
    "statistic",
    "regime",
    "model",
    "model_b",
    "context",
    "context_b",
    "factor",
    "level",
    "task",
    "item",
    "axis",
]
NUMBERS = ["mean", "median", "sd", "lower", "upper"]
COUNTS = ["n_rows", "n_items", "n_sessions", "n_contexts"]
NOT_GIVEN = np.zeros(0)  # stands for a value a row that nobody gave
SCHEMA: dict[str, type[pl.DataType]] = {
    "question": pl.String,
    **dict.fromkeys(COORDINATES, pl.String),
    "outcome": pl.String,
    **dict.fromkeys(NUMBERS, pl.Float64),
    "interval": pl.Float64,
    "unit": pl.String,
    "identified": pl.Boolean,
    "reason": pl.String,
    "noise_floor": pl.Float64,
    **dict.fromkeys(COUNTS, pl.Int64),
    "method": pl.String,
}


@dataclasses.dataclass(frozen=True)
class Estimate:
    """The answer to one question about one outcome: R numbers with D draws each.

    Questions make it; `to_frame()` is its table, `where(model="a")` some of its rows, `plot()` its figure, `draws` (D, R)
    the numbers themselves, `interval(0.8)` (R, 2) their limits, `contrast(0, 1)` (D,) a difference of two. A number that
    the log does not identify is NaN in `draws`, null in the table, and has a sentence in `reason`. Raises ValueError where
    the shapes of rows, draws and reasons differ.

    >>> import numpy as np, polars as pl
    >>> rows = pl.DataFrame({"model": ["a", "b"]})
    >>> levels = Estimate("level", "a level of each model", "probability", rows, np.full((100, 2), [0.5, 0.7]))
    >>> levels.where(model="b").to_frame()["median"].to_list()
    [0.7]
    """

    question: str
    """Name of the question, as in the results table (`gap`, `kappa`, ...)."""
    text: str
    """The question in plain words."""
    unit: str
    """`probability` (0..1), `fraction` (a difference of probabilities or scores, which people see as points), `s`, `usd`,
    `nats`, `ratio`; in geometry also `rad`, `squared distance`, `dimensions`. Rows may have units of their own."""
    rows: pl.DataFrame
    """R rows of coordinates (any of `COORDINATES`, and optionally `unit`), nulls where one does not apply."""
    draws: np.ndarray
    """Draws, shape (D, R); NaN in the columns of numbers that are not identified."""
    outcome: str = "score"
    """Name of the outcome."""
    reason: tuple[str | None, ...] = ()
    """R sentences: why the number is not identified, or None where it is. Empty = all identified."""
    noise_floor: np.ndarray = dataclasses.field(default_factory=lambda: NOT_GIVEN)
    """R values in the unit: what would be seen if nothing differed; NaN where no floor is known. Empty = none is known."""
    counts: dict[str, int] = dataclasses.field(default_factory=dict)
    """What it rests on: `n_rows`, `n_items`, `n_sessions`, `n_contexts`."""
    better: str = "higher"
    """Which values of the outcome are the better ones: the `higher` or the `lower`."""
    words: str = ""
    """The question's name in plain words, as a heading says it; empty = its name."""
    method: str = ""
    """How the draws were made, in a few words; names a failed diagnostic."""
    bounds: np.ndarray = dataclasses.field(default_factory=lambda: NOT_GIVEN)
    """R booleans: rows that are bounds of an unidentified number, whose values are shown all the same. Empty = none is."""
    quantiles_only: np.ndarray = dataclasses.field(default_factory=lambda: NOT_GIVEN)
    """R booleans: rows whose mean need not exist (ratios; infinite draws), so that only median and interval are given.
    Empty = none is."""

    def __post_init__(self) -> None:
        """Fill the defaults that depend on the number of rows and check the shapes."""
        draws = np.asarray(self.draws, dtype=float)
        if draws.ndim != 2 or draws.shape[1] != self.rows.height:
            raise ValueError(f"draws have shape {draws.shape}, rows say (D, {self.rows.height})")
        object.__setattr__(self, "draws", draws)
        if not self.reason:
            object.__setattr__(self, "reason", (None,) * self.rows.height)
        if len(self.reason) != self.rows.height:
            raise ValueError(f"{len(self.reason)} reasons for {self.rows.height} rows")
        if not len(self.noise_floor):
            object.__setattr__(self, "noise_floor", np.full(self.rows.height, np.nan))
        for name in ("bounds", "quantiles_only"):
            if not len(getattr(self, name)):
                object.__setattr__(self, name, np.zeros(self.rows.height, bool))

    @classmethod
    def refused(cls, question: str, text: str, unit: str, reason: str, **fields) -> Estimate:
        """An answer that the log does not allow: one row, no number, the reason."""
        rows = fields.pop("rows", pl.DataFrame({"model": [None]}, schema={"model": pl.String}))
        draws = np.full((1, rows.height), np.nan)
        return cls(question, text, unit, rows, draws, reason=(reason,) * rows.height, **fields)

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of the coordinates that tell the numbers apart."""
        return tuple(c for c in COORDINATES if c in self.rows.columns and self.rows[c].null_count() < self.rows.height)

    @property
    def identified(self) -> bool:
        """Is any of the numbers identified by the log?"""
        return any(r is None for r in self.reason)

    @property
    def reasons(self) -> tuple[str, ...]:
        """The distinct reasons of the numbers that are not identified."""
        return tuple(dict.fromkeys(r for r in self.reason if r is not None))

    def where(self, *unnamed: str | None, **coordinates: str | None) -> Estimate:
        """The rows with these coordinates (None = the rows where that coordinate is null), as an Estimate.

        Raises ArgumentError for a name that is no coordinate; a value that no row has gives an empty Estimate.
        """
        if unnamed:
            raise ArgumentError(
                f"where takes names with their values, such as model='a', seen {unnamed[0]!r} without a name."
            )
        keep = np.ones(self.rows.height, bool)
        for name in coordinates:
            if name not in COORDINATES:
                raise ArgumentError(
                    f"{name!r} is no coordinate of an answer{nearest(name, COORDINATES)}; "
                    f"this one has {', '.join(self.dims) or 'none'}, others may have {', '.join(COORDINATES)}."
                )
        for name, value in coordinates.items():
            if name not in self.rows.columns:
                keep &= value is None
                continue
            column = self.rows[name]
            keep &= (column.is_null() if value is None else (column == value).fill_null(False)).to_numpy()
        return self.take(keep)

    def known(self) -> Estimate:
        """The rows with a number: identified, with a finite median. Pages and plans read their headline rows from these."""
        there = np.array([reason is None for reason in self.reason], bool)
        finite = np.asarray(np.isfinite(self.draws).all(0))
        doubtful = there & ~finite  # ratios with some infinite draws may still have a median
        if doubtful.any():
            finite[doubtful] = np.isfinite(self.take(doubtful)._quantiles([0.5])[0])
        there &= finite
        return self if there.all() else self.take(there)

    def interval(self, probability: float = INTERVAL) -> np.ndarray:
        """Equal-tailed interval of every number, shape (R, 2), in the unit."""
        tail = (1 - probability) / 2
        return self._quantiles([tail, 1 - tail]).T

    def _quantiles(self, at: list[float]) -> np.ndarray:
        """Quantiles of every number, shape (len(at), R); interpolation with an infinite draw gives an infinite one."""
        huge = np.finfo(float).max / 4
        found = np.quantile(np.clip(self.draws, -huge, huge), at, axis=0)
        return np.where(np.abs(found) > huge * 1e-6, np.copysign(np.inf, found), found)

    def contrast(self, first: int, second: int) -> np.ndarray:
        """Draws of number `first` minus number `second` (row indices), shape (D,)."""
        return self.draws[:, first] - self.draws[:, second]

    def to_frame(self, probability: float = INTERVAL) -> pl.DataFrame:
        """The rows of the results table, columns and types as `SCHEMA`."""
        if probability not in self._frames:
            self._frames[probability] = self._framed(probability)
        return self._frames[probability].clone()

    @functools.cached_property
    def _frames(self) -> dict[float, pl.DataFrame]:
        """Frames by the probability of their intervals: a page asks some answers ten times."""
        return {}

    def _framed(self, probability: float) -> pl.DataFrame:
        shown = np.array([r is None for r in self.reason], bool) | self.bounds
        columns: dict[str, object] = {"question": [self.question] * self.rows.height}
        for name in COORDINATES:
            columns[name] = self.rows[name] if name in self.rows.columns else [None] * self.rows.height
        tail = (1 - probability) / 2
        lower, median, upper = self._quantiles([tail, 0.5, 1 - tail])
        with np.errstate(invalid="ignore"):  # the sd of infinite draws
            numbers = dict(
                mean=np.where(self.quantiles_only, np.nan, self.draws.mean(0)),
                median=median,
                sd=np.where(self.quantiles_only, np.nan, self.draws.std(0)),
                lower=lower,
                upper=upper,
            )
        for name, values in numbers.items():
            columns[name] = [float(v) if s and np.isfinite(v) else None for v, s in zip(values, shown, strict=True)]
        height = self.rows.height
        unit = self.rows["unit"] if "unit" in self.rows.columns else [self.unit] * height
        floor = [None if not np.isfinite(v) else float(v) for v in self.noise_floor]
        columns |= {
            "outcome": [self.outcome] * height,
            "interval": [probability] * height,
            "unit": unit,
            "identified": [r is None for r in self.reason],
            "reason": list(self.reason),
            "noise_floor": floor,
            **{name: self._count(name) for name in COUNTS},
            "method": [self.method] * height,
        }
        return pl.DataFrame({name: columns[name] for name in SCHEMA}, schema=SCHEMA, strict=False)

    def _count(self, name: str) -> list[int | None]:
        """A count per row where the rows carry one, else the count of the whole estimate."""
        if name in self.rows.columns:
            return self.rows[name].to_list()
        return [self.counts.get(name)] * self.rows.height

    def take(self, keep: np.ndarray) -> Estimate:
        """The rows where `keep` (R booleans) holds, as an Estimate."""
        index = np.flatnonzero(keep)
        return dataclasses.replace(
            self,
            rows=self.rows[index],
            draws=self.draws[:, index],
            reason=tuple(self.reason[i] for i in index),
            noise_floor=self.noise_floor[index],
            bounds=self.bounds[index],
            quantiles_only=self.quantiles_only[index],
        )

    def _lines(self) -> tuple[list[str], list[list[str]]]:
        """Header and cells of the small table that a notebook shows; rows of several units say theirs."""
        dims = list(self.dims)
        body = []
        frame = self.to_frame()
        several = frame["unit"].n_unique() > 1
        indicator = ((self.draws == 0) | (self.draws == 1)).all(0)  # 0/1 draws: their mean is the probability
        for row, yes_or_no in zip(frame.iter_rows(named=True), indicator, strict=True):
            cells = [str(row[d]) if row[d] is not None else "" for d in dims]
            unit = [row["unit"] or ""] if several else []
            if row["median"] is None:
                body.append([*cells, "", row["reason"] or "", *unit])
            else:
                middle = row["mean" if yes_or_no else "median"]
                limits = [f"{row[limit]:.4g}" if row[limit] is not None else "no limit" for limit in ("lower", "upper")]
                # of 0 and 1 the interval is 0 to 1 whatever the probability: it says nothing
                body.append([*cells, f"{middle:.4g}", "" if yes_or_no and 0 < middle < 1 else " .. ".join(limits), *unit])
        head = ["value"] if several else [self.unit]
        return [*dims, *head, f"{INTERVAL:.0%} interval", *(["unit"] if several else [])], body

    def __repr__(self) -> str:
        return "\n".join([f"{self.question} ({self.outcome}): {self.text}", *text_table(*self._lines())])

    def _repr_html_(self) -> str:
        rests = [f"{number:,} {name[2:]}" for name, number in self.counts.items() if number]
        about = [f"Rests on {', '.join(rests)}." if rests else "", f"Method: {self.method}." if self.method else ""]
        told = [text for text in about if text]
        return card(
            self.question,
            f"({self.outcome}): {self.text}",
            html_table(*self._lines()),
            fold(f"not identified ({len(self.reasons)} reasons)", listing(self.reasons)),
            fold("what it rests on", listing(told)),
        )

    def plot(self) -> alt.LayerChart:
        """Its figure: one row a number, the dot its median, the line its interval; at most 20 rows, those in front.

        Rows of the most frequent unit are drawn; the figure says how many others there are. In a notebook it shows itself.
        Raises NotIdentifiedError where no number is identified.
        """
        from divergence.report.figures.plot import chart

        return chart(self)


@sentences
def table(estimates: list[Estimate], probability: float = INTERVAL) -> pl.DataFrame:
    """All answers as one results table, as in `estimates.parquet`: one row a number.

    `estimates`: a list of answers, for example `list(dv.answer_all(posterior).values())`; `probability` (0..1) is that of
    the equal-tailed interval. Returns a frame with the columns of `divergence.estimate.SCHEMA`, each row in its own `unit`.
    Raises ArgumentError for an argument that does not exist.

    >>> import numpy as np, polars as pl
    >>> import divergence as dv
    >>> one = dv.Estimate("level", "a level", "probability", pl.DataFrame({"model": ["a"]}), np.full((100, 1), 0.5))
    >>> table([one]).select("question", "model", "median").row(0)
    ('level', 'a', 0.5)
    """
    frames = [e.to_frame(probability) for e in estimates]
    return pl.concat(frames) if frames else pl.DataFrame(schema=SCHEMA)
