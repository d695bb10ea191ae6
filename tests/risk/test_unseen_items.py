"""Features, prompt neighbours and consistency: used, or left out and said, in worlds where it is known which is right."""

import dataclasses

import numpy as np
import polars as pl
import pytest
from scipy.special import ndtr

import divergence as dv
from divergence.cli.score_summary import summary
from divergence.risk.build import risk_model
from divergence.risk.prompt_neighbours import in_steps
from divergence.risk.unseen_items import WIDTH, _learnt, _prompts, _tried
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


def told_of(frame, seed):
    """The same rows with prompts whose embeddings say how hard an item is, and answers whose agreement says it, too."""
    random = np.random.default_rng(seed)
    angle = (frame["input_tokens"].to_numpy() - 1000) / 200 * 0.5
    wrong = np.where(random.random(frame.height) < 0.5, "b", "c")
    vectors = np.stack([np.cos(angle), np.sin(angle), np.zeros(len(angle))], 1).astype(np.float32)
    return frame.drop("input_tokens").with_columns(
        prompt_embedding=pl.Series(vectors.tolist(), dtype=pl.List(pl.Float32)),
        embedder=pl.lit("e"),
        answer=pl.when(pl.col("score") == 1).then(pl.lit("a")).otherwise(pl.Series(wrong)),
    )


@pytest.fixture(scope="module", params=["beside the log", "in its rows"])
def neighbourly(request, tmp_path_factory):
    """A log whose prompts and answers tell, embedded in either place."""
    frame = told_of(world(6, contexts=5)[0], 6)
    folder = tmp_path_factory.mktemp("prompts")
    if request.param == "in its rows":
        frame.write_parquet(folder / "log.parquet")
        return dv.read(folder)
    frame.drop("prompt_embedding", "embedder").write_parquet(folder / "log.parquet")
    prompts = frame.select(
        "item", "embedder", text_hash=pl.lit("p"), embedding="prompt_embedding", embedder_sha256=pl.lit("0")
    )
    prompts.unique("item", keep="first", maintain_order=True).write_parquet(folder / "embeddings.parquet")
    return dv.read(folder)


@pytest.fixture(scope="module")
def telling(neighbourly):
    return risk_model(dv.fit(dv.collapse(neighbourly), seed=0), neighbourly)


def scored_as(model, rows, folder, name):
    if not (folder / "model").is_dir():
        model.save(folder / "model")
    rows.write_parquet(folder / f"{name}.parquet")
    found = score_log(folder / "model", [folder / f"{name}.parquet"], folder / name, load=dv.RiskModel.load, workers=0)
    return pl.read_parquet(folder / name / f"{name}.parquet"), found.manifest, summary(found, "out", 1.0)


def test_neighbours_and_consistency_that_tell_are_used_for_items_not_seen(telling, tmp_path):
    said = telling.check["sentence"]
    for name in ("prompt neighbours", "consistency of answers"):
        assert f"{name} saves" in said and "used for them" in said.split(name)[1]
    assert telling.columns == ("prompt_embedding",) and telling.unseen.agreement is not None
    fresh, truth = world(2, contexts=5)
    here = (fresh["regime"] == "deployment").to_numpy()
    rows = told_of(fresh, 2).filter(here).with_columns(item=pl.lit("new-") + pl.col("item"))
    off, made, lines = {}, {}, {}
    for name, lost in (
        ("all", []),
        ("near", ["answer"]),
        ("agree", ["prompt_embedding"]),
        ("none", ["answer", "prompt_embedding"]),
    ):
        scores, made[name], lines[name] = scored_as(telling, rows.drop(lost), tmp_path, name)
        off[name] = np.sqrt(((scores["risk"].to_numpy() - truth[here]) ** 2).mean())
        assert (scores["evidence"] == "stratum").all()
    assert off["all"] < off["near"] < 0.8 * off["none"] and off["all"] < off["agree"] < 0.9 * off["none"]
    assert made["near"]["partitions"][0]["absent"] == ["answer"]
    assert made["none"]["partitions"][0]["absent"] == ["prompt_embedding", "answer"]
    assert any(line.startswith("some partitions lack answer, prompt_embedding") for line in lines["none"])
    assert not any("lack" in line or "to go by" in line for line in lines["all"])


def test_requests_that_lack_what_tells_are_answered_by_their_stratum_and_counted(telling, tmp_path):
    rows = told_of(world(2)[0], 2).filter(regime="deployment").with_columns(item=pl.lit("new-") + pl.col("item"))
    rows = rows.with_columns(
        item=pl.when(pl.int_range(pl.len()) < 100)
        .then(pl.lit("once-") + pl.int_range(pl.len()).cast(pl.String))
        .otherwise("item"),
        prompt_embedding=pl.when(pl.int_range(pl.len()) >= 50).then("prompt_embedding"),
        embedder=pl.when(pl.int_range(pl.len()) < 300).then("embedder").otherwise(pl.lit("another")),
    )
    scores, made, lines = scored_as(telling, rows, tmp_path, "some")
    lacking = made["partitions"][0]["lacking"]
    known = telling.unseen.neighbours.embedder is not None
    assert lacking["answer"] >= 100 and lacking["prompt_embedding"] == 50 + known * (rows.height - 300)
    assert any(
        f"{lacking['answer']:,} requests of items that the model did not know have no second answer" in line
        for line in lines
    )
    without = scored_as(telling, rows.drop("answer", "prompt_embedding"), tmp_path, "without")[0]
    assert scores[:50].drop("execution_id").equals(without[:50].drop("execution_id"))


def test_slopes_of_zero_change_nothing(telling):
    rows = told_of(world(2)[0], 2).filter(regime="deployment").with_columns(item=pl.lit("new-") + pl.col("item"))
    batch = rows.select("model", "context", "task", "item", "prompt_embedding").to_arrow().combine_chunks().to_batches()[0]
    batch = batch.append_column("answer_agreement", pl.Series(np.linspace(0, 1, len(rows))).to_arrow())
    features = telling.traffic["features"]
    none = {name: np.zeros_like(features[name]).tolist() for name in ("slope", "covariance")}
    still = dataclasses.replace(telling, traffic=telling.traffic | {"features": features | none})
    bare = dataclasses.replace(telling, traffic={k: v for k, v in telling.traffic.items() if k != "features"}, near={})
    assert still.score(batch).equals(bare.score(batch)) and not telling.score(batch).equals(bare.score(batch))


def test_a_score_of_neighbours_depends_on_no_other_row(telling):
    rows = told_of(world(2)[0], 2).filter(regime="deployment").with_columns(item=pl.lit("new-") + pl.col("item"))
    names = ["model", "context", "task", "item", "prompt_embedding"]
    whole = rows.select(names).to_arrow().combine_chunks().to_batches()[0]
    parts = [pl.from_arrow(telling.score(whole.slice(k, 37))) for k in range(0, rows.height, 37)]
    assert pl.concat(parts).equals(pl.from_arrow(telling.score(whole)))


def test_a_saved_model_that_neighbours_and_answers_move_reads_the_same(telling, tmp_path):
    telling.save(tmp_path)
    again = dv.RiskModel.load(tmp_path)
    assert again.unseen.agreement == telling.unseen.agreement
    rows = told_of(world(3)[0], 3).with_columns(item=pl.lit("new-") + pl.col("item"))
    names = ["model", "context", "task", "item", "prompt_embedding"]
    batch = rows.select(names).to_arrow().combine_chunks().to_batches()[0]
    assert again.score(batch).equals(telling.score(batch))


def test_a_folder_whose_neighbours_or_answers_are_damaged_is_one_error(telling, tmp_path):
    features, near = telling.traffic["features"], telling.near
    lent, vectors = near["near_lent"], near["near_vectors"]
    for k, (words, arrays) in enumerate(
        (
            ({}, {"near_lent": lent[:-1], "near_vectors": vectors}),
            ({}, {"near_lent": lent * np.nan, "near_vectors": vectors}),
            ({}, {"near_lent": lent, "near_vectors": vectors.astype(np.int16)}),
            ({}, {"near_vectors": vectors}),
            ({}, {}),
            ({"agreement": None}, near),
            ({"agreement": {"mean": 0.5}}, near),
            ({"agreement": 3}, near),
            ({"embedder": ["e"]}, near),
        )
    ):
        traffic = telling.traffic | {"features": features | words}
        dataclasses.replace(telling, traffic=traffic, near=arrays).save(tmp_path / str(k))
        with pytest.raises(dv.InputError, match="holds no whole risk model"):
            dv.RiskModel.load(tmp_path / str(k))


def test_neighbours_and_answers_that_say_nothing_are_left_out():
    frame, _ = world(21, slope=0.0)
    random = np.random.default_rng(21)
    vectors = dict(zip(frame["item"].unique(), random.standard_normal((300, 8)).tolist(), strict=True))
    frame = frame.drop("input_tokens").with_columns(
        prompt_embedding=pl.Series([vectors[item] for item in frame["item"]], dtype=pl.List(pl.Float32)),
        answer=pl.Series(random.choice(["a", "b", "c"], frame.height)),
    )
    model = fitted(frame)
    for name in ("prompt neighbours", "consistency of answers"):
        assert f"{name} would save" in model.check["sentence"] and "left out" in model.check["sentence"].split(name)[1]
    assert model.columns == () and not model.near and model.unseen is None


def test_mixed_embedders_are_said_and_not_compared():
    frame = told_of(world(6)[0], 6)
    frame = frame.with_columns(
        embedder=pl.when(pl.col("item").str.ends_with("7")).then(pl.lit("other")).otherwise("embedder")
    )
    model = fitted(frame)
    assert "prompt neighbours could not be tried: The embeddings come from several embedders" in model.check["sentence"]
    assert not model.near


def test_what_neighbours_lend_is_the_mean_of_a_slow_search(neighbourly):
    table = told_of(world(6, contexts=5)[0], 6).unique("item", keep="first", maintain_order=True)
    items = table["item"]
    steps = in_steps(np.stack(table["prompt_embedding"].to_list()).astype(float)).astype(float)
    steps /= np.linalg.norm(steps, axis=1, keepdims=True)
    random = np.random.default_rng(7)
    learns, residual = random.random(len(items)) < 0.7, random.uniform(-0.5, 0.5, len(items))
    found, kept = _prompts(neighbourly, items).lent(items, residual, np.ones(len(items)), learns)
    assert len(kept.lent) == learns.sum()
    for k in range(0, len(items), 29):
        alike = sorted((-steps[k] @ steps[j], residual[j]) for j in range(len(items)) if j != k and learns[j])
        tenth = alike[9][0]
        near = [r for cosine, r in alike if cosine < tenth - 1e-9]
        tied = [r for cosine, r in alike if abs(cosine - tenth) <= 1e-9]
        assert found[k] == pytest.approx((sum(near) + np.mean(tied) * (10 - len(near))) / 10, abs=1e-12)
    assert _prompts(dataclasses.replace(neighbourly, embeddings=None, present=frozenset()), items) is None


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
