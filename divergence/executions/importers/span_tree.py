"""What a trace says beyond its single spans: which calls are leaves, which belong together, in which order.

A call may be logged at several levels: by a framework and by the client below it, by an agent that sums the usage of its
calls. Only leaves are executions: a call with another call below it is a wrapper, and its tokens are those of its leaves.
The search climbs from every call to its ancestors, all calls at once, and stops at `DEPTH` levels, so that a cycle of
parents or a tree of any depth ends it.

    session   the conversation that the call or an ancestor names; else the trace, where it holds several calls
    turn      position in the session by start, from 0
"""

from __future__ import annotations

import datetime

import numpy as np
import polars as pl

from divergence.executions.importers.mapping import Draft

DEPTH = 64  # levels that are climbed; the deepest genuine trace at hand has 9
TRACE, SPAN, PARENT = "span.trace", "span.id", "span.parent"
AGENT, CONVERSATION = "tree.agent", "tree.conversation"
EARLIEST = datetime.datetime.fromtimestamp(0, datetime.UTC)  # of a call without a time: before all others
NO_KEY = 0  # of a span that names none
TREE = {name: pl.String() for name in (TRACE, SPAN, PARENT, AGENT, CONVERSATION)}
"""The columns of a tree: one row a span, calls and others, with what it names itself."""


def leaves(calls: pl.DataFrame, tree: pl.DataFrame, draft: Draft) -> pl.DataFrame:
    """The calls that wrap no other call, with the agent and the conversation that an ancestor names.

    `tree` has the columns of `TREE` for all spans. Worked out on arrays of keys, some 50 bytes a span, since the tables that
    joins make would be many times as large as the tree.
    """
    own, start = _keys(calls, SPAN), _keys(calls, PARENT)
    known, first, parents = _spans(tree)
    names = {name: tree[name].is_not_null().to_numpy()[first] for name in (AGENT, CONVERSATION)}
    found = {name: np.full(calls.height, -1) for name in names}  # row of the tree that names it
    wraps = np.zeros(len(known), bool)
    circular = np.zeros(calls.height, bool)
    place, cursor = np.flatnonzero(start != NO_KEY), start[start != NO_KEY]
    for _ in range(DEPTH):
        round_again = cursor == own[place]
        circular[place[round_again]] = True
        place, cursor = place[~round_again], cursor[~round_again]
        if not len(place) or not len(known):
            break
        where = np.minimum(np.searchsorted(known, cursor), len(known) - 1)
        there = known[where] == cursor
        place, where = place[there], where[there]
        wraps[where] = True
        for name, named in names.items():
            new = named[where] & (found[name][place] < 0)
            found[name][place[new]] = first[where[new]]
        above = parents[where]
        place, cursor = place[above != NO_KEY], above[above != NO_KEY]
    calls = calls.with_columns(*(_gathered(tree[name], rows) for name, rows in found.items()))
    above_a_call = np.isin(own, known[wraps]) & ~circular
    if circular.any():
        draft.note(f"{circular.sum()} calls are their own ancestors: nothing tells which wraps which; all are counted.")
    if above_a_call.any():
        draft.note(
            f"{above_a_call.sum()} calls wrap other logged calls and repeat their tokens: the inner ones are counted."
        )
        calls = calls.filter(pl.Series(~above_a_call))
    return calls


def _spans(tree: pl.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Keys of the spans in order, the row of the tree in which each stands first, and the key of its parent."""
    keys = _keys(tree, SPAN)
    known, first = np.unique(keys, return_index=True)
    known, first = known[known != NO_KEY], first[known != NO_KEY]
    return known, first, _keys(tree, PARENT)[first]


def _gathered(names: pl.Series, rows: np.ndarray) -> pl.Series:
    """The name in each row, null where the row is -1."""
    places = pl.Series(rows)
    return names.gather(places.set(places < 0, None)).alias(names.name)


def in_sessions(calls: pl.DataFrame) -> pl.DataFrame:
    """The calls with `session` and `turn`, where the log tells which calls belong together."""
    alone = pl.len().over(TRACE) == 1
    trace = pl.when(~alone & pl.col(TRACE).is_not_null()).then(TRACE)
    calls = calls.with_columns(session=pl.coalesce("session", CONVERSATION, trace))
    order = pl.struct("time", "__row").rank("ordinal").over("session") - 1
    several = pl.col("session").is_not_null() & (pl.len().over("session") > 1)
    return calls.with_columns(turn=pl.when(several).then(order.cast(pl.Int64)))


def served_version(calls: pl.DataFrame, draft: Draft) -> pl.DataFrame:
    """`engine_version` where a provider names what it served, carried over to failed calls, which name nothing.

    Without it every failed call would stand in a context of its own, in which everything fails. It takes the version of
    the last call before it to the same model, or of the first one after it.
    """
    stated = pl.when(pl.col("engine_version") != pl.col("model")).then("engine_version")
    calls = calls.with_columns(engine_version=stated)
    named = (pl.col(name).fill_null("").alias(name) for name in ("model", "provider"))
    narrow = calls.select(*named, pl.col("time").fill_null(EARLIEST), "engine_version", "error_type")
    versions = narrow.drop_nulls("engine_version").select("model", "provider", "time", version="engine_version").sort("time")
    asked = narrow.with_row_index("__place").filter(pl.col("error_type").is_not_null() & pl.col("engine_version").is_null())
    if not asked.height or not versions.height:
        return calls
    asked = asked.select("__place", "model", "provider", "time").sort("time")
    for way in ("backward", "forward"):  # the last before it, else the first after it
        one = {"on": "time", "by": ["model", "provider"], "strategy": way, "check_sortedness": False}
        asked = asked.join_asof(versions.rename({"version": way}), **one)
    found = asked.select("__place", version=pl.coalesce("backward", "forward")).drop_nulls()
    if found.height:
        draft.over_calls = True
        filled = calls["engine_version"].scatter(found["__place"], found["version"])
        calls = calls.with_columns(filled.alias("engine_version"))
        draft.note(
            f"{found.height} failed calls name no served version: they have that of the nearest call to the same model."
        )
    return calls


def _keys(frame: pl.DataFrame, span: str) -> np.ndarray:
    """Each span within its trace as one number (64 bits: ten million spans collide with probability 3e-6)."""
    name = pl.concat_str(pl.col(TRACE).fill_null(""), pl.lit(":"), pl.col(span))
    return frame.select(pl.when(pl.col(span).is_not_null()).then(name.hash()).fill_null(NO_KEY)).to_series().to_numpy()
