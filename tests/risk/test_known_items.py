"""What is known of items: worlds with true risks, what an answer rests on, and logs whose items say nothing."""

import tracemalloc

import numpy as np
import polars as pl
import pytest
import risk_worlds
from item_worlds import LOG, made, scored, world

import divergence as dv
from divergence.risk.build import risk_model
from divergence.risk.item_factors import ItemCells
from divergence.risk.known_items import Sources, by_content


@pytest.mark.parametrize("seed", range(3))
def test_true_risks_are_nearer_and_inside_their_intervals(seed):
    frame = world(seed)
    model = made(frame)
    deployed = frame.filter(regime="deployment")
    found, truth = scored(model, deployed), deployed["truth"].to_numpy()
    strata = scored(model, deployed.with_columns(item=pl.lit(None, pl.String)))
    assert set(found["evidence"].cast(pl.String)) == {"here"} and set(strata["evidence"].cast(pl.String)) == {"stratum"}
    near, far = (((r["risk"].to_numpy() - truth) ** 2).mean() for r in (found, strata))
    plain = ((1 - deployed["score"].to_numpy() - truth) ** 2).mean()
    assert near < 0.6 * far and near < plain
    inside = ((found["lower"].to_numpy() <= truth) & (truth <= found["upper"].to_numpy())).mean()
    # 1,080 true risks, of which those of an item hang together: nominal .9, standard error about .02.
    assert 0.82 < inside < 0.97


def test_less_evidence_is_a_wider_answer_and_says_so():
    frame = world(7)
    item = pl.col("item")
    frame = frame.filter(
        ~((item == "0-1") & (pl.col("regime") == "deployment"))
        & ~((item == "0-2") & (pl.col("model") == "m1") & (pl.col("regime") == "deployment"))
        & ~((item == "0-3") & (pl.col("model") == "m1") & (pl.col("context") == "c2"))
    )
    model = made(frame)
    ask = pl.DataFrame({"model": "m1", "context": "c2", "task": "t0", "item": ["0-4", "0-3", "0-2", "0-1", "no such"]})
    found = scored(model, ask)
    assert found["evidence"].cast(pl.String).to_list() == ["here", "other context", "other model", "bench", "stratum"]
    items = [f"0-{k}" for k in range(10, 40)]
    rows = {c: pl.DataFrame({"model": "m1", "context": c, "task": "t0", "item": items}) for c in ("c2", "new")}
    width = {c: (scored(model, r)["upper"] - scored(model, r)["lower"]).mean() for c, r in rows.items()}
    new = scored(model, rows["new"])
    assert width["new"] > width["c2"] and not new["known"].any()
    assert set(new["evidence"].cast(pl.String)) == {"other context"}


def test_an_id_with_another_task_is_another_item():
    frame = world(8)
    model = made(frame)
    ask = pl.DataFrame({"model": "m1", "context": "c2", "task": ["t0", "t1", "t9", None], "item": "0-4"})
    assert scored(model, ask)["evidence"].cast(pl.String).to_list() == ["here", "stratum", "stratum", "here"]
    twice = frame.with_columns(item=pl.col("item").str.slice(2))  # numbered anew in each task
    told = made(twice).traffic["items"]["sentence"]
    assert "at least 20 are needed" in told and "40 item ids that stand in several tasks are no known items" in told


def test_ids_of_requests_are_no_items_and_cost_nothing():
    frame = world(9)
    ids = frame.with_columns(item=pl.int_range(pl.len()).cast(pl.String))
    model = made(ids)
    assert model.items is None and "0 items of this log come more than once" in model.check["items"]
    mixed = pl.concat([frame, ids.filter(regime="deployment").with_columns(item=pl.lit("once-") + pl.col("item"))])
    model = made(mixed)
    assert model.items is not None and len(model.items.names) == 120
    assert "deployed items that came once, ids of requests, are not kept" in model.check["items"]


def test_all_right_all_wrong_and_single_rows_are_answered():
    frame = world(10)
    frame = frame.with_columns(
        score=pl.when(pl.col("item") == "0-1").then(1.0).when(pl.col("item") == "0-2").then(0.0).otherwise("score")
    )
    one = frame.filter((pl.col("item") != "0-3") | ((pl.col("model") == "m0") & (pl.col("context") == "c1")))
    model = made(one)
    ask = pl.DataFrame({"model": "m1", "context": "c2", "task": "t0", "item": ["0-1", "0-2", "0-3"]})
    found = scored(model, ask)
    risk, wide = found["risk"].to_list(), (found["upper"] - found["lower"]).to_list()
    assert risk[0] < 0.1 and risk[1] > 0.9 and wide[2] > max(wide[:2])
    assert found.filter(pl.col("risk").is_nan() | (pl.col("lower") > pl.col("risk"))).is_empty()


def test_copies_are_nearly_certain_and_noise_is_not():
    """Two trials a cell: in c1 and c2 the second always repeats the first, in c3 it is drawn anew."""
    frame = world(11, trials=2).with_columns(pair=pl.int_range(pl.len()) // 2)
    first = pl.col("score").first().over("pair")
    frame = frame.with_columns(score=pl.when(pl.col("context").is_in(["c1", "c2"])).then(first).otherwise("score"))
    model = made(frame.drop("pair"))
    found = scored(model, frame).with_columns(frame["context"], frame["score"])
    sure = pl.max_horizontal("risk", 1 - pl.col("risk"))
    by = dict(found.group_by("context").agg(sure.mean()).iter_rows())
    assert min(by["c1"], by["c2"]) > by["c3"] + 0.05


def test_a_world_of_fractions_is_answered_too():
    frame = world(12).with_columns(score=pl.col("score") * 0.8 + 0.1)
    found = scored(made(frame), frame)
    assert found["risk"].is_between(0, 1).all()


def test_an_id_of_another_prompt_is_another_item():
    frame = world(8).with_columns(prompt_hash=pl.lit("p") + pl.col("item"))
    again = frame.with_columns(
        prompt_hash=pl.when((pl.col("item") == "0-5") & (pl.col("model") == "m0"))
        .then(pl.lit("new"))
        .otherwise("prompt_hash")
    )
    log = dv.read(again.select(*LOG, "prompt_hash"))
    model = risk_model(dv.fit(dv.collapse(log), seed=0), log)
    assert "1 item ids that stand for several prompts are no known items" in model.check["items"]
    assert "prompt_hash" in model.beside
    ask = pl.DataFrame(
        {
            "model": "m1",
            "context": "c2",
            "task": "t0",
            "item": ["0-4", "0-4", "0-4", "0-4", "0-5", "no such"],
            "prompt_hash": ["p0-4", "another", None, "", "p0-5", "p0-4"],
        }
    )
    found = pl.from_arrow(model.score(ask.to_arrow().combine_chunks().to_batches()[0]))
    said = found["evidence"].cast(pl.String).to_list()
    assert said == ["here", "other prompt", "here", "here", "stratum", "stratum"]
    risk, strata = found["risk"].to_list(), scored(model, ask.with_columns(item=pl.lit("no such")))["risk"].to_list()
    assert risk[0] == risk[2] != strata[0] and risk[1] == strata[1]
    without = scored(model, ask)  # a log that hashes no prompts is asked by ids
    assert without["evidence"].cast(pl.String).to_list()[:2] == ["here", "here"]


def test_prompts_are_saved_with_the_items(tmp_path):
    frame = world(8).with_columns(prompt_hash=pl.lit("p") + pl.col("item"))
    log = dv.read(frame.select(*LOG, "prompt_hash"))
    model = risk_model(dv.fit(dv.collapse(log), seed=0), log)
    model.save(tmp_path / "model")
    again = type(model).load(tmp_path / "model")
    np.testing.assert_array_equal(again.items.prompt, model.items.prompt)
    assert (again.items.prompt != 0).all() and again.beside == model.beside


def test_a_task_that_is_not_logged_contradicts_no_item():
    model = made(world(8))
    ask = pl.DataFrame({"model": "m1", "context": "c2", "item": ["0-4", "no such"]})
    found = pl.from_arrow(model.score(ask.to_arrow().combine_chunks().to_batches()[0]))
    nulls = scored(model, ask.with_columns(task=pl.lit(None, pl.String)))
    assert found["evidence"].cast(pl.String).to_list() == ["here", "stratum"]
    assert found["risk"].to_list() == nulls["risk"].to_list()


def test_rates_over_several_trials_are_said_to_name_no_item():
    frame = world(8).with_columns(score=pl.col("score") * 0.6 + 0.2, score_n=pl.lit(5))
    log = dv.read(frame.select(*LOG, "score_n"))
    said = risk_model(dv.fit(dv.collapse(log), seed=0), log).check["items"]
    assert "rates over several trials are not answers to one item" in said


@pytest.mark.parametrize("seed", range(3))
def test_items_are_ordered_by_their_answers(seed):
    """Numbered otherwise, the same items come in the same order; those with the same answers cannot be told apart."""
    random = np.random.default_rng(seed)
    items, arms = 50, 5
    item, arm = (v.ravel() for v in np.indices((items, arms)))
    n = random.integers(1, 4, len(item)).astype(float)
    y, task = np.minimum(random.integers(0, 3, len(item)), n).astype(float), random.integers(0, 2, items)
    other = random.permutation(items)
    told = []
    for number in (np.arange(items), other):
        its = np.empty(items, int)
        its[number] = task
        mixed = random.permutation(len(item))
        cells = ItemCells(number[item][mixed], arm[mixed], n[mixed], y[mixed], np.zeros(len(item)))
        rank = np.argsort(by_content(cells, its))[cells.item]
        order = np.lexsort((cells.arm, rank))
        told.append(np.stack([rank, cells.arm, cells.n, cells.y, its[cells.item]], 1)[order])
    np.testing.assert_array_equal(told[0], told[1])


def test_arms_that_answer_are_those_of_the_pair_else_of_its_model_and_context():
    arms = np.array([[0, 0, 1, 2], [0, 1, 1, 0], [0, 1, 1, 0]])  # bench of m0, m0 and m1 in c1, bench of m2
    sources = Sources(arms, 3, 2)

    def told(m, c):
        use, share, moved = sources.of(m, c)
        return dict(zip(use.tolist(), share.tolist(), strict=True)), moved

    assert told(0, 1) == ({1: 1.0}, False)
    assert told(0, 0) == ({0: 1.0}, True)
    assert told(1, 0) == ({2: 0.5, 0: 0.25, 3: 0.25}, True)
    assert told(2, 1) == ({3: 0.5, 1: 0.25, 2: 0.25}, True)
    assert told(0, 2) == ({0: 0.5, 1: 0.5}, False)
    assert told(3, 1) == ({1: 0.5, 2: 0.5}, False)
    assert told(3, 2) == ({1: 0.5, 2: 0.5}, False)


def test_sources_of_many_arms_need_memory_of_their_number():
    """200 models x 200 contexts: a table of pairs by arms would hold 1.6e9 weights."""
    model, label = (v.ravel() for v in np.indices((200, 200)))
    tracemalloc.start()
    sources = Sources(np.stack([model, np.ones_like(model), label]), 200, 200)
    for m, c in ((0, 0), (17, 200), (200, 33), (200, 200)):
        assert np.isclose(sources.of(m, c)[1].sum(), 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 * 8 * len(model)


def test_it_is_said_where_no_repeat_tells_what_an_own_answer_is_worth():
    frame, _ = risk_worlds.make(14, models=3, contexts=3, tasks=3, items=40, trials=2)
    said = []
    for rows in (frame.filter(trial=0), frame):
        log = dv.read(rows)
        said.append(risk_model(dv.fit(dv.collapse(log), seed=0), log).check["items"])
    assert "no item was asked twice" in said[0] and "no item was asked twice" not in said[1]


def test_where_the_log_has_one_model_half_of_what_its_items_say_carries_over():
    frame = world(11).filter(model="m0")
    model = made(frame)
    asked = frame.filter(regime="deployment", context="c1").with_columns(model=pl.lit("new"))
    item, stratum = scored(model, asked), scored(model, asked.with_columns(item=pl.lit("never")))
    assert set(item["evidence"].cast(pl.String)) == {"other model"}
    # Its own model's mean over contexts is the other half; places round a risk by .0032.
    own = np.mean(
        [scored(model, asked.with_columns(model=pl.lit("m0"), context=pl.lit(c)))["risk"] for c in ("c1", "c2")], 0
    )
    spread = [np.std(np.asarray(r)) for r in (item["risk"], stratum["risk"], own)]
    assert spread[1] < spread[0] < 0.75 * spread[2]
    assert np.corrcoef(item["risk"], own)[0, 1] > 0.8


def test_repeats_alone_make_items_known():
    """One model, one context: what an item did in some trials says what it does in the others."""
    frame = world(12, models=1, contexts=2, tasks=2, items=60, trials=4).filter(regime="deployment")
    known = made(frame)
    assert known.items is not None and "120 known items" in known.check["items"]
    left_out = 0
    for seed in range(12, 17):
        random = np.random.default_rng(seed)
        noise = frame.with_columns(score=pl.Series((random.random(frame.height) >= 0.4).astype(float)))
        unknown = made(noise)
        if unknown.items is None:
            left_out += "items are left out" in unknown.check["items"]
            continue
        moved = scored(unknown, frame)["risk"] - scored(unknown, frame.with_columns(item=pl.lit(None, pl.String)))["risk"]
        assert float((moved**2).mean()) < 0.08**2  # what a rate of four trials is off by is .24
    # Of two predictions the better one is taken: 240 worlds of noise kept items in .07 of them.
    assert left_out >= 4
    found = scored(known, frame.unique("item", maintain_order=True))
    truth = frame.unique("item", maintain_order=True)["truth"]
    strata = scored(known, frame.unique("item", maintain_order=True).with_columns(item=pl.lit("never")))
    near, far = (((r["risk"] - truth) ** 2).mean() for r in (found, strata))
    assert near < 0.6 * far
