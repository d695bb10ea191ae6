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
from divergence.errors import InputError
from divergence.risk.build import risk_model
from divergence.risk.model import SEALED, RiskModel
from divergence.risk.reliability import reliability
from divergence.risk.saved_table import NUMBERS
from divergence.scoring.model_folder import folder_hash
from divergence.scoring.score import score_log
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


def rehashed(folder, drop=(), **changed):
    """Words with right hashes over whatever was changed."""
    words = json.loads((folder / WORDS).read_text()) | changed
    words["arrays_sha256"] = hashlib.sha256((folder / ARRAYS).read_bytes()).hexdigest()
    words = {name: value for name, value in words.items() if name not in ("words_sha256", *drop)}
    (folder / WORDS).write_text(json.dumps(words | {"words_sha256": seal_of(words)}))


def test_a_score_is_the_row_of_its_combination_however_the_log_is_cut(model):
    random = np.random.default_rng(1)
    names = {
        "model": ["m0", "m1", "m2", "new", None],
        "context": ["c0", "c1", "c2", "new"],
        "task": ["t0", "t1", "t2", "t3", "new", None],
    }
    rows = [(f"e{k}", *(v[random.integers(len(v))] for v in names.values())) for k in range(500)]
    whole = model.score(worlds.batch_of(rows))
    assert whole.schema.names == ["execution_id", *NUMBERS, "known", "reason", "evidence", "audit"]
    shape = [len(v) + 1 for v in model.levels.values()]
    for k, (name, *labels) in enumerate(rows):  # the slow and obvious way
        place = [v.index(label) if label in v else len(v) for v, label in zip(model.levels.values(), labels, strict=True)]
        place = np.ravel_multi_index(place, shape)
        assert whole["execution_id"][k].as_py() == name
        for column in NUMBERS:
            seen = whole[column][k].as_py()
            assert np.isnan(model.table[column][place]) if seen is None else seen == model.table[column][place]
        assert whole["reason"][k].as_py() == model.reasons[model.table["reason"][place]]
    parts = [model.score(worlds.batch_of(rows[a : a + 7])) for a in range(0, 500, 7)]
    assert pa.Table.from_batches(parts).to_pylist() == pa.Table.from_batches([whole]).to_pylist()


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
    batch = worlds.batch_of([("e", f"m{random.integers(4)}", "c1", f"t{random.integers(5)}") for _ in range(50)])
    np.testing.assert_allclose(model.mean_draws(batch), model.plausible[:, model.rows(batch)].mean(1), rtol=1e-5)
    assert model.plausible.shape == (200, np.prod(shape)) and model.plausible.dtype == np.float32


def test_a_scored_log_has_the_null_of_the_posterior_that_memory_has(world, model, tmp_path):
    """Counts and the model's own draws give what all rows in memory give with the same draws."""
    rows = world[0].valid.filter(pl.col("regime") == "deployment").select(LOG).with_columns(item=pl.lit("new"))
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


def test_interval_order_and_range(model):
    assert (model.table["lower"] <= model.table["risk"]).all() and (model.table["risk"] <= model.table["upper"]).all()
    assert (model.table["lower"] >= 0).all() and (model.table["upper"] <= 1).all()


def test_saved_and_loaded_alike(model, tmp_path):
    model.save(tmp_path)
    again = RiskModel.load(tmp_path)
    for name, column in model.table.items():
        np.testing.assert_array_equal(column, again.table[name])
    rows = [("a", "m1", "c2", "t3"), ("b", "x", None, None)]
    assert model.score(worlds.batch_of(rows)).equals(again.score(worlds.batch_of(rows)))
    assert again.calibrator == model.calibrator and again.check == json.loads(json.dumps(model.check))
    assert repr(again) == repr(model)
    np.testing.assert_array_equal(again.plausible, model.plausible)


def test_a_model_that_keeps_no_draws_scores_the_same(model, tmp_path):
    """As models did before draws were kept, and as very large tables do."""
    dataclasses.replace(model, plausible=None).save(tmp_path)
    again, batch = RiskModel.load(tmp_path), worlds.batch_of([("a", "m1", "c2", "t3")])
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
    with pytest.raises(InputError, match="has format 99, this version reads 4"):
        RiskModel.load(tmp_path)
    (tmp_path / WORDS).write_text(json.dumps(words | {"format": 2}))
    with pytest.raises(InputError, match="has format 2, this version reads 4; make it again with divergence fit"):
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
