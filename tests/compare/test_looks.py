"""Repeated looks: the state, what it adds up, and what it refuses."""

import numpy as np
import polars as pl
import pytest
from compare_runs import flipped, run

import divergence as dv
from divergence.comparison import anytime, tango
from divergence.comparison.state import load


def test_looks_add_up(tmp_path):
    before, after = flipped(100, 6, 2)
    place = tmp_path / "state"
    first = dv.compare(run(before), run(after), state=place)
    alone = dv.compare(run(before), run(after))
    assert first.look.number == 1 and first.look.widening > 1
    assert first.difference.lower < alone.difference.lower and first.difference.upper > alone.difference.upper
    more = [run(scores).with_columns(pl.col("item") + "x") for scores in flipped(100, 3, 3)]
    second = dv.compare(*more, state=place)
    assert (second.look.number, second.items.shared) == (2, 200)
    assert second.difference.estimate == pytest.approx((2 + 3 - 6 - 3) / 200)
    assert len(load(place).looks) == 2


def test_a_look_at_the_same_runs_adds_nothing(tmp_path):
    before, after = (run(scores) for scores in flipped(100, 6, 2))
    place = tmp_path / "state"
    first = dv.compare(before, after, state=place)
    kept = place.read_bytes()
    again = dv.compare(before, after, state=place)
    assert again.difference == first.difference and not again.look.new
    assert place.read_bytes() == kept
    assert any("nothing was added" in note for note in again.notes)


def test_another_night_is_another_replicate(tmp_path):
    before, after = flipped(100, 6, 2)
    place = tmp_path / "state"
    dv.compare(run(before), run(after), state=place)
    night = after.copy()
    night[0] = 1  # one of the six is right again
    second = dv.compare(run(before), run(night), state=place)
    assert second.items.shared == 100
    assert second.difference.estimate == pytest.approx((-4 - 3) / 200)
    assert second.table.filter(pl.col("item") == "i0")["after"][0] == 0.5
    assert second.table["before_n"].max() == 1  # the reference run was given twice and counts once


def test_the_state_holds_no_answers(tmp_path):
    before = run([1, 0] * 30, answer=["private"] * 60)
    dv.compare(before, before.with_columns(score=pl.lit(1.0)), state=tmp_path / "state")
    assert b"private" not in (tmp_path / "state").read_bytes()
    assert "answer" not in pl.read_parquet(tmp_path / "state").columns


def test_another_change_needs_another_state(tmp_path):
    before, after = (run(scores, engine="a") for scores in flipped(100, 6, 2))
    dv.compare(before, after, state=tmp_path / "state")
    with pytest.raises(dv.InputError, match="follows another comparison: engine of AFTER was 'a'"):
        dv.compare(before, after.with_columns(engine=pl.lit("b")), state=tmp_path / "state")
    with pytest.raises(dv.InputError, match="confidence"):
        dv.compare(before, after, state=tmp_path / "state", confidence=0.9)


def test_a_file_that_is_no_state(tmp_path):
    (tmp_path / "state").write_text("x")
    with pytest.raises(dv.InputError, match="no state"):
        dv.compare(run([1, 0] * 9), run([1, 0] * 9), state=tmp_path / "state")
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "other")
    with pytest.raises(dv.InputError, match="no state"):
        dv.compare(run([1, 0] * 9), run([1, 0] * 9), state=tmp_path / "other")


def test_looks_find_what_is_there(tmp_path):
    """A loss of eight points is found, and the limits shrink from look to look."""
    generator, found = np.random.default_rng(0), []
    for look in range(4):
        before = (generator.random(300) < 0.8).astype(float)
        after = np.where(generator.random(300) < 0.1, 0.0, before)
        frames = [run(scores).with_columns(pl.col("item") + f"-{look}") for scores in (before, after)]
        found.append(dv.compare(*frames, state=tmp_path / "state"))
    assert found[-1].verdict == "worse"
    widths = [c.difference.upper - c.difference.lower for c in found]
    assert widths == sorted(widths, reverse=True)


@pytest.mark.parametrize("words", ["{}", "[1]", "null", '{"about": {}, "first_information": 1.0, "looks": []}'])
def test_a_damaged_state_is_a_sentence(tmp_path, words):
    pl.DataFrame({"item": ["i0"]}).write_parquet(tmp_path / "state", metadata={"divergence.compare": words})
    with pytest.raises(dv.InputError, match="is no state of a comparison"):
        dv.compare(*(run(scores) for scores in flipped(100, 6, 2)), state=tmp_path / "state")


def test_items_needed_count_the_looks(tmp_path):
    """The number that settles it at limits that hold over all looks, beside a search at those limits one by one."""
    found = dv.compare(*(run(scores) for scores in flipped(100, 10, 2)), state=tmp_path / "state")
    variance = (0.12 - 0.08**2) / 99

    def settled(n):
        widening = anytime.widening(n / 100 / variance, 1 / variance, 0.95)
        low, high = tango.limits(n * 0.1, n * 0.02, n, 1.959964 * (1 + 1 / n) ** 0.5 * widening)
        return low >= -0.02 or high < -0.02

    assert found.items_needed == 1 + max(n for n in range(50, 1000) if not settled(n))
