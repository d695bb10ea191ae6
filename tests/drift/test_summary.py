"""Partitions: a monoid whose merge has the bytes of one pass; on Ray the same."""

import itertools

import numpy as np
import pytest

from divergence.drift import monitor
from divergence.drift.cluster import summarise_partitions
from divergence.drift.summary import Summary, merge, summarise, take
from divergence.errors import InputError
from divergence.simulate import stream

REFERENCE = 4_000


@pytest.fixture(scope="module")
def rows():
    return stream("coupling", 2, reference_rows=REFERENCE, chunks=12, change=4)


def made(rows):
    return monitor(rows[:REFERENCE], horizon=30)


def parts_of(rows, sizes):
    edges = np.cumsum([0, *sizes])
    return [(int(first), rows[int(first) : int(last)]) for first, last in itertools.pairwise(edges)]


def test_merging_parts_is_one_pass(rows):
    whole = made(rows)
    expected = whole.update(rows[REFERENCE:])
    stream_rows = rows[REFERENCE:]
    sizes = [1, 199, 350, 1250, 7, 1493, 0, 1200, 1500]
    parts = [summarise(part, first, whole.reference) for first, part in parts_of(stream_rows, sizes)]
    left = merge([merge(parts[:3], whole.reference), merge(parts[3:], whole.reference)], whole.reference)
    right = merge([parts[-1], merge(parts[:-1][::-1], whole.reference), Summary()], whole.reference)
    for summary in (left, right, merge(parts, whole.reference)):
        other = made(rows)
        take(other, summary)
        assert other.evidence.mixture.tobytes() == whole.evidence.mixture.tobytes()
        assert other.history.values.tobytes() == whole.history.values.tobytes()
        assert other.verdict().edges == expected.edges and other.verdict().rows == expected.rows
        assert other.verdict().waiting == expected.waiting


def test_parts_that_lack_or_repeat_rows_are_refused(rows):
    whole = made(rows)
    part = summarise(rows[REFERENCE : REFERENCE + 300], 0, whole.reference)
    with pytest.raises(InputError, match="given twice"):
        merge([part, summarise(rows[REFERENCE + 250 : REFERENCE + 400], 250, whole.reference)], whole.reference)
    with pytest.raises(InputError, match="not in order of time"):
        summarise(rows[REFERENCE:][::-1], 0, whole.reference)
    with pytest.raises(InputError, match="merge all parts first"):
        take(whole, summarise(rows[REFERENCE + 200 :], 200, whole.reference))


def test_partitions_of_files(rows, tmp_path):
    paths = []
    for number, (_, part) in enumerate(parts_of(rows[REFERENCE:], [2500, 2500, 1000])):
        paths.append(str(tmp_path / f"{number}.parquet"))
        part.write_parquet(paths[-1])
    here, whole = made(rows), made(rows)
    take(here, summarise_partitions(paths, here.reference))
    whole.update(rows[REFERENCE:])
    assert here.evidence.mixture.tobytes() == whole.evidence.mixture.tobytes()
    with pytest.raises(InputError, match="cannot be read"):
        summarise_partitions([str(tmp_path / "none.parquet")], here.reference)


@pytest.mark.cluster
def test_on_ray_the_bytes_are_equal(rows, tmp_path):
    paths = []
    for number, (_, part) in enumerate(parts_of(rows[REFERENCE:], [1700, 1300, 2000, 1000])):
        paths.append(str(tmp_path / f"{number}.parquet"))
        part.write_parquet(paths[-1])
    here, there = made(rows), made(rows)
    take(here, summarise_partitions(paths, here.reference))
    take(there, summarise_partitions(paths, there.reference, ray_address="local"))
    assert there.evidence.mixture.tobytes() == here.evidence.mixture.tobytes()
    assert there.history.values.tobytes() == here.history.values.tobytes()
    assert there.verdict().to_json() == here.verdict().to_json()
