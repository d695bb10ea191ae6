"""Features, prompt neighbours and consistency: used, or left out and said, in worlds where it is known which is right."""

import dataclasses

import numpy as np
import polars as pl
import pytest
from scipy.special import ndtr

import divergence as dv
from divergence.cli.score_summary import summary
from divergence.risk.build import risk_model
from divergence.risk.unseen_items import WIDTH, _learnt, _neighbours, _tried
from divergence.scoring.score import score_log

SLOPE = 0.8


def world(seed, slope=SLOPE, items=300, models=2, contexts=3):
    """Items whose difficulty is what `input_tokens` say (in standard deviations of 200) plus as much that nothing says."""
    random = np.random.default_rng(seed)
    long = random.standard_normal(items)
    hard = slope * long + 0.4 * random.standard_normal(items)
    m, c, i = (v.ravel() for v in np.indices((models, contexts, items)))
    failing = ndtr(-0.2 + 0.3 * m - 0.2 * c + hard[i])
    text = np.char.add
    frame = pl.DataFrame(
        {
            "regime": np.where(c == 0, "evaluation", "deployment"),
            "model": text("m", m.astype(str)),
            "context": text("c", c.astype(str)),
            "task": text("t", (i % 2).astype(str)),
            "item": text("i", i.astype(str)),
            "input_tokens": (1000 + 200 * long[i]).round().astype(int),
            "load": np.full(len(m), 1.0),
            "score": (random.random(len(m)) >= failing).astype(float),
        }
    )
    return frame, failing


def fitted(frame, **declared):
    log = dv.read(frame, configuration=dv.Configuration.from_table(declared))
    return risk_model(dv.fit(dv.collapse(log), seed=0), log)


def scores(model, frame):
    rows = frame.select(*(n for n in ("model", "context", "task", "item", "input_tokens") if n in frame.columns))
    return pl.from_arrow(model.score(rows.to_arrow().combine_chunks().to_batches()[0]))


@pytest.fixture(scope="module")
def tokens():
    return fitted(world(1)[0], features=["input_tokens", "load"])


def test_a_feature_that_tells_is_used_for_items_not_seen_and_its_risks_are_right(tokens):
    said = tokens.check["sentence"]
    assert "input_tokens saves" in said and "used for them" in said and "load is the same in all rows" in said
    fresh, truth = world(2)
    fresh = fresh.with_columns(item=pl.lit("new-") + pl.col("item"))
    here = (fresh["regime"] == "deployment").to_numpy()
    with_it, without = (scores(tokens, rows.filter(here)) for rows in (fresh, fresh.drop("input_tokens")))
    off, plain = (np.sqrt(((s["risk"].to_numpy() - truth[here]) ** 2).mean()) for s in (with_it, without))
    assert off < 0.75 * plain
    assert (with_it["evidence"] == "stratum").all() and tokens.columns == ("input_tokens",)
    np.testing.assert_array_equal(without["risk"], tokens.table["risk"][tokens.rows(_batch(fresh.filter(here)))])


def _batch(rows):
    return rows.select("model", "context", "task").to_arrow().combine_chunks().to_batches()[0]


def test_known_items_keep_their_own_answer(tokens):
    frame, _ = world(1)
    rows = frame.filter(regime="deployment")
    one, two = scores(tokens, rows), scores(tokens, rows.with_columns(input_tokens=pl.col("input_tokens") * 3))
    assert (one["evidence"] == "here").all()
    assert one["risk"].equals(two["risk"])


def test_a_saved_model_reads_the_same(tokens, tmp_path):
    tokens.save(tmp_path)
    again = dv.RiskModel.load(tmp_path)
    fresh, _ = world(3)
    fresh = fresh.with_columns(item=pl.lit("new-") + pl.col("item"))
    assert scores(again, fresh).equals(scores(tokens, fresh))


def test_a_feature_that_says_nothing_is_left_out_and_said():
    """A slope learnt from noise costs more than it saves: it is used in less than the nominal 5 % of logs (four standard
    errors of 300: 10 %)."""
    random, used = np.random.default_rng(0), 0
    for _ in range(300):
        item = np.repeat(np.arange(60), 6)
        risk = np.full(len(item), 0.4)
        failure = (random.standard_normal(60)[item] + random.standard_normal(len(item)) < -0.36).astype(float)
        frame = pl.DataFrame({"failure": failure, "trials": np.ones(len(item)), "cluster": item})
        used += _tried("x", random.standard_normal(60)[item][:, None], frame, risk, item < 40, item >= 40).pays
    assert used < 30
    model = fitted(world(20, slope=0.0)[0], features=["input_tokens"])
    assert "input_tokens would save" in model.check["sentence"] and "on items not seen: left out" in model.check["sentence"]
    assert model.columns == ()


def test_what_is_not_logged_is_said_and_what_is_no_number_is_refused():
    frame, _ = world(4)
    assert "the feature turn is not logged" in fitted(frame, features=["turn"]).check["sentence"]
    few = fitted(frame.filter(pl.col("item").str.ends_with("7")), features=["input_tokens"])
    assert "input_tokens could not be tried, and no feature is used" in few.check["sentence"]
    with pytest.raises(dv.InputError, match="features names engine, which is no number of the schema"):
        fitted(frame, features=["engine"])


def test_slopes_are_the_mode_of_their_penalised_likelihood():
    """By comparing the objective beside it."""
    random = np.random.default_rng(5)
    rows = 500
    x, risk = random.standard_normal((rows, 2)), random.uniform(0.1, 0.9, rows)
    failure = (random.random(rows) < risk).astype(float)
    frame = pl.DataFrame({"failure": failure, "trials": np.ones(rows), "cluster": np.arange(rows)})
    found = _learnt(["a", "b"], x, frame, risk, np.ones(rows, bool))

    def objective(slope):
        from scipy.special import ndtri

        p = ndtr(ndtri(risk) + found.standard(x) @ slope)
        return (failure * np.log(p) + (1 - failure) * np.log1p(-p)).sum() - (slope**2).sum() / (2 * WIDTH**2)

    best = objective(found.slope)
    for step in 1e-3 * np.array([[1, 0], [-1, 0], [0, 1], [0, -1], [1, 1], [1, -1]]):
        assert objective(found.slope + step) < best
    # The information of 500 Bernoulli rows around one half, in probits: 500 * .64 at most.
    assert 1 / np.sqrt(500 * 0.64) * 0.9 < np.sqrt(found.covariance[0, 0]) < 0.12


@pytest.fixture(scope="module")
def neighbourly(tmp_path_factory):
    """A log whose prompts' embeddings say how hard an item is, and answers whose agreement says it, too."""
    frame, _ = world(6)
    random = np.random.default_rng(6)
    angle = (frame["input_tokens"].to_numpy() - 1000) / 200 * 0.5
    wrong = np.where(random.random(frame.height) < 0.5, "b", "c")
    frame = frame.with_columns(answer=pl.when(pl.col("score") == 1).then(pl.lit("a")).otherwise(pl.Series(wrong)))
    folder = tmp_path_factory.mktemp("prompts")
    frame.write_parquet(folder / "log.parquet")
    vectors = np.stack([np.cos(angle), np.sin(angle)], 1)
    prompts = frame.select("item").with_columns(
        text_hash=pl.lit("p"), embedding=pl.Series(vectors.tolist()), embedder=pl.lit("e"), embedder_sha256=pl.lit("0")
    )
    prompts.unique("item", keep="first", maintain_order=True).write_parquet(folder / "embeddings.parquet")
    return dv.read(folder)


def test_neighbours_and_consistency_are_tried_and_said(neighbourly):
    log = neighbourly
    said = risk_model(dv.fit(dv.collapse(log), seed=0), log).check["sentence"]
    for name in ("prompt neighbours", "consistency of answers"):
        assert f"{name} would save" in said
        assert "left out, as a score reads requests one by one" in said.split(name)[1]


def test_what_neighbours_lend_is_the_mean_of_a_slow_search(neighbourly):
    log = neighbourly
    items = np.array(sorted(log.embeddings.collect()["item"].unique()))
    random = np.random.default_rng(7)
    residual = np.where(random.random(len(items)) < 0.7, random.standard_normal(len(items)), np.nan)
    found = _neighbours(log, items, residual)
    table = dict(log.embeddings.select("item", "embedding").collect().iter_rows())
    for k in range(0, len(items), 29):
        alike = [
            (-np.dot(table[items[k]], table[items[j]]), residual[j])
            for j in range(len(items))
            if j != k and not np.isnan(residual[j])
        ]
        alike.sort()
        near = [r for cosine, r in alike if cosine <= alike[9][0] + 1e-6]
        if len(near) == 10:
            assert found[k] == pytest.approx(np.mean(near), abs=1e-5)
    assert _neighbours(dataclasses.replace(log, embeddings=None), items, residual) is None


def test_a_log_that_lacks_the_feature_is_scored_by_its_strata_and_that_is_said(tokens, tmp_path):
    tokens.save(tmp_path / "model")
    fresh, _ = world(8, items=40)
    fresh = fresh.filter(regime="deployment").with_columns(item=pl.lit("new-") + pl.col("item"))
    found = {}
    for name, rows in (("with", fresh), ("without", fresh.drop("input_tokens"))):
        rows.write_parquet(tmp_path / f"{name}.parquet")
        scored = score_log(
            tmp_path / "model", [tmp_path / f"{name}.parquet"], tmp_path / name, load=dv.RiskModel.load, workers=0
        )
        found[name] = pl.read_parquet(tmp_path / name / f"{name}.parquet"), scored.manifest, summary(scored, "out", 1.0)
    assert found["with"][0]["risk"].n_unique() > found["without"][0]["risk"].n_unique() == 8
    np.testing.assert_allclose(found["with"][0]["risk"], scores(tokens, fresh)["risk"], atol=1e-9)
    line = "some partitions lack input_tokens, which the model uses: what these tell is not known there"
    assert line in found["without"][2] and line not in found["with"][2]
    for _, made, _ in found.values():
        assert set(made["sharpness"]) == {"all", "unseen"}
