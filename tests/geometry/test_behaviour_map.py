"""The map: a known plane is found again, what does not move stays within the floor, refusals say why."""

import numpy as np
import pytest

from divergence.geometry import behaviour_map

PLACES = np.array([[0.0, 0.0], [1.0, 0.2], [-0.3, 0.9], [0.8, -0.7]])  # context 0 is the evaluation


def flat_world(places, seed, noise=0.15, items=60, models=1, d=8):
    """Every item moves by the context's place in one plane of the embedding."""
    generator = np.random.default_rng(seed)
    plane, _ = np.linalg.qr(generator.standard_normal((d, 2)))
    means = generator.standard_normal((1, 1, items, d)) + (PLACES @ plane.T)[None, :, None]
    return places.state(np.repeat(means, models, 0), noise, seed=seed + 1000)


def coordinates(answer, **where):
    return np.stack([answer.where(statistic=None, axis=a, **where).draws for a in "12"], 2)


def turned(found, truth):
    left, _, right = np.linalg.svd(found.T @ truth)
    return found @ (left @ right)


@pytest.mark.parametrize("models", [1, 3])
def test_a_known_plane_is_found_again(models, places):
    found = flat_world(places, 0, models=models)
    answer = behaviour_map(found)
    unit = np.sqrt(found.spread.mean())
    middle = coordinates(answer, model="model 0").mean(0) * unit
    error = np.abs(turned(middle, PLACES[1:]) - PLACES[1:])
    assert error.max() < 4 * 0.15 / np.sqrt(60)  # four standard errors of a mean of 60 items with 2 runs on both sides
    assert np.median(answer.where(statistic="plane").draws) > 0.9
    contexts = coordinates(answer, model=None).mean(0) * unit
    assert np.abs(turned(contexts, PLACES[1:]) - PLACES[1:]).max() < 4 * 0.15 / np.sqrt(60)


@pytest.mark.prove
def test_ellipses_hold_the_truth(places):
    covered = []
    for seed in range(100):
        found = flat_world(places, seed)
        draws = coordinates(behaviour_map(found), model="model 0") * np.sqrt(found.spread.mean())
        far = np.linalg.norm(draws, axis=2)
        low, high = np.quantile(far, [0.05, 0.95], axis=0)
        truth = np.linalg.norm(PLACES[1:], axis=1)
        covered.append((low <= truth) & (truth <= high))
    assert np.mean(covered) >= 0.82  # distances to the evaluation, which no turn changes; nominal .9, 300 intervals


def test_a_a_contexts_stay_within_the_floor(places):
    inside, total = 0, 0
    for seed in range(30):
        generator = np.random.default_rng(seed)
        means = places.jumps(generator, 2, 4, 100, 6, (0, 0, 0, 0.3))
        noise = 0.0 if seed % 2 else 0.4  # copies and reruns that scatter
        answer = behaviour_map(places.state(means, noise, seed=seed))
        for context in ("context 1", "context 2"):
            part = answer.where(statistic=None, axis="1", context=context)
            inside += sum("within the floor" in (r or "") for r in part.reason)
            total += len(part.reason)
        assert answer.where(statistic=None, context="context 3").identified
    assert inside / total >= 0.9


def test_distances_are_whole_where_the_plane_is_not(places):
    generator = np.random.default_rng(3)
    found = places.state(places.jumps(generator, 1, 6, 100, 30, (0, *[0.3] * 5)), 0.0)
    answer = behaviour_map(found)
    far = np.linalg.norm(coordinates(answer, model="model 0").mean(0), axis=1)
    assert np.median(answer.where(statistic="plane").draws) < 0.7
    np.testing.assert_allclose(far, np.sqrt(found.squared(np.ones((1, len(found.gram))))[0] / found.spread[0]), rtol=1e-6)


def test_one_model_alone_and_a_model_that_is_not_there(places):
    found = flat_world(places, 1, models=2)
    answer = behaviour_map(found, model="model 1")
    assert set(answer.rows["model"].drop_nulls()) == {"model 1"}
    assert "no place of model other" in behaviour_map(found, model="other").reasons[0]
