"""Which rows of a partition are scored? From raw batches to the requests that keep every rule of the log.

The rules, types and context labels are those of `executions`: a row that breaks a rule is set aside with the rule's
name and counted, a bad value in an optional column is read as missing and counted. Evaluation rows are no requests:
they are counted and not scored; a file without a regime is a log of requests. What differs from reading a whole log:
a partition is judged alone, so an execution id that another row has is not looked for.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable

import numpy as np
import polars as pl
import pyarrow as pa

from divergence.configuration import Configuration, nearest
from divergence.errors import InputError
from divergence.executions.columns import typed
from divergence.executions.contexts import NOT_LOGGED, ONE_CONTEXT
from divergence.executions.names import BROKEN, FAILED
from divergence.executions.outcome import usable
from divergence.executions.recognise import listed
from divergence.executions.rules import COPIES, NEEDED, row_rules, with_broken
from divergence.executions.schema import COLUMNS, Column
from divergence.scoring.dictionaries import MISSING, Combinations, Dictionary, labelled

LABELS = ("model", "item", "task", "context")
"""Labels that every request has."""
ENDLESS = ("item", "task", "prompt_hash")
"""Those that may never repeat."""
APART = ("regime_agrees", "execution_id_unique", COPIES)
"""Rules about the reading of a whole log, not about a row of a partition."""


@dataclasses.dataclass(frozen=True)
class WantedColumns:
    """What a risk model needs of a log."""

    outcome: str
    """Name of the outcome."""
    kind: str
    """`binary`, `fraction` or `positive`."""
    factors: tuple[str, ...]
    """Serving factors, in the order in which context labels name them."""
    columns: tuple[str, ...] = ()
    """Further canonical columns that its score reads."""
    beside: tuple[str, ...] = ()
    """Further serving factors, which no context label names: read where they are logged, missed nowhere."""

    @classmethod
    def of(cls, model) -> WantedColumns:
        """What this model needs."""
        beside = tuple(getattr(model, "beside", ()))
        return cls(model.outcome, model.kind, tuple(model.factors), tuple(model.columns), beside)


@dataclasses.dataclass(frozen=True)
class Requests:
    """The rows of a batch that are scored."""

    batch: pa.RecordBatch
    """execution_id, the labels as dictionaries, and what the model wants beyond: everything that a score may see."""
    outcome: np.ndarray
    """What happened, NaN where it is not judged: what a score may not see."""
    trials: np.ndarray
    """Trials behind each outcome, 1 where not given."""


class Admission:
    """Judges the batches of one partition, in their order, and counts."""

    def __init__(self, names: Iterable[str], configuration: Configuration, wanted: WantedColumns, identity: str) -> None:
        """`names` are the file's columns; `identity` begins the ids of executions that bring none."""
        self.configuration, self.wanted, self.identity = configuration, wanted, identity
        names = list(names)
        self.raw = {**{n: n for n in names}, **{n: r for n, r in configuration.columns.items() if r in names}}
        self.given = {*self.raw, *configuration.constants}
        if "model" not in self.given:
            raise InputError(f"it has no column model{nearest('model', names)}, only {listed(names)}")
        for name in configuration.where:
            if name not in self.raw:
                raise InputError(f"it has no column {name} to filter by{nearest(name, names)}, only {listed(names)}")
        rule = configuration.regime
        if rule and rule.column in self.raw:  # which rows are evaluation is said by the levels of another column
            self.raw["regime"] = self.raw[rule.column]
            self.given.add("regime")
        labels = dict.fromkeys(("regime", *LABELS, *wanted.factors, *wanted.beside))
        self.dictionaries = {n: Dictionary(_column(n), n in ENDLESS) for n in labels if n in self.given}
        self.filters = {n: Dictionary(_column(n), n in ENDLESS) for n in configuration.where}
        self.numbers = [
            n
            for n in dict.fromkeys((wanted.outcome, "score_n", "probability", *wanted.columns))
            if n in self.given and n not in self.dictionaries and n != "execution_id"
        ]
        self.contexts = Combinations(self._label)
        self.rules = tuple(
            r
            for r in row_rules(wanted.outcome)
            if r.name not in APART and r.column in {*self.given, "regime", "item", "record"}
        )
        self.read = self.rows = self.evaluation = 0  # rows seen, those that the filter keeps, those of the bench
        self.rejected: Counter[str] = Counter()
        self.unreadable: Counter[str] = Counter()
        """Values of optional columns that could not be typed, read as missing."""
        self.example = ""
        """The first row set aside, as a sentence."""

    @property
    def columns(self) -> list[str]:
        """The raw columns to read."""
        wanted = [*self.dictionaries, *self.filters, *self.numbers, "execution_id"]
        return list(dict.fromkeys(self.raw[n] for n in wanted if n in self.raw))

    @property
    def labels(self) -> list[str]:
        """Those of them that hold labels, which Parquet stores as dictionaries."""
        return list(dict.fromkeys(self.raw[n] for n in (*self.dictionaries, *self.filters) if n in self.raw))

    @property
    def absent(self) -> list[str]:
        """What the model uses and the file lacks (a context that is given makes its factors dispensable)."""
        wanted = [f for f in self.wanted.factors if f not in self.given and "context" not in self.given]
        return [*wanted, *(c for c in self.wanted.columns if c not in self.given)]

    def requests(self, batch: pa.RecordBatch) -> Requests:
        """The rows of the next batch that are scored."""
        rows = np.arange(self.read + 1, self.read + 1 + batch.num_rows)
        self.read += batch.num_rows
        keep = self._kept(batch)
        if keep is not None:
            batch, rows = batch.filter(pa.array(keep)), rows[keep]
        failed: dict[str, pl.Series] = {}
        codes = {n: self._codes(batch, n, failed) for n in self.dictionaries}
        frame = self._judged(batch, codes, failed)
        broken = frame[BROKEN]
        admitted = (broken.is_null() & (frame["regime"] == "deployment")).to_numpy()
        self.rows += len(rows)
        self.evaluation += int((broken.is_null() & (frame["regime"] == "evaluation")).sum())
        self._count(broken, rows, failed, frame)
        whole = bool(admitted.all())
        columns = {"execution_id": self._identities(batch, rows)}
        for name in LABELS[:-1]:
            columns[name] = self._labels(codes, name, len(rows))
        columns["context"] = self._context(codes, len(rows))
        for name in self.wanted.factors:
            columns.setdefault(name, self._labels(codes, name, len(rows)))
        columns |= {name: self._labels(codes, name, len(rows)) for name in self.wanted.beside if name in codes}
        for name in self.wanted.columns:
            if name not in columns:
                columns[name] = (
                    frame[name].to_arrow()
                    if name in frame.columns
                    else pa.nulls(len(rows), pl.Series([], dtype=_column(name).dtype).to_arrow().type)
                )
        requests = pa.record_batch(columns)
        outcome = frame["outcome"].to_numpy() if self.wanted.outcome in self.given else np.full(len(rows), np.nan)
        trials = frame["score_n"].fill_null(1).to_numpy() if "score_n" in frame.columns else np.ones(len(rows))
        if whole:
            return Requests(requests, outcome, trials)
        return Requests(requests.filter(pa.array(admitted)), outcome[admitted], trials[admitted])

    def _kept(self, batch: pa.RecordBatch) -> np.ndarray | None:
        """The rows that `[where]` keeps, compared as texts, numbers also by value; None where nothing is filtered."""
        keep = None
        for name, levels in self.configuration.where.items():
            codes = self.filters[name].encode(batch.column(self.raw[name]))
            numbers = {number for number in map(_number, levels) if number is not None}
            known = self.filters[name].names.to_pylist()
            allowed = np.array([n in levels or _number(n) in numbers for n in known] + [False])
            one = allowed[codes]
            keep = one if keep is None else keep & one
        return keep

    def _codes(self, batch: pa.RecordBatch, name: str, failed: dict[str, pl.Series]) -> np.ndarray:
        dictionary = self.dictionaries[name]
        if name not in self.raw:
            return np.repeat(dictionary.encode(pa.array([self.configuration.constants[name]])), batch.num_rows)
        values = batch.column(self.raw[name])
        if pa.types.is_nested(values.type) or pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type):
            series = pl.DataFrame({"raw": pl.from_arrow(values)})
            failed[name] = series.select(typed(_column(name), "raw", series.schema["raw"])[1]).to_series()
            return np.full(batch.num_rows, MISSING, np.int32)
        return dictionary.encode(values)

    def _judged(self, batch: pa.RecordBatch, codes: dict[str, np.ndarray], failed: dict[str, pl.Series]) -> pl.DataFrame:
        """Numbers in canonical types, the usable outcome, the regime, and the first rule that each row breaks."""
        raw = {
            n: pl.from_arrow(batch.column(self.raw[n]))
            if n in self.raw
            else pl.repeat(self.configuration.constants[n], batch.num_rows, eager=True)
            for n in self.numbers
        }
        frame = pl.DataFrame(raw) if raw else pl.DataFrame(height=batch.num_rows)
        columns = [e for n in self.numbers for e in typed(_column(n), n, frame.schema[n])]
        # Rules ask of model and item only whether they are there, so their codes stand for their texts.
        labels = {
            name: pl.Series(codes[name]) if name in codes else pl.repeat(MISSING, batch.num_rows, eager=True)
            for name in ("model", "item")
        }
        judged = {FAILED + n: failed.get(n, pl.lit(None, pl.String)) for n in ("model", "item", "execution_id")}
        record = FAILED + "record"
        judged[record] = pl.Series(batch.column(record)) if record in batch.schema.names else pl.lit(None, pl.String)
        lazy = frame.lazy().select(columns) if columns else frame.lazy()
        lazy = lazy.with_columns(regime=self._regime(codes, batch.num_rows), **labels).with_columns(
            *(pl.when(pl.col(name) >= 0).then(pl.col(name)).alias(name) for name in labels), **judged
        )
        lazy = with_broken(lazy, self.rules)
        if self.wanted.outcome in self.numbers:
            lazy = lazy.with_columns(usable(self.wanted.outcome, self.wanted.kind).alias("outcome"))
        return lazy.collect()

    def _regime(self, codes: dict[str, np.ndarray], rows: int) -> pl.Series | pl.Expr:
        if "regime" not in codes:
            return pl.repeat("deployment", rows, eager=True)
        names, rule = self.dictionaries["regime"].names, self.configuration.regime
        if rule and rule.column in self.raw:
            regimes = ["evaluation" if n in rule.evaluation else "deployment" for n in names.to_pylist()]
            return pl.Series(np.array([*regimes, None], dtype=object)[codes["regime"]], dtype=pl.String)
        return pl.Series(labelled(codes["regime"], names))

    def _count(self, broken: pl.Series, rows: np.ndarray, failed: dict[str, pl.Series], frame: pl.DataFrame) -> None:
        if broken.null_count() < len(broken):
            first = int(broken.is_not_null().to_numpy().argmax())
            self.example = self.example or f"row {rows[first]}: {self.rules[broken[first]].sentence}"
            for place, number in broken.drop_nulls().value_counts().iter_rows():
                self.rejected[self.rules[place].name] += number
        failures = {**failed, **{n: frame[FAILED + n] for n in self.numbers}}
        for name, texts in failures.items():
            if name not in NEEDED and (number := len(texts) - texts.null_count()):
                self.unreadable[name] += number

    def _identities(self, batch: pa.RecordBatch, rows: np.ndarray) -> pa.Array:
        if "execution_id" in self.raw:
            given = batch.column(self.raw["execution_id"])
            if surely_given(given):
                return given
            frame = pl.DataFrame({"raw": pl.from_arrow(given)})
            label = frame.select(typed(COLUMNS["execution_id"], "raw", frame.schema["raw"])[0]).to_series()
            label = label if len(label) == len(rows) else label.new_from_index(0, len(rows))  # a type that no id can have
        else:
            label = pl.repeat(None, len(rows), dtype=pl.String, eager=True)
        made = (
            pl.DataFrame({"id": label, "row": rows})
            .select(pl.coalesce("id", pl.concat_str(pl.lit(f"{self.identity}:"), pl.col("row").cast(pl.String))))
            .to_series()
        )
        return made.to_arrow().cast(pa.string())

    def _labels(self, codes: dict[str, np.ndarray], name: str, rows: int) -> pa.DictionaryArray:
        if name not in codes:
            return labelled(np.full(rows, MISSING, np.int32), pa.array([], pa.string()))
        return labelled(codes[name], self.dictionaries[name].names)

    def _context(self, codes: dict[str, np.ndarray], rows: int) -> pa.DictionaryArray:
        """The label of each row's serving context, as `executions.contexts` writes it."""
        none = np.full(rows, MISSING, np.int32), pa.array([], pa.string())
        parts = [
            (codes[n], self.dictionaries[n].names) if n in codes else none
            for n in ("context", *(f for f in self.wanted.factors if f != "context"))
        ]
        if rows and parts[0][0].min() >= 0:
            parts = parts[:1]
        return labelled(self.contexts.encode(parts), self.contexts.names)

    def _label(self, levels: list[str | None]) -> str:
        given, factors = levels[0], [f for f in self.wanted.factors if f != "context"]
        if given is not None:
            return given
        if not factors:
            return NOT_LOGGED if self.wanted.factors else ONE_CONTEXT
        named = zip(factors, levels[1:], strict=True)
        return "|".join(f"{factor}={NOT_LOGGED if level is None else level}" for factor, level in named)


def surely_given(ids: pa.Array) -> bool:
    """Are these texts that all begin with a visible ASCII character? Then none is blank, and none need be looked at."""
    if not pa.types.is_string(ids.type) or ids.null_count or not len(ids):
        return False
    starts = np.frombuffer(ids.buffers()[1], np.int32)[ids.offset : ids.offset + len(ids) + 1]
    if starts[0] == starts[-1]:
        return False
    first = np.frombuffer(ids.buffers()[2], np.uint8).take(starts[:-1], mode="clip")
    return bool((np.diff(starts) > 0).all() and ((first > 32) & (first < 127)).all())


def _column(name: str) -> Column:
    return COLUMNS.get(name) or Column(name, pl.String(), "a declared factor")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
