"""Embeddings beside a log: one row a distinct text, joined to the executions that gave it.

A file `embeddings` has `text_hash` (of the answer as the log holds it), `embedding` (numbers; times `scale` where there is
one), and `embedder`, `embedder_sha256`; rows with an `item` are that item's prompt. Vectors of different embedders do not
compare, so a log that mixes them is refused.
"""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl

from divergence.errors import InputError

NEEDED = {"text_hash", "embedding"}


def text_hash(text: str) -> str:
    """16 hexadecimal digits of the SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def joined(rows: pl.DataFrame, table: pl.DataFrame) -> pl.DataFrame:
    """The rows with `embedding` (of the answer) and `prompt_embedding` (of the item), null where the table has none.

    Raises InputError where the table mixes embedders or lengths of vectors.
    """
    vector = comparable(table)
    prompts = pl.col("item").is_not_null() if "item" in table.columns else pl.lit(False)
    of_answer = table.filter(~prompts).select("text_hash", vector).unique("text_hash", keep="first")
    key = _hashes(rows)
    rows = rows.drop("embedding", "prompt_embedding", strict=False)
    rows = rows.join(key.join(of_answer, on="text_hash").drop("text_hash"), on="answer", how="left", maintain_order="left")
    of_item = table.filter(prompts).select("item", vector.alias("prompt_embedding")) if "item" in table.columns else None
    if of_item is None or not of_item.height:
        return rows.with_columns(prompt_embedding=pl.lit(None, pl.List(pl.Float32)))
    return rows.join(of_item.unique("item", keep="first"), on="item", how="left", maintain_order="left")


def by_text(rows: pl.DataFrame, table: pl.DataFrame) -> tuple[pl.DataFrame, np.ndarray]:
    """The rows with `text`, the row of its answer in the array of vectors that comes with them (null = no vector).

    Answers repeat: every distinct text is held once, (texts, d) float32. Raises InputError as `joined` does.
    """
    vector = comparable(table)
    answers = table.filter(pl.col("item").is_null()) if "item" in table.columns else table
    key = _hashes(rows)
    found = key.join(
        answers.select("text_hash", vector).unique("text_hash", keep="first", maintain_order=True),
        on="text_hash",
        maintain_order="left",
    )
    known = found.filter(pl.col("embedding").is_not_null())
    vectors, number = distinct(stacked(known["embedding"]))
    named = known.select("answer", text=pl.Series(number, dtype=pl.UInt32))
    rows = rows.drop("embedding", "prompt_embedding", strict=False)
    return rows.join(named, on="answer", how="left", maintain_order="left"), vectors


def distinct(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct rows of an array in the order of their first, and the number of each row among them.

    Runs with one vector are copies for everything that is measured on vectors, whatever their texts.
    """
    if not vectors.size:
        return vectors, np.zeros(len(vectors), int)
    whole = np.ascontiguousarray(vectors + np.float32(0))  # -0 is 0
    rows = whole.view(np.dtype((np.void, whole.dtype.itemsize * whole.shape[1]))).ravel()
    _, first, number = np.unique(rows, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return vectors[first[order]], np.argsort(order)[number.ravel()]


def stacked(vectors: pl.Series) -> np.ndarray:
    """A list column as an array, (rows, d) float32. Raises InputError where lengths differ."""
    lengths = vectors.list.len().unique()
    if lengths.len() > 1:
        raise InputError(
            f"The embeddings have vectors of {lengths.min()} and of {lengths.max()} numbers; all must be alike."
        )
    if not vectors.len():
        return np.zeros((0, 0), np.float32)
    return vectors.list.explode().cast(pl.Float32).to_numpy().reshape(vectors.len(), -1)


def _hashes(rows: pl.DataFrame) -> pl.DataFrame:
    """The distinct answers of the rows, each with its hash."""
    answers = rows["answer"].drop_nulls().unique(maintain_order=True).to_list() if "answer" in rows.columns else []
    return pl.DataFrame(
        {"answer": answers, "text_hash": [text_hash(a) for a in answers]},
        schema={"answer": pl.String, "text_hash": pl.String},
    )


def comparable(table: pl.DataFrame) -> pl.Expr:
    """The vectors of a table or of a log times their scale. Raises InputError where they do not compare."""
    held = table.filter(pl.col("embedding").is_not_null())
    for column, what in (("embedder", "embedders"), ("embedder_sha256", "versions of an embedder")):
        names = held[column].unique().drop_nulls().sort().to_list() if column in table.columns else []
        if len(names) > 1:
            raise InputError(
                f"The embeddings come from several {what} ({', '.join(names)}): their vectors do not compare. "
                "Keep the rows of one."
            )
    lengths = held["embedding"].list.len().unique().drop_nulls().sort().to_list()
    if len(lengths) > 1:
        raise InputError(f"The embeddings have vectors of {lengths[0]} and of {lengths[-1]} numbers; all must be alike.")
    scale = pl.col("scale").cast(pl.Float32).fill_null(1) if "scale" in table.columns else pl.lit(1.0, pl.Float32)
    return (pl.col("embedding").cast(pl.List(pl.Float32)) * scale).alias("embedding")
