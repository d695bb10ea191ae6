"""The verdict and everything beside it, on runs of known flips."""

import json
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest
from compare_runs import flipped, run

import divergence as dv
from divergence.comparison.junit import junit
from divergence.comparison.many_runs import holm
from divergence.comparison.markdown import markdown
from divergence.comparison.page import page


@pytest.mark.parametrize(
    ("down", "up", "verdict", "direction", "code"),
    [
        (0, 0, "no worse", "open", 0),
        (40, 3, "worse", "lower", 4),
        (9, 5, "not settled", "open", 5),
        (2, 30, "no worse", "higher", 0),
        (14, 2, "not settled", "lower", 5),
    ],
)
def test_verdicts(pair, down, up, verdict, direction, code):
    found = dv.compare(*pair(300, down, up))
    assert (found.verdict, found.direction, found.exit_code) == (verdict, direction, code)
    assert found.difference.estimate == pytest.approx((up - down) / 300)
    assert found.difference.lower <= found.difference.estimate <= found.difference.upper


def test_the_contract_keys(pair):
    found = dv.compare(*pair(60, 3, 1)).to_dict()
    keys = [
        *("verdict", "margin", "confidence", "direction", "difference", "items", "flips", "answers_changed"),
        *("items_needed", "changed", "scorers", "groups", "notes"),
    ]
    assert [name for name in found if name in keys] == keys
    assert set(found["difference"]) == {"estimate", "lower", "upper"}
    assert set(found["items"]) == {"shared", "only_before", "only_after"}
    assert set(found["flips"]) == {"observed", "of", "down", "up", "floor", "excess_lower", "excess_upper"}
    assert {"model", "task", "verdict", "difference", "flips", "items"} <= set(found["groups"][0])
    json.dumps(found, allow_nan=False)


def test_only_shared_items_decide():
    before, after = run([1] * 50), run([1] * 40 + [0] * 30).slice(10)
    found = dv.compare(before, after)
    assert found.items == found.items.__class__(40, 10, 20)
    assert found.flips.down == 10


def test_scores_are_paired_by_id_and_not_by_place(pair):
    before, after = pair(80, 6, 2)
    shuffled = after.sample(fraction=1, shuffle=True, seed=1)
    assert dv.compare(before, shuffled).to_dict() == dv.compare(before, after).to_dict()


def test_groups_and_their_simultaneous_limits():
    frames = []
    for scores in flipped(200, 0, 0), flipped(200, 30, 0):
        frames.append([run(s, task=["a"] * 100 + ["b"] * 100) for s in scores])
    before = pl.concat([frames[0][0], frames[1][0].with_columns(pl.lit("m2").alias("model"))], how="diagonal")
    before = before.with_columns(pl.col("model").fill_null("m1"))
    after = pl.concat([frames[0][1], frames[1][1].with_columns(pl.lit("m2").alias("model"))], how="diagonal")
    after = after.with_columns(pl.col("model").fill_null("m1"))
    found = dv.compare(before, after)
    assert [(g.model, g.task) for g in found.groups] == [("m1", "a"), ("m1", "b"), ("m2", "a"), ("m2", "b")]
    assert [g.verdict for g in found.groups][2] == "worse"
    assert found.expected_false_worse == pytest.approx(4 * 0.025)
    for g in found.groups:
        assert g.simultaneous.lower <= g.difference.lower and g.difference.upper <= g.simultaneous.upper
    assert found.units == "item"  # two models over the same items: an item is one unit
    assert any("200 items" in note and "one unit" in note for note in found.notes)


def test_an_item_under_several_models_is_one_unit():
    """Six copies of one model add rows and no information: the interval stays that of one, but for Student's t."""
    before, after = flipped(200, 20, 10)
    one = dv.compare(run(before), run(after))
    many = [pl.concat([run(s, model=f"m{k}") for k in range(6)]) for s in (before, after)]
    six = dv.compare(*many)
    assert six.difference.upper - six.difference.lower == pytest.approx(
        one.difference.upper - one.difference.lower, rel=0.05
    )


def test_clusters_widen():
    before, after = flipped(200, 20, 0)
    passage = [f"p{k // 10}" for k in range(200)]
    alone = dv.compare(run(before), run(after))
    found = dv.compare(run(before, passage=passage), run(after, passage=passage), cluster="passage")
    assert found.units == "passage"
    assert found.difference.lower < alone.difference.lower
    assert found.difference.estimate == alone.difference.estimate


def test_observed_items_of_greedy_runs_have_no_error(pair):
    found = dv.compare(*pair(50, 2, 1), items="observed", margin=0.05)
    assert found.difference.lower == found.difference.estimate == found.difference.upper == pytest.approx(-0.02)
    assert found.verdict == "no worse"
    assert any("carry no error" in note for note in found.notes)


def test_observed_items_of_a_sampled_run_are_refused():
    before, after = run([1] * 9 + [0], sampler="temperature=0.8"), run([1] * 10, sampler="temperature=0.8")
    with pytest.raises(dv.NotIdentifiedError, match="sampled"):
        dv.compare(before, after, items="observed")


@pytest.mark.prove
def test_observed_items_with_replicates_cover():
    """The truth is that of these items: 95 % in 300 worlds, less three Monte Carlo errors."""
    generator = np.random.default_rng(5)
    p = generator.random((60, 2))
    truth, inside = (p[:, 1] - p[:, 0]).mean(), 0
    for _ in range(300):
        frames = []
        for side in (0, 1):
            right = (generator.random((60, 4)) < p[:, [side]]).astype(float)
            items, trials = np.repeat([f"i{k}" for k in range(60)], 4), np.tile(np.arange(4), 60)
            frames.append(pl.DataFrame({"item": items, "trial": trials, "score": right.ravel()}))
        found = dv.compare(*frames, items="observed").difference
        inside += found.lower <= truth <= found.upper
    assert 0.95 * 300 - 3 * np.sqrt(300 * 0.95 * 0.05) <= inside


def test_what_changed():
    before, after = run([1, 0] * 30, engine="vllm", sampler="greedy"), run([1, 0] * 30, engine="sglang", sampler="greedy")
    one = dv.compare(before, after)
    assert [(c.field, c.before, c.after) for c in one.changed] == [("engine", "vllm", "sglang")]
    assert "One logged setting differs: engine vllm -> sglang." in one.notes
    two = dv.compare(before, after.with_columns(sampler=pl.lit("temperature=1")))
    assert len(two.changed) == 2 and any("cannot be told" in note for note in two.notes)
    none = dv.compare(before, before.reverse())
    assert none.changed == () and any("A/A" in note for note in none.notes)


def test_contexts_are_no_replicates():
    """Two engines a side: pairs are made within each, and the levels that only one side has are left out."""
    one = run([1, 0] * 20, engine="a")
    before = pl.concat([one, one.with_columns(engine=pl.lit("b"))])
    after = pl.concat([one, one.with_columns(engine=pl.lit("c"))])
    found = dv.compare(before, after)
    assert found.items == found.items.__class__(40, 40, 40)
    with pytest.raises(dv.InputError, match="share none of them"):
        dv.compare(before, one.with_columns(engine=pl.lit("c")))


def test_less_is_better():
    slow = {"item": [f"i{k}" for k in range(50)], "latency_s": [1.0 + k / 50 for k in range(50)]}
    before = pl.DataFrame(slow)
    after = before.with_columns(pl.col("latency_s") + 0.5 + pl.int_range(50) / 1000)
    worse = dv.compare(before, after, outcome="latency_s", margin=0.1)
    assert (worse.verdict, worse.direction, worse.unit) == ("worse", "higher", "s")
    assert dv.compare(after, before, outcome="latency_s", margin=0.1).verdict == "no worse"
    assert worse.p_worse < 0.025 < worse.p_no_worse


def test_saturated_sets_are_named():
    found = dv.compare(run([1] * 196 + [0] * 4), run([1] * 195 + [0] * 5))
    assert found.saturated == found.saturated.__class__(195, 4)
    assert any("cannot rank" in note for note in found.notes)


def test_frames_and_figures(pair):
    found = dv.compare(*pair(120, 9, 2))
    frame = found.to_frame()
    assert frame["verdict"][0] == found.verdict and frame["estimate"][0] == found.difference.estimate
    assert found.table.height == 120 and found.table["difference"].sum() == -7
    assert "layer" in found.plot().to_dict()
    assert found.verdict in found._repr_html_()
    with pytest.raises(AttributeError):
        found.margin = 1  # frozen


def test_holm():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def test_many_runs():
    before = flipped(300, 0, 0)[0]
    runs = {"same": run(before), "fell": run(flipped(300, 60, 0)[1]), "open": run(flipped(300, 10, 6)[1])}
    found = dv.compare_runs(run(before), runs)
    assert found.verdicts == ("no worse", "worse", "not settled")
    assert (found.verdict, found.exit_code) == ("worse", 4)
    apart = {frozenset((c.first, c.second)) for c in found.contrasts if c.differs}
    assert apart == {frozenset(("BEFORE", "fell")), frozenset(("same", "fell")), frozenset(("open", "fell"))}
    assert len(found.contrasts) == 6
    json.dumps(found.to_dict(), allow_nan=False)


@pytest.mark.prove
def test_many_runs_raise_few_false_alarms():
    """Eight runs at the margin itself: the chance of any false `worse` is 2.5 % and not 18 %."""
    generator, any_worse, worlds = np.random.default_rng(7), 0, 40
    for _ in range(worlds):
        before = (generator.random(120) < 0.8).astype(float)
        runs = {f"r{k}": run(np.abs(before - (generator.random(120) < np.where(before > 0, 0.1, 0.15)))) for k in range(4)}
        any_worse += "worse" in dv.compare_runs(run(before), runs, margin=0.05).verdicts
    assert any_worse <= 5  # 2.5 % of 40 is 1; above 5 once in 2,000


def test_groups_count_what_only_one_side_has():
    sides = [run(scores, task=["a"] * 50 + ["b"] * 50) for scores in flipped(100, 2, 1)]
    found = dv.compare(sides[0], sides[1].slice(10, 70))
    assert [(g.items.shared, g.items.only_before, g.items.only_after) for g in found.groups] == [(40, 10, 0), (30, 20, 0)]


def test_what_tells_the_sides_apart_is_a_change(pair, tmp_path):
    """The column of --by, the label of the contexts, and a factor of one's own; two waves are an A/A."""
    before, after = pair(100, 10, 2)

    def marked(column):
        return [side.with_columns(pl.lit(level).alias(column)) for side, level in ((before, "r1"), (after, "r2"))]

    for column in ("release", "context"):
        found = dv.compare(pl.concat(marked(column)), by=(column, "r1", "r2"))
        assert [(c.field, c.before, c.after) for c in found.changed] == [(column, "r1", "r2")]
    assert [c.field for c in dv.compare(*marked("context")).changed] == ["context"]
    assert not dv.compare(pl.concat(marked("wave")), by=("wave", "r1", "r2")).changed
    for side, name in zip(marked("gpu"), ("before", "after"), strict=True):
        (tmp_path / name).mkdir()
        side.write_csv(tmp_path / name / "log.csv")
        (tmp_path / name / "divergence.toml").write_text('factors = ["gpu"]\n')
    found = dv.compare(tmp_path / "before", tmp_path / "after")
    assert [(c.field, c.before, c.after) for c in found.changed] == [("gpu", "r1", "r2")]


def test_items_that_moved_are_told_apart():
    """An item under two models stands twice, and says under which."""
    sides = [pl.concat([run(scores, model=model, task="t") for model in ("big", "small")]) for scores in flipped(100, 2, 1)]
    found = dv.compare(*sides)
    for name in ("big · i0", "small · i0"):
        assert f"| {name} | 1 | 0 |" in markdown(found) and f"<td>{name}</td>" in page(found)


def test_names_of_a_log_stay_names():
    """No control character, no cell and no markup of a log reaches the files."""
    names = ["<script>", "a|b", "line\nbreak", "\x1b[31mred\x00", "@someone", "`tick`"]
    sides = [run(scores[:60], task="t\x1b[2J<b>") for scores in flipped(60, 6, 0)]
    found = dv.compare(*(side.with_columns(item=pl.Series(names + side["item"].to_list()[6:])) for side in sides))
    text = markdown(found)
    assert not any(mark in text + repr(found) for mark in "\x1b\x00")
    assert "<script>" not in page(found) and "\\<script>" in text and "| a\\|b | 1 | 0 |" in text
    assert "| line break | 1 | 0 |" in text and "@someone" not in text and "1 score flipped" not in text
    ElementTree.fromstring(junit(found))
