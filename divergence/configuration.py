"""What a user declares about a log: the outcome, the factors, the deployment law, how the file's columns are named.

All of it is optional. It is read from `divergence.toml` beside the log (or from the file that is named), and the same
things can be said by flags: `--map score=pass_rate_2 --set regime=evaluation --where source_file=quant`. An unknown key
is an error that names the nearest known one; a value of the wrong kind is an error that shows it.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Iterable, Mapping
from pathlib import Path

from divergence.calling import nearest as nearest
from divergence.calling import sentence_fields
from divergence.errors import InputError
from divergence.numerics import is_finite
from divergence.plain_files import toml
from divergence.wide import WIDE as WIDE
from divergence.wide import Wide as Wide

FILE_NAME = "divergence.toml"
KINDS = ("binary", "proportion", "fraction", "ordinal", "positive")
"""Kinds of outcome: 0 or 1, a rate with its number of trials, a bounded fraction, grades, a positive quantity."""
GRADES_MAX = 20  # each grade is a question of its own; a finer scale is a fraction
ZERO_COSTS = ("missing", "free")  # what a logged cost of 0 in every row of a combination can mean
BETTER = ("higher", "lower")
POPULATIONS = ("new", "observed")
NAMED = 8  # keys that an error names; docs/configuration.md has them all
LAWS = ("logged", "own", "uniform")
"""Named context laws: shares of the log common to all models, each model's own shares, equal shares."""
SUM_TOLERANCE = 1e-6  # declared shares are typed by hand, with at most six decimals


@dataclasses.dataclass(frozen=True)
class ContextLaw:
    """How much each serving context counts."""

    name: str = "logged"
    """`logged`, `own`, `uniform` or `declared`."""
    shares: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """Declared shares by level, probabilities that sum to 1; empty unless `declared`."""
    factor: str = "context"
    """The column whose levels the shares name."""


@dataclasses.dataclass(frozen=True)
class Prices:
    """Declared prices, for logs that do not meter cost."""

    currency: str = "USD"
    """Currency of the prices."""
    date: str | None = None
    """ISO date at which they held."""
    per_million_tokens: Mapping[str, Mapping[str, float]] = dataclasses.field(default_factory=dict)
    """Price of a million tokens by model and kind of token (`input`, `output`, `cached`, `reasoning`)."""


@dataclasses.dataclass(frozen=True)
class Acceptance:
    """The region that coherence is the probability of; None = that side is not bounded."""

    quality_min: float | None = None
    """Smallest deployed level, outcome scale."""
    bench_gap_max: float | None = None
    """Largest distance from the bench's claim, outcome scale."""
    latency_p95_max_s: float | None = None
    """Largest 95 % quantile of latency, seconds."""
    cost_per_success_max_usd: float | None = None
    """Largest cost per success, US dollars."""
    excess_flips_max: float | None = None
    """Largest excess flip rate, probability."""


@dataclasses.dataclass(frozen=True)
class RegimeRule:
    """Which rows are evaluation, by the level of another column; the other rows are deployment."""

    column: str
    """Column of the file."""
    evaluation: tuple[str, ...]
    """Its levels that are evaluation."""


@dataclasses.dataclass(frozen=True)
class ValueMeaning:
    """What the values of a text or of another scale mean, on the scale of the outcome."""

    levels: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """Number by level as it is written in the file; other values stay as they are."""
    scale: tuple[float, float] | None = None
    """The value that means 0 and the one that means 1, in the file's unit; what lies between is linear."""


@sentence_fields
@dataclasses.dataclass(frozen=True)
class Configuration:
    """Everything that can be declared about a log: the outcome, names of columns, laws, prices, requirements.

    `read(..., configuration=...)` takes it. `Configuration.load(path)` reads a `divergence.toml`,
    `Configuration.from_table({...})` takes the same keys and plain values from Python. Raises InputError for an unknown key
    (with the nearest known one) and for a value of the wrong kind.

    >>> import divergence as dv
    >>> dv.Configuration.from_table({"deployment_law": "uniform", "columns": {"score": "pass_rate"}}).deployment_law.name
    'uniform'
    """

    outcome: str = "score"
    """Name of the outcome."""
    kind: str | None = None
    """Kind of the outcome, one of `KINDS`; None = inferred from the values."""
    grades: tuple[str, ...] = ()
    """Names of the grades of an ordinal outcome, the worst first; empty for every other kind."""
    better: str | None = None
    """Is the outcome the better the `higher` or the `lower`? None = known from its name, or asked for."""
    factors: tuple[str, ...] | None = None
    """Serving factors; None = every serving factor that varies."""
    features: tuple[str, ...] = ()
    """Numbers of the log that may tell the risk of requests whose item is not known; tried on items that were held out."""
    deployment_law: ContextLaw = ContextLaw()
    """The law of deployment contexts."""
    stability_eps: float = 0.05
    """Half width of the stability band, outcome scale."""
    quality_required: float | None = None
    """Level that must be reached (the lambda of dependability), outcome scale."""
    items: str = "new"
    """About which items levels speak: `new` ones of the same source, or the `observed` ones of the log themselves."""
    zero_cost: str = "missing"
    """What a logged cost of 0 means where every row of a model in a context has it: `missing` (not metered), or `free`."""
    prices: Prices | None = None
    """Declared prices."""
    what_if: Mapping[str, ContextLaw] = dataclasses.field(default_factory=dict)
    """Other context laws, by name, to answer the decision under."""
    incumbent: tuple[str, ...] = ()
    """The models that run now, which a candidate has to beat; empty = the best one in deployment."""
    acceptance: Acceptance | None = None
    """The acceptance region; None = no coherence number."""
    values: Mapping[str, ValueMeaning] = dataclasses.field(default_factory=dict)
    """Outcome -> what its values mean."""
    models: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Name of a model as a log writes it -> the name that its servings share."""
    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Canonical name -> name in the file."""
    constants: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Canonical name -> the value that every row of a file without that column has."""
    regime: RegimeRule | None = None
    """Which rows are evaluation."""
    where: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    """Column of the file -> the levels whose rows are kept."""
    wide: Wide | None = None
    """The table is wide, models by benchmarks; None = one row an execution."""
    path: str | None = None
    """The file that it was read from."""

    @classmethod
    def load(cls, path: str | Path | None = None) -> Configuration:
        """Read a TOML file; without a path, the defaults. Raises InputError with a sentence."""
        if path is None:
            return cls()
        table = toml(path, "The configuration")
        return cls.from_table(table, str(path))

    @classmethod
    def beside(cls, paths: Iterable[str | Path]) -> Configuration:
        """The `divergence.toml` that lies beside these files or in these folders, or the defaults if there is none."""
        found = []
        for path in map(Path, paths):
            candidate = (path if path.is_dir() else path.parent) / FILE_NAME
            if candidate.is_file() and candidate not in found:
                found.append(candidate)
        if len(found) > 1:
            raise InputError(
                f"Several configurations lie beside the log ({', '.join(map(str, found))}): name one with --config."
            )
        return cls.load(found[0] if found else None)

    @classmethod
    def from_table(cls, table: Mapping, path: str | None = None) -> Configuration:
        """Check a parsed TOML table. Raises InputError naming the key, the value seen and the choices."""
        where = path or "the configuration"
        _known(table, [f.name for f in dataclasses.fields(cls) if f.name != "path"], where, "")
        fields: dict = {"path": path}
        for key, value in table.items():
            try:
                fields[key] = _PARSERS[key](key, value)
            except InputError as error:
                raise InputError(f"In {where}: {error}") from None
        return cls(**fields)

    def about(self, outcome: str | None) -> Configuration:
        """The same configuration for another outcome (None = the same one): which of its values are better is not known."""
        if outcome in (None, self.outcome):
            return self
        return dataclasses.replace(self, outcome=outcome, better=None)

    def with_flags(self, *, map: Iterable[str] = (), set: Iterable[str] = (), where: Iterable[str] = ()) -> Configuration:
        """The same configuration with what the flags `--map`, `--set` and `--where` say on top (`NAME=VALUE`)."""
        keep: dict[str, tuple[str, ...]] = {}
        for name, value in _pairs("--where", where):
            keep[name] = (*keep.get(name, ()), value)
        return dataclasses.replace(
            self,
            columns={**self.columns, **dict(_pairs("--map", map))},
            constants={**self.constants, **dict(_pairs("--set", set))},
            where={**self.where, **keep},
        )


def _pairs(flag: str, texts: Iterable[str]) -> list[tuple[str, str]]:
    pairs = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip() or not value:
            raise InputError(f"{flag} takes NAME=VALUE, seen {text!r}.")
        pairs.append((name.strip(), value))
    return pairs


def _known(table: Mapping, names: list[str], where: str, section: str) -> None:
    for key in table:
        if key not in names:
            close = difflib.get_close_matches(key, names, n=1)
            hint = f"the nearest known key is {close[0]}" if close else "no known key is near"
            inside = f"[{section}] of {where}" if section else where
            shown = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
            raise InputError(f"Unknown key {key} in {inside}: {hint}; known are {shown}.")


def _text(key: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise InputError(f"{key} is a text, seen {value!r}.")
    return value


def _level(key: str, value: object) -> str:
    return str(value).lower() if isinstance(value, (bool, int, float)) else _text(key, value)


def _levels(key: str, value: object) -> tuple[str, ...]:
    levels = value if isinstance(value, list) else [value]
    if not levels:
        raise InputError(f"{key} is a level or a list of levels, seen an empty list.")
    return tuple(_level(key, level) for level in levels)


def _number(key: str, value: object, lower: float = -math.inf, upper: float = math.inf) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not is_finite(value):
        raise InputError(f"{key} is a number, seen {value!r}.")
    if not lower <= value <= upper:
        raise InputError(f"{key} lies between {lower:g} and {upper:g}, seen {value!r}.")
    return float(value)


def _table(key: str, value: object) -> dict:
    if not isinstance(value, dict):
        raise InputError(f"{key} is a table, seen {value!r}.")
    return value


def _choice(key: str, value: object, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise InputError(f"{key} is one of {', '.join(choices)}, seen {value!r}{nearest(str(value), choices)}.")
    return str(value)


def _factors(key: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise InputError(f"{key} is a list of column names, seen {value!r}.")
    return tuple(dict.fromkeys(_text(key, name) for name in value))


def _law(key: str, value: object) -> ContextLaw:
    if isinstance(value, str):
        return ContextLaw(_choice(key, value, LAWS))
    shares, factor = _table(key, value), "context"
    if len(shares) == 1 and isinstance(next(iter(shares.values())), dict):
        factor, shares = next(iter(shares.items()))
    shares = {level: _number(f"{key}.{level}", share, 0, 1) for level, share in shares.items()}
    total = math.fsum(shares.values())
    if abs(total - 1) > SUM_TOLERANCE:
        raise InputError(f"the shares of {key} must sum to 1, they sum to {total:g}.")
    return ContextLaw("declared", shares, factor)


def _what_if(key: str, value: object) -> dict[str, ContextLaw]:
    return {name: _law(f"{key}.{name}", law) for name, law in _table(key, value).items()}


def _prices(key: str, value: object) -> Prices:
    table, kinds = _table(key, value), ["input", "output", "cached", "reasoning"]
    models = {name: prices for name, prices in table.items() if name not in ("currency", "date")}
    _known({n: p for n, p in models.items() if not isinstance(p, Mapping)}, ["currency", "date"], "the configuration", key)
    for model, prices in models.items():
        _known(_table(f"{key}.{model}", prices), kinds, "the configuration", f"{key}.{model}")
    return Prices(
        currency=_text(f"{key}.currency", table.get("currency", "USD")),
        date=str(table["date"]) if "date" in table else None,
        per_million_tokens={
            model: {kind: _number(f"{key}.{model}.{kind}", price, 0) for kind, price in prices.items()}
            for model, prices in models.items()
        },
    )


def _acceptance(key: str, value: object) -> Acceptance:
    names = [f.name for f in dataclasses.fields(Acceptance)]
    _known(_table(key, value), names, "the configuration", key)
    lower = dict.fromkeys(names, 0.0) | {"quality_min": -math.inf}
    upper = dict.fromkeys(names, math.inf) | {"excess_flips_max": 1.0}
    return Acceptance(**{n: _number(f"{key}.{n}", v, lower[n], upper[n]) for n, v in _table(key, value).items()})


def _regime(key: str, value: object) -> RegimeRule:
    table = _table(key, value)
    _known(table, ["column", "evaluation"], "the configuration", key)
    if len(table) < 2:
        raise InputError(f"[{key}] needs both column and evaluation, seen {', '.join(table) or 'neither'}.")
    return RegimeRule(_text(f"{key}.column", table["column"]), _levels(f"{key}.evaluation", table["evaluation"]))


def _wide(key: str, value: object) -> Wide:
    table = _table(key, value)
    _known(table, [f.name for f in dataclasses.fields(Wide)], "the configuration", key)
    trials = {}
    for name, number in _table(f"{key}.trials", table.get("trials", {})).items():
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise InputError(f"{key}.trials.{name} is a whole number from 1 on, seen {number!r}.")
        trials[name] = number
    return Wide(
        model=_text(f"{key}.model", table["model"]) if "model" in table else None,
        columns=_levels(f"{key}.columns", table["columns"]) if "columns" in table else None,
        becomes=_choice(f"{key}.becomes", table.get("becomes", "item"), WIDE),
        trials=trials,
    )


def _grades(key: str, value: object) -> tuple[str, ...]:
    """`5` is the grades 0 to 4."""
    names = list(range(value)) if isinstance(value, int) and not isinstance(value, bool) and value <= GRADES_MAX else value
    if not isinstance(names, list | tuple) or not 2 <= len(names) <= GRADES_MAX:
        raise InputError(
            f"{key} is how many grades there are, or a list of them from the worst to the best, 2 to "
            f"{GRADES_MAX}, seen {value!r}."
        )
    names = tuple(_level(key, int(name) if isinstance(name, float) and name.is_integer() else name) for name in names)
    if len(set(names)) < len(names):
        raise InputError(f"{key} names each grade once, seen {value!r}.")
    return names


def _values(key: str, value: object) -> dict[str, ValueMeaning]:
    return {name: _meaning(f"{key}.{name}", meaning) for name, meaning in _table(key, value).items()}


def _meaning(key: str, value: object) -> ValueMeaning:
    """`{ up = 1, down = 0 }` or `{ scale = [1, 5] }`."""
    table = _table(key, value)
    if "scale" not in table:
        if not table:
            raise InputError(f"{key} is empty: say what its values mean, for example {{ up = 1, down = 0 }}.")
        for level in (level for level, number in table.items() if isinstance(number, list | Mapping)):
            near = nearest(level, ("scale",))
            raise InputError(f"{key} has no key {level}{near}: say scale = [LOW, HIGH], or a number for each level.")
        return ValueMeaning({level: _number(f"{key}.{level}", number) for level, number in table.items()})
    ends = table["scale"]
    if len(table) > 1 or not isinstance(ends, list) or len(ends) != 2:
        raise InputError(f"{key}.scale is two ends and stands alone, as in {{ scale = [1, 5] }}, seen {value!r}.")
    low, high = (_number(f"{key}.scale", end) for end in ends)
    if low == high:
        raise InputError(f"{key}.scale needs two ends that differ, seen {ends!r}.")
    return ValueMeaning(scale=(low, high))


_PARSERS = {
    "outcome": _text,
    "grades": _grades,
    "kind": lambda key, value: _choice(key, value, KINDS),
    "better": lambda key, value: _choice(key, value, BETTER),
    "factors": _factors,
    "features": _factors,
    "deployment_law": _law,
    "stability_eps": lambda key, value: _number(key, value, 0),
    "quality_required": _number,
    "items": lambda key, value: _choice(key, value, POPULATIONS),
    "zero_cost": lambda key, value: _choice(key, value, ZERO_COSTS),
    "prices": _prices,
    "what_if": _what_if,
    "incumbent": lambda key, value: _levels(key, value),
    "acceptance": _acceptance,
    "values": _values,
    "models": lambda key, value: {n: _text(f"{key}.{n}", v) for n, v in _table(key, value).items()},
    "columns": lambda key, value: {n: _text(f"{key}.{n}", v) for n, v in _table(key, value).items()},
    "constants": lambda key, value: {n: _level(f"{key}.{n}", v) for n, v in _table(key, value).items()},
    "regime": _regime,
    "wide": _wide,
    "where": lambda key, value: {n: _levels(f"{key}.{n}", v) for n, v in _table(key, value).items()},
}
