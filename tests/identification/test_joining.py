"""What joins bench and deployment is said of all rows, those that nobody judged too."""

import polars as pl
import pytest

from divergence.executions import read
from divergence.identification.joining import joining


def said(bench, live, items=("a", "b"), others=("a", "b")):
    """The sentences on a log of these models and items; deployment is not judged."""
    rows = [{"regime": "evaluation", "model": m, "item": i, "score": 1.0} for m in bench for i in items]
    rows += [{"regime": "deployment", "model": m, "item": i, "score": None} for m in live for i in others]
    frame = pl.DataFrame(rows, schema_overrides={"item": pl.String}, infer_schema_length=None)
    return joining(read(frame.with_columns(context=pl.lit("c"))).cells)


@pytest.mark.parametrize(
    ("bench", "live", "sentence"),
    [
        (["m"], ["m"], "m has rows of both regimes: bench and deployment join by model."),
        (["m", "n"], ["m"], "m has rows of both regimes; only on the bench n."),
        (["m", "n"], ["m", "n", "o"], "m, n have rows of both regimes; only in deployment o."),
        (["m"], ["n"], "No model has rows of both regimes: on the bench m, in deployment n."),
        ([*"abcdef"], ["n"], "No model has rows of both regimes: on the bench a, b, c, d and 2 more, in deployment n."),
    ],
)
def test_models_of_both_regimes_are_named(bench, live, sentence):
    assert said(bench, live)[0] == sentence


@pytest.mark.parametrize(
    ("others", "sentence"),
    [
        (("a", "b"), "2 of the 2 items of the bench are among the 2 of deployment."),
        (("a", "c", "d"), "1 of the 2 items of the bench are among the 3 of deployment."),
        (("c",), "No item of the bench (2) is one of deployment (1): levels can be compared, items not."),
        ((None,), "Rows of deployment name no item: levels can be compared, items not."),
    ],
)
def test_items_of_both_regimes_are_counted(others, sentence):
    assert said(["m"], ["m"], others=others)[1] == sentence


def test_one_regime_joins_nothing():
    assert said(["m"], []) == ()
