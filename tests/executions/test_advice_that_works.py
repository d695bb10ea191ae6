"""What an error or `init` advises is about the file's own values, and reads it; what no column has is refused by name."""

import polars as pl
import pytest

from divergence.configuration import Configuration
from divergence.errors import InputError
from divergence.executions import read
from divergence.executions.guess import example_meaning, known_meaning


def log(values):
    rows = [{"regime": "evaluation", "model": "m", "context": "c", "item": f"i{k}"} for k in range(len(values))]
    return pl.DataFrame(rows).with_columns(score=pl.Series(values))


def refused(values, table=None):
    with pytest.raises(InputError) as told:
        read(log(values), configuration=Configuration.from_table(table or {}))
    assert len(str(told.value)) <= 320
    return str(told.value)


def advised(text):
    """The table that the line in a sentence declares."""
    import tomllib

    line = text.partition("[values] ")[2].partition("}")[0] + "}"
    return tomllib.loads("[values]\n" + line)


@pytest.mark.parametrize(
    "values", [["PASS", "FAIL"], ["A", "B", "C", "D"], ["bad", "ok", "good"], ["solved", "gave up"], ["yes", "no", "maybe"]]
)
def test_the_line_that_is_advised_names_the_levels_of_the_file_and_reads_it(values):
    told = refused(values * 20)
    table = advised(told)
    assert set(table["values"]["score"]) == set(values)
    assert not read(log(values * 20), configuration=Configuration.from_table(table)).counts.rejected


@pytest.mark.parametrize(
    ("values", "scale"),
    [([0, 1, 2], [0, 2]), ([0, 3, 1], [0, 3]), ([0, 1, 4], [0, 4]), ([1, 3, 5], [1, 5]), ([0, 9], [0, 10])],
)
def test_the_scale_that_is_advised_is_that_of_the_values(values, scale):
    assert advised(refused([float(v) for v in values] * 20)) == {"values": {"score": {"scale": scale}}}


def test_percents_are_hundredths():
    found = read(log(["100%", "0%", "37.5 %", "0.5%"] * 10))
    assert found.valid["score"].to_list()[:4] == [1.0, 0.0, 0.375, 0.005]
    assert "score_in_range" in refused(["120%", "100%"] * 10)


@pytest.mark.parametrize(
    ("values", "meant"),
    [
        (["C", "I"], {"C": 1, "I": 0}),
        (["A", "B", "C", "D"], {}),
        (["C", "A"], {}),
        (["bad", "ok", "good"], {}),
        (["ok", "error"], {"ok": 1, "error": 0}),
        (["pass", "fail", "timeout"], {"pass": 1, "fail": 0}),
    ],
)
def test_only_what_plainly_is_right_or_wrong_is_offered(values, meant):
    assert known_meaning(values) == meant
    assert all(value in example_meaning(values) for value in values)


@pytest.mark.parametrize("name", ["scor", "Score", "quality"])
def test_values_of_a_name_that_no_file_has_are_refused(name):
    told = refused([0, 1] * 10, {"values": {name: {"up": 1, "down": 0}}})
    assert f"[values] says what {name} means" in told
    assert ("did you mean score" in told or "nearest" in told) == (name != "quality")


@pytest.mark.parametrize("name", ["score", "answer"])
def test_values_of_a_column_are_accepted(name):
    assert read(log([0, 1] * 10), configuration=Configuration.from_table({"values": {name: {"up": 1}}})).counts.valid == 20


@pytest.mark.parametrize("key", ["scle", "Scale", "range"])
def test_a_misspelt_scale_is_told_the_key_that_is_meant(key):
    with pytest.raises(InputError) as told:
        Configuration.from_table({"values": {"score": {key: [0, 1]}}})
    assert f"has no key {key}" in str(told.value) and "scale = [LOW, HIGH]" in str(told.value)
