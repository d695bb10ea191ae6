"""A context label that the serving factors contradict: by a loop over rows, and from the log to the score."""

from decimal import Decimal

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import risk_worlds as worlds
from scipy.special import ndtri

import divergence as dv
from divergence.executions.columns import as_label
from divergence.executions.contexts import NOT_LOGGED
from divergence.risk.build import risk_model
from divergence.risk.context_definitions import TOGETHER_MAX, Served
from divergence.risk.item_lookup import spreads
from divergence.risk.model import RiskModel
from divergence.scoring.score import score_log

FACTORS = ("engine", "cache", "region")
LEVELS = ("a", "b", "c", None)


def obvious(served, row):
    """A loop over combinations."""
    levels = [row.get(f) for f in served.factors]
    if row["context"] in served.apart:
        for f, level in enumerate(levels):
            mine = served.apart[row["context"]][f]
            if level is not None and level not in mine and None not in mine:
                return f
        return -1
    kept = served.together.get(row["context"])
    if kept is None:
        return -1

    def fits(combination, f):
        return levels[f] is None or combination[f] is None or combination[f] == levels[f]

    if any(all(fits(one, f) for f in range(len(levels))) for one in kept):
        return -1
    return next((f for f in range(len(levels)) if not any(fits(one, f) for one in kept)), len(levels))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("coding", ["texts", "dictionaries", "a factor is missing"])
def test_contradictions_are_those_of_a_loop(seed, coding):
    random = np.random.default_rng(seed)

    def some(n, contexts=("x", "y", "z")):
        return [(str(random.choice(contexts)), *(LEVELS[k] for k in random.integers(0, 4, 3))) for _ in range(n)]

    many = [("z", f"e{k}", "a", "a") for k in range(TOGETHER_MAX + 6)] if seed % 2 else []
    served = Served.of(FACTORS, some(6) + many)
    assert Served.from_json(served.to_json()) == served
    rows = [dict(zip(("context", *FACTORS), row, strict=True)) for row in some(300, ("x", "y", "z", "new"))]
    rows += [row | {"engine": str(random.choice(["e1", "never seen"]))} for row in rows[:99]] + [rows[0] | {"context": None}]
    if coding == "a factor is missing":
        rows = [{k: v for k, v in row.items() if k != "cache"} for row in rows]
    batch = pa.RecordBatch.from_pylist(rows)
    if coding == "dictionaries":
        batch = pa.record_batch({name: batch.column(name).dictionary_encode() for name in batch.schema.names})
    expected = [obvious(served, row) for row in rows]
    found = served.unlike(batch)
    assert (found.tolist() if found is not None else [-1] * len(rows)) == expected
    cut = [served.unlike(batch.slice(k, 50)) for k in range(0, len(rows), 50)]
    whole = [v for k, part in enumerate(cut) for v in ([-1] * 50 if part is None else part)]
    assert whole[: len(rows)] == expected


def test_what_nothing_is_known_of_contradicts_nothing():
    batch = pa.record_batch({"context": pa.array(["x"]), "engine": pa.array(["a"])})
    assert Served().unlike(batch) is None and Served(("engine",)).unlike(batch) is None
    assert Served.of(("engine",), [("x", "b")]).unlike(batch.drop_columns(["context"])) is None
    assert Served.of(("engine",), [("x", None)]).unlike(batch) is None


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A log whose labels stand for engine and cache (c3 is both caches), always in one region; its folder and its rows."""
    log, _ = worlds.make(3, models=3, tasks=4)
    engine = pl.col("context").replace_strict({"c0": "v", "c1": "v", "c2": "s", "c3": "s"})
    cache = (
        pl.when(pl.col("context") == "c3")
        .then(pl.when(pl.col("item").hash(1) % 2 == 0).then(pl.lit("on")).otherwise(pl.lit("off")))
        .otherwise(pl.lit("off"))
    )
    log = log.with_columns(engine=engine, kv_cache_dtype=cache, region=pl.lit("eu"))
    read = dv.read(log)
    folder = tmp_path_factory.mktemp("model")
    posterior = dv.fit(dv.collapse(read), method=dv.Importance(), seed=0)
    risk_model(posterior, read).save(folder)
    return folder, log.filter(pl.col("regime") == "deployment"), posterior


CHANGES = {
    "a new level": ({"engine": "new"}, "engine"),
    "another label's level": ({"engine": "v"}, "engine"),
    "what never varied": ({"region": "us"}, "region"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_label_that_the_factors_contradict_is_no_known_context(fitted, change, tmp_path):
    folder, rows, _ = fitted
    changed, factor = CHANGES[change]
    rows = rows.filter(pl.col("context") == "c2").with_columns(execution_id=pl.int_range(pl.len()).cast(pl.String))
    rows.write_parquet(tmp_path / "same.parquet")
    half = pl.int_range(pl.len()) % 2 == 0
    rows.with_columns(pl.when(half).then(pl.lit(v)).otherwise(k).alias(k) for k, v in changed.items()).write_parquet(
        tmp_path / "changed.parquet"
    )
    logs = [tmp_path / "same.parquet", tmp_path / "changed.parquet"]
    made = score_log(folder, logs, tmp_path / "out", load=RiskModel.load, workers=0).manifest
    assert not made["failed"] and made["calibration"]["judged"] == 2 * rows.height
    same, other = (pl.read_parquet(tmp_path / f"out/{name}.parquet") for name in ("same", "changed"))
    assert same["known"].all() and other["known"].to_list() == [False, True] * (rows.height // 2)
    assert other.gather_every(2, 1).equals(same.gather_every(2, 1))
    new, old = other.gather_every(2), same.gather_every(2)
    # All items are known. What is not known of an answer never shrinks, in probits (near 0 and 1 a probability has no room),
    # beyond the one step by which two rounded standard deviations may differ, and on average it grows by more than that.
    wider = (new["upper"] - new["lower"]) - (old["upper"] - old["lower"])
    probits = [ndtri(s["upper"].to_numpy()) - ndtri(s["lower"].to_numpy()) for s in (new, old)]
    step = np.diff(np.log(spreads())).max()
    ratio = np.log(probits[0] / probits[1])
    assert (ratio > -step - 1e-6).all() and ratio.mean() > step
    assert wider.mean() > 0.05
    assert new["reason"].cast(pl.String).str.contains(f"new context (its label had another {factor})", literal=True).all()


def test_what_is_not_logged_contradicts_nothing(fitted, tmp_path):
    folder, rows, _ = fitted
    rows.drop("engine").with_columns(kv_cache_dtype=pl.lit(None, pl.String)).write_parquet(tmp_path / "a.parquet")
    score_log(folder, [tmp_path / "a.parquet"], tmp_path / "out", load=RiskModel.load, workers=0)
    assert pl.read_parquet(tmp_path / "out/a.parquet")["known"].all()


def test_without_its_log_a_fit_knows_the_levels_of_the_factors_that_varied(fitted):
    model = risk_model(fitted[2])
    one = {"model": ["m0"] * 3, "context": ["c2"] * 3, "task": ["t0"] * 3, "engine": ["s", "v", None]}
    assert model.score(pa.record_batch(one)).column("known").to_pylist() == [True, False, True]


def test_several_new_things_are_all_named(fitted):
    model = RiskModel.load(fitted[0])
    row = model.score(pa.record_batch({"model": ["x"], "context": ["c2"], "task": ["x"], "engine": ["v"]})).to_pylist()[0]
    assert row["reason"] == "new model; new context (its label had another engine); new stratum"


SHORT = Served.of(("engine", "concurrency"), [("calm", "vllm", "1"), ("busy", "vllm", "8"), ("busy", "sglang", "8")])


def short_unlike(context, **levels):
    batch = pa.record_batch(
        {
            "context": pa.array(context).dictionary_encode(),
            **{name: pa.array(column, pa.string()).dictionary_encode() for name, column in levels.items()},
        }
    )
    found = SHORT.unlike(batch)
    return [-1] * len(context) if found is None else found.tolist()


@pytest.mark.parametrize("missing", [None, NOT_LOGGED, "NaN"])
def test_a_missing_level_contradicts_nothing_however_it_is_written(missing):
    assert short_unlike(["calm", "calm"], engine=["vllm", missing]) == [-1, -1]


def test_a_context_that_is_not_known_is_not_judged_here():
    assert short_unlike(["elsewhere"], engine=["other"]) == [-1]


@pytest.mark.parametrize(
    "column",
    [
        pl.Series([8, 16, None]),
        pl.Series([8.0, 16.0, np.nan]),
        pl.Series([Decimal("8.00"), Decimal("16.00"), None]),
    ],
)
def test_a_level_is_one_however_its_number_is_stored(column):
    frame = pl.DataFrame({"level": column})
    assert frame.select(as_label("level", frame.schema["level"])).to_series().to_list() == ["8", "16", None]
