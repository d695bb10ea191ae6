"""What a trace says beyond its single spans: which calls are leaves, which belong together, in which order.

A call may be logged at several levels: by a framework and by the client below it, by an agent that sums the usage of its
calls. Only leaves are executions: a call with another call below it is a wrapper, and its tokens are those of its leaves.
The search climbs from every call to its ancestors, all calls at once, and stops at `DEPTH` levels, so that a cycle of
parents or a tree of any depth ends it.

All of this is worked out on keys: one narrow row a call and a span, 64 bits for a name, whatever they hold otherwise. What
a trace says is worked out for some traces at a time (`trace_buckets`), and only what conversations and served versions say
over traces for all calls together.

    session   the conversation that the call or an ancestor names; else the trace, where it holds several calls
    turn      position in the session by start, from 0
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from divergence.executions.importers import convert
from divergence.executions.importers.blocks import NOT_TEXTS
from divergence.executions.importers.mapping import Draft

TOGETHER = 500_000  # calls whose turns, or served versions, are worked out together: some 30 MB
DEPTH = 64  # levels that are climbed; the deepest genuine trace at hand has 9
TRACE, SPAN, PARENT = "span.trace", "span.id", "span.parent"
AGENT, CONVERSATION = "tree.agent", "tree.conversation"
EARLIEST = datetime.datetime.fromtimestamp(0, datetime.UTC)  # of a call without a time: before all others
NO_KEY = 0  # of a span that names none
TREE = {name: pl.String() for name in (TRACE, SPAN, PARENT, AGENT, CONVERSATION)}
"""The columns of a tree: one row a span, calls and others, with what it names itself."""
PLACE = "__place"  # of a call among all that were read


def names(column: str, values: Sequence[Any]) -> pl.Series:
    """A column of a tree; what is no text names nothing."""
    try:
        return pl.Series(column, values, pl.String)
    except NOT_TEXTS:
        return pl.Series(column, [convert.printable(name) if type(name) is str else None for name in values], pl.String)


class Keys:
    """Names of one import as short numbers: categories of its own, which go with it."""

    def __init__(self) -> None:
        self.dtype = pl.Categorical(pl.Categories.random())

    def tree(self, tree: pl.DataFrame) -> pl.DataFrame:
        """The spans of a tree with keys for names."""
        named = (pl.col(name).cast(self.dtype) for name in (AGENT, CONVERSATION))
        return tree.select(_key(SPAN), _key(PARENT), _trace(), *named)

    def calls(self, calls: pl.DataFrame) -> pl.DataFrame:
        """What the calls of a frame have to do with other calls: one narrow row each."""
        stated = pl.when(pl.col("engine_version") != pl.col("model")).then("engine_version")
        served = pl.concat_str(pl.col("model", "provider").fill_null(""), separator="\0")
        return calls.select(
            *(_key(SPAN), _key(PARENT)),
            _trace(),
            *("time", pl.col("__row").cast(pl.UInt32, strict=False)),
            pl.when(pl.col("session").is_not_null()).then(pl.col("session").hash()).alias("session"),
            served.cast(self.dtype).alias("served"),
            stated.cast(self.dtype).alias("version"),
            pl.col("error_type").is_not_null().alias("failed"),
        )


def head(keys: Keys) -> tuple[pl.DataFrame, pl.DataFrame]:
    """No call and no span, with the columns of both as keys."""
    calls = {name: pl.String() for name in (TRACE, SPAN, PARENT, "session", "model", "provider", "engine_version")}
    calls |= {"error_type": pl.String(), "__row": pl.Int64(), "time": pl.Datetime("us", "UTC")}
    return keys.calls(pl.DataFrame(schema=calls)), keys.tree(pl.DataFrame(schema=TREE))


def leaves(calls: pl.DataFrame, tree: pl.DataFrame) -> tuple[pl.DataFrame, int, int]:
    """The calls that wrap no other call, with the agent and the conversation that an ancestor names; both are of `Keys`.

    Beside them the number of calls that are their own ancestors, and of those that wrap others.
    """
    own, start = calls[SPAN].to_numpy(), calls[PARENT].to_numpy()
    known, first = np.unique(tree[SPAN].to_numpy(), return_index=True)
    known, first = known[known != NO_KEY], first[known != NO_KEY]
    parents = tree[PARENT].to_numpy()[first]
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
    if above_a_call.any():
        calls = calls.filter(pl.Series(~above_a_call))
    return calls, int(circular.sum()), int(above_a_call.sum())


def say_leaves(circular: int, wrappers: int, draft: Draft) -> None:
    """Say what `leaves` counted."""
    if circular:
        draft.note(f"{circular} calls are their own ancestors: nothing tells which wraps which; all are counted.")
    if wrappers:
        draft.note(f"{wrappers} calls wrap other logged calls and repeat their tokens: the inner ones are counted.")


def _gathered(names: pl.Series, rows: np.ndarray) -> pl.Series:
    """The name in each row, null where the row is -1."""
    places = pl.Series(rows)
    return names.gather(places.set(places < 0, None)).alias(names.name)


def in_traces(calls: pl.DataFrame) -> pl.DataFrame:
    """The calls of whole traces with `several`, is the trace more than this call, and with the trace or the conversation
    that an ancestor names as `session` where they name none. What is told within traces alone is dropped."""
    several = (pl.len().over(TRACE) > 1) & (pl.col(TRACE) != NO_KEY)
    conversation = pl.col(CONVERSATION).cast(pl.String)
    conversation = pl.when(conversation.is_not_null()).then(conversation.hash())
    calls = calls.with_columns(several=several).with_columns(
        session=pl.coalesce("session", conversation, pl.when("several").then(TRACE))
    )
    return calls.drop(TRACE, SPAN, PARENT)


def in_sessions(calls: pl.DataFrame) -> pl.DataFrame:
    """The calls with `turn`, their position by start in the session, where several share it; some sessions at a time."""
    pieces, turns = 1 + calls.height // TOGETHER, np.full(calls.height, -1, np.int32)
    for piece in range(pieces):
        mine = (calls["session"] % pieces == piece).arg_true()
        session = calls["session"].gather(mine).to_numpy()
        time = calls["time"].gather(mine).to_physical().fill_null(np.iinfo(np.int64).min).to_numpy()
        order = np.lexsort((calls["__row"].gather(mine).fill_null(0).to_numpy(), time, session))
        session, place = session[order], mine.to_numpy()[order]
        starts = np.flatnonzero(np.diff(session, prepend=~session[:1]))
        lengths = np.diff(starts, append=len(session))
        turn = np.arange(len(session)) - np.repeat(starts, lengths)
        shared = np.repeat(lengths > 1, lengths)
        turns[place[shared]] = turn[shared]
    turn = pl.Series("turn", turns)
    return calls.drop("session", "__row").with_columns(turn.set(turn < 0, None))


def served_version(calls: pl.DataFrame, draft: Draft) -> pl.DataFrame:
    """`version` where a provider names what it served, carried over to failed calls, which name nothing.

    Without it every failed call would stand in a context of its own, in which everything fails. It takes the version of
    the last call before it to the same model, or of the first one after it.
    """
    asked = calls.with_row_index("__asked").filter(pl.col("failed") & pl.col("version").is_null())
    asked = asked.select("__asked", "served", pl.col("time").fill_null(EARLIEST)).sort("time")
    versions = _versions(calls) if asked.height else asked
    calls = calls.drop("served", "time", "failed")
    if not asked.height or not versions.height:
        return calls
    for way in ("backward", "forward"):  # the last before it, else the first after it
        one = {"on": "time", "by": "served", "strategy": way, "check_sortedness": False}
        asked = asked.join_asof(versions.rename({"version": way}), **one)
    found = asked.select("__asked", version=pl.coalesce("backward", "forward")).drop_nulls()
    if found.height:
        draft.over_calls = True
        places = np.full(calls.height, -1, np.int32)
        places[found["__asked"].to_numpy()] = np.arange(found.height)
        calls = calls.with_columns(pl.coalesce("version", _gathered(found["version"], places).alias("filled")))
        draft.note(
            f"{found.height} failed calls name no served version: they have that of the nearest call to the same model."
        )
    return calls


def _versions(calls: pl.DataFrame) -> pl.DataFrame:
    """By time, when which version of each model was first met after another; worked out over one span of time at a time."""
    stated = calls.filter(pl.col("version").is_not_null()).select("served", pl.col("time").fill_null(EARLIEST), "version")
    pieces = 1 + stated.height // TOGETHER
    bounds = [stated["time"].quantile(part / pieces) for part in range(1, pieces)]
    changed = (pl.col("version") != pl.col("version").shift().over("served")).fill_null(True)
    found = []
    for low, high in zip([None, *bounds], [*bounds, None], strict=True):
        after = pl.lit(True) if low is None else pl.col("time") >= low
        mine = stated.filter(after, pl.lit(True) if high is None else pl.col("time") < high)
        found.append(mine.sort("time", maintain_order=True).filter(changed))
    return pl.concat(found)


def completed(calls: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """Whole calls with what was worked out of their keys: the agent, the conversation, session, turn, and version.

    `found` has one row a call, in their order.
    """
    names = found.select(
        pl.col(AGENT, CONVERSATION).cast(pl.String), "several", pl.col("turn").cast(pl.Int64), version=_text("version")
    )
    trace = pl.when(pl.col("several")).then(TRACE)
    calls = calls.drop(AGENT, CONVERSATION, "turn", strict=False).hstack(names)
    calls = calls.with_columns(session=pl.coalesce("session", CONVERSATION, trace), engine_version="version")
    return calls.drop("several", "version")


def _text(name: str) -> pl.Expr:
    return pl.col(name).cast(pl.String)


def _trace() -> pl.Expr:
    """A trace as one number."""
    return pl.when(pl.col(TRACE).is_not_null()).then(pl.col(TRACE).hash()).fill_null(NO_KEY).alias(TRACE)


def _key(span: str) -> pl.Expr:
    """Each span within its trace as one number (64 bits: ten million spans collide with probability 3e-6)."""
    name = pl.concat_str(pl.col(TRACE).fill_null(""), pl.lit(":"), pl.col(span))
    return pl.when(pl.col(span).is_not_null()).then(name.hash()).fill_null(NO_KEY).alias(span)
