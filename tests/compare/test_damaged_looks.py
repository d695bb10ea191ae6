"""A state of repeated looks in which any one field is damaged is refused in one sentence that names it, or is one that a
look can be added to."""

import json

import polars as pl
import pytest
from compare_runs import flipped, run
from damaged_fields import of_words, tried

import divergence as dv
from divergence.comparison.state import METADATA
from divergence.sealed import SEAL, with_seal

SOME = 40  # damages of words and of columns in the tests; all of them in `make prove`


@pytest.fixture(scope="module")
def looked(tmp_path_factory):
    """A state after two looks, and the runs of the third."""
    place = tmp_path_factory.mktemp("looks") / "state"
    for number in range(2):
        before, after = flipped(40, 6, 2 + number)
        dv.compare(run(before, engine="a", task="t"), run(after, engine="a", task="t"), state=place)
    words, rows = json.loads(pl.read_parquet_metadata(place)[METADATA]), pl.read_parquet(place)
    assert words.pop(SEAL) and len(words["looks"]) == 2
    return words, rows, [run(scores, engine="a", task="t") for scores in flipped(40, 3, 3)]


def used(place, words, rows, runs) -> str:
    """A third look: "works", or the sentence."""
    rows.write_parquet(place, metadata={METADATA: json.dumps(words)})
    try:
        found = dv.compare(*runs, state=place)
        json.dumps(found.to_dict())
    except (dv.InputError, dv.NotIdentifiedError) as error:
        assert str(error).isprintable() and len(str(error)) <= 300
        return str(error)
    return "works"


def columns(rows):
    """(what, rows) of every damage of one column."""
    values = (None, "x", "", 5, -1, 0.5, float("nan"), float("inf"), 1e300, True, [1], {"a": 1})
    for name in rows.columns:
        yield (name, "gone"), rows.drop(name)
        for value in values:
            other = pl.Series(name, [value] * rows.height)
            yield (name, value), rows.with_columns(other)
            if value is not None:
                yield (name, value, "first"), rows.with_columns(pl.Series(name, [value, *[None] * (rows.height - 1)]))
            try:
                yield (name, value, "cast"), rows.with_columns(other.cast(rows.schema[name]))
            except pl.exceptions.PolarsError:
                continue
    yield ("rows", 0), rows.head(0)


def check(looked, place, most):
    words, rows, runs = looked
    assert used(place, with_seal(words), rows, runs) == "works"
    cases = [[(what, other, rows) for what, other in of_words(words)], [(w, words, other) for w, other in columns(rows)]]

    def use(number, what, other, others):
        if what[0] == "word" and number % 5 == 0:
            assert "is no state of a comparison" in used(place, other | {SEAL: "0" * 64}, others, runs)
        return used(place, with_seal(other), others, runs)

    number, refused = tried(cases, most, use)
    print(f"{number} damaged fields, {refused} refused, to the others a look could be added")
    assert refused > number / 3


@pytest.mark.filterwarnings("ignore")
def test_some_damaged_fields_of_looks(looked, tmp_path):
    check(looked, tmp_path / "state", SOME)


@pytest.mark.prove
@pytest.mark.filterwarnings("ignore")
def test_every_damaged_field_of_looks(looked, tmp_path):
    check(looked, tmp_path / "state", None)


@pytest.mark.parametrize("words", ["[" * 200_000, "[]", "5", "", '{"about": 5}'])
def test_words_that_are_none(looked, tmp_path, words):
    looked[1].write_parquet(tmp_path / "state", metadata={METADATA: words})
    with pytest.raises(dv.InputError, match="is no state of a comparison"):
        dv.compare(*looked[2], state=tmp_path / "state")


def test_a_state_of_an_earlier_version_without_a_hash_is_read(looked, tmp_path):
    words, rows, runs = looked
    assert used(tmp_path / "state", words, rows, runs) == "works"
