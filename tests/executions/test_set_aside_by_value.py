"""Values that are set aside are judged model by model, and against what is kept: what remains may be one answer of two."""

import numpy as np
import polars as pl
import pytest

from divergence.errors import InputError
from divergence.executions import read
from divergence.identification.audit import audit


def log(scores, regime="deployment"):
    """`scores` maps a model to its scores, one an item."""
    rows = [
        {"regime": regime, "model": model, "item": f"i{k}", "context": "c", "score": value}
        for model, values in scores.items()
        for k, value in enumerate(values)
    ]
    return pl.DataFrame(rows, infer_schema_length=None, strict=False)


def flips(number, seed=0):
    return [float(x) for x in np.random.default_rng(seed).random(number) < 0.6]


MANY = {f"m{k}": flips(200, k) for k in range(6)}


@pytest.mark.parametrize(
    ("scores", "told"),
    [
        ({"A": [1.0] * 963 + [5.0] * 37}, "37 of 1000 deployment rows are rejected (3.7%; all others are 1)"),
        ({"A": [1.0] * 974 + [-1.0] * 26}, "26 of 1000 deployment rows are rejected (2.6%; all others are 1)"),
        ({"A": [0.0] * 490 + [2.0] * 10}, "10 of 500 deployment rows are rejected (2.0%; all others are 0)"),
        (MANY | {"C": [1.0] * 190 + [-1.0] * 10}, "10 of 200 deployment rows of C are rejected (5.0%; all others are 1)"),
    ],
)
def test_where_all_that_is_kept_is_one_value_the_others_were_the_rest_of_a_scale(scores, told):
    with pytest.raises(InputError) as refused:
        read(log(scores))
    assert told in str(refused.value) and "scale = [" in str(refused.value) and len(str(refused.value)) <= 300


@pytest.mark.parametrize(
    "values", [[1.0, 1.0, 1.0] + [-1.0] * 37, [float(x) for x in range(55, 95)], [0.0] * 20 + [7.0] * 20]
)
def test_a_model_that_loses_its_rows_by_their_values_is_refused_by_name(values):
    with pytest.raises(InputError, match=r"of 40 deployment rows of C are rejected"):
        read(log(MANY | {"C": values}))


def test_what_is_accepted_by_the_user_is_said_beside_every_answer():
    accepted = read(log(MANY | {"C": [1.0, 0.0, 1.0] + [-1.0] * 37}), accept_rejected=1.0)
    told = [f.sentence for f in audit(accepted.design) if f.name == "in_the_rows"]
    assert told == [
        "37 of the 40 deployment rows of C are set aside by their values, of all other rows 0.0%: levels and orders are "
        "over the rows that are left."
    ]
    assert accepted.cells.cautions == accepted.cautions == tuple(told)


@pytest.mark.parametrize("seed", range(4))
def test_values_that_are_odd_at_random_are_no_finding(seed):
    random = np.random.default_rng(seed)
    dirty = {m: [7.0 if random.random() < 0.03 else v for v in values] for m, values in MANY.items()}
    dirty["few"] = [*flips(12, seed), 9.0]
    assert read(log(dirty)).cautions == ()
