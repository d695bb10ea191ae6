"""The smallest risk model there can be, for tests of what is around one: a table of numbers in a folder of JSON.

Its risks are the hash of (seed, model, context, item), so a wrong lookup cannot go unnoticed. A folder can be told to
misbehave on a model's name: `raise` (an error that nobody foresaw), `die` (the process ends), `slow` (a hash over
`work` bytes a row). `witness` is a folder in which each node of a cluster leaves its name.
"""

import hashlib
import json
import os
import pathlib

import numpy as np
import polars as pl
import pyarrow as pa

from divergence.errors import InputError
from divergence.risk.lookup import LookupGrid, take

MODELS, ENGINES, ITEMS = ("m0", "m1", "m2"), ("vllm", "sglang"), tuple(f"i{k}" for k in range(12))


def tree(folder):
    """Every file of a folder and the hash of its bytes, the lock left out."""
    folder = pathlib.Path(folder)
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name != ".lock"
    }


def requests(rows, seed):
    """A partition: deployment rows with some evaluation rows, unseen levels, unjudged rows."""
    random = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "execution_id": [f"r{seed}-{k}" for k in range(rows)],
            "regime": random.choice(["deployment", "evaluation"], rows, p=[0.9, 0.1]),
            "model": random.choice([*MODELS, "new model"], rows),
            "engine": random.choice([*ENGINES, "new engine"], rows),
            "item": random.choice(ITEMS, rows),
            "score": [None if u < 0.5 else float(u < 0.8) for u in random.random(rows)],
        }
    )


def risk_of(seed, model, context, item):
    """The risk of one request, obviously."""
    digest = hashlib.sha256(repr((seed, model, context, item)).encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def save(folder, models, engines, items, seed=0, misbehave=None, work=40000, witness=None):
    """Write a model's folder; `misbehave` says how, and the name of the model that provokes it."""
    pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
    words = {
        "models": models,
        "contexts": [f"engine={e}" for e in engines],
        "items": items,
        "seed": seed,
        "misbehave": misbehave or {},
        "work": work,
        "witness": witness and str(witness),
    }
    (pathlib.Path(folder) / "model.json").write_text(json.dumps(words))
    return folder


def load(folder):
    """Read a model's folder."""
    path = pathlib.Path(folder) / "model.json"
    if not path.is_file():
        raise InputError(f"{folder} is no risk model: model.json is missing")
    return SmallScorer(json.loads(path.read_text()))


class SmallScorer:
    """What `RiskModel` is to the code around it."""

    outcome, kind, factors, columns = "score", "binary", ("engine",), ()
    traffic, check = {}, {}

    def __init__(self, words):
        levels = {"model": tuple(words["models"]), "context": tuple(words["contexts"]), "item": tuple(words["items"])}
        shape = tuple(len(v) + 1 for v in levels.values())
        self.misbehave, self.work, self.witness = words["misbehave"], words["work"], words["witness"]
        self.grid = LookupGrid(levels, np.arange(np.prod(shape), dtype=np.int32).reshape(shape))
        named = [(*v, None) for v in levels.values()]
        risk = np.array([risk_of(words["seed"], m, c, i) for m in named[0] for c in named[1] for i in named[2]])
        known = np.array([None not in (m, c) for m in named[0] for c in named[1] for _ in named[2]])
        self.table = {
            "risk": risk,
            "excess": risk - 0.5,
            "lower": risk / 2,
            "upper": (1 + risk) / 2,
            "novelty": np.sqrt(risk),
            "known": known,
            "reason": pa.array(["known" if k else "unseen level" for k in known]).dictionary_encode(),
        }

    def score(self, batch):
        """One row a request."""
        if self.witness:
            import ray

            (pathlib.Path(self.witness) / ray.get_runtime_context().get_node_id()).touch()
        models = batch.column("model").cast(pa.string()).unique().to_pylist()
        how = [h for h, name in self.misbehave.items() if name in models]
        if "raise" in how:
            raise ZeroDivisionError("the scorer divides by zero")
        if "die" in how:
            os._exit(9)
        if "slow" in how:
            for _ in range(batch.num_rows):
                hashlib.sha256(bytes(self.work)).digest()
        columns = {"execution_id": batch.column("execution_id"), **take(self.table, self.grid.rows(batch))}
        return pa.record_batch(columns)
