"""Lines of OTLP/JSON as tables, read by PyArrow under a schema: resources, scopes, spans, and the texts of attributes.

What does not fit the schema, or could mean two things, raises `NotPlainError`: such lines are read one by one.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import polars as pl

PLACE = "__of"  # number of the row that an attribute belongs to
AT = "__at"  # number of an attribute among all
DECIMALS = frozenset({"duration", "gen_ai.latency.time_in_model_decode"})
"""Attributes that are kept as numbers: others of their values are read one by one."""
LISTED = frozenset({"gen_ai.response.finish_reasons"})
"""Attributes that may hold a list of texts."""
SIMPLE = ("stringValue", "intValue", "doubleValue", "boolValue")


class NotPlainError(Exception):
    """The lines have to be read one by one."""


def need(plain: bool) -> None:
    """Raise `NotPlainError` where something is not plain."""
    if not plain:
        raise NotPlainError


@functools.cache
def _schema() -> Any:
    import pyarrow as pa

    text = pa.string()
    simple = [("stringValue", text), ("intValue", text), ("doubleValue", pa.float64()), ("boolValue", pa.bool_())]
    listed = pa.struct([("values", pa.list_(pa.struct(simple)))])  # other kinds leave a value without any
    attributes = pa.list_(pa.struct([("key", text), ("value", pa.struct([*simple, ("arrayValue", listed)]))]))
    named = pa.list_(pa.struct([("key", text), ("value", pa.struct([("stringValue", text)]))]))
    event = pa.struct([("name", text), ("timeUnixNano", text), ("attributes", named)])
    texts = [(name, text) for name in ("traceId", "spanId", "parentSpanId", "name", "startTimeUnixNano", "endTimeUnixNano")]
    status = pa.struct([("code", pa.int64())])
    span = pa.struct([*texts, ("attributes", attributes), ("events", pa.list_(event)), ("status", status)])
    scope = pa.struct([("scope", pa.struct([("name", text)])), ("spans", pa.list_(span))])
    other = pa.list_(pa.struct([("schemaUrl", text)]))  # to be seen, not to be read
    scopes = [("scopeSpans", pa.list_(scope)), ("instrumentationLibrarySpans", other)]
    resource = pa.struct([("resource", pa.struct([("attributes", attributes)])), *scopes])
    return pa.schema([("resourceSpans", pa.list_(resource)), ("resourceLogs", other), ("resourceMetrics", other)])


def parsed(lines: Sequence[bytes]) -> pl.DataFrame:
    """One row a line."""
    import pyarrow as pa
    from pyarrow import json as arrow

    ends = (b"}\n", b"}\r\n", b"}")
    need(all(line[:1] == b"{" and line.endswith(ends) for line in lines))  # no document goes over two lines
    data = b"".join(lines)
    need(b'Value":null' not in data and b'Value": null' not in data)
    options = arrow.ReadOptions(use_threads=False, block_size=len(data) + 1)
    try:
        if not data.isascii():
            data.decode()
        table = arrow.read_json(
            pa.BufferReader(data), options, arrow.ParseOptions(_schema(), unexpected_field_behavior="ignore")
        )
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise NotPlainError from error
    need(table.num_rows == len(lines))
    return pl.DataFrame(table)


def members(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    """The rows of a frame, once for each member of the list in a column, which is the member then."""
    found = frame.filter(pl.col(name).list.len() > 0).explode(name)
    need(not found[name].null_count())
    return found.unnest(name)


def attributes(frame: pl.DataFrame) -> pl.DataFrame:
    """One row an attribute (`PLACE`, key, value) of a frame with the columns `PLACE` and `attributes`."""
    found = members(frame, "attributes")
    need(not found["key"].null_count())
    return found


def texts(found: pl.DataFrame, height: int, exact: frozenset[str] = frozenset()) -> dict[str, pl.Series]:
    """The values of `attributes` by key, as columns of that height; of several of one key the last.

    Numbers are written as Python writes them. Keys in `exact` have no decimal numbers.
    """
    values = found.with_row_index(AT).unnest("value")
    given = values.select(pl.sum_horizontal(pl.col(name).is_not_null() for name in (*SIMPLE, "arrayValue"))).to_series()
    need(bool((given == 1).all()))
    decimal = values.filter(pl.col("doubleValue").is_not_null()).select(PLACE, "key", "doubleValue", AT)
    need(bool(decimal["doubleValue"].is_finite().all()) and exact.isdisjoint(decimal["key"].unique()))
    listed = values.filter(pl.col("arrayValue").is_not_null()).select(PLACE, "key", "arrayValue", AT)
    switch = pl.when(pl.col("boolValue")).then(pl.lit("true")).when(~pl.col("boolValue")).then(pl.lit("false"))
    plain = values.select(PLACE, "key", pl.coalesce("stringValue", "intValue", switch).alias("text"), AT).drop_nulls("text")
    numbers = decimal.filter(pl.col("key").is_in(list(DECIMALS)))
    need(not plain["key"].is_in(list(DECIMALS)).any())
    if decimal.height > numbers.height:
        decimal = decimal.filter(~pl.col("key").is_in(list(DECIMALS)))
        written = pl.Series("text", [repr(value) for value in decimal["doubleValue"].to_list()], pl.String)
        plain = pl.concat([plain, decimal.select(PLACE, "key", written, AT)]).sort(AT)
    columns = _by_key(plain, height) | _by_key(numbers, height)
    if listed.height:
        need(set(listed["key"].unique()) <= LISTED - columns.keys())
        columns |= _by_key(listed.with_columns(_lists(listed["arrayValue"].struct.field("values"))), height)
    return columns


def _by_key(values: pl.DataFrame, height: int) -> dict[str, pl.Series]:
    columns = {}
    for (key,), part in values.partition_by("key", as_dict=True).items():
        if (part[PLACE].diff() == 0).any():
            part = part.unique(PLACE, keep="last", maintain_order=True)
        columns[key] = spread(part[PLACE], part.to_series(2), height)
    return columns


def spread(places: pl.Series, values: pl.Series, height: int) -> pl.Series:
    """A column of that height with values in some places, which are sorted."""
    if len(places) == height:
        return values
    rows = pl.select(pl.repeat(None, height, dtype=pl.UInt32)).to_series()
    return values.gather(rows.scatter(places, pl.int_range(len(places), dtype=pl.UInt32, eager=True)))


def _lists(lists: pl.Series) -> pl.Series:
    """Lists of values that are texts, as lists of texts."""
    need(not lists.null_count())
    members = lists.filter(lists.list.len() > 0).explode()
    texts = members.struct.unnest() if len(members) else pl.DataFrame()
    need(all(texts[kind].null_count() == (0 if kind == "stringValue" else texts.height) for kind in texts.columns))
    return lists.list.eval(pl.element().struct.field("stringValue")).alias("arrayValue")
