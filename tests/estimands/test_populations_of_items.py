"""Every question about levels answers for new items, or for those of the log, as is declared; both hold what they say."""

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

import divergence as dv
from divergence.cli import cli
from divergence.estimands import QUESTIONS
from divergence.estimands.rows import OBSERVED_ITEMS
from divergence.results import answer_all


def log(items=60, trials=4, seed=0):
    """Items of chances of their own, repeated; and the mean chance of each arm over these very items."""
    random = np.random.default_rng(seed)
    easy = random.normal(0, 1.5, items)
    rows, truth = [], {}
    for m in range(2):
        for regime, context, shift in (("evaluation", "bench", 0.0), ("deployment", "x", -0.6), ("deployment", "y", -0.2)):
            chance = 1 / (1 + np.exp(-(easy + 0.5 * m + shift)))
            truth[f"m{m}", context] = chance.mean()
            for t in range(trials):
                rows += [
                    {"regime": regime, "model": f"m{m}", "context": context, "item": f"i{i}", "trial": t, "score": float(s)}
                    for i, s in enumerate(random.random(items) < chance)
                ]
    return pl.DataFrame(rows), truth


def fitted(frame, items):
    return dv.fit(dv.collapse(dv.read(frame, configuration=dv.Configuration(items=items))), seed=0)


def test_observed_items_are_narrower_and_say_so():
    frame, _ = log()
    new, observed = (fitted(frame, items) for items in ("new", "observed"))
    for question in (dv.bench_level, dv.deployed_level):
        one, other = (question(p).to_frame().filter(pl.col("statistic").is_null()) for p in (new, observed))
        assert ((other["upper"] - other["lower"]) < 0.8 * (one["upper"] - one["lower"])).all()
        assert OBSERVED_ITEMS in question(observed).text and "new items" not in question(observed).text
        assert "new items" in question(new).text
    assert any("benchmark accuracy" in note for note in observed[None].cells.notes)


def test_identities_hold_in_either_population():
    for items in ("new", "observed"):
        posterior = fitted(log()[0], items)
        level = {q.__name__: q(posterior).to_frame().filter(pl.col("statistic").is_null()) for q in (dv.bench_level, dv.gap)}
        deployed = dv.deployed_level(posterior).to_frame().filter(pl.col("statistic").is_null())
        difference = deployed["mean"] - level["bench_level"]["mean"]
        gap = level["gap"].filter(pl.col("context").is_null())["mean"]
        np.testing.assert_allclose(gap.to_numpy(), difference.to_numpy(), atol=1e-9)


@pytest.mark.prove
def test_coverage_of_the_observed_items():
    """60 logs, two models: bench levels over these very items inside 90 % intervals, within four standard errors."""
    hits = []
    for seed in range(60):
        frame, truth = log(items=50, trials=3, seed=seed)
        found = dv.bench_level(fitted(frame, "observed")).to_frame()
        hits += [row["lower"] <= truth[row["model"], "bench"] <= row["upper"] for row in found.iter_rows(named=True)]
    assert abs(np.mean(hits) - 0.9) < 4 * np.sqrt(0.09 / len(hits)), np.mean(hits)


def test_every_question_says_which_items_it_is_about():
    answers = answer_all(fitted(log()[0], "observed"))
    told = {name for name, answer in answers.items() if OBSERVED_ITEMS in answer.text}
    assert told == {question.name for question in QUESTIONS if question.of_levels}


def test_a_saved_posterior_keeps_its_population(tmp_path):
    posterior = fitted(log()[0], "observed")
    posterior.save(tmp_path / "model")
    again = dv.load(tmp_path / "model")
    assert again[None].cells.items == "observed"
    np.testing.assert_array_equal(dv.bench_level(again).draws, dv.bench_level(posterior).draws)
    with pytest.raises(dv.InputError, match="items"):
        dv.Configuration.from_table({"items": "obsrved"})


OF_LEVELS = [question.name for question in QUESTIONS if question.of_levels]
TOLD = {"acceptance": {"quality_min": 0.4}}


@pytest.fixture(scope="module")
def both_ways():
    """A log of four models that every question about levels answers, declared in three ways, and the two fits."""
    frame = pl.concat([log(40, 2, seed)[0].with_columns(pl.col("model") + str(seed)) for seed in range(2)])
    return frame, {items: fitted(frame, items) for items in ("new", "observed")}


@pytest.mark.parametrize("name", OF_LEVELS)
def test_a_question_takes_its_items_from_the_configuration_or_as_an_argument(name, both_ways):
    """The argument gives to the last digit what the configuration does, and is not the other population."""
    _, posterior = both_ways
    more = TOLD if name in ("coherence", "best_combination") else {}
    asked = getattr(dv, name)
    for declared, items in (("new", "observed"), ("observed", "new")):
        given, wanted = asked(posterior[declared], items=items, **more), asked(posterior[items], **more)
        assert given.to_frame().equals(wanted.to_frame()) and given.text == wanted.text
        assert given.identified and (OBSERVED_ITEMS in given.text) == (items == "observed")
    new, observed = (asked(posterior["new"], items=items, **more).to_frame() for items in ("new", "observed"))
    assert not new.equals(observed)


def test_an_argument_that_is_no_population_is_a_sentence(both_ways):
    posterior = both_ways[1]["new"]
    with pytest.raises(dv.InputError, match=r"seen 'obsrved' .did you mean observed"):
        dv.gap(posterior, items="obsrved")
    with pytest.raises(dv.InputError, match="is no population of this log"):
        dv.reversal(posterior, items="observed", contexts="new")
    with pytest.raises(dv.InputError, match="has no argument 'items'"):
        dv.pass_power(posterior, items="observed")  # about new items whatever is declared


def test_the_flag_is_the_configuration(both_ways, tmp_path):
    """`--items` reaches the page's table as the declared word does."""
    frame, posterior = both_ways
    frame.write_parquet(tmp_path / "log.parquet")
    for items in ("new", "observed"):
        done = CliRunner().invoke(
            cli, ["report", str(tmp_path / "log.parquet"), "-o", str(tmp_path / items), "--items", items, "--quiet"]
        )
        assert done.exit_code in (0, 1), done.output
        table = pl.read_parquet(tmp_path / items / "estimates.parquet").filter(question="deployed_level")
        wanted = dv.deployed_level(posterior[items]).to_frame()
        np.testing.assert_array_equal(table["mean"].to_numpy(), wanted["mean"].to_numpy())
