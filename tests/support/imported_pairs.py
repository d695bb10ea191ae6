"""Two imported runs, joined on their items."""

import polars as pl


def flips(before: pl.DataFrame, after: pl.DataFrame, where: pl.Expr | None = None) -> tuple[list[str], list[str]]:
    """Items whose score rose and those whose score fell, by the ends of their names, in the order of the names."""
    tables = [frame.filter(where) if where is not None else frame for frame in (before, after)]
    left, right = (frame.select("item", "score").drop_nulls() for frame in tables)
    assert left["item"].is_unique().all()
    both = left.join(right, on="item", how="inner", suffix="_after").sort("item")
    gained = both.filter(pl.col("score_after") > pl.col("score"))["item"].to_list()
    lost = both.filter(pl.col("score_after") < pl.col("score"))["item"].to_list()
    return gained, lost
