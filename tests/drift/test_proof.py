"""The promise over 25 seeds a scenario, and endless runs of 2,000 chunks: minutes, so behind `prove`."""

import pytest

from benchmarks import drift as bench

SEEDS = 25
LATEST = {  # median delay in chunks, of the note's table; those that it lacks are its slowest
    "coupling": 3.1,
    "coupling_weak": 5.2,
    "tail": 6.8,
    "route_affinity": 3.5,
    "route_mix": 3.0,
    "mean_shift": 4.0,
    "phase_offset": 6.8,
}
SURFACE = ("route_mix", "mean_shift")


@pytest.mark.prove
@pytest.mark.parametrize("name", ["null", "null_ar", *LATEST])
def test_false_alarms_detection_and_cross_talk(name):
    row = bench.scenario(name, SEEDS)
    assert row["surface before"] <= 0.05 * SEEDS and row["structural before"] <= 0.05 * SEEDS
    if name in LATEST:
        right, other = ("surface", "structural") if name in SURFACE else ("structural", "surface")
        assert row[f"{right} after"] >= 0.95 * SEEDS and row[f"{other} after"] <= 0.05 * SEEDS
        assert row["median delay"] <= LATEST[name]
    if row["changed edges first"] is not None:
        assert row["changed edges first"] >= 0.9 * SEEDS and row["false edges"] <= 0.05


@pytest.mark.prove
@pytest.mark.parametrize("law", ["Gaussian", "t5"])
def test_endless_error_over_patience(law):
    row = bench.endless(200, 2000, 5, law).row(0, named=True)
    assert row["error over patience"] <= 0.05 and row["mean chunks watched"] >= 20


@pytest.mark.prove
def test_dependent_chunks_never_alarm_silently():
    table = bench.boundary(10)
    assert table.filter(table["phi"] < 0.7)["silent alarms"].sum() <= 1
