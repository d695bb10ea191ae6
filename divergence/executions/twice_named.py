"""One name for two things: models that have two settings in one context, in a column that no question reads.

Such rows would be averaged as repeats of one model. A column tells a model's settings where most models have one value of
it, and none has more than it has rows at one place; a time or a rank, which every model has many of, tells nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from divergence.configuration import Configuration
from divergence.executions.files import Source
from divergence.executions.schema import COLUMNS
from divergence.shown import counted

ROWS_MAX = 200_000  # of a log that is searched: published tables are smaller, and a large log is not read once more
ONE_VALUE = 0.5  # least share of the models that have one value of a setting
MODELS_MIN = 5  # below which one cannot tell
MOST = "most rows of a model at one place"
MEASURES = ("score", "cost_usd")  # and all that has a unit: what differs between runs


def two_settings(sources: Sequence[Source], configuration: Configuration) -> tuple[str, ...]:
    """A sentence for each column in which models of one name have two values at one place; none where none have."""
    taken = {configuration.columns.get(name, name): name for name in COLUMNS}
    told = []
    for source in sources:
        names = {name: taken.get(name) for name in source.columns if not source.schema[name].is_nested()}
        model = next((name for name, column in names.items() if column == "model"), None)
        declared = (configuration.outcome, *(configuration.factors or ()))
        unread = [name for name, column in names.items() if column is None and name not in declared]
        others = [name for name in unread if not source.schema[name].is_float()]
        if model is None or not others:
            continue
        keys = [name for name, column in names.items() if column and column not in MEASURES and not COLUMNS[column].unit]
        where = {configuration.columns.get(name, name): levels for name, levels in configuration.where.items()}
        kept = [pl.col(name).cast(pl.String).is_in(levels) for name, levels in where.items() if name in names]
        told += _of_columns(source.frame.filter(*kept), model, keys, others)
    return tuple(told)


def _of_columns(frame: pl.LazyFrame, model: str, keys: list[str], others: list[str]) -> list[str]:
    whole = frame.select(*keys, *others).collect(engine="streaming")
    if whole[model].n_unique() < MODELS_MIN:
        return []
    told, values_of = [], pl.col(others).drop_nulls().n_unique()
    at_once = whole.group_by(keys).len().group_by(model).agg(pl.col("len").max().alias(MOST))
    models = whole.group_by(model).agg(values_of).join(at_once, on=model)
    for name in others:
        one, bounded = int((models[name] == 1).sum()) / models.height, (models[name] <= models[MOST]).all()
        if not bounded or not ONE_VALUE <= one < 1:
            continue
        values = pl.col(name).drop_nulls().unique().sort().cast(pl.String)
        twice = whole.group_by(keys).agg(values).filter(pl.col(name).list.len() > 1).sort(keys)
        if twice.height:
            told.append(_said(name, twice.row(0, named=True), model, twice[model].n_unique()))
    return told


def _said(name: str, first: dict, model: str, number: int) -> str:
    having = f"{counted(number, 'model')} {'has' if number == 1 else 'have'}"
    return (
        f"{having} rows of unlike {name} at one place ({first[model]}: {' and '.join(first[name][:2])}), which count as "
        "repeats of one model. Tell them apart in the name of the model, keep one with `[where]`, as in "
        f'{name} = "{first[name][0]}", or declare `factors = ["{name}"]` if serving sets it.'
    )
