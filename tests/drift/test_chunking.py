"""Chunk length: autocorrelation time, growth, refusal; time of day; what is held at an alarm."""

import datetime as dt

import numpy as np
import polars as pl
import pytest
from scipy.signal import lfilter

from divergence.drift import monitor
from divergence.drift.chunking import autocorrelation_time, dependent, neighbour_correlation
from divergence.drift.daily import DAY, daily
from divergence.drift.hold import neighbours
from divergence.errors import InputError

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def framed(x: np.ndarray, seconds: float = 1.0) -> pl.DataFrame:
    every = dt.timedelta(seconds=seconds)
    time = pl.datetime_range(START, START + every * (len(x) - 1), every, time_unit="us", eager=True)
    return pl.DataFrame({f"s{n}": x[:, n] for n in range(x.shape[1])}).with_columns(time.alias("time"))


def series(phi: float, rows: int, columns: int, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal((rows + 2000, columns))
    return lfilter([np.sqrt(1 - phi**2)], [1, -phi], noise, axis=0)[2000:]


def test_autocorrelation_time():
    for phi, known in ((0.0, 1.0), (0.5, 3.0), (0.8, 9.0)):  # (1 + phi) / (1 - phi)
        assert autocorrelation_time(series(phi, 50_000, 1, 1)[:, 0]) == pytest.approx(known, rel=0.15)
    assert autocorrelation_time(np.ones(100)) == 1.0


def test_neighbour_correlation_is_corrected_for_its_bias():
    assert np.nanmean(neighbour_correlation(np.random.default_rng(2).standard_normal((20, 4000)))) == pytest.approx(
        0, abs=0.02
    )
    assert np.nanmean(neighbour_correlation(series(0.5, 400, 200, 3))) == pytest.approx(0.5, abs=0.02)


def test_dependent_chunks_are_seen_and_independent_ones_are_not():
    kinds = np.array(["location"] * 10)
    worst, where, _ = dependent(series(0.6, 20, 10, 4), kinds)
    assert worst > 0.2 and where == "location"
    seen = [dependent(np.random.default_rng(seed).standard_normal((20, 10)), kinds) for seed in range(40)]
    assert sum(worst > 0.2 for worst, _, _ in seen) <= 1 and not any(alone.any() for _, _, alone in seen)


def test_slow_rows_make_long_chunks_or_a_sentence():
    made = monitor(framed(series(0.97, 60_000, 3, 5)), horizon=10)
    assert made.length >= 5 * made.reference.chunking.autocorrelation_time > 200
    assert f"{made.length} rows" in made.verdict().notes[0]
    with pytest.raises(InputError, match=r"at least 10 are needed.*take a longer --reference"):
        monitor(framed(series(0.999, 10_000, 3, 6)))


def wandering(kind: str, phi: float, seed: int) -> pl.DataFrame:
    rows, length = 30_000, 500
    rng = np.random.default_rng([seed, 7])
    x = rng.standard_normal((rows, 5))
    slow = 0.3 * series(phi, rows // length, 6, 100 + seed)
    if kind == "levels":
        x += np.repeat(slow[:, :5], length, axis=0)
    else:
        r = np.tanh(0.7 + np.repeat(slow[:, 5], length))
        x[:, 1] = r * x[:, 0] + np.sqrt(1 - r**2) * x[:, 1]
    return framed(x)


@pytest.mark.parametrize("kind", ["levels", "coupling"])
@pytest.mark.parametrize("phi", [0.4, 0.6])
def test_dependent_chunks_never_alarm_silently(kind, phi):
    for seed in range(5):
        rows = wandering(kind, phi, seed)
        try:
            verdict = (made := monitor(rows[:10_000], horizon=40)).update(rows[10_000:])
        except InputError as error:
            assert "not independent" in str(error)
            continue
        said = any("is not sure" in note or note.startswith("held") for note in verdict.notes)
        assert verdict.verdict == "none" or said or made.length > 500, verdict


def test_a_step_is_no_dependence():
    rng = np.random.default_rng(8)
    flat, wild = rng.standard_normal((50, 200)), series(0.7, 50, 200, 9)
    flat[30:] += 3
    assert (neighbours(flat, 30) > 0.3).mean() < 0.1
    assert (neighbours(wild, 30) > 0.3).mean() > 0.8


def test_time_of_day_is_matched():
    rng = np.random.default_rng(10)
    hours = np.arange(14 * 24)
    middle = hours * (DAY // 24)
    values = np.sin(2 * np.pi * hours / 24)[:, None] * 3 + rng.standard_normal((len(hours), 50))
    known = 10 * 24
    matched = daily(values[:known], middle[:known])
    assert matched.parts == 24 and "same 1 hours" in matched.sentence
    inside = matched.residual(values[:known], middle[:known], inside=True)
    outside = matched.residual(values[known:], middle[known:])
    for part in (inside, outside):  # one scale: 200 and 80 thousand numbers, 4 standard errors
        assert part.std() == pytest.approx(1.0, abs=0.04)
    assert daily(values[:30], middle[:30]).parts == 1


def test_a_daily_cycle_alarms_only_where_it_is_not_matched():
    rng = np.random.default_rng(11)
    rows = 6 * 24 * 120
    hour = np.arange(rows) / 120
    x = rng.standard_normal((rows, 2)) + np.sin(2 * np.pi * hour / 24)[:, None]
    frame = framed(x, seconds=30)
    known = 4 * 24 * 120
    verdict = monitor(frame[:known], horizon=48, chunk_rows=120).update(frame[known:])
    assert verdict.verdict == "none" and any("same" in note and "hours of the day" in note for note in verdict.notes)
    with pytest.raises(InputError, match="not independent"):
        monitor(frame[: 24 * 120], horizon=48, chunk_rows=120)
