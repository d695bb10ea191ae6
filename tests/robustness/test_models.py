"""A model folder in which any one field is damaged is refused in one sentence, and one whose hash was made anew as if it
were right is refused or is a model that works: nothing else ever comes out of reading or using it."""

import io
import json
import random

import numpy as np
import pyarrow as pa
import pytest
from damaged_fields import of_arrays, of_words

import divergence as dv
from divergence.errors import InputError, NotIdentifiedError
from divergence.joint.store import SEALED as POSTERIOR
from divergence.risk.build import risk_model
from divergence.risk.model import SEALED as RISK
from divergence.risk.model import RiskModel
from divergence.sealed import seal_of
from divergence.simulate import simulate, world

PARTS_MAX = 60  # places of one folder that are damaged in the tests; all of them in `make prove`


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """The contents of both kinds of folder: name -> (seal, words, arrays)."""
    log = dv.read(simulate(world("baseline", n_models=2, n_contexts=3, n_items=30), 3)[0])
    posterior = dv.fit(dv.collapse(log), seed=0)
    found = {}
    for name, seal, value in (("posterior", POSTERIOR, posterior), ("risk", RISK, risk_model(posterior, log, seed=0))):
        folder = tmp_path_factory.mktemp(name)
        value.save(folder)
        found[name] = (seal, *seal.open(folder))
    return found


def write(folder, seal, words, arrays, hashed=True) -> None:
    held = io.BytesIO()
    np.savez(held, **arrays)
    import hashlib

    said = {"format": seal.format, **words, "arrays_sha256": hashlib.sha256(held.getvalue()).hexdigest()}
    said = json.loads(json.dumps(said))
    said["words_sha256"] = seal_of(said) if hashed else "0" * 64
    (folder / seal.arrays).write_bytes(held.getvalue())
    (folder / seal.words).write_text(json.dumps(said))


def used(name, folder) -> str:
    """Load and use it: "works", or the sentence."""
    try:
        if name == "risk":
            model = RiskModel.load(folder)
            batch = pa.record_batch({"model": pa.array(["model-0", "new"]), "context": pa.array(["a", None])})
            model.score(batch)
            model.mean_draws(batch)
            repr(model)
        else:
            posterior = dv.load(folder)
            repr(posterior)
            for question in (dv.kappa, dv.gap, dv.bench_level):
                question(posterior)
    except (InputError, NotIdentifiedError) as error:
        assert str(error).isprintable() and len(str(error)) <= 300
        return str(error)
    return "works"


def check(name, models, folder, most):
    seal, words, arrays = models[name]
    write(folder, seal, words, arrays)
    assert used(name, folder) == "works"
    cases = [(what, other, arrays) for what, other in of_words(words)]
    cases += [(what, words, other) for what, other in of_arrays(arrays)]
    if most is not None and len(cases) > most:
        cases = random.Random(0).sample(cases, most)
    refused = 0
    for what, other_words, other_arrays in cases:
        write(folder, seal, other_words, other_arrays, hashed=False)
        assert "was changed after it was saved" in used(name, folder), what
        write(folder, seal, other_words, other_arrays)
        try:
            refused += used(name, folder) != "works"
        except Exception as error:
            raise AssertionError(f"{what}: {type(error).__name__}: {error}") from error
    print(f"{name}: {len(cases)} damaged fields, {refused} refused, the others are models that work")
    assert refused > len(cases) / 4


def moved(count, how):
    """Places of rows: turned around, two neighbours exchanged, or one there twice."""
    order = np.arange(count)
    if how == "turned around":
        return order[::-1]
    if how == "exchanged":
        return np.r_[order[:3], order[[4, 3]], order[5:]]
    return np.r_[order[:4], order[3:]]


@pytest.mark.parametrize("how", ["turned around", "exchanged", "twice"])
@pytest.mark.parametrize("table", ["counts", "designs", "measures"])
def test_a_posterior_whose_rows_stand_in_another_order_is_refused(models, tmp_path, table, how):
    """Rows of one model are cut out by where they begin and end: out of order, they were others' rows, without a word."""
    seal, words, arrays = models["posterior"]
    columns = {name: values for name, values in arrays.items() if name.startswith(f"0/{table}/")}
    order = moved(len(columns[f"0/{table}/n"]), how)
    write(tmp_path, seal, words, arrays | {name: values[order] for name, values in columns.items()})
    with pytest.raises(InputError, match=f"the rows of {table} are not in the order of their keys"):
        dv.load(tmp_path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["risk", "posterior"])
def test_some_damaged_fields(name, models, tmp_path):
    check(name, models, tmp_path, PARTS_MAX)


@pytest.mark.prove
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["risk", "posterior"])
def test_every_damaged_field(name, models, tmp_path):
    check(name, models, tmp_path, None)
