"""A model folder in which any one field is damaged is refused in one sentence, and one whose hash was made anew as if it
were right is refused or is a model that works: nothing else ever comes out of reading or using it."""

import io
import json
import random

import numpy as np
import pyarrow as pa
import pytest

import divergence as dv
from divergence.errors import InputError, NotIdentifiedError
from divergence.joint.store import SEALED as POSTERIOR
from divergence.risk.build import risk_model
from divergence.risk.model import SEALED as RISK
from divergence.risk.model import RiskModel
from divergence.sealed import seal_of
from divergence.simulate import simulate, world

ODD = (None, True, -1, 0.5, 10**30, 10**400, float("nan"), "", "x\x00", [], ["a"], {}, {"a": [1]}, [[1, 2], "b"])
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


def places(value, path=()):
    """The path of every value inside words; long lists by their first, middle and last entry."""
    yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places(inner, (*path, key))
    elif isinstance(value, list):
        for at in sorted({0, len(value) // 2, len(value) - 1} & set(range(len(value)))):
            yield from places(value[at], (*path, at))


def replaced(value, path, new):
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


def without(value, path):
    if len(path) == 1:
        return {k: v for k, v in value.items() if k != path[0]} if isinstance(value, dict) else [*value][:-1]
    return replaced(value, path[:1], without(value[path[0]], path[1:]))


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


def damaged(words, arrays):
    """(what, words, arrays) of every damage of one field."""
    for path in places(words):
        if path:
            for new in ODD:
                yield ("word", path, new), replaced(words, path, new), arrays
            yield ("without", path, None), without(words, path), arrays
    for name, array in arrays.items():
        yield ("array", name, "none"), words, {k: v for k, v in arrays.items() if k != name}
        others = {
            "short": array[:-1] if array.ndim else array[None],
            "deep": array[None],
            "text": array.astype(str),
            "nan": np.full(array.shape, np.nan),
            "huge": np.full(array.shape, 1e300),
            "negative": np.full(array.shape, -(2**31), np.int64),
            "empty": array.reshape(-1)[:0],
            "objectless": np.zeros(3),
        }
        for what, other in others.items():
            yield ("array", name, what), words, {**arrays, name: other}


def check(name, models, folder, most):
    seal, words, arrays = models[name]
    write(folder, seal, words, arrays)
    assert used(name, folder) == "works"
    cases = list(damaged(words, arrays))
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


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["risk", "posterior"])
def test_some_damaged_fields(name, models, tmp_path):
    check(name, models, tmp_path, PARTS_MAX)


@pytest.mark.prove
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["risk", "posterior"])
def test_every_damaged_field(name, models, tmp_path):
    check(name, models, tmp_path, None)
