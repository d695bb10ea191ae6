"""Reading spans of any tool: calls are mapped by columns as they come, all spans make the tree, leaves become executions.

A span is a flat record with the paths `span.trace`, `span.id`, `span.parent` beside those of the tool's mapping. Spans
may come in any order, children before parents and traces over several files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from divergence.executions.importers import blocks, convert, span_tree
from divergence.executions.importers.mapping import Draft

OF_A_SPAN = {name: pl.String() for name in (span_tree.TRACE, span_tree.SPAN, span_tree.PARENT)}

NEEDED = (
    *("execution_id", "model", "provider", "engine", "engine_version", "scaffold", "router", "sampler", "task", "session"),
    *("time", "latency_s", "ttft_s", "tpot_s", "input_tokens", "output_tokens", "cached_tokens", "cost_usd", "item"),
    *("error_type", "finish_reason", "regime", "score", "scorer", "turn"),
)
"""Columns that are worked on even where no call fills them. The others are left away: empty columns take memory, too."""


class TraceReading:
    """What was read so far of the spans of one import."""

    def __init__(self, draft: Draft, extra: Mapping[str, pl.DataType] | None = None):
        self.draft = draft
        self.extra = {**OF_A_SPAN, **(extra or {})}
        self._gathered = self._fresh()
        self._frames: list[pl.DataFrame] = []
        self._places: list[tuple[Any, ...]] = []
        self._trees: list[pl.DataFrame] = []

    def span(
        self, record: Mapping[str, Any], row: int, file: str, call: bool, named: tuple[Any, Any] = (None, None)
    ) -> None:
        """Take one span, `row` from 1 in its file; `named` are the agent and the conversation that it names itself."""
        self._places.append((record.get(span_tree.TRACE), record.get(span_tree.SPAN), record.get(span_tree.PARENT), *named))
        if call:
            self._gathered.add(row, record)
        if len(self._gathered) >= blocks.RECORDS or len(self._places) >= 5 * blocks.RECORDS:
            self.flush(file)

    def event(self, record: Mapping[str, Any], row: int) -> None:
        """Take a call that is no span of the tree: an event that stands for one."""
        self._gathered.add(row, record)

    def flush(self, file: str) -> None:
        """Map the calls gathered so far; to be called at the end of each file."""
        if len(self._gathered):
            self._frames.append(blocks.mapped(self.draft, self._gathered, file, self.extra))
            self._gathered = self._fresh()
        if self._places:
            columns = (
                [convert.printable(value) if type(value) is str else None for value in column]
                for column in zip(*self._places, strict=True)
            )
            self._trees.append(pl.DataFrame(dict(zip(span_tree.TREE, columns, strict=True)), schema=span_tree.TREE))
            self._places = []

    def spans(self) -> set[tuple[str, str]]:
        """Trace and span of every span read."""
        return {place for tree in self._trees for place in tree.select(span_tree.TRACE, span_tree.SPAN).iter_rows()}

    def calls(self) -> pl.DataFrame:
        """All calls in the order read, each once: the columns that they fill, those of `NEEDED` and of `extra`."""
        frames, self._frames = self._frames, []  # they are not held twice
        head = blocks.canonical(self.extra)
        present = set().union(NEEDED, self.extra, (blocks.FILE, blocks.ROW), *(frame.columns for frame in frames))
        return self.draft.distinct(
            pl.concat([head.select(n for n in head.columns if n in present), *frames], how="diagonal")
        )

    def executions(self, calls: pl.DataFrame) -> pl.DataFrame:
        """The leaves of `calls`, with sessions and turns, and with the served version where failed calls name none."""
        nothing = [pl.lit(None, pl.String).alias(name) for name in (span_tree.AGENT, span_tree.CONVERSATION)]
        trees, self._trees = self._trees, []
        tree = pl.concat([pl.DataFrame(schema=span_tree.TREE), *trees])
        del trees
        self.draft.in_traces(pl.concat([tree[span_tree.TRACE], calls[span_tree.TRACE]]))
        leaves = span_tree.leaves(calls.with_columns(nothing), tree, self.draft)
        return span_tree.served_version(span_tree.in_sessions(leaves), self.draft)

    def _fresh(self) -> blocks.Gathered:
        return blocks.Gathered({*blocks.paths_of(self.draft.fields), *self.extra})
