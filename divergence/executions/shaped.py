"""Files that are an execution log in another shape: names inside records, and a wide table of models by benchmarks.

`score = "data.correct"` names a value inside a column of records (a struct, or the JSON text that a record of NDJSON keeps).
`[wide]` says that the columns of a table are benchmarks and each cell is one row:

    Model, MMLU, GSM8K          [wide]                      model, item,  score
    a,     71.2, 40.1           model = "Model"             a,     MMLU,  71.2
                                                            a,     GSM8K, 40.1
Empty cells, and cells such as `-` or `n/a`, were not measured: their score is null.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable

import polars as pl

from divergence.configuration import Configuration, Wide, nearest
from divergence.errors import InputError
from divergence.executions.files import Source
from divergence.executions.names import ROW

DEPTH = 3  # levels of records that are looked into
NO_VALUE = ("", "-", "--", "–", "—", "n/a", "na", "nan", "none", "null")
"""How tables write that nothing was measured, in small letters."""


def shaped(source: Source, configuration: Configuration) -> Source:
    """The file with the nested names that the configuration uses as columns, and unfolded where it is wide."""
    source = _with_nested(source, asked_names(configuration))
    return _unfolded(source, configuration, configuration.wide) if configuration.wide else source


def asked_names(configuration: Configuration) -> list[str]:
    """Every name of a file's column that the configuration uses."""
    names = [*configuration.columns.values(), *configuration.where, *(configuration.factors or ())]
    names += [configuration.regime.column] if configuration.regime else []
    return list(dict.fromkeys([*names, configuration.outcome]))


def reshapes(names: Iterable[str], configuration: Configuration) -> bool:
    """Can a table with these columns only be read in another shape: unfolded, or looked into?"""
    names = {*names}
    return configuration.wide is not None or any("." in n and n not in names for n in asked_names(configuration))


def _with_nested(source: Source, names: Iterable[str]) -> Source:
    """The file with a column for each of these names that leads into records: `data.correct`."""
    inside = {name: found for name in names if (found := nested(source, name)) is not None}
    if not inside:
        return source
    frame = source.frame.with_columns(value.alias(name) for name, value in inside.items())
    return dataclasses.replace(source, frame=frame, reshaped=True)


def nested(source: Source, name: str) -> pl.Expr | None:
    """What a dotted name leads to in a file; None where it is a column itself, or its first part is none."""
    if name in source.schema or "." not in name:
        return None
    parts = name.split(".")
    for cut in range(len(parts) - 1, 0, -1):  # a column may have a dot in its own name
        column, path = ".".join(parts[:cut]), parts[cut:]
        dtype = source.schema.get(column)
        if dtype == pl.String:
            found = pl.col(column).str.json_path_match("$" + "".join(f"['{part}']" for part in path))
            held = source.frame.select(found.is_not_null().any()).collect(engine="streaming").item()
            return found if held else None
        value = pl.col(column)
        while path and isinstance(dtype, pl.Struct) and path[0] in [field.name for field in dtype.fields]:
            value, dtype = value.struct.field(path[0]), dict(dtype)[path[0]]
            path = path[1:]
        if dtype is not None and not path:
            return value
    return None


def inner_names(name: str, value: object, depth: int = DEPTH) -> list[str]:
    """Dotted names of the plain values inside a record (or its JSON text); empty where the value is none.

    >>> inner_names("data", {"correct": True, "n": {"x": 1}})
    ['data.correct', 'data.n.x']
    """
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            value = json.loads(value)
        except ValueError:
            return []
    if not isinstance(value, dict) or not depth:
        return []
    found = []
    for key, inner in value.items():
        found += inner_names(f"{name}.{key}", inner, depth - 1) or [f"{name}.{key}"]
    return found


def nested_names(source: Source) -> list[str]:
    """Every dotted name inside the records of a file, as its first row has them."""
    first = source.frame.drop(ROW, strict=False).head(1).collect()
    return (
        [name for column in first.columns for name in inner_names(column, first[column].to_list()[0])] if len(first) else []
    )


def _unfolded(source: Source, configuration: Configuration, wide: Wide) -> Source:
    """One row a cell. A file that has the outcome already, or is another table, is left as it is."""
    outcome = configuration.outcome
    if outcome in source.columns or configuration.columns.get(outcome) in source.columns:
        return source
    model = wide.model or configuration.columns.get("model", "model")
    if model not in source.columns:
        if wide.model is None:
            return source
        raise InputError(
            f"[wide] says that models stand in the column {model}{nearest(model, source.columns)}; {source.file} has "
            f"{', '.join(source.columns[:20])}."
        )
    taken = {model, *asked_names(configuration), *configuration.columns}
    cells = list(wide.columns) if wide.columns else [c for c in source.columns if c not in taken and _numeric(source, c)]
    for name in cells:
        if name not in source.columns:
            raise InputError(
                f"[wide] names the column {name}{nearest(name, source.columns)}; {source.file} has "
                f"{', '.join(source.columns[:20])}."
            )
    if not cells:
        raise InputError(f"[wide] finds no column of numbers in {source.file}: name them with columns = [...].")
    kept = [c for c in source.columns if c not in cells and c != "execution_id"]
    frame = source.frame.select(ROW, *kept, *(_cell(source, name) for name in cells))
    frame = frame.unpivot(on=cells, index=[ROW, *kept], variable_name=wide.becomes, value_name=outcome)
    identity = pl.concat_str(pl.lit(source.file), pl.col(ROW).cast(pl.String), pl.col(wide.becomes), separator=":")
    frame = frame.with_columns(identity.alias("execution_id"))
    if wide.becomes == "task" and "item" not in kept:
        frame = frame.with_columns(pl.col("task").alias("item"))
    if model != "model":
        frame = frame.rename({model: "model"}) if "model" not in kept else frame.with_columns(pl.col(model).alias("model"))
    if wide.trials:
        counts = {name: float(number) for name, number in wide.trials.items()}
        known = pl.col(wide.becomes).replace_strict(counts, default=None, return_dtype=pl.Float64)
        frame = frame.with_columns(known.alias("score_n"))
    return dataclasses.replace(source, frame=frame, reshaped=True)


def weighed(wide: Wide | None) -> list[str]:
    """A note on benchmarks that count by their trials."""
    if wide is None or len(wide.trials) < 2:
        return []
    total = sum(wide.trials.values())
    told = ", ".join(f"{name} {count / total:.0%}" for name, count in sorted(wide.trials.items(), key=lambda e: -e[1])[:3])
    more = f" and {len(wide.trials) - 3} more" if len(wide.trials) > 3 else ""
    return [
        f"A level weighs the benchmarks by their trials: {told}{more}. Without trials in [wide] each counts alike; with "
        'becomes = "task" each has a level of its own, too.'
    ]


def _cell(source: Source, name: str) -> pl.Expr:
    """A cell as a number, or as the text that is none, for the rules to reject."""
    column = pl.col(name)
    if source.schema[name] != pl.String:
        return column.cast(pl.String)
    text = column.str.strip_chars().str.strip_suffix("%").str.strip_chars()
    return pl.when(~text.str.to_lowercase().is_in(NO_VALUE)).then(text).alias(name)


def _numeric(source: Source, name: str) -> bool:
    """Is every cell of the column a number or no value?"""
    if source.schema[name].is_numeric():
        return True
    if source.schema[name] != pl.String:
        return False
    cells = source.frame.select(_cell(source, name).alias("cell")).filter(pl.col("cell").is_not_null())
    found = cells.select(pl.len().alias("n"), pl.col("cell").cast(pl.Float64, strict=False).is_not_null().sum().alias("ok"))
    n, numbers = found.collect().row(0)
    return n > 0 and n == numbers
