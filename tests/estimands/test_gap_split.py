"""Parts of a gap: an exact identity, loops over items, known worlds, refusals."""

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.estimands.gap_split import PARTS, ItemLaws, parts
from divergence.simulate import simulate, world


def _world(rng, own=(40, 40), shared=60, easy=(0.0, 0.0), shift=0.0, trials=6):
    """A bench and a traffic that share items; own items of each are easier by `easy`, traffic behaves worse by `shift`."""
    rows = []
    for regime, mine, extra in (("evaluation", "bench", easy[0]), ("deployment", "live", easy[1])):
        items = [(f"s{k}", 0.0) for k in range(shared)] + [(f"{mine}{k}", extra) for k in range(own[regime == "deployment"])]
        for item, bonus in items:
            p = 0.55 + bonus - shift * (regime == "deployment")
            rows += [(regime, "m", mine, item, t, float(rng.random() < p)) for t in range(trials)]
    return pl.DataFrame(rows, schema=["regime", "model", "context", "item", "trial", "score"], orient="row")


def _gap(log):
    return dv.gap(dv.fit(dv.collapse(dv.read(log)), seed=0))


def test_parts_against_loops_and_their_sum():
    rng = np.random.default_rng(1)
    bench, traffic = rng.dirichlet(np.ones(12)) * (np.arange(12) < 9), rng.dirichlet(np.ones(12)) * (np.arange(12) > 3)
    laws = ItemLaws(
        bench / bench.sum(), traffic / traffic.sum(), rng.random(12), rng.random(12), *np.zeros((2, 12)), np.zeros(12, int)
    )
    a, b, c = parts([laws], np.ones((1, 12)))[0, :, 0]
    shared = [
        laws.bench[i] * laws.traffic[i] / (laws.bench[i] + laws.traffic[i]) if laws.bench[i] + laws.traffic[i] else 0
        for i in range(12)
    ]
    total = sum(shared)
    on_e = sum(s * laws.on_bench[i] for i, s in enumerate(shared)) / total
    on_d = sum(s * laws.in_traffic[i] for i, s in enumerate(shared)) / total
    level_e, level_d = laws.bench @ laws.on_bench, laws.traffic @ laws.in_traffic
    assert (a, b, c) == pytest.approx((on_e - level_e, on_d - on_e, level_d - on_d))
    assert a + b + c == pytest.approx(level_d - level_e, abs=1e-15)


@pytest.mark.parametrize(
    ("easy", "shift", "truth"),
    [
        ((0.3, 0.0), 0.0, (-0.12, 0.0, 0.0)),
        ((0.0, 0.3), 0.0, (0.0, 0.0, 0.12)),
        ((0.0, 0.0), 0.25, (0.0, -0.25, 0.0)),
    ],
    ids=["bench items that traffic lacks", "traffic beyond the bench", "other behaviour"],
)
def test_each_cause_lands_in_its_part(easy, shift, truth):
    """40 own and 60 shared items of 6 trials: the truth within the 99.9 % interval of each part, and the identity."""
    answer = _gap(_world(np.random.default_rng(2), easy=easy, shift=shift))
    whole = answer.where(statistic=None).draws[:, 0]
    found = {part: answer.where(statistic=part) for part in PARTS}
    for part, value in zip("ABC", truth, strict=True):
        low, high = found[part].interval(0.999)[0]
        assert low <= value <= high and high - low < 0.35, (part, low, high)
    draws = {part: e.draws[:, 0] for part, e in found.items()}
    assert np.abs(draws["A"] + draws["B"] + draws["C"] - whole).max() < 1e-12
    assert np.abs(draws["B_context"] + draws["B_residual"] - draws["B"]).max() < 1e-12


def test_replayed_items_have_no_part_but_behaviour():
    log, _ = simulate(world("baseline", n_models=3, n_contexts=3, n_items=40), 1)
    answer = _gap(log)
    assert np.abs(answer.where(statistic="A").draws).max() < 1e-12 > np.abs(answer.where(statistic="C").draws).max()
    assert np.allclose(answer.where(statistic="B").draws, answer.where(statistic=None).draws)


def test_a_replayed_part_beside_chats_has_the_items_of_the_bench():
    """Nothing behaves otherwise. One context tries the harder 40 of 60 items, one has chats as easy as the
    easiest of them: all of the gap is what these have beyond the bench, half of the difference to its mean."""
    rng, rows = np.random.default_rng(4), []
    hard = np.where(np.arange(60) < 40, 0.4, 0.8)
    for name, live, ease in (("bench", False, hard), ("replay", True, hard[:40]), ("chat", True, np.full(60, 0.8))):
        regime = "deployment" if live else "evaluation"
        for k, p in enumerate(ease):
            item = f"{'chat' if name == 'chat' else 'i'}{k}"
            rows += [(regime, "m", name, item, t, float(rng.random() < p)) for t in range(8)]
    answer = _gap(pl.DataFrame(rows, schema=["regime", "model", "context", "item", "trial", "score"], orient="row"))
    for part, value in (("A", 0.0), ("B", 0.0), ("C", (0.8 - hard.mean()) / 2)):
        low, high = answer.where(statistic=part).interval(0.999)[0]
        assert low <= value <= high and high - low < 0.35, (part, low, high)
    found = answer.where(statistic="A").draws
    assert np.abs(found).max() < 1e-12  # no item of the bench is lacking: the harder ones are carried to all of them
    assert answer.where(statistic="C").interval(0.9)[0][0] > 0


def test_without_overlap_the_split_is_refused_and_the_gap_stands():
    log, _ = simulate(world("no_overlap", n_models=3, n_contexts=3, n_items=40), 1)
    answer = _gap(log)
    assert answer.where(statistic=None).identified
    assert all("share 0.0 effective items; the split needs 10" in e for e in answer.where(statistic="A").reason)


def test_shared_items_must_be_enough():
    answer = _gap(_world(np.random.default_rng(3), own=(60, 60), shared=6))
    assert "share 6.0 effective items" in answer.where(statistic="B").reason[0]
