"""The bad inputs of every estimator in one table: each is a sentence, a refusal, or no obstacle."""

import numpy as np
import polars as pl
import pytest

from divergence.errors import InputError
from divergence.geometry import (
    bures,
    cka,
    displacement,
    mmd,
    moments,
    paired_moments,
    participation_ratio,
    prompt_mix_split,
    shape_distance,
    subspace_loss,
)


def ask(name, x, y, cluster, unit_length=False):
    """The answer of one estimator to rows x and y in the same sessions."""
    both = None if cluster is None else (cluster, cluster)
    options = dict(unit_length=unit_length)
    if name in ("cka", "shape_distance"):
        return {"cka": cka, "shape_distance": shape_distance}[name](paired_moments(x, y, cluster=cluster, **options))
    if name == "displacement":
        items = np.arange(len(x)) // 2
        whole = None if cluster is None else np.asarray(cluster)[items * 2]
        return displacement(x, y, items=(items, items), cluster=None if whole is None else (whole, whole), **options)
    if name == "mmd":
        return mmd(x, y, cluster=both, permutations=19, **options)
    if name == "prompt_mix_split":
        prompts = np.random.default_rng(1).standard_normal((2, len(x), 3))
        return prompt_mix_split(tuple(prompts), (x, y), cluster=both, **options)
    first, second = (moments(rows, cluster=cluster, **options) for rows in (x, y))
    if name == "participation_ratio":
        return participation_ratio(first)
    return bures(first, second) if name == "bures" else subspace_loss(first, second, components=2)


NAMES = ["cka", "shape_distance", "displacement", "mmd", "prompt_mix_split", "bures", "subspace_loss", "participation_ratio"]
TWO_SPACES = [name for name in NAMES if name not in ("cka", "participation_ratio")]


def rows(n=48, d=4, seed=0):
    """(x, y, sessions of 6 rows)."""
    x, e = np.random.default_rng(seed).standard_normal((2, n, d))
    return x, x + 0.5 * e + 0.2, np.arange(n) // 6


@pytest.mark.parametrize("name", NAMES)
def test_rows_with_nan_or_infinity_are_set_aside_with_their_count(name):
    x, y, sessions = rows()
    x[3, 1], x[7, 0] = np.nan, np.inf
    if name != "participation_ratio":
        y[11, 2] = -np.inf
    estimate = ask(name, x, y, sessions)
    bad = 2 if name == "participation_ratio" else 3
    assert estimate.identified and f"{bad} rows with NaN" in estimate.method


@pytest.mark.parametrize("name", NAMES)
def test_no_usable_row_and_ragged_lists_are_sentences(name):
    x, y, sessions = rows()
    with pytest.raises(InputError, match=r"no usable rows|no item in common"):
        ask(name, x * np.nan, y, sessions)
    with pytest.raises(InputError, match=r"rows of different lengths or types \(lengths 1, 2\)"):
        ask(name, pl.Series([[1.0], [1.0, 2.0]]), y[:2], sessions[:2])


@pytest.mark.parametrize("name", TWO_SPACES)
def test_other_dimensions_are_a_sentence(name):
    x, y, sessions = rows()
    with pytest.raises(InputError, match=r"4 dimensions and .*3"):
        ask(name, x, y[:, :3], sessions)


@pytest.mark.parametrize("name", NAMES)
def test_one_session_and_three_rows_are_refused_with_what_is_needed(name):
    x, y, _ = rows()
    estimate = ask(name, x, y, np.zeros(len(x), int))
    assert not estimate.identified and any(word in estimate.reasons[0] for word in ("session", "cluster"))
    few = ask(name, x[:3], y[:3], None)
    if name == "mmd":  # 3 rows a side have an MMD, and say how few arrangements their test has
        assert "only 20 arrangements" in few.method
    else:
        assert not few.identified


@pytest.mark.parametrize("name", NAMES)
def test_fewer_rows_than_dimensions_and_constant_columns_are_no_obstacle(name):
    x, y, sessions = rows(n=48, d=60)
    scale = np.r_[3.0, 2.0, np.full(58, 0.1)]
    assert ask(name, x * scale, y * scale, sessions).identified
    x, y, _ = rows()
    x, y = (np.concatenate([v, np.full((48, 1), 7.0)], 1) for v in (x, y))
    assert ask(name, x, y, sessions).identified


@pytest.mark.parametrize("name", NAMES)
def test_float16_gives_nearly_the_same_and_zero_vectors_have_no_cosine(name):
    x, y, sessions = rows()
    whole, half = ask(name, x, y, sessions), ask(name, x.astype(np.float16), y.astype(np.float16), sessions)
    one, two = (e.to_frame()["mean"][0] for e in (whole, half))
    assert two == pytest.approx(one, rel=0.02, abs=0.01)  # 11 bits of 48 rows
    x[5] = 0
    assert "1 rows with NaN, infinity or no length" in ask(name, x, y, sessions, unit_length=True).method


def test_misaligned_items_are_named():
    x, y, _ = rows()
    items = np.arange(48).astype(str)
    with pytest.raises(InputError, match=r"row 0 is item 1 in x and 0 in y \(2 rows are misaligned\)"):
        paired_moments(x, y, cluster=None, items=(items[[1, 0, *range(2, 48)]], items))


@pytest.mark.parametrize("name", ["mmd", "displacement", "prompt_mix_split"])
def test_cluster_is_a_keyword_that_must_be_written(name):
    x, _, _ = rows()
    calls = {
        "mmd": lambda: mmd(x, x),
        "displacement": lambda: displacement(x, x, items=(x[:, 0], x[:, 0])),
        "prompt_mix_split": lambda: prompt_mix_split((x, x), (x, x)),
    }
    with pytest.raises(TypeError, match="cluster"):
        calls[name]()
