"""Raw columns become numbers of the canonical unit: lengths of time are seconds, whatever unit they are stored in."""

import datetime

import numpy as np
import polars as pl
import pytest

from divergence.executions import read

SECONDS = [0.25, 1.0, 90.0, 86_400.0]
NAMES = ("latency_s", "ttft_s", "tpot_s", "queue_s")


def _log(values, dtype) -> pl.DataFrame:
    size = len(SECONDS)
    base = {
        "regime": ["evaluation", "deployment"] * (size // 2),
        "model": ["m"] * size,
        "item": [str(k) for k in range(size)],
    }
    return pl.DataFrame(base | {"score": [1.0] * size}).with_columns(pl.Series(name, values, dtype) for name in NAMES)


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_lengths_of_time_are_seconds(unit):
    """A quarter of a second, a second, a minute and a half, a day: a wrong factor changes every one of them."""
    log = read(_log([datetime.timedelta(seconds=s) for s in SECONDS], pl.Duration(unit)))
    for name in NAMES:
        assert log.valid[name].to_list() == SECONDS


def test_a_length_of_time_reads_as_the_number_of_its_seconds():
    lengths = read(_log([datetime.timedelta(seconds=s) for s in SECONDS], pl.Duration("ns")))
    numbers, texts = read(_log(SECONDS, pl.Float64)), read(_log([str(s) for s in SECONDS], pl.String))
    for name in NAMES:
        assert lengths.valid[name].to_list() == numbers.valid[name].to_list() == texts.valid[name].to_list()


def test_parts_of_a_second_are_kept_to_the_microsecond_and_missing_stays_missing():
    values = [datetime.timedelta(microseconds=1), datetime.timedelta(microseconds=123_456_789), None, datetime.timedelta(0)]
    log = read(_log(values, pl.Duration("us")))
    np.testing.assert_allclose(log.valid["ttft_s"].drop_nulls(), [1e-6, 123.456789, 0.0], rtol=4 * np.finfo(float).eps)
    assert log.valid["ttft_s"].null_count() == 1 and not log.rejected.height
