"""What cannot be compared is one sentence: what happened, the value seen, what to do."""

import unicodedata

import polars as pl
import pytest
from compare_runs import flipped, run

import divergence as dv

GOOD = [1.0, 0.0] * 30


def test_no_shared_items():
    after = run(GOOD).with_columns(item=pl.col("item") + "-other")
    with pytest.raises(dv.InputError, match="No item is shared: BEFORE has 60 items"):
        dv.compare(run(GOOD), after)


@pytest.mark.parametrize(
    "change", [lambda s: f" {s}", lambda s: s.replace("é", unicodedata.normalize("NFD", "é")), str.upper]
)
def test_ids_written_differently_are_named_with_the_pair(change):
    before = run(GOOD).with_columns(item=pl.Series([f"caféi {k}" for k in range(60)]))
    after = before.with_columns(item=pl.Series([change(item) for item in before["item"]]))
    with pytest.raises(dv.InputError, match="60 ids differ between the sides only by blanks, case or Unicode form") as told:
        dv.compare(before, after)
    assert ascii(before["item"][0]) in str(told.value) or ascii(before["item"][1]) in str(told.value)
    some = pl.concat([before.head(50), after.tail(10)])
    found = dv.compare(before, some)
    assert any("10 ids differ" in note and "not compared" in note for note in found.notes)


def test_the_same_file_twice_is_said(tmp_path):
    run(GOOD).write_parquet(tmp_path / "a.parquet")
    found = dv.compare(tmp_path / "a.parquet", tmp_path / "a.parquet")
    assert any("same files: an A/A" in note for note in found.notes)
    assert any("same rows" in note for note in dv.compare(run(GOOD), run(GOOD)).notes)


def test_one_side_empty(tmp_path):
    (tmp_path / "empty.csv").write_text("item,score\n")
    with pytest.raises(dv.InputError, match="no rows"):
        dv.compare(run(GOOD), tmp_path / "empty.csv")
    (tmp_path / "nothing.jsonl").write_text("")
    with pytest.raises(dv.InputError, match="empty"):
        dv.compare(tmp_path / "nothing.jsonl", run(GOOD))
    (tmp_path / "folder").mkdir()
    with pytest.raises(dv.InputError, match="no file was found"):
        dv.compare(run(GOOD), tmp_path / "folder")
    with pytest.raises(dv.InputError, match="No file or folder"):
        dv.compare(run(GOOD), tmp_path / "absent")


def test_nothing_judged():
    unjudged = run(GOOD).with_columns(score=pl.lit(None, pl.Float64), answer=pl.lit("x"))
    with pytest.raises((dv.InputError, dv.NotIdentifiedError), match=r"usable value|carries the outcome"):
        dv.compare(unjudged, run(GOOD))


def test_an_item_twice_in_one_run():
    doubled = pl.concat([run(GOOD), run(GOOD).head(3)])
    with pytest.raises(dv.InputError, match="'i0' 2 times in one run, and 3 of 60 items in all"):
        dv.compare(doubled, run(GOOD))
    other = run([1 - score if k < 5 else score for k, score in enumerate(GOOD)])
    found = dv.compare(pl.concat([run(GOOD), other]), run(GOOD))
    assert any("taken as replicates" in note for note in found.notes)
    assert found.table["before_n"].unique().to_list() == [2]
    copied = dv.compare(pl.concat([run(GOOD)] * 2), run(GOOD))  # a run that was given twice is one run
    assert copied.table["before_n"].unique().to_list() == [1]


def test_scorers_that_differ():
    exact, judge = run(GOOD, scorer="exact"), run(GOOD, scorer="judge")
    with pytest.raises(dv.NotIdentifiedError, match="judged differently"):
        dv.compare(exact, judge)
    both = pl.concat([exact, judge])
    with pytest.raises(dv.InputError, match="several scorers"):
        dv.compare(both, both)
    found = dv.compare(both, exact, scorer="exact")
    assert found.scorers == {"before": ["exact"], "after": ["exact"]}
    with pytest.raises(dv.InputError, match="no scorer 'other'"):
        dv.compare(both, exact, scorer="other")


def test_tasks_on_one_side_only():
    before = run(GOOD, task=["a"] * 40 + ["b"] * 20)
    found = dv.compare(before, before.filter(pl.col("task") == "a"))
    assert found.items.only_before == 20
    assert any("Tasks only in BEFORE, not compared: b" in note for note in found.notes)
    with pytest.raises(dv.InputError, match="the tasks differ"):
        dv.compare(before, before.with_columns(task=pl.lit("c")))


def test_scores_on_another_scale():
    with pytest.raises(dv.InputError, match="outside 0 to 1"):
        dv.compare(run(GOOD), run([100.0, 0.0] * 30))
    before, after = (run(GOOD).rename({"score": "points"}).with_columns(pl.col("points") * k) for k in (1, 10))
    with pytest.raises(dv.InputError, match="another scale"):
        dv.compare(before, after, outcome="points", margin=0.1)


def test_several_models():
    def models(*names):
        return pl.concat([run(GOOD, model=name) for name in names])

    found = dv.compare(models("a", "b"), models("b", "a", "c"))
    assert [g.model for g in found.groups] == ["a", "b"]
    assert any("not compared: c" in note for note in found.notes)
    assert dv.compare(models("a"), models("z")).changed[0].field == "model"
    with pytest.raises(dv.InputError, match="--by model"):
        dv.compare(models("a", "b"), models("c", "d"))
    with pytest.raises(dv.InputError, match="--by model"):
        dv.compare(models("a", "b"), models("c"))


@pytest.mark.parametrize("margin", [0.0, -0.1, float("nan"), float("inf"), 1.0, 2.0])
def test_margins_that_settle_nothing(margin):
    with pytest.raises(dv.InputError, match="margin"):
        dv.compare(run(GOOD), run(GOOD), margin=margin)


@pytest.mark.parametrize("confidence", [0.0, 0.5, 1.0, 95.0, float("nan")])
def test_confidences(confidence):
    with pytest.raises(dv.InputError, match="confidence"):
        dv.compare(run(GOOD), run(GOOD), confidence=confidence)


def test_an_outcome_without_a_margin():
    slow = run(GOOD).with_columns(latency_s=pl.lit(1.0) + pl.int_range(60) / 60)
    with pytest.raises(dv.InputError, match="no natural margin"):
        dv.compare(slow, slow, outcome="latency_s")


def test_one_item():
    with pytest.raises(dv.NotIdentifiedError, match="one unit"):
        dv.compare(run([1]), run([0]))


def test_clusters_that_are_none():
    before = run(GOOD, passage=["p"] * 30 + ["q"] * 30)
    with pytest.raises(dv.InputError, match="No file of the log has a column doc"):
        dv.compare(before, before, cluster="doc")
    with pytest.raises(dv.InputError, match="several levels of passage"):
        dv.compare(before, before.with_columns(passage=pl.lit("r")), cluster="passage")
    holes = before.with_columns(passage=pl.when(pl.int_range(60) > 3).then("passage"))
    with pytest.raises(dv.InputError, match="4 items have no passage"):
        dv.compare(holes, holes, cluster="passage")
    with pytest.raises(dv.NotIdentifiedError, match="one unit"):
        dv.compare(*[before.with_columns(passage=pl.lit("one"))] * 2, cluster="passage")


def test_requests_that_failed_are_said():
    """A model that stops answering hard items must not look better."""
    before, after = flipped(100, 0, 0)
    failed = run(after).with_columns(
        score=pl.when(pl.int_range(100) < 90).then("score"),
        error_type=pl.when(pl.int_range(100) >= 90).then(pl.lit("timeout")),
    )
    found = dv.compare(run(before), failed)
    assert found.items.only_before == 10
    assert any("10 answers carry no score (10 timeout)" in note for note in found.notes)


def test_by_needs_two_levels_of_a_column():
    log = pl.concat([run(GOOD, engine="a"), run(GOOD, engine="b")])
    found = dv.compare(log, by=("engine", "a", "b"))
    assert found.changed[0].field == "engine" and not any("same files" in note for note in found.notes)
    for by, told in (
        (("engine", "a", "z"), "no level 'z'"),
        (("engine", "a", "a"), "both 'a'"),
        (("motor", "a", "b"), "motor"),
    ):
        with pytest.raises(dv.InputError, match=told):
            dv.compare(log, by=by)
    with pytest.raises(dv.InputError, match="leave `after` out"):
        dv.compare(log, log, by=("engine", "a", "b"))
    with pytest.raises(dv.InputError, match="Name two runs"):
        dv.compare(log)


def test_unknown_population():
    with pytest.raises(dv.InputError, match="one of new, observed"):
        dv.compare(run(GOOD), run(GOOD), items="old")


def test_ids_of_executions_that_name_other_answers_are_no_shared_executions():
    """Frames carry no ids of their own, and row numbers as ids are the same on any two runs."""
    before, after = (run(scores) for scores in flipped(100, 10, 2))
    numbered = [side.with_columns(execution_id=pl.int_range(100).cast(pl.String)) for side in (before, after)]
    for sides in ((before, after), (before, after.head(40)), numbered):
        assert not any("stand on both sides" in note for note in dv.compare(*sides).notes)
    one = numbered[0].with_columns(execution_id=pl.lit("run-") + pl.col("execution_id"))
    assert any("50 executions stand on both sides" in note for note in dv.compare(one, one.head(50)).notes)


def test_one_side_that_names_no_scorer_is_said():
    found = dv.compare(run(GOOD), run(GOOD, scorer="judge"))
    assert any("BEFORE does not say what judged it" in note and "judge" in note for note in found.notes)


def test_no_ids_of_items():
    traffic = run(GOOD, regime="deployment").with_columns(item=pl.lit(None, pl.String))
    with pytest.raises(dv.InputError, match="60 judged rows and none names its item"):
        dv.compare(traffic, traffic)


@pytest.mark.parametrize("asked", [{"margin": "0.02"}, {"confidence": "95"}])
def test_numbers_that_are_none(asked):
    with pytest.raises(dv.InputError, match="is a number, seen"):
        dv.compare(run(GOOD), run(GOOD), **asked)
