"""Every kind of outcome against worlds with known truth, with copies and sessions; grades through fit and estimands."""

import numpy as np
import outcome_worlds as worlds
import polars as pl
import pytest

import divergence as dv
from divergence.joint.outcomes import fit_outcomes
from divergence.simulate import simulate, world

BAND = 0.04  # what the engine promises of 90 % intervals on fixed truths: .86 to .94


def _within(share, errors):
    """The mean over worlds against the band; worlds are independent, levels of one world are not."""
    return abs(share.mean() - 0.9) < BAND + errors * max(share.std(ddof=1), 0.05) / np.sqrt(len(share))


@pytest.mark.parametrize("kind", worlds.KINDS)
def test_intervals_hold_the_truth(kind):
    """24 worlds a kind, copies and sessions among them; three errors: 12 numbers, the seed is fixed."""
    found = [worlds.covered(*case, 8) for case in worlds.CASES if case[0] == kind and case not in worlds.FEW]
    for name in ("level", "gap"):
        share = np.concatenate([f[name] for f in found])
        assert _within(share, 3), (name, share.mean())


@pytest.mark.prove
def test_intervals_hold_the_truth_with_few_clusters():
    """20 items, 20 whose values spread by a factor of 2.7, 10 sessions: the noise is hardly known, and counted in."""
    found = [worlds.covered(*case, 12) for case in worlds.FEW]
    for name in ("level", "gap"):
        share = np.concatenate([f[name] for f in found])
        assert _within(share, 3), (name, share.mean())


@pytest.mark.prove
@pytest.mark.parametrize(("kind", "variant"), worlds.CASES)
def test_intervals_hold_the_truth_in_each_variant(kind, variant):
    found = worlds.covered(kind, variant, 150, seed=1)
    for name, share in found.items():
        error = share.std(ddof=1) / np.sqrt(len(share))
        print(f"| {kind} | {variant} | {name} | {share.mean():.3f} | {error:.3f} |", flush=True)
    for name, share in found.items():
        assert _within(share, 2), (name, share.mean())


@pytest.fixture(scope="module")
def graded():
    """Three grades: half a success is possible."""
    log, _ = simulate(world("sessions", n_models=3, n_contexts=3, n_items=60), 1)
    more = pl.Series(np.random.default_rng(0).integers(0, 2, log.height))
    return log.with_columns(score=(log["score"].cast(pl.Int64) + more))


def _read(rows, grades=("0", "1", "2")):
    return dv.read(rows, configuration=dv.Configuration(grades=grades))


def test_grades_are_an_expected_score_and_a_probability_each(graded):
    posterior = fit_outcomes(_read(graded), seed=0)
    assert [f.cells.outcome for f in posterior.fits] == ["score", "score >= 1", "score >= 2"]
    assert any("expected place" in note for note in posterior.fits[0].cells.notes)
    whole = dv.bench_level(posterior).draws.mean(0)
    parts = [dv.bench_level(posterior, outcome=f"score >= {k}") for k in (1, 2)]
    assert parts[0].to_frame()["unit"].unique().to_list() == ["probability"]
    # the same rows, so the same luck; what is left is how far each is drawn to its neighbours, a share of its sd
    sd = np.max([p.draws.std(0) for p in parts], axis=0)
    assert (np.abs(whole - sum(p.draws.mean(0) for p in parts) / 2) < sd / 2).all()
    assert (parts[0].draws.mean(0) > parts[1].draws.mean(0)).all()
    flips = dv.excess_flips(posterior, outcome="score >= 2").to_frame()
    assert flips["identified"].any()


def test_arm_levels_of_thresholds_add_up_exactly(graded):
    posterior = fit_outcomes(_read(graded), seed=0)
    whole, *parts = (f.arms.level for f in posterior.fits)
    np.testing.assert_allclose(whole, np.mean(parts, axis=0), atol=1e-12)


def test_copies_of_grades_do_not_narrow(graded):
    once = graded.filter(trial=0)
    doubled = pl.concat([once, once.with_columns(trial=pl.lit(1, once.schema["trial"]))])
    one, two = (fit_outcomes(_read(rows), seed=0) for rows in (once, doubled))
    for name in ("score", "score >= 1"):
        np.testing.assert_allclose(one[name].arms.covariance, two[name].arms.covariance, atol=1e-12)


def test_a_grade_that_nobody_has_is_a_note_and_no_threshold(graded):
    posterior = fit_outcomes(_read(graded, ("0", "1", "2", "3")), seed=0)
    assert [f.cells.outcome for f in posterior.fits] == ["score", "score >= 1", "score >= 2"]
    assert "No answer has the grade 3 of score." in posterior.fits[0].cells.notes


@pytest.mark.parametrize("grade", [0, 1, 2])
def test_one_grade_only_is_a_sentence(graded, grade):
    cells = dv.collapse(_read(graded.with_columns(score=pl.lit(grade))))
    with pytest.raises(dv.InputError, match="all values of score are the same"):
        dv.fit(cells)


def test_a_constant_fraction_is_a_sentence(graded):
    with pytest.raises(dv.InputError, match="all values of score are the same"):
        dv.fit(dv.collapse(dv.read(graded.with_columns(score=pl.lit(0.5)))))


def test_grades_come_back_from_a_saved_posterior(graded, tmp_path):
    posterior = dv.fit(dv.collapse(_read(graded)), seed=0)
    posterior.save(tmp_path / "m")
    assert dv.load(tmp_path / "m").fits[0].cells.grade_names == ("0", "1", "2")
