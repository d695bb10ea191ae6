"""Movement by context: the same number as `displacement`, a floor where reruns are copies, coverage, refusals."""

import numpy as np
import polars as pl
import pytest

from divergence.errors import InputError
from divergence.geometry import context_displacement, displacement
from divergence.geometry.movement import movement

DIMENSIONS = 6


@pytest.fixture(scope="module")
def world():
    generator = np.random.default_rng(1)
    means = generator.standard_normal((2, 3, 30, DIMENSIONS))
    means[:, 1:] = means[:, :1] + 0.3 * generator.standard_normal((2, 2, 30, DIMENSIONS))
    return means


def test_it_is_the_displacement_of_the_paired_estimator(world, places):
    vectors, text, labels = places.rows(world, 0.5, runs=3)
    found = movement(vectors, text, cluster=None, **labels)
    frame = pl.DataFrame({k: labels[k] for k in ("model", "context", "item")}).with_columns(text=pl.Series(text))
    for k, (model, context) in enumerate(zip(found.model, found.context, strict=True)):
        x, y = (frame.filter((pl.col("model") == model) & (pl.col("context") == name)) for name in ("bench", context))
        other = displacement(vectors[x["text"]], vectors[y["text"]], items=(x["item"], y["item"]), cluster=None)
        slow = other.where(statistic="squared").draws.mean()  # draws are symmetric about the estimate
        assert found.squared(np.ones((1, len(found.gram))))[0, k] == pytest.approx(slow, rel=1e-5)  # float32 vectors
        variance = other.where(statistic="replicate_variance").draws.mean()
        n = found.changed[found.home[k], 1]
        half_an_item = (variance * n + variance / 2) / (n + 1)
        assert found.noise[found.home[k]] == pytest.approx(half_an_item, rel=0.05)  # v1 is the mean over both models


def test_inner_products_are_unbiased_in_every_entry(places):
    generator = np.random.default_rng(2)
    means = generator.standard_normal((2, 3, 20, DIMENSIONS))
    delta = (means[:, 1:] - means[:, :1]).transpose(1, 0, 2, 3).reshape(4, -1)  # places are sorted by context, model
    truth = delta @ delta.T
    draws = np.array([places.state(means, (0.4, 0.8, 0.2), seed=seed).gram.sum(0) for seed in range(300)])
    z = (draws.mean(0) - truth) / (draws.std(0) / np.sqrt(300))
    assert np.abs(z).max() < 4  # 16 entries, a false alarm in 1000 runs


def test_order_of_rows_does_not_matter(world, places):
    vectors, text, labels = places.rows(world, 0.5)
    order = np.random.default_rng(3).permutation(len(text))
    one = movement(vectors, text, cluster=None, **labels)
    other = movement(vectors, np.array(text)[order], cluster=None, **{k: np.array(v)[order] for k, v in labels.items()})
    np.testing.assert_allclose(one.gram, other.gram, atol=1e-10)


def test_copies_have_a_floor_of_half_an_item(places):
    generator = np.random.default_rng(4)
    still = places.state(places.jumps(generator, 1, 3, 100, DIMENSIONS, (0, 0, 0.3)), 0.0)
    assert still.changed.tolist() == [[0, 100]]
    assert still.noise[0] == pytest.approx(still.spread[0] / 2 / 2 / 101)  # one changed run of two lies half a spread off
    answer = context_displacement(still)
    frame = answer.to_frame().filter(pl.col("model").is_not_null() & pl.col("statistic").is_null())
    same, moved = frame.sort("context").iter_rows(named=True)
    assert same["upper"] == 0 and moved["lower"] > moved["noise_floor"]
    assert "0 of 100 answers of the evaluation changed between its reruns" in answer.method


@pytest.mark.prove
def test_share_is_the_share_of_answers_that_became_another(places):
    generator = np.random.default_rng(5)
    inside = []
    for seed in range(150):
        found = places.state(places.jumps(generator, 1, 2, 150, DIMENSIONS, (0, 0.2)), 0.0, seed=seed)
        row = context_displacement(found).where(statistic="share", model="model 0").to_frame().row(0, named=True)
        inside.append(row["lower"] <= 0.2 <= row["upper"])
    assert np.mean(inside) >= 0.82  # 90 % interval; 150 worlds: 3 standard errors below


def test_an_a_a_context_is_within_the_floor(places):
    generator = np.random.default_rng(6)
    above = 0
    for seed in range(50):
        answers = generator.standard_normal((1, 1, 120, DIMENSIONS))
        answer = context_displacement(places.state(np.repeat(answers, 2, 1), 0.5, seed=seed))
        row = answer.where(statistic=None, model="model 0").to_frame().row(0, named=True)
        above += row["lower"] > row["noise_floor"]
    assert above == 0  # the floor is a whole rerun variance, ten standard errors of the estimate


def test_score_moves_on_the_same_items(places):
    means = places.jumps(np.random.default_rng(7), 1, 2, 80, DIMENSIONS, (0, 0.5))
    scores = np.zeros((1, 2, 80))
    scores[:, 0, :40], scores[:, 1, :20] = 1, 1
    answer = context_displacement(places.state(means, 0.0, scores=scores))
    row = answer.where(statistic="score_change", model="model 0").to_frame()
    assert row["mean"][0] == pytest.approx(-0.25, abs=0.01) and row["unit"][0] == "fraction"


def test_what_was_run_once_is_refused_by_name(world, places):
    vectors, text, labels = places.rows(world, 0.5)
    keep = [k for k, c in enumerate(labels["context"]) if c != "context 2" or k % 2]
    once = movement(vectors, np.array(text)[keep], cluster=None, **{k: np.array(v)[keep] for k, v in labels.items()})
    answer = context_displacement(once)
    refused = answer.where(statistic=None, context="context 2")
    assert not refused.identified and "one run cannot be told from its own noise" in refused.reasons[0]
    keep = [k for k, e in enumerate(labels["evaluation"]) if not e or k % 2]
    alone = movement(vectors, np.array(text)[keep], cluster=None, **{k: np.array(v)[keep] for k, v in labels.items()})
    assert "no item has reruns in the evaluation" in context_displacement(alone).where(statistic=None).reasons[0]


def test_two_items_give_no_interval(world, places):
    answer = context_displacement(places.state(world[:, :, :2], 0.5))
    assert "2 of its items have reruns: an interval needs 3" in answer.where(statistic=None).reasons[0]


def test_items_of_one_session_give_no_interval(world, places):
    vectors, text, labels = places.rows(world, 0.5)
    for sessions, words in ((1, "lie in one session"), (2, "lie in 2 sessions")):
        cluster = [int(name.split()[1]) % sessions for name in labels["item"]]
        found = movement(vectors, text, cluster=cluster, **labels)
        assert f"{words}: an interval needs 3" in found.missing["model 0, context 1"]


def test_a_model_without_evaluation_is_named(world, places):
    vectors, text, labels = places.rows(world, 0.5)
    keep = [k for k, m in enumerate(labels["model"]) if m != "model 1" or not labels["evaluation"][k]]
    found = movement(
        vectors, [text[k] for k in keep], cluster=None, **{name: [of[k] for k in keep] for name, of in labels.items()}
    )
    assert "no answers with embeddings in the evaluation context bench" in found.missing["model 1"]
    assert "model 1 is not measured: it has no answers" in context_displacement(found).method
    assert set(found.model) == {"model 0"} and found.counts["n_rows"] == 180


def test_bad_input_is_a_sentence(world, places):
    vectors, text, labels = places.rows(world, 0.5)
    for wrong, words in (
        (dict(vectors=vectors[0]), "vectors has 1 axes"),
        (dict(text=text[1:]), "labels for 359 rows"),
        (dict(model=labels["model"][1:]), "model has 359 labels for 360 rows"),
        (dict(text=[len(vectors)] * len(text)), "text holds no row numbers"),
    ):
        with pytest.raises(InputError, match=words):
            movement(**dict(vectors=vectors, text=text, cluster=None, **labels) | wrong)
    with pytest.raises(InputError, match="No evaluation row"):
        movement(vectors, text, cluster=None, **labels | {"evaluation": [False] * len(text)})
    with pytest.raises(InputError, match="No model has answers"):
        only = {"evaluation": [True] * len(text), "context": ["bench"] * len(text)}
        movement(vectors, text, cluster=None, **labels | only)
    with pytest.raises(InputError, match="more than one cluster"):
        movement(vectors, text, cluster=list(range(len(text))), **labels)
    with pytest.raises(InputError, match="No evaluation row"):
        movement(np.zeros((0, 0)), [None] * len(text), cluster=None, **labels)
    broken = vectors.copy()
    broken[text[0]] = np.nan
    assert movement(broken, text, cluster=None, **labels).counts["n_rows"] == len(text) - 1
