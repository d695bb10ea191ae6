"""The same rows arrive from every kind of file and frame, under whatever names the file gives its columns."""

import gzip
import io
import json
import subprocess
import sys

import pandas as pd
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from divergence.configuration import Configuration
from divergence.errors import InputError
from divergence.executions import read

CORE = ["regime", "model", "item", "trial", "engine", "score", "context"]


def core(log):
    return log.valid.select(CORE)


def write(frame: pl.DataFrame, path):
    """A log in the format that the path's name says."""
    text = io.BytesIO()
    match path.name.removesuffix(".gz").rsplit(".", 1)[1]:
        case "parquet":
            frame.write_parquet(text)
        case "arrow" | "feather":
            frame.write_ipc(text)
        case "ipc":
            frame.write_ipc_stream(text)
        case "csv":
            frame.write_csv(text)
        case "tsv":
            frame.write_csv(text, separator="\t")
        case "jsonl" | "ndjson":
            frame.write_ndjson(text)
        case "json":
            text.write(json.dumps(frame.to_dicts()).encode())
    content = text.getvalue()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


NAMES = [
    "log.parquet",
    "log.arrow",
    "log.feather",
    "log.ipc",
    "log.csv",
    "log.csv.gz",
    "log.tsv",
    "log.jsonl",
    "log.ndjson.gz",
    "log.json",
    "log.json.gz",
]


@pytest.mark.parametrize("name", NAMES)
def test_every_format_gives_the_same_rows(tmp_path, rows, name):
    expected = core(read(rows()))
    log = read(write(rows(), tmp_path / name))
    assert_frame_equal(core(log), expected)
    assert log.counts.rows == log.counts.valid == 24
    assert log.valid["row"].to_list() == list(range(1, 25))
    assert log.valid["file"].unique().to_list() == [str(tmp_path / name)]


@pytest.mark.parametrize("convert", [pl.DataFrame.lazy, pl.DataFrame.to_pandas, pl.DataFrame.to_arrow])
def test_every_frame_gives_the_same_rows(rows, convert):
    assert_frame_equal(core(read(convert(rows()))), core(read(rows())))


def test_a_pandas_column_of_mixed_objects_is_judged_row_by_row(rows):
    frame = rows().to_pandas().astype({"score": object})
    frame.loc[3, "score"] = "abc"
    log = read(frame)
    assert log.counts.rejected == {"score_type": 1}
    assert log.rejected.row(0) == ("frame 1", 4, "score_type", "score is not a number", "abc")


def test_a_missing_value_of_pandas_is_not_judged(rows):
    frame = rows().to_pandas()
    frame.loc[3, "score"] = float("nan")
    log = read(frame)
    assert (log.counts.valid, log.counts.unjudged) == (24, 1)


def test_folders_globs_lists_and_regimes_are_one_log(tmp_path, rows):
    parts = rows().partition_by("regime", as_dict=True)
    (tmp_path / "deep").mkdir()
    for (regime,), part in parts.items():
        write(part, tmp_path / "deep" / f"{regime}.parquet")
        write(part.drop("regime"), tmp_path / f"{regime}.csv")
    expected = core(read(rows())).sort(CORE)
    for source in (tmp_path / "deep", str(tmp_path / "deep" / "*.parquet"), sorted((tmp_path / "deep").iterdir())):
        assert_frame_equal(core(read(source)).sort(CORE), expected)
    both = read(evaluation=tmp_path / "evaluation.csv", deployment=[tmp_path / "deployment.csv"])
    assert_frame_equal(core(both).sort(CORE), expected)


def test_a_folder_names_what_it_skips(tmp_path, rows):
    write(rows(), tmp_path / "log.parquet")
    write(pl.DataFrame({"a": [1]}), tmp_path / "other.csv")
    (tmp_path / "card.md").write_text("# a card")
    (tmp_path / "schema.json").write_text('{"columns": []}')
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / ".hidden.csv").write_text("model,score\n")
    (tmp_path / "divergence.toml").write_text('outcome = "score"')
    log = read(tmp_path)
    reasons = {file.rsplit("/", 1)[1]: reason for file, reason in log.skipped}
    assert sorted(reasons) == ["card.md", "empty.csv", "other.csv", "schema.json"]
    assert "has no column model, only a" in reasons["other.csv"]
    assert reasons["empty.csv"] == "empty file"
    assert len(log.sources) == 1


def test_the_same_file_named_twice_is_read_once(tmp_path, rows):
    path = write(rows(), tmp_path / "log.parquet")
    assert read([path, tmp_path, str(tmp_path / "*.parquet")]).counts.rows == 24
    with pytest.raises(InputError, match="given twice, as evaluation and deployment"):
        read(evaluation=path, deployment=path)


def test_columns_are_renamed_only_as_declared(rows):
    frame = rows().rename({"score": "pass_rate_2", "engine": "backend"}).with_columns(note=pl.lit("x"))
    flags = Configuration().with_flags(map=["score=pass_rate_2", "engine=backend"])
    log = read(frame, configuration=flags)
    assert_frame_equal(core(log), core(read(rows())))
    assert log.ignored == ("note",)


def test_a_mapped_column_takes_the_place_of_one_that_has_its_name(rows):
    frame = rows(better=1.0)
    assert read(frame, configuration=Configuration().with_flags(map=["score=better"])).valid["score"].sum() == 24


def test_constants_fill_what_the_file_lacks_and_nothing_else(rows):
    flags = Configuration().with_flags(set=["regime=deployment", "wave=spring", "trial=7"])
    log = read(rows(without=("regime", "trial")), configuration=flags)
    assert log.valid.select("regime", "wave", "trial").unique().rows() == [("deployment", "spring", 7)]
    with pytest.raises(InputError, match="would overwrite the column regime"):
        read(rows(), configuration=Configuration().with_flags(set=["regime=deployment"]))


def test_a_column_given_as_a_constant_is_told_from_one_that_is_mapped(rows):
    frame = rows(n_cases=3.0)
    with pytest.raises(InputError, match=r"is the text n_cases, .* write --map score_n=n_cases"):
        read(frame, configuration=Configuration().with_flags(set=["score_n=n_cases"]))
    assert read(frame, configuration=Configuration().with_flags(set=["scorer=n_cases"])).counts.valid == 24
    assert read(frame, configuration=Configuration().with_flags(map=["score_n=n_cases"])).counts.valid == 24


def test_where_keeps_levels_of_any_column(rows):
    def kept(*where):
        return read(rows(n=[1, 2] * 12, half=[0.5, 2.0] * 12), configuration=Configuration().with_flags(where=where))

    assert kept("engine=vllm").counts.rows == 8
    assert kept("engine=vllm", "engine=sglang").counts.rows == 16
    assert kept("engine=vllm", "n=2").counts.rows == 4
    assert kept("half=2").counts.rows == kept("half=2.0").counts.rows == 12
    with pytest.raises(InputError, match="no rows where engine = none"):
        kept("engine=none")
    with pytest.raises(InputError, match=r"column engin to filter by \(did you mean engine\?\)"):
        kept("engin=vllm")


def test_a_row_number_counts_all_rows_of_the_file_and_not_those_kept(rows):
    log = read(rows(), configuration=Configuration().with_flags(where=["engine=sglang"]))
    assert log.valid["row"].to_list() == list(range(17, 25))


def test_regime_can_be_the_level_of_another_column(rows):
    rule = {"regime": {"column": "engine", "evaluation": ["bench", "vllm"]}}
    log = read(rows(without=("regime",)), configuration=Configuration.from_table(rule))
    assert log.counts.regimes == {"evaluation": 16, "deployment": 8}
    rule["regime"]["evaluation"] = ["imagenet"]
    with pytest.raises(InputError, match="No row has one of the levels imagenet of engine"):
        read(rows(without=("regime",)), configuration=Configuration.from_table(rule))


def test_a_given_regime_fills_missing_ones_and_contradicts_others(tmp_path, rows):
    frame = rows().with_columns(regime=pl.when(pl.col("engine") == "bench").then(pl.lit("evaluation")))
    path = write(frame, tmp_path / "log.parquet")
    log = read(evaluation=path)
    assert log.counts.regimes == {"evaluation": 24, "deployment": 0}
    log = read(deployment=path, accept_rejected=0.5)
    assert log.counts.rejected == {"regime_agrees": 8}


def test_files_with_other_columns_are_put_together_by_name(rows):
    first, second = rows().head(8), rows(latency_s=1.5).tail(16).select("score", "model", "regime", "latency_s")
    log = read([first, second])
    assert log.counts.valid == 24
    assert log.valid["latency_s"].null_count() == 8
    assert set(log.valid["file"]) == {"frame 1", "frame 2"}


def test_types_are_canonical_whatever_the_file_has(rows):
    frame = rows(
        score_n=[1.0, None] * 12,
        concurrency=[8.0, None] * 12,
        turn=["3", " 4 "] * 12,
        latency_s=["1e-1", ""] * 12,
        time=["2026-05-01T10:00:00+02:00", "2026-05-01 08:00:00Z"] * 12,
        prefix_cache=[True, False] * 12,
        embedding=[[1, 2], None] * 12,
    )
    valid = read(frame).valid
    assert valid.schema["time"] == pl.Datetime("us", "UTC")
    assert valid["time"].n_unique() == 1, "10:00 at +02:00 and 08:00Z are one instant"
    assert valid["score_n"].to_list()[:2] == [1, None]
    assert set(valid["concurrency"]) == {"8", "not logged"}
    assert valid["turn"].to_list()[:2] == [3, 4]
    assert valid["latency_s"].to_list()[:2] == [0.1, None]
    assert set(valid["prefix_cache"]) == {"true", "false"}
    assert valid.schema["embedding"] == pl.List(pl.Float32)


def test_embeddings_survive_json_lines(tmp_path, rows):
    frame = rows(embedding=[[0.5, 1.5]] * 24)
    for name in ("log.jsonl", "log.json"):
        valid = read(write(frame, tmp_path / name)).valid
        assert valid["embedding"].to_list() == [[0.5, 1.5]] * 24


def test_a_column_that_comes_late_in_json_lines_is_not_missed(tmp_path, rows):
    line = rows().tail(1).write_ndjson()
    path = tmp_path / "log.jsonl"
    path.write_text(line * 2000 + line.replace("}", ', "error_type": "timeout"}'))
    assert read(path).valid["error_type"].drop_nulls().to_list() == ["timeout"]


def test_an_address_is_left_to_polars(tmp_path, rows):
    rows().write_parquet(tmp_path / "log.parquet")
    log = read(f"file://{tmp_path}/log.parquet")
    assert_frame_equal(core(log), core(read(rows())))
    assert log.sources[0].sha256 is None
    with pytest.raises(InputError, match=r"The file file://.*none\.parquet cannot be read"):
        read(f"file://{tmp_path}/none.parquet")


def test_optional_columns_that_cannot_be_typed_as_a_whole_are_named(rows):
    frame = rows(
        time="2026-05-01",
        latency_s=["fast"] + ["0.1"] * 23,
        output_tokens=[-1] + [5] * 23,
        turn=[1.5] + [1.0] * 23,
        predicted=[1.5] + [0.5] * 23,
        cost_usd=[float("inf")] + [0.0] * 23,
        sampler=[[1]] * 24,
    )
    log = read(frame)
    unused = dict(log.unused)
    assert log.counts.valid == 24
    assert "24 of 24 values are no instants with a zone, for example '2026-05-01'" in unused["time"]
    assert unused["latency_s"] == "1 of 24 values are no numbers, for example 'fast'"
    assert unused["output_tokens"] == "1 of 24 values are below 0"
    assert unused["turn"] == "1 of 24 values are no whole numbers, for example '1.5'"
    assert unused["predicted"] == "1 of 24 values are below 0 or above 1"
    assert unused["cost_usd"] == "1 of 24 values are below -1e+12 or above 1e+12"
    assert "texts" in unused["sampler"]
    columns = log.scan().collect_schema()
    assert "latency_s" not in columns and "sampler" not in columns
    assert log.valid["time"].null_count() == log.valid["turn"].null_count() == 24


def test_naive_timestamps_are_no_instants(rows):
    frame = rows(time=pd.Timestamp("2026-05-01").to_pydatetime())
    assert dict(read(frame).unused)["time"].startswith("24 of 24 values are no instants")


def test_a_not_a_number_in_an_optional_column_is_missing_and_told(rows):
    log = read(rows(latency_s=[float("nan")] + [1.0] * 23))
    assert log.valid["latency_s"].null_count() == 1
    assert log.notes == ("latency_s: 1 NaN values are read as missing.",)


def test_identity_is_made_from_file_and_row_where_none_is_given(tmp_path, rows):
    given = [f"run-{number}" if number % 2 else None for number in range(24)]
    path = write(rows(execution_id=given), tmp_path / "log.parquet")
    log = read(path)
    (source,) = log.sources
    names = log.valid["execution_id"].to_list()
    assert names[:2] == [f"{source.sha256[:16]}:1", "run-1"]
    assert len(set(names)) == 24
    assert source.bytes == path.stat().st_size


def test_importing_the_stage_loads_nothing_heavy():
    heavy = ("jax", "numpyro", "altair", "sklearn")
    code = f"import sys, divergence.executions; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_log_says_what_it_holds(tmp_path, rows):
    said = repr(read(write(rows(), tmp_path / "log.parquet"))).splitlines()
    assert said[0].startswith("Executions: 24 valid rows of 24 in ")
    assert any(line.startswith("factors: ") for line in said) and "LazyFrame" not in repr(said)
