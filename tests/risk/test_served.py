"""A context label against the factors beside it: what contradicts it, and what says nothing."""

from decimal import Decimal

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from divergence.executions.columns import as_label
from divergence.executions.contexts import NOT_LOGGED
from divergence.risk.served import Served

SERVED = Served.of(("engine", "concurrency"), [("calm", "vllm", "1"), ("busy", "vllm", "8"), ("busy", "sglang", "8")])


def unlike(context, **levels):
    batch = pa.record_batch({"context": pa.array(context).dictionary_encode(),
                             **{name: pa.array(column, pa.string()).dictionary_encode() for name, column in levels.items()}})
    found = SERVED.unlike(batch)
    return [-1] * len(context) if found is None else found.tolist()


def test_a_level_that_the_label_never_had_contradicts_it():
    assert unlike(["calm", "busy", "busy"], engine=["vllm", "sglang", "other"]) == [-1, -1, 0]
    assert unlike(["calm", "calm"], engine=["vllm", "sglang"], concurrency=["8", "1"]) == [1, 0]


@pytest.mark.parametrize("missing", [None, NOT_LOGGED, "NaN"])
def test_what_is_not_logged_contradicts_nothing(missing):
    assert unlike(["calm", "calm"], engine=["vllm", missing]) == [-1, -1]


def test_a_context_that_is_not_known_is_not_judged_here():
    assert unlike(["elsewhere"], engine=["other"]) == [-1]


@pytest.mark.parametrize("column", [
    pl.Series([8, 16, None]), pl.Series([8.0, 16.0, np.nan]), pl.Series([Decimal("8.00"), Decimal("16.00"), None]),
])
def test_a_level_is_one_however_its_number_is_stored(column):
    frame = pl.DataFrame({"level": column})
    assert frame.select(as_label("level", frame.schema["level"])).to_series().to_list() == ["8", "16", None]
