"""Runs of known flips as frames."""

import numpy as np
import polars as pl


def run(scores, **columns):
    """One run a frame: items i0, i1, ... with these scores, and further columns."""
    items = [f"i{k}" for k in range(len(scores))]
    return pl.DataFrame({"item": items, "score": [float(s) for s in scores]}).with_columns(
        **{name: pl.lit(value) if isinstance(value, str) else pl.Series(value) for name, value in columns.items()}
    )


def flipped(n, down, up, right=None):
    """Scores of two runs of n items: `down` became wrong, `up` became right, `right` were right before."""
    right = n // 2 if right is None else right
    before = np.zeros(n)
    before[:right] = 1
    after = before.copy()
    after[:down] = 0
    after[right : right + up] = 1
    return before, after
