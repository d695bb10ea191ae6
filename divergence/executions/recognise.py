"""Which table each file holds, and whether every name in the configuration exists. Nothing but column names is used."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from divergence.configuration import Configuration, nearest
from divergence.errors import InputError
from divergence.executions.columns import renamed
from divergence.executions.embedded_texts import NEEDED
from divergence.executions.files import Source
from divergence.executions.schema import COLUMNS, Column
from divergence.executions.shaped import nested_names, shaped

SIGNS = ("score", "item", "regime", "answer", "latency_s", "context")
"""A table with `model` and one of these is an execution log."""
RESERVED = ("file", "row", "outcome")
"""Names that `scan` gives to columns of its own."""
SHOWN = 20  # column names that a sentence lists at most

Tables = dict[str, list[Source]]


def recognise(sources: list[Source], configuration: Configuration) -> tuple[Tables, list[tuple[str, str]]]:
    """The files by table, told apart by their columns, and those that are none of these, with the reason."""
    tables: Tables = {"executions": [], "outcomes": [], "telemetry": [], "embeddings": []}
    left: list[tuple[str, str]] = []
    signs = {*SIGNS, configuration.outcome}
    for source in (shaped(source, configuration) for source in sources):
        names = {*renamed(source, configuration), *configuration.constants}
        if {"question", "identified", "noise_floor"} <= names:
            left.append((source.file, "results of an earlier report, no execution log"))
        elif {"window_start", "metric", "value"} <= names:
            tables["telemetry"].append(source)
        elif {"execution_id", "metric"} <= names and names & {"value", "label"} and "model" not in names:
            tables["outcomes"].append(source)
        elif names >= NEEDED:
            tables["embeddings"].append(source)
        elif "model" in names and names & signs:
            tables["executions"].append(source)
        else:
            missing = "model" if "model" not in names else "score or item"
            left.append((source.file, f"no execution log: it has no column {missing}, only {listed(source.columns)}"))
    return tables, left


def of_no_regime(sources: list[Source], configuration: Configuration) -> tuple[list[Source], list[tuple[str, str]]]:
    """The sources but tables that lie beside logs of other tools and do not say their regime: those are named, too."""
    if configuration.regime or "regime" in configuration.constants:
        return sources, []
    strays = [one for one in sources if one.beside and not one.regime and "regime" not in renamed(one, configuration)]
    reason = "beside logs of other tools, and without a column regime: name it with --evaluation or --deployment to read it"
    return [one for one in sources if one not in strays], [(one.file, reason) for one in strays]


def listed(names: Iterable[str]) -> str:
    """The first names of a list, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def extra_columns(configuration: Configuration) -> dict[str, Column]:
    """Columns beyond the schema that are used because the configuration names them as factors or as the outcome."""
    extra: dict[str, Column] = {}
    for name in configuration.factors or ():
        if name in RESERVED or name.startswith("__") or (name in COLUMNS and COLUMNS[name].dtype != pl.String):
            raise InputError(f"{name} cannot be a factor: it is no label of the serving stack. Name another column.")
        if name not in COLUMNS:
            extra[name] = Column(name, pl.String(), "a declared factor")
    outcome = configuration.outcome
    if outcome in RESERVED or outcome in extra:
        raise InputError(f"{outcome} cannot be the outcome: the name is taken. Map its column to another name.")
    if outcome in COLUMNS and COLUMNS[outcome].dtype not in (pl.Float64, pl.Int64):
        raise InputError(f"{outcome} cannot be the outcome: it is no number. Name score, latency_s or another one.")
    if outcome not in COLUMNS:
        extra[outcome] = Column(outcome, pl.Float64(), "the declared outcome")
    return extra


def check_names(tables: Tables, configuration: Configuration, extra: dict[str, Column]) -> None:
    """Every name must exist: canonical ones in the schema, those of the file in at least one file of the log."""
    log, known = tables["executions"], [*COLUMNS, *extra]
    raw = list(dict.fromkeys(name for source in log for name in source.columns))
    judged = [name for source in tables["outcomes"] for name in source.columns]
    for section, names in (("[columns]", configuration.columns), ("[constants]", configuration.constants)):
        for name in names:
            if name not in known:
                raise InputError(
                    f"{section} names {name}, which is neither a column of the schema nor a declared factor"
                    f"{nearest(name, known)}: name a column of the schema, or declare it in factors."
                )
    _check_values(tables, configuration, list(dict.fromkeys([*known, *raw])))
    asked = {name: f"mapped to {canonical}" for canonical, name in configuration.columns.items()}
    if configuration.regime:
        asked[configuration.regime.column] = "that [regime] names"
    made = {*configuration.columns, *configuration.constants}
    asked |= {name: "that is declared a factor" for name in configuration.factors or () if name not in made}
    asked |= {name: "to filter by" for name in configuration.where if name not in {*made, *judged}}
    for name, why in asked.items():
        if name not in raw:
            inner = [inner for source in log for inner in nested_names(source)] if "." in name else []
            raw = list(dict.fromkeys([*raw, *inner]))
            raise InputError(
                f"No file of the log has a column {name} {why}{nearest(name, raw)}: it has {listed(raw)}."
                f"{_declared_in(configuration)}"
            )
    for name, value in configuration.constants.items():
        if log and all(name in renamed(source, configuration) for source in log):
            raise InputError(
                f"The constant {name} = {value} would overwrite the column {name} that every file of the log has: "
                "leave it out, or map that column to another name."
            )
        if value in raw and {**COLUMNS, **extra}[name].dtype.is_numeric():
            raise InputError(
                f"The constant {name} = {value} is the text {value}, not the column of the log that has this name: to read "
                f"that column, write --map {name}={value} (under [columns] in divergence.toml)."
            )


def _check_values(tables: Tables, configuration: Configuration, known: list[str]) -> None:
    """What [values] speaks of must be a column or a metric: values of a name that nobody has would mean nothing."""
    unknown = [name for name in configuration.values if name not in {*known, configuration.outcome}]
    if unknown and tables["outcomes"]:
        metrics = {
            metric
            for source in tables["outcomes"]
            if "metric" in source.columns
            for metric in source.frame.select(pl.col("metric").cast(pl.String).unique()).collect()["metric"]
        }
        known = [*known, *sorted(metrics - {None})]
    for name in unknown:
        if name not in known:
            raise InputError(
                f"[values] says what {name} means, which is neither a column nor a metric of this log{nearest(name, known)}."
                f"{_declared_in(configuration)}"
            )


def _declared_in(configuration: Configuration) -> str:
    """Which file declares the names: one that lies beside the log is used unasked, and may be another log's."""
    if configuration.path is None:
        return ""
    return f" What is declared comes from {configuration.path}, and from flags; --config FILE takes another file."


def check_regime(log: list[Source], configuration: Configuration) -> None:
    """Every file must say which world its rows come from, and no file may be given as both."""
    for source in log:
        names = {*renamed(source, configuration), *configuration.constants}
        by_level = configuration.regime is not None and configuration.regime.column in source.columns
        if "regime" not in names and source.regime is None and not by_level:
            raise InputError(
                f"The log {source.file} has no column regime{nearest('regime', source.columns)}: say which world its "
                "rows come from with --set regime=evaluation (or deployment), with --evaluation FILE and --deployment "
                "FILE, or with [regime] in divergence.toml."
            )
    given: dict[str, str | None] = {}
    for source in log:
        if given.setdefault(source.file, source.regime) != source.regime:
            raise InputError(f"The file {source.file} is given twice, as {given[source.file]} and {source.regime}.")


def unknown_columns(log: list[Source], configuration: Configuration, used: Iterable[str]) -> tuple[str, ...]:
    """Columns of the files that nothing uses, in the order in which they appear."""
    taken = {*used, *configuration.columns.values(), *configuration.where}
    if configuration.regime:
        taken.add(configuration.regime.column)
    return tuple(dict.fromkeys(name for source in log for name in source.columns if name not in taken))
