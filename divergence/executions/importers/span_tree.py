"""What a trace says beyond its single spans: which calls are leaves, which belong together, in which order.

A call may be logged at several levels: by a framework and by the client below it, by an agent that sums the usage of its
calls. Only leaves are executions: a call with another call below it is a wrapper, and its tokens are those of its leaves.
The search climbs from every call to its ancestors, all calls at once, and stops at `DEPTH` levels, so that a cycle of
parents or a tree of any depth ends it.

    session   the conversation that the call or an ancestor names; else the trace, where it holds several calls
    turn      position in the session by start, from 0
"""

from __future__ import annotations

import polars as pl

from divergence.executions.importers.mapping import Draft

DEPTH = 64  # levels that are climbed; the deepest genuine trace at hand has 9
TRACE, SPAN, PARENT = "span.trace", "span.id", "span.parent"
AGENT, CONVERSATION = "tree.agent", "tree.conversation"
TREE = {name: pl.String() for name in (TRACE, SPAN, PARENT, AGENT, CONVERSATION)}
"""The columns of a tree: one row a span, calls and others, with what it names itself."""


def leaves(calls: pl.DataFrame, tree: pl.DataFrame, draft: Draft) -> pl.DataFrame:
    """The calls that wrap no other call, with the agent and the conversation that an ancestor names.

    `calls` have the columns of `TREE` beside the canonical ones, `tree` has them for all spans.
    """
    calls = calls.with_columns(__key=_key(SPAN), __cursor=_key(PARENT))
    spans = tree.with_columns(__key=_key(SPAN), __parent=_key(PARENT)).unique("__key", keep="first")
    spans = spans.select("__key", "__parent", AGENT, CONVERSATION)
    own = calls.get_column("__key")
    named = calls.select("__key", AGENT, CONVERSATION, "__cursor")
    wrappers: list[pl.Series] = []
    circular: list[pl.Series] = []
    found = [named.select("__key", AGENT, CONVERSATION)]
    frontier = named.select("__key", "__cursor")
    for _ in range(DEPTH):
        circular.append(frontier.filter(pl.col("__cursor") == pl.col("__key")).get_column("__key"))
        frontier = frontier.filter(pl.col("__cursor").is_not_null() & (pl.col("__cursor") != pl.col("__key")))
        if not frontier.height:
            break
        above = frontier.join(spans, left_on="__cursor", right_on="__key", how="inner")
        wrappers.append(above.get_column("__cursor").unique())
        found.append(above.select("__key", AGENT, CONVERSATION))
        frontier = above.select("__key", pl.col("__parent").alias("__cursor"))
    nearest = pl.concat(found).group_by("__key", maintain_order=True).agg(pl.col(AGENT, CONVERSATION).drop_nulls().first())
    calls = calls.drop(AGENT, CONVERSATION).join(nearest, on="__key", how="left", maintain_order="left")
    if wrappers:
        own_ancestors = own.is_in(pl.concat(circular).unique().implode())
        above_a_call = own.is_in(pl.concat(wrappers).unique().implode()) & ~own_ancestors
        if own_ancestors.any():
            draft.note(
                f"{own_ancestors.sum()} calls are their own ancestors: nothing tells which wraps which; all are counted."
            )
        if above_a_call.any():
            draft.note(
                f"{above_a_call.sum()} calls wrap other logged calls and repeat their tokens: the inner ones are counted."
            )
            calls = calls.filter(~above_a_call)
    return calls.drop("__key", "__cursor")


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
    version = pl.col("engine_version")
    carried = version.forward_fill().backward_fill().over("model", "provider", order_by="time")
    filled = pl.when(pl.col("error_type").is_not_null() & version.is_null()).then(carried).otherwise(version)
    after = calls.with_columns(engine_version=filled)
    taken = after["engine_version"].count() - calls["engine_version"].count()
    if taken:
        draft.over_calls = True
        draft.note(f"{taken} failed calls name no served version: they have that of the nearest call to the same model.")
    return after


def _key(span: str) -> pl.Expr:
    """A span within its trace as one number (64 bits: ten million spans collide with probability 3e-6)."""
    return pl.concat_str(pl.col(TRACE).fill_null(""), pl.lit(":"), pl.col(span)).hash()
