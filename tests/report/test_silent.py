import pytest

from divergence.report.silent import FLIPS_MATERIAL, LEVEL_MATERIAL, find

CONTEXTS = ["still", "moved", "wide", "quiet", "large"]


def _effects(hand_made):
    # 90% limits: still -.019 .. .017, moved -.039 .. -.021, wide -.09 .. .09, quiet about 0, large -.06 .. .012
    return hand_made(
        "context_effect",
        {"model": ["m"] * 5, "context": CONTEXTS},
        [-0.001, -0.03, 0.0, 0.0, -0.024],
        spread=[0.02, 0.01, 0.1, 0.01, 0.04],
    )


def _flips(hand_made, statistic=None):
    rows = {"model": ["m"] * 5, "context": ["bench"] * 5, "context_b": CONTEXTS, "statistic": [statistic] * 5}
    return hand_made("excess_flips", rows, [0.2, 0.2, 0.2, 0.004, 0.2], "probability", spread=0.002)


@pytest.mark.parametrize("statistic", [None, "answers"])
def test_items_that_move_under_a_level_that_stays(hand_made, statistic):
    drift = find(_flips(hand_made, statistic), _effects(hand_made))
    assert [movement.context for movement in drift.silent] == ["still"]
    assert {movement.context for movement in drift.open} == {"wide", "large"}
    assert drift.compared == 5


def test_bounds_of_flips_are_no_claim(hand_made):
    assert find(_flips(hand_made, "lower_bound"), _effects(hand_made)).compared == 0


def test_means_over_models_stand_in_only_where_no_model_is_alone(hand_made):
    effects = hand_made("context_effect", {"model": ["m", None], "context": ["one", "one"]}, [-0.2, 0.0])
    rows = {"model": ["m", None], "context": ["bench"] * 2, "context_b": ["one"] * 2}
    flips = hand_made("excess_flips", rows, [0.2, 0.2], "probability", spread=0.001)
    assert find(flips, effects).silent == ()
    pooled = find(flips.where(model=None), effects.where(model=None))
    assert [movement.model for movement in pooled.silent] == [None]


def test_materiality_is_that_of_the_definitions():
    assert (FLIPS_MATERIAL, LEVEL_MATERIAL) == (0.005, 0.05)
