"""Prompts and answers of traces: whose texts are equal, and the texts themselves where the user asks for them.

The identity of a prompt is a salted hash of what its messages say, system messages left out, so that a question that a
harness asked and a user asks again is one item. Only prompts that come more than once name an item: of the others none is
compared with itself, and each would be an item of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import polars as pl

from divergence.executions.importers.mapping import Draft

SYSTEM = ("system", "developer")
INSIDE = ("content", "text", "parts", "message.content", "messages", "input")
"""Members of a message, or of a request, that hold its text."""


def text_of(value: Any) -> str | None:
    """What the messages of a prompt say, one line a message; None where there is no text."""
    if isinstance(value, str) and value[:1] in ("[", "{"):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return value
    said = [part for part in _texts(value, 0) if part]
    return "\n".join(said) or None


def _texts(value: Any, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list) and depth < 8:  # messages hold parts, which hold texts: four levels in any tool
        for member in value:
            yield from _texts(member, depth + 1)
    elif isinstance(value, dict) and depth < 8 and value.get("role") not in SYSTEM:
        for name in INSIDE:
            if name in value:
                yield from _texts(value[name], depth + 1)


def repeated_items(calls: pl.DataFrame, draft: Draft) -> pl.DataFrame:
    """The calls with `item` from their prompt (column `span.prompt`, a digest) where none is named and it is repeated.

    The user's salt is read, and made, only if there is such a prompt.
    """
    again = pl.col("span.prompt").is_not_null() & (pl.len().over("span.prompt") > 1) & pl.col("item").is_null()
    repeated = calls.filter(again)["span.prompt"]
    if "item" in draft.constants or not len(repeated):
        return calls
    draft.note(f"{len(repeated)} calls share their prompt with another: a salted hash of the prompt is their item.")
    names = {digest: draft.privacy.pseudonym("prompt", digest) for digest in repeated.unique(maintain_order=True)}
    item = pl.when(again).then(pl.col("span.prompt").replace_strict(names, default=None, return_dtype=pl.String))
    return calls.with_columns(item=item.otherwise("item"))
