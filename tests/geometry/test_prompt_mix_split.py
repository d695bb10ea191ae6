"""Prompt mix and behaviour: worlds where only one of them moves, weights against the known ratio, loops, refusals."""

import numpy as np
import pytest

from divergence.errors import InputError
from divergence.geometry import kernel_for, mmd, prompt_mix_split
from divergence.geometry.prompt_mix_split import ratios, side
from divergence.geometry.weighted_sums import discrepancies, exact_gram, feature_gram

SESSIONS, ROWS, D = 10, 20, 3


def world(generator, mix, move, sessions=SESSIONS):
    """(prompts, answers, sessions) of both regimes; `mix` shifts deployment's prompts, `move` its answers given them."""
    turn, sides = np.linspace(-1, 1, D * D).reshape(D, D), []
    for shift, other in ((0, 0), (mix, move)):
        topic = np.repeat(0.2 * generator.standard_normal((sessions, D)), ROWS, 0)
        prompts = topic + generator.standard_normal((sessions * ROWS, D))
        prompts[:, 0] += shift
        user = np.repeat(0.1 * generator.standard_normal((sessions, D)), ROWS, 0)
        answers = np.tanh(prompts @ turn) + user + 0.5 * generator.standard_normal(prompts.shape)
        answers[:, 1] += other
        sides.append((prompts, answers, np.repeat(np.arange(sessions), ROWS)))
    return sides


def ask(sides, **options):
    (p, a, s), (q, b, t) = sides
    return prompt_mix_split((p, q), (a, b), cluster=(s, t), **options)


def numbers(estimate) -> dict:
    frame = estimate.to_frame()
    return dict(zip(frame["statistic"], frame["mean"], strict=True))


@pytest.mark.parametrize(("mix", "move"), [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)])
def test_each_part_is_seen_where_it_is_and_only_there(mix, move):
    estimate = ask(world(np.random.default_rng(1), mix, move))
    found = numbers(estimate)

    def lower(name) -> float:
        return estimate.where(statistic=name).interval()[0, 0]

    assert (lower(None) > 0) == bool(move) and (lower("raw") > 0) == bool(mix or move)
    if mix and not move:
        assert found["mix"] > 0.8 * found["raw"]
    if move and not mix:
        assert abs(found["mix"]) < 0.2 * found["raw"]
    assert lower("prompts_left") <= 0 and (lower("prompts") > 0) == bool(mix)


def test_weights_are_the_known_ratio_of_normal_prompts():
    generator = np.random.default_rng(2)
    p, q = generator.standard_normal((2, 2000, 2))
    q[:, 0] += 1
    sessions = np.arange(2000) % 4
    first, second = side(p, p, sessions, "evaluation", False), side(q, q, sessions, "deployment", False)
    weights, auc = ratios(first, second)
    design = np.stack([np.ones(2000), *first.prompts.T], 1)
    slopes = np.linalg.lstsq(design, np.log(weights[:, 0]), rcond=None)[0]
    # the log ratio of N(1, 1) to N(0, 1) is x - 1/2; slopes of 3000 rows have standard errors of about .05
    np.testing.assert_allclose(slopes, [-0.5, 1, 0], atol=0.2)
    assert auc == pytest.approx(0.760, abs=0.03)  # Phi(1 / sqrt 2), 4 standard errors of .0075
    assert (weights[first.block == 3, 4] == 0).all() and (weights[first.block == 2, 4] > 0).all()


def test_raw_is_the_unweighted_mmd_and_parts_add_up():
    sides = world(np.random.default_rng(3), 0.5, 0.5, sessions=5)
    found = numbers(ask(sides))
    (_, a, s), (_, b, t) = sides
    plain = mmd(a, b, cluster=(s, t), permutations=9).to_frame()["mean"][0]
    assert found["raw"] == pytest.approx(plain, abs=1e-12)
    assert found[None] + found["mix"] == pytest.approx(found["raw"], abs=1e-12)


def test_weighted_sums_equal_loops_and_features_come_close():
    generator = np.random.default_rng(4)
    rows, weights, block = generator.standard_normal((12, 2)), generator.random((12, 3)), np.repeat(np.arange(4), 3)
    starts, mass = np.arange(0, 12, 3), np.add.reduceat(weights, np.arange(0, 12, 3), axis=0).T
    gram = exact_gram(rows, starts, weights, (0.5, 1.0))
    kernel = np.mean([np.exp(-((rows[:, None] - rows) ** 2).sum(-1) / (2 * s**2)) for s in (0.5, 1.0)], 0)
    for v in range(3):
        w = weights[:, v]
        total = {"xx": 0.0, "yy": 0.0, "xy": 0.0}
        share = dict.fromkeys(total, 0.0)
        for i in range(12):
            for j in range(12):
                if block[i] == block[j]:
                    continue
                what = "".join(sorted("x" if block[k] < 2 else "y" for k in (i, j)))
                total[what] += w[i] * w[j] * kernel[i, j]
                share[what] += w[i] * w[j]
        expected = total["xx"] / share["xx"] + total["yy"] / share["yy"] - 2 * total["xy"] / share["xy"]
        assert discrepancies(gram, mass, 2)[v] == pytest.approx(expected, abs=1e-12)
    close = feature_gram(rows, starts, weights, kernel_for(rows, rows, bandwidths=(0.5, 1.0), features=20_000))
    # sums of 9 products of a kernel that 20,000 features know to 1 / sqrt(10,000), 5 times
    np.testing.assert_allclose(close, gram, atol=9 * 5 / 10_000**0.5 * weights.max() ** 2)


def test_rotation_shift_order_and_features():
    generator = np.random.default_rng(5)
    sides = world(generator, 0.5, 0.5, sessions=5)
    base = numbers(ask(sides))
    turn, _ = np.linalg.qr(generator.standard_normal((D, D)))
    order = [generator.permutation(5 * ROWS) for _ in range(2)]
    moved = [(3 * p[o] @ turn + 1, 2 * a[o] @ turn - 4, s[o]) for (p, a, s), o in zip(sides, order, strict=True)]
    for name, value in numbers(ask(moved)).items():
        assert value == pytest.approx(base[name], abs=1e-5)  # the optimiser stops at gradients of 1e-4
    close = numbers(ask(sides, features=4096))
    for name in ("raw", "prompts"):
        assert close[name] == pytest.approx(base[name], abs=3 / 4096**0.5)


def test_no_overlap_and_few_effective_rows_are_refused():
    generator = np.random.default_rng(6)
    apart = ask(world(generator, 8, 0, sessions=6))
    assert not apart.identified and "behaviour given the prompt is not identified" in apart.reasons[0]
    estimate = ask(world(generator, 2.5, 0, sessions=6))
    assert not estimate.identified and "are worth" in estimate.reasons[0]


def test_rows_set_aside_counts_and_method():
    sides = world(np.random.default_rng(7), 0.3, 0, sessions=5)
    sides[0][0][3] = np.nan
    sides[1][1][5] = np.inf
    estimate = ask(sides)
    assert estimate.counts == {"n_rows": 198, "n_sessions": 10} and "2 rows with NaN" in estimate.method
    assert "effective sample size" in estimate.method and "AUC" in estimate.method


def test_same_prompts_for_everyone_leave_all_to_behaviour():
    sides = [(np.ones_like(p), a, s) for p, a, s in world(np.random.default_rng(8), 0, 0.7, sessions=5)]
    found = numbers(ask(sides))
    assert found["mix"] == pytest.approx(0, abs=1e-5)  # the optimiser stops at gradients of 1e-4
    assert found[None] == pytest.approx(found["raw"], abs=1e-5)


def test_bad_designs_are_sentences():
    (p, a, s), (q, b, t) = world(np.random.default_rng(9), 0, 0)
    few = prompt_mix_split((p, q), (a, b), cluster=(s % 3, t))
    assert not few.identified and "3 sessions on a side" in few.reasons[0]
    assert "20 rows on a side" in prompt_mix_split((p[:20], q), (a[:20], b), cluster=None).reasons[0]
    cases = [
        (lambda: prompt_mix_split((p[:-1], q), (a, b), cluster=None), "evaluation has 199 prompts and 200 answers"),
        (lambda: prompt_mix_split((p, q[:, :2]), (a, b), cluster=None), "prompts of evaluation have 3 dimensions"),
        (lambda: prompt_mix_split((p, q), (a, b * np.nan), cluster=None), r"deployment has no usable rows \(200 set"),
        (lambda: prompt_mix_split((p, q), (a, b), cluster=(s[:5], t)), "cluster of evaluation has 5 labels"),
    ]
    for call, sentence in cases:
        with pytest.raises(InputError, match=sentence):
            call()
    with pytest.raises(TypeError, match="cluster"):
        prompt_mix_split((p, q), (a, b))
