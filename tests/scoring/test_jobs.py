"""The key of a job changes with everything that its result depends on, and with nothing else."""

import dataclasses

import pytest

from divergence.configuration import Configuration
from divergence.scoring.jobs import Job
from divergence.scoring.sources import Partition

JOB = Job(Partition("day/one.csv", "/log/day/one.csv", 10, False), "/out", "/model", "sha256:1", dict, Configuration(), 0.05)


@pytest.mark.parametrize(
    "change",
    [
        {"model_hash": "sha256:2"},
        {"accept_rejected": 0.1},
        {"configuration": Configuration(columns={"model": "name"})},
        {"configuration": Configuration(where={"model": ("a",)})},
    ],
)
def test_what_a_result_depends_on_is_in_its_key(change):
    assert dataclasses.replace(JOB, **change).key("sha256:x") != JOB.key("sha256:x")


def test_where_results_go_and_who_makes_them_is_not():
    moved = dataclasses.replace(JOB, output="/elsewhere", model="/copy")
    assert moved.key("sha256:x") == JOB.key("sha256:x") != JOB.key("sha256:y")


def test_a_result_is_named_after_its_partition():
    assert JOB.target.path == "/out/day/one.csv.parquet"
