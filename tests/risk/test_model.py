"""A risk model: its table against the obvious computation, cuts, what was never seen, saving, and what loading refuses."""

import dataclasses
import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import risk_worlds as worlds

import divergence as dv
from divergence.errors import InputError, NotIdentifiedError
from divergence.joint.predict import levels
from divergence.risk.build import risk_model
from divergence.risk.model import NUMBERS, SEALED, RiskModel
from divergence.risk.reliability import reliability
from divergence.risk.risk_draws import plausible_risks
from divergence.risk.strata import _fresh
from divergence.risk.summaries import summarise
from divergence.scoring.manifest import folder_hash
from divergence.scoring.score import score_log
from divergence.scoring.stale import stale
from divergence.sealed import seal_of

WORDS, ARRAYS = SEALED.words, SEALED.arrays

LOG = ("regime", "model", "context", "task", "item", "score")


@pytest.fixture(scope="module")
def world():
    """A log, its true risks, and its posterior."""
    log, truth = worlds.make(5, models=3, contexts=3, tasks=4, items=50)
    read = dv.read(log)
    return read, truth, dv.fit(dv.collapse(read), seed=0)


@pytest.fixture(scope="module")
def model(world):
    """Its risk model, calibrated and checked."""
    return risk_model(world[2], world[0], seed=0)


def _batch(rows):
    return (
        pl.DataFrame(rows, schema=["execution_id", "model", "context", "task"], orient="row")
        .to_arrow()
        .combine_chunks()
        .to_batches()[0]
    )


def test_a_score_is_the_row_of_its_combination_however_the_log_is_cut(model):
    random = np.random.default_rng(1)
    names = {
        "model": ["m0", "m1", "m2", "new", None],
        "context": ["c0", "c1", "c2", "new"],
        "task": ["t0", "t1", "t2", "t3", "new", None],
    }
    rows = [(f"e{k}", *(v[random.integers(len(v))] for v in names.values())) for k in range(500)]
    whole = model.score(_batch(rows))
    assert whole.schema.names == ["execution_id", *NUMBERS, "known", "reason"]
    shape = [len(v) + 1 for v in model.levels.values()]
    for k, (name, *labels) in enumerate(rows):  # the slow and obvious way
        place = [v.index(label) if label in v else len(v) for v, label in zip(model.levels.values(), labels, strict=True)]
        place = np.ravel_multi_index(place, shape)
        assert whole["execution_id"][k].as_py() == name
        for column in NUMBERS:
            seen = whole[column][k].as_py()
            assert np.isnan(model.table[column][place]) if seen is None else seen == model.table[column][place]
        assert whole["reason"][k].as_py() == model.reasons[model.table["reason"][place]]
    parts = [model.score(_batch(rows[a : a + 7])) for a in range(0, 500, 7)]
    assert pa.Table.from_batches(parts).to_pylist() == pa.Table.from_batches([whole]).to_pylist()


def test_without_strata_the_risk_is_one_minus_the_level(waves_posterior):
    """The posterior's own levels: mean by quadrature within the Monte Carlo error of the draws, limits exactly."""
    got = summarise(waves_posterior)
    deployed = levels(waves_posterior.fits[0], "deployment")
    for c, name in enumerate(deployed.contexts):
        place = got.levels["context"].index(name)
        p = 1 - deployed.draws[:, :, c]
        error = p.std(0) / np.sqrt(len(p))
        np.testing.assert_allclose(got.risk[:-1, place, 0], p.mean(0), atol=(4 * error).max() + 1e-3)
        np.testing.assert_allclose(got.lower[:-1, place, 0], np.quantile(p, 0.05, axis=0), rtol=1e-3)
        np.testing.assert_allclose(got.upper[:-1, place, 0], np.quantile(p, 0.95, axis=0), rtol=1e-3)


def test_risks_of_strata_hold_the_truth(world):
    """24 true risks, 90 % intervals: fewer than 18 inside has probability .007 if they were independent; they share items,
    which makes it likelier. The seed is fixed."""
    _, truth, posterior = world
    got = summarise(posterior)
    deployed = np.s_[:3, 1:3, :4]
    inside = (truth[:, 1:] >= got.lower[deployed]) & (truth[:, 1:] <= got.upper[deployed])
    assert inside.mean() >= 0.75
    assert np.abs(got.risk[deployed] - truth[:, 1:]).mean() < np.abs(got.risk[deployed].mean() - truth[:, 1:]).mean() / 2


def test_plausible_tables_have_the_law_of_the_table(world):
    """Means within four Monte Carlo errors, limits to two points: 2000 draws leave .7 of their 5 % points."""
    _, _, posterior = world
    got, draws = summarise(posterior), plausible_risks(posterior, draws=2000)
    error = 4 * draws.std(0) / np.sqrt(len(draws))
    assert draws.shape == (len(draws), *got.risk.shape) and (np.abs(draws.mean(0) - got.risk) < error + 1e-3).all()
    seen = np.s_[:3, 1:3, :4]
    for limit, share in ((got.lower, 0.05), (got.upper, 0.95)):
        assert np.abs(np.quantile(draws, share, axis=0)[seen] - limit[seen]).max() < 0.02
    # What the models share makes them move together: the sample of items of a task is the same for all.
    together = [np.corrcoef(draws[:, 0, 1, t], draws[:, 1, 1, t])[0, 1] for t in range(4)]
    assert np.mean(together) > 0.05


def test_draws_of_a_context_are_those_of_its_rows(model):
    """By a loop over the table's rows; rows that share a risk are averaged, a risk that none has is its nearest."""
    shape = [len(v) + 1 for v in model.levels.values()]
    for context, place in (("c1", 1), ("never seen", shape[1] - 1)):
        rows = [r for r in range(len(model.table["risk"])) if np.unravel_index(r, shape)[1] == place]
        for row in rows[:5]:
            risk = model.table["risk"][row]
            alike = [r for r in rows if model.table["risk"][r] == risk]
            got = model.draws(context, np.array([risk, risk + 1e-12]))
            np.testing.assert_allclose(got, model.plausible[:, alike].mean(1)[:, None].repeat(2, 1), rtol=1e-6)
    random = np.random.default_rng(0)
    batch = _batch([("e", f"m{random.integers(4)}", "c1", f"t{random.integers(5)}") for _ in range(50)])
    np.testing.assert_allclose(model.mean_draws(batch), model.plausible[:, model.rows(batch)].mean(1), rtol=1e-5)
    assert model.plausible.shape == (200, np.prod(shape)) and model.plausible.dtype == np.float32


def test_a_scored_log_has_the_null_of_the_posterior_that_memory_has(world, model, tmp_path):
    """Counts and the model's own draws give what all rows in memory give with the same draws."""
    rows = world[0].valid.filter(pl.col("regime") == "deployment").select(LOG)
    rows.write_parquet(tmp_path / "log.parquet")
    model.save(tmp_path / "model")
    scored = score_log(tmp_path / "model", [tmp_path / "log.parquet"], tmp_path / "out", load=RiskModel.load, workers=0)
    batch = rows.select("model", "context", "task").to_arrow().combine_chunks().to_batches()[0]
    risk = model.score(batch)["risk"].to_numpy()
    here = reliability(risk, 1 - rows["score"].to_numpy(), plausible=(model.plausible, model.rows(batch)))
    told = scored.manifest["calibration"]
    assert told["ece"] == here["ece"] and told["brier"] == here["brier"]
    if told["design_effect"] == 1:
        assert told["ece_null_95"] == here["ece_null_95"]
        assert told["ece_posterior_95"] == pytest.approx(here["ece_posterior_95"], rel=1e-6)
    assert told["ece_posterior_95"] > told["ece_null_95"]


def test_an_error_that_the_posterior_expects_is_inside_its_own_null():
    """A score that is off as a whole by a draw from a law that it knows: outside the null of a perfect score, inside that of
    its posterior, in 19 of 20 worlds; fewer than 50 of 60 has probability .001."""
    inside = perfect = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        risk = np.linspace(0.2, 0.8, 30)
        kind = random.integers(0, 30, 5000)
        truth = risk + 0.1 * random.uniform(-1, 1)
        draws = risk + 0.1 * random.uniform(-1, 1, (400, 1))
        got = reliability(risk[kind], (random.random(5000) < truth[kind]).astype(float), plausible=(draws, kind), seed=seed)
        inside, perfect = inside + got["inside_posterior"], perfect + got["inside_null"]
    assert inside >= 50 and perfect <= 30


@pytest.mark.parametrize("n", [(1, 1, 1), (5, 3, 1, 1), (9, 1)])
def test_a_new_task_varies_more_around_the_mean_of_seen_ones_than_they_do(n):
    """By drawing tasks: 40,000 draws leave 1 % of a variance, so four standard errors of the ratio are 6 %."""
    share = np.array(n) / sum(n)
    tasks = np.random.default_rng(0).standard_normal((40_000, len(n) + 1))
    level = tasks[:, :-1] @ share
    seen = ((tasks[:, :-1] - level[:, None]) ** 2).mean()
    assert _fresh(np.array(n)) == pytest.approx(((tasks[:, -1] - level) ** 2).mean() / seen, rel=0.06)


def test_what_was_never_seen_is_wider_and_not_known(model):
    def one(*labels):
        return model.score(_batch([("e", *labels)])).to_pylist()[0]

    def width(row):
        return row["upper"] - row["lower"]

    known = one("m0", "c1", "t0")
    assert known["known"] and known["excess"] is not None and "new" not in known["reason"]
    for labels, what in (
        (("x", "c1", "t0"), "new model"),
        (("m0", "x", "t0"), "new context"),
        (("m0", "c1", "x"), "new stratum"),
    ):
        new = one(*labels)
        assert not new["known"] and what in new["reason"] and width(new) > width(known)
        assert new["lower"] > 0.02 or new["upper"] < 0.98 or width(new) > 0.5  # never a confident number
    everything = one("x", "x", "x")
    assert everything["novelty"] == 1 and width(everything) > 0.4
    assert one("x", "c1", "t0")["excess"] is None  # nothing was promised for a model that has no bench
    assert not one("m0", "c0", "t0")["known"]  # the bench's context in deployment was never seen


def test_interval_order_and_range(model):
    assert (model.table["lower"] <= model.table["risk"]).all() and (model.table["risk"] <= model.table["upper"]).all()
    assert (model.table["lower"] >= 0).all() and (model.table["upper"] <= 1).all()


def test_saved_and_loaded_alike(model, tmp_path):
    model.save(tmp_path)
    again = RiskModel.load(tmp_path)
    for name, column in model.table.items():
        np.testing.assert_array_equal(column, again.table[name])
    rows = [("a", "m1", "c2", "t3"), ("b", "x", None, None)]
    assert model.score(_batch(rows)).equals(again.score(_batch(rows)))
    assert again.calibrator == model.calibrator and again.check == json.loads(json.dumps(model.check))
    assert repr(again) == repr(model)
    np.testing.assert_array_equal(again.plausible, model.plausible)


def test_a_model_that_keeps_no_draws_scores_the_same(model, tmp_path):
    """As models did before draws were kept, and as very large tables do."""
    dataclasses.replace(model, plausible=None).save(tmp_path)
    again, batch = RiskModel.load(tmp_path), _batch([("a", "m1", "c2", "t3")])
    assert again.plausible is again.draws("c1", np.array([0.5])) is again.mean_draws(batch) is None
    assert model.score(batch).equals(again.score(batch))


@pytest.mark.parametrize("name", [WORDS, ARRAYS])
def test_a_changed_byte_is_refused(model, tmp_path, name):
    model.save(tmp_path)
    content = bytearray((tmp_path / name).read_bytes())
    place = content.index(b'"seed": 0') + 8 if name == WORDS else len(content) // 2
    content[place] ^= 1
    (tmp_path / name).write_bytes(bytes(content))
    with pytest.raises(InputError, match="was changed after it was saved"):
        RiskModel.load(tmp_path)


def test_newer_format_missing_file_and_no_json_are_refused(model, tmp_path):
    with pytest.raises(InputError, match=r"risk.json is missing.*divergence fit"):
        RiskModel.load(tmp_path)
    model.save(tmp_path)
    words = json.loads((tmp_path / WORDS).read_text())
    (tmp_path / WORDS).write_text(json.dumps(words | {"format": 99}))
    with pytest.raises(InputError, match="has format 99, this version reads 3"):
        RiskModel.load(tmp_path)
    (tmp_path / WORDS).write_text(json.dumps(words | {"format": 2}))
    with pytest.raises(InputError, match="has format 2, this version reads 3; make it again with divergence fit"):
        RiskModel.load(tmp_path)
    for content in ("{", "[" * 200_000):
        (tmp_path / WORDS).write_text(content)
        with pytest.raises(InputError, match="is not readable JSON"):
            RiskModel.load(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_words_that_may_not_be_read_are_one_sentence(model, tmp_path):
    model.save(tmp_path)
    (tmp_path / WORDS).chmod(0)
    for read in (RiskModel.load, folder_hash):
        with pytest.raises(InputError, match=r"risk\.json cannot be read: Permission denied"):
            read(tmp_path)


def test_a_pickle_is_never_loaded(model, tmp_path):
    """An array of objects inside the npz, with a right hash over it: NumPy refuses."""
    model.save(tmp_path)
    np.savez(tmp_path / ARRAYS, risk=np.array([{"a": 1}], dtype=object))
    rehashed(tmp_path)
    with pytest.raises(InputError, match=r"holds no whole risk model .*allow_pickle.*divergence fit"):
        RiskModel.load(tmp_path)


def rehashed(folder, drop=(), **changed):
    """Words with right hashes over whatever was changed."""
    words = json.loads((folder / WORDS).read_text()) | changed
    words["arrays_sha256"] = hashlib.sha256((folder / ARRAYS).read_bytes()).hexdigest()
    words = {name: value for name, value in words.items() if name not in ("words_sha256", *drop)}
    (folder / WORDS).write_text(json.dumps(words | {"words_sha256": seal_of(words)}))


@pytest.mark.parametrize("drop", ["arrays_sha256", "levels", "reasons", "served", "calibrator", "outcome"])
def test_words_that_lack_something_are_refused_with_a_sentence(model, tmp_path, drop):
    model.save(tmp_path)
    rehashed(tmp_path, [drop])
    with pytest.raises(InputError, match=r"changed after it was saved|holds no whole risk model"):
        RiskModel.load(tmp_path)


@pytest.mark.parametrize("content", ["nothing", "words", "no zip inside", "short", "numbers of texts", "no such reason"])
def test_arrays_that_are_none_of_a_model_are_refused_with_a_sentence(model, tmp_path, content):
    """Each with right hashes over it."""
    model.save(tmp_path)
    held = {**model.table, "plausible": model.plausible}
    if content in ("nothing", "words", "no zip inside"):
        some = {"nothing": b"", "words": b"these are words", "no zip inside": b"PK\x03\x04"}
        (tmp_path / ARRAYS).write_bytes(some[content])
    else:
        held |= {
            "short": {"risk": model.table["risk"][1:]},
            "numbers of texts": {"upper": model.table["upper"].astype(str)},
            "no such reason": {"reason": model.table["reason"] + 10**6},
        }[content]
        np.savez(tmp_path / ARRAYS, **held)
    rehashed(tmp_path)
    with pytest.raises(InputError, match="holds no whole risk model"):
        RiskModel.load(tmp_path)


def test_scoring_needs_neither_scipy_nor_sklearn_nor_jax(model, tmp_path):
    model.save(tmp_path)
    code = (
        f"import sys, pyarrow as pa; from divergence.risk.model import RiskModel; "
        f"m = RiskModel.load({str(tmp_path)!r}); m.score(pa.record_batch({{'model': pa.array(['m0'])}})); "
        "heavy = ('sklearn', 'arviz_base', 'arviz_stats', 'altair', 'numpyro', 'jax', 'scipy', 'polars'); "
        "print([h for h in heavy if h in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_no_deployment_and_no_failures_are_refused(world):
    log, _, _ = world
    bench = dv.read(log.valid.filter(pl.col("regime") == "evaluation").select(LOG))
    with pytest.raises(NotIdentifiedError, match="no judged deployment rows"):
        risk_model(dv.fit(dv.collapse(bench), seed=0))


def test_a_small_log_says_that_calibration_was_not_checked(world):
    log, _, posterior = world
    few = dv.read(log.valid.filter(pl.col("item").str.ends_with("1")).select(LOG))
    found = risk_model(posterior, few)
    assert found.calibrator.name == "none" and "calibration was not checked" in found.check["sentence"]
    assert "no log was given" in risk_model(posterior).check["sentence"]


def _observed(model, truth, n, shift=0.0, context="c1"):
    """Sums of a night of traffic in which failures happen with the true risk, moved by `shift`."""
    sums = {k: [] for k in ("n", "risk", "failures")}
    random = np.random.default_rng(3)
    for m in range(3):
        for t in range(4):
            sums["n"].append(n)
            sums["risk"].append(model.score(_batch([("e", f"m{m}", context, f"t{t}")]))["risk"][0].as_py())
            sums["failures"].append(int(random.binomial(n, np.clip(truth[m, 1, t] + shift, 0, 1))))
    return {context: sums}


def test_stale_when_outcomes_moved_or_contexts_are_new(world, model):
    _, truth, _ = world
    right = stale(_observed(model, truth, 2000), model.traffic)
    assert not right["stale"] and right["e_value"] < 20 and right["unseen_share"] == 0
    moved = stale(_observed(model, truth, 2000, 0.25), model.traffic)
    assert moved["stale"] and "in the context c1" in moved["reason"]
    moved = stale(_observed(model, truth, 2000, 0.25), model.traffic, draws=model.draws)
    assert moved["stale"] and "all known requests together" in moved["reason"]
    elsewhere = stale(_observed(model, truth, 2000, context="c9"), model.traffic)
    assert elsewhere["stale"] and elsewhere["unseen_share"] == 1 and "never had" in elsewhere["reason"]
    silent = stale({}, model.traffic)
    assert not silent["stale"] and silent["e_value"] is None and "not identified" in silent["reason"]
