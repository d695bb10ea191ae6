"""Hostile tables and configurations: whatever is changed, reading gives a log, rejected rows or one sentence, and the fast
reader of JSON lines gives what the slow one gives.

`tests/corpus/tables` holds the seeds and every input that was once read wrongly. `make fuzz` runs thousands of examples a
format (`DIVERGENCE_FUZZ`), drawn anew in each run.
"""

import csv
import io
import json
import os
import time
import tomllib
from pathlib import Path

import polars as pl
import pytest
from damage import EDIT, MEMORY, ODD, STEPS, TRIED, changed, peak, replaced
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from divergence.configuration import Configuration
from divergence.errors import InputError
from divergence.executions import json_records, read, text_tables
from divergence.executions.names import ROW

CORPUS = sorted((Path(__file__).parents[1] / "corpus" / "tables").iterdir())
ASKED = int(os.environ.get("DIVERGENCE_FUZZ", "0"))
SLOW = 20.0  # seconds: a hang, on however busy a machine


def examples(count):
    return settings(
        max_examples=ASKED or count,
        deadline=None,
        derandomize=not ASKED,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
    )


@pytest.fixture(autouse=True)
def bounded():
    """Thousands of files one after the other take no more memory than a few."""
    yield
    assert not ASKED or peak() < MEMORY


def survives(path: Path, content: bytes):
    """The log, the configuration, or the sentence."""
    TRIED[path.name] += 1
    path.write_bytes(content)
    began = time.monotonic()
    try:
        if path.suffix == ".toml":
            return Configuration.load(path)
        log = read(path, configuration=Configuration(), accept_rejected=1.0)
        assert log.valid.height == log.counts.valid == log.counts.rows - log.rejected.height
        return log
    except InputError as error:
        said = str(error)
        assert said.isprintable() and len(said) <= 300 and said
        return said
    finally:
        assert time.monotonic() - began < SLOW


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_the_corpus(path, tmp_path):
    found = survives(tmp_path / path.name, path.read_bytes())
    if path.stem == "seed":
        assert found.outcome == "score" if path.suffix == ".toml" else found.counts.valid == 24
    elif path.suffix in (".toml", ".json") and path.name != "half-pair.json":
        assert isinstance(found, str)
    elif path.suffix == ".jsonl" and not path.name.startswith(("half-pair", "carriage", "boolean")):
        assert (found.counts.valid, found.rejected["rule"].to_list()) == (24, ["record_readable"])


@pytest.mark.parametrize(
    "name, said",
    [
        ("header-twice.csv", "names the column 'score' 2 times in line 1"),
        ("carriage-returns.csv", "carriage returns alone"),
        ("carriage-returns.jsonl", "carriage returns alone"),
        ("ragged.csv", "line 26 has 6 fields, the header 4"),
        ("utf16.csv", "is UTF-16"),
        ("deep.toml", "nested too deeply"),
        ("deep-inline.toml", "nested too deeply"),
        ("digits.toml", "not valid TOML"),
        ("deep.json", "nested too deeply"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(name, said, tmp_path):
    content = next(path for path in CORPUS if path.name == name).read_bytes()
    assert said in survives(tmp_path / name, content)


def test_half_a_pair_is_one_letter_on_every_path(tmp_path):
    wanted = {"m", "m\ufffd"}
    for name in ("half-pair.jsonl", "half-pair-and-no-record.jsonl"):
        content = next(path for path in CORPUS if path.name == name).read_bytes()
        assert set(survives(tmp_path / name, content).valid["model"]) == wanted


def test_a_boolean_among_numbers_is_the_same_on_both_paths(tmp_path):
    path = next(path for path in CORPUS if path.name == "boolean-among-numbers.jsonl")
    assert survives(tmp_path / path.name, path.read_bytes()).counts.valid == 24
    for lines in (['{"a": [0, false]}'], ['{"a": [1.5]}', '{"a": [true]}'], ['{"a": [1]}', '{"a": "b, true"}']):
        log = tmp_path / "log.jsonl"
        log.write_text("\n".join(lines) + "\n")
        assert same(outcome(json_records.scan_ndjson, log), outcome(json_records.scan_by_line, log)), lines


def seeds() -> dict[str, bytes]:
    frame = pl.read_ndjson(next(path for path in CORPUS if path.name == "seed.jsonl"))
    found = {path.name: path.read_bytes() for path in CORPUS if path.stem == "seed"}
    for name, write in (
        ("seed.parquet", frame.write_parquet),
        ("seed.arrow", frame.write_ipc),
        ("stream.arrow", frame.write_ipc_stream),
    ):
        held = io.BytesIO()
        write(held)
        found[name] = held.getvalue()
    return found


PARTS = st.sampled_from(
    [b"\n", b"\r", b"\r\n", b'"', b",", b"\t", b"\x00", b"\xff", b"\xef\xbb\xbf", b"{", b"[", b"]", b"}", b"=", b"1e400",
     b"-", b"nan", b"9" * 400, b'"score"', b"score", b"[" * 70, b'"a":', b"\\ud800", b"\\u0000", b"'''"]
)  # fmt: skip
INSERT = st.tuples(st.floats(0, 1, exclude_max=True), st.sampled_from(["replace", "add"]), PARTS)


@pytest.mark.parametrize("name", sorted(seeds()))
def test_every_format_survives_damage(name, tmp_path):
    content = seeds()[name]

    @examples(25)
    @given(st.lists(st.one_of(EDIT, INSERT), min_size=1, max_size=4))
    def check(edits):
        survives(tmp_path / name, changed(content, edits))

    check()


def written(name: str, value) -> bytes:
    """A table, or a configuration, with these values in the format of the name. Raises what its writer raises."""
    kind = name.split(".")[1]
    if kind == "toml":
        return "".join(f"{key} = {in_toml(one)}\n" for key, one in value.items()).encode()
    if kind == "json":
        return json.dumps(value).encode()
    if kind == "jsonl":
        return "".join(json.dumps(record) + "\n" for record in value).encode()
    held = io.StringIO(newline="")
    if kind in ("csv", "tsv"):
        lines = csv.writer(held, delimiter="," if kind == "csv" else "\t")
        lines.writerows(line if isinstance(line, list) else [line] for line in value)
        return held.getvalue().encode()
    frame = pl.DataFrame(value, infer_schema_length=None, strict=False)
    packed = io.BytesIO()
    writers = {"seed.parquet": frame.write_parquet, "seed.arrow": frame.write_ipc, "stream.arrow": frame.write_ipc_stream}
    writers[name](packed)
    return packed.getvalue()


def in_toml(value) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {in_toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(in_toml, value)) + "]"
    return repr(value) if isinstance(value, float) else json.dumps(value)


def values_of(name: str):
    """The seed as values that can be changed: its records, the cells of its lines, or its keys."""
    kind = name.split(".")[1]
    if kind == "toml":
        return tomllib.loads(seeds()[name].decode())
    if kind in ("csv", "tsv"):
        return list(csv.reader(io.StringIO(seeds()[name].decode()), delimiter="," if kind == "csv" else "\t"))
    return json.loads(seeds()["seed.json"])


@pytest.mark.parametrize("name", sorted(seeds()))
def test_every_format_survives_odd_values(name, tmp_path):
    whole = values_of(name)

    @examples(25)
    @given(st.lists(st.tuples(STEPS, st.sampled_from(ODD)), min_size=1, max_size=4))
    def check(changes):
        value = whole
        for steps, new in changes:
            value = replaced(value, steps, new)
        try:
            content = written(name, value)
        except (UnicodeEncodeError, TypeError, OverflowError, ValueError, AttributeError, pl.exceptions.PolarsError):
            return  # such a file cannot be written at all
        survives(tmp_path / name, content)

    check()


SCALAR = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=6),
    st.sampled_from(["\ud800", "a\udc00", "model", "score", "\u2028", "\x00", '"', "1e5"]),
)
LISTS = st.lists(
    st.one_of(st.none(), st.integers(-9, 9), st.floats(), st.booleans(), st.sampled_from(["a", '"'])), max_size=3
)
VALUE = st.one_of(
    SCALAR,
    LISTS,
    st.dictionaries(st.sampled_from(["b", "c"]), SCALAR, max_size=2),
    st.lists(st.one_of(st.integers(-9, 9), st.floats(allow_nan=False, allow_infinity=False)), max_size=3),
)
RECORD = st.dictionaries(st.sampled_from(["model", "score", "item", "\u00e9", "a.b"]), VALUE, max_size=5)
LINE = st.one_of(
    st.builds(lambda record, plain: json.dumps(record, ensure_ascii=plain), RECORD, st.booleans()),
    st.builds(lambda record: json.dumps(record)[:-1] + ', "score": 3}' if record else '{"a": 1, "a": 2}', RECORD),
    st.sampled_from(
        ["", "  ", "nope", "[1]", "5", "{", '{"a": 01}', '{"sc\\u006fre": 1, "score": 2}', '{"item": {"b": 1}}']
    ),
)


def test_the_fast_reader_and_the_slow_one_agree(tmp_path):
    path = tmp_path / "log.jsonl"

    @examples(200)
    @given(st.lists(LINE, min_size=1, max_size=6))
    def check(lines):
        TRIED["fast = slow"] += 1
        path.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass") + b"\n")
        assert same(outcome(json_records.scan_ndjson, path), outcome(json_records.scan_by_line, path)), lines

    check()


def outcome(reader, path):
    """The rows as text; None where the reader refuses the file."""
    try:
        frame = reader(path).collect()
    except (ValueError, pl.exceptions.PolarsError):
        return None
    if not set(frame.columns) - {ROW, json_records.FAILED_RECORD}:
        return None  # a file without columns is refused
    if json_records.FAILED_RECORD not in frame.columns:
        frame = frame.with_columns(pl.lit(None, pl.String).alias(json_records.FAILED_RECORD))
    return sorted(frame.columns), frame.select(sorted(frame.columns)).to_dicts()


def same(one, other) -> bool:
    return repr(one) == repr(other)  # NaN is NaN


@pytest.mark.parametrize("name", ["pipe.csv", "pipe.jsonl", "pipe.parquet", "pipe.toml", "device.csv", "device.toml"])
def test_pipes_and_devices_are_refused_before_they_hang(name, tmp_path):
    path = tmp_path / name
    if name.startswith("pipe"):
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(InputError, match="is no regular file"):
        Configuration.load(path) if path.suffix == ".toml" else read(path)
    if path.suffix == ".csv":
        from divergence.scoring.sources import partitions

        with pytest.raises(InputError, match="is no regular file"):
            partitions([path])


def test_a_packed_bomb_is_refused_and_an_honest_log_is_not(tmp_path, monkeypatch):
    import gzip

    monkeypatch.setattr(text_tables, "UNPACKED_FLOOR", 1_000_000)
    row = b'{"regime": "evaluation", "model": "m", "item": "i", "score": 1}\n'
    path = tmp_path / "log.jsonl.gz"
    path.write_bytes(gzip.compress(row * 100))
    assert read(path, configuration=Configuration()).counts.rows == 100
    path.write_bytes(gzip.compress(row + b'{"x": "' + b"0" * 5_000_000 + b'"}\n'))
    with pytest.raises(InputError, match="unpacks to more than 100 times its size"):
        read(path)
