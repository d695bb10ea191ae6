"""Counting a file by its distinct rows gives what reading it row by row gives, to the last number."""

import dataclasses

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import divergence as dv
from divergence.cells.cells import TABLES
from divergence.executions import counted, tally

REGIMES = ("evaluation", "deployment")


def both_ways(paths, **declared):
    """The log read by distinct rows, and row by row; both thinned, so that the samples are compared too."""
    configuration = dv.Configuration(**declared)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("divergence.cells.cells.ROWS_MAX", 40)
        patch.setattr(counted, "ROWS_MIN", 1)
        fast = dv.read(paths, configuration=configuration, accept_rejected=0.9)
        fast_cells = dv.collapse(fast)
        patch.setattr(counted, "ROWS_MIN", 10**9)
        slow = dv.read(paths, configuration=configuration, accept_rejected=0.9)
        assert slow.tally is None
        return fast, slow, fast_cells, dv.collapse(slow)


def assert_same(fast, slow, fast_cells, slow_cells):
    for field in ("counts", "kind", "kind_reason", "factors", "unused", "notes", "present", "all_named"):
        assert getattr(fast, field) == getattr(slow, field), field
    assert fast.answers() == slow.answers()
    assert fast.rejected.equals(slow.rejected)
    assert fast_cells.levels == slow_cells.levels
    for name, (keys, sums) in TABLES.items():
        for column in (*keys, *sums):
            np.testing.assert_array_equal(
                getattr(fast_cells, name)[column], getattr(slow_cells, name)[column], err_msg=f"{name}.{column}"
            )


def rows(count, seed, **changes):
    rng = np.random.default_rng(seed)

    def pick(*values, weight=None):
        return [values[k] for k in rng.choice(len(values), count, p=weight)]

    frame = pl.DataFrame(
        {
            "regime": pick(*REGIMES),
            "model": pick("a", "b", "c"),
            "item": pick("i1", "i2", "i3", "i4", None),
            "score": pick(0.0, 1.0, None),
            "session": pick("s1", "s2", "s3", "s4", "s5", "s6", None, ""),
            "quantization": pick("fp16", "q4", None),
            "wave": pick("1", "2"),
            "task": pick("t", None),
            "answer": pick("x", "y", None, ""),
            "scorer": pick("exact", " "),
        }
    )
    return frame.with_columns(**changes)


@pytest.fixture
def write(tmp_path):
    def to_files(*frames, **options):
        for k, frame in enumerate(frames):
            frame.write_parquet(tmp_path / f"part-{k}.parquet", row_group_size=37, **options)
        return str(tmp_path)

    return to_files


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**31 - 1), st.lists(st.integers(0, 150), min_size=1, max_size=3), st.data())
def test_any_log(write, seed, sizes, data):
    """Nulls in every column, blank texts, broken rows, empty and unlike partitions."""
    sizes[0] += 60
    left_out = data.draw(st.lists(st.sampled_from(["session", "task", "answer", "wave", "scorer"]), max_size=3))
    frames = [rows(size, seed + k).drop(left_out if k == 1 else []) for k, size in enumerate(sizes)]
    assert_same(*both_ways(write(*frames)))


@pytest.mark.parametrize("most", [20, 100, 600])
@pytest.mark.parametrize("name", ["session", "session by number", "in one regime"])
def test_rows_of_sessions_are_kept_while_they_are_counted(write, most, name, monkeypatch):
    """A sample that is coarser than what is asked for is not taken; one that is finer is thinned to the same rows."""
    number = pl.int_range(pl.len()) * 7919 % 97
    kinds = {
        "session": pl.format("s{}", number),
        "session by number": number,
        "in one regime": pl.when(pl.col("regime") == "deployment").then(pl.format("s{}", number)),
    }
    frames = [rows(size, seed).with_columns(session=kinds[name]) for seed, size in ((11, 400), (12, 90))]
    monkeypatch.setattr("divergence.executions.session_rows.ROWS_MAX", most)
    result = both_ways(write(*frames))
    tally_of = result[0].tally
    assert tally_of is not None and (tally_of.sessions(1) is None) == (most < 490)
    assert_same(*result)


def test_sessions_without_items(write):
    frame = rows(300, 14).drop("item", "answer").filter(pl.col("regime") == "deployment")
    numbers = pl.int_range(pl.len())
    some = frame.with_columns(session=pl.when(numbers % 50 < 20).then(pl.format("s{}", numbers % 9)))
    result = both_ways(write(some))
    assert result[0].tally is not None
    assert_same(*result)


def test_the_sample_is_no_pass_of_its_own(write):
    frame = (
        rows(400, 13)
        .filter(pl.col("item").is_not_null())
        .with_columns(pl.format("s{}", pl.int_range(pl.len()) % 97).alias("session"))
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("divergence.cells.cells.ROWS_MAX", 40)
        patch.setattr(counted, "ROWS_MIN", 1)
        log = dv.read(write(frame.drop("answer")))

        def passed(*_):
            raise AssertionError("the rows were read once more")

        cells = dv.collapse(dataclasses.replace(log, sample=passed, by_file=passed))
    assert 0 < cells.sessions["n"].sum() <= 60


VARIANTS = {
    "dictionary columns": {"model": pl.col("model").cast(pl.Categorical), "session": pl.col("session").cast(pl.Categorical)},
    "whole numbers as labels": {"item": pl.col("item").str.slice(1).cast(pl.Int64), "wave": pl.col("wave").cast(pl.Float64)},
    "sessions by number": {"session": pl.col("session").str.slice(1).cast(pl.Int32, strict=False)},
    "truth values": {"score": pl.col("score") > 0},
    "texts as scores": {"score": pl.when(pl.col("score") > 0).then(pl.lit("True")).otherwise(pl.lit("no"))},
    "scores that are none": {"score": pl.when(pl.col("item") == "i1").then(float("nan")).otherwise(pl.col("score") * 3)},
    "counted rates": {"score": pl.col("score") * 0.25, "score_n": pl.when(pl.col("item") == "i2").then(8).otherwise(1)},
    "chances": {"probability": pl.when(pl.col("model") == "a").then(0.5).otherwise(1.0)},
    "broken regimes": {"regime": pl.when(pl.col("item") == "i3").then(pl.lit("prod")).otherwise(pl.col("regime"))},
    "times beside": {"latency_s": pl.int_range(pl.len()) / 8, "output_tokens": pl.int_range(pl.len()) % 7},
    "no clusters": {"item": pl.when(pl.col("regime") == "evaluation").then(pl.col("item")), "session": None},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_columns_of_other_kinds(write, name):
    frame = rows(300, 4).filter(pl.col("item").is_not_null() | (pl.col("regime") == "deployment"))
    result = both_ways(write(frame.with_columns(**VARIANTS[name])))
    assert result[0].tally is not None
    assert_same(*result)


@pytest.mark.parametrize(
    "declared",
    [
        {"columns": {"model": "wave"}},
        {"where": {"task": ("t",)}},
        {"where": {"wave": ("2",), "model": ("a", "b")}},
        {"constants": {"engine": "vllm"}},
        {"factors": ("quantization", "scorer")},
        {"outcome": "predicted"},
    ],
)
def test_declared_names(write, declared):
    frame = rows(300, 5, predicted=pl.int_range(pl.len()) % 5 / 4).filter(pl.col("item").is_not_null())
    result = both_ways(write(frame), **declared)
    assert result[0].tally is not None
    assert_same(*result)


@pytest.mark.parametrize(
    ("changes", "declared"),
    [
        ({}, {"where": {"item": ("i1", "i2")}}),  # groups would not know which of their rows are left
        ({}, {"columns": {"task": "item"}}),  # one column in two parts
        ({"model": pl.concat_list("model", "wave")}, {"columns": {"model": "wave"}}),
        ({"execution_id": pl.int_range(pl.len()) // 2}, {}),  # rows that are there twice
        ({"score": pl.int_range(pl.len()) / 8192}, {}),  # as many scores as rows
    ],
)
def test_what_is_not_counted_is_read_row_by_row(write, changes, declared):
    frame = rows(6000, 6, **changes).filter(pl.col("item").is_not_null())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tally, "COMBINATIONS_MAX", 3000)
        result = both_ways(write(frame), **declared)
    assert_same(*result)


IDS = {
    "list": pl.concat_list(pl.int_range(pl.len())),
    "struct": pl.struct(number=pl.int_range(pl.len())),
    "bytes": pl.col("model").cast(pl.Binary),
}


@pytest.mark.parametrize("kind", IDS)
def test_ids_that_are_no_text_break_their_rule_however_the_log_is_counted(write, kind):
    """In every second row of one of two files: the combinations of labels have no column of ids."""
    frame = rows(300, 15).filter(pl.col("item").is_not_null())
    ids = pl.when(pl.int_range(pl.len()) % 2 == 0).then(IDS[kind])
    result = both_ways(write(frame.with_columns(execution_id=ids), frame))
    assert_same(*result)
    broken = result[0].rejected.filter(pl.col("rule") == "execution_id_type")
    assert 0 < broken.height == result[0].counts.rejected["execution_id_type"]
    assert "part-0" in broken["file"][0]


def test_many_levels(write):
    """The array of codes is laid out anew as levels turn up, and given up when it would be too large."""
    names = pl.concat_str(pl.lit("item-"), pl.int_range(pl.len()).cast(pl.String))
    frame = rows(4_000, 7, item=names, session=None, answer=None, task=None, scorer=None, wave=None)
    result = both_ways(write(frame))
    assert result[0].tally is not None
    assert_same(*result)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tally, "PLACES_MAX", 1000)
        assert both_ways(write(frame))[0].tally is None


def test_small_logs_and_other_formats_are_read_row_by_row(tmp_path):
    rows(50, 8).filter(pl.col("item").is_not_null()).write_csv(tmp_path / "log.csv")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counted, "ROWS_MIN", 1)
        assert dv.read(tmp_path).tally is None


def test_a_damaged_file_is_a_sentence(tmp_path):
    path = tmp_path / "log.parquet"
    rows(3000, 9).filter(pl.col("item").is_not_null()).write_parquet(path)
    content = bytearray(path.read_bytes())
    content[200:1200] = bytes(1000)
    path.write_bytes(content)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(dv.InputError, match="cannot be read"):
        patch.setattr(counted, "ROWS_MIN", 1)
        dv.read(path)


def test_progress_is_rows_and_their_rate(write, monkeypatch):
    told = []
    monkeypatch.setattr(counted, "ROWS_MIN", 1)
    monkeypatch.setattr(counted.time, "monotonic", iter(range(10**6)).__next__)  # a clock on which every batch is late
    frame = rows(400, 10).filter(pl.col("item").is_not_null())
    dv.read(write(frame, frame), progress=told.append)
    assert told[0].startswith("counting rows: ")
    assert told[-1].startswith(f"counting rows: {2 * frame.height} of {2 * frame.height}, ")
    assert told[-1].endswith(" a second")


def test_partitions_of_other_types(write):
    """Numbers in one partition and texts in the other are the same labels."""
    frame = rows(300, 11).filter(pl.col("item").is_not_null()).with_columns(item=pl.col("item").str.slice(1))
    number = frame.with_columns(pl.col("item").cast(pl.Int64), pl.col("wave").cast(pl.Float64), score=pl.col("score") > 0)
    result = both_ways(write(frame, number, frame.head(0)))
    assert result[0].tally is not None
    assert_same(*result)
    assert result[2].levels["item"] == ("1", "2", "3", "4")
