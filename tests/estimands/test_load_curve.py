"""Is quality under load found where a known law makes it, and refused where items and loads do not overlap?"""

import datetime
import time

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.cli import main
from divergence.errors import NotIdentifiedError
from divergence.estimands import load_curve as room
from divergence.executions import load, read
from divergence.under_load import under_load

SEED = 20261129
LOADS = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0])


def law(difficulty, at):
    """Quality of a stub under load: it falls by half a logit with each doubling, from an item's own height."""
    return 1 / (1 + np.exp(-(1.5 - difficulty - 0.5 * np.log2(at))))


TRUTH = np.array([law(np.random.default_rng(7).normal(size=400_000), at).mean() for at in LOADS])
"""Level over the population of items, which is standard normal in difficulty."""


def world(rng, items=60, calls=4, biased=0.0):
    """Executions of one model: each item at random loads; `biased` makes harder items arrive under heavier load."""
    difficulty = rng.normal(size=items)
    item = np.repeat(np.arange(items), calls)
    score = rng.normal(size=len(item)) + biased * difficulty[item]
    level = np.argsort(np.argsort(score)) * len(LOADS) // len(item)
    y = rng.random(len(item)) < law(difficulty[item], LOADS[level])
    frame = pl.DataFrame({"item": item, "level": level, "y": y.astype(float)})
    counted = frame.group_by("item", "level").agg(n=pl.len(), y=pl.col("y").sum())
    return counted.with_columns(model=pl.lit("m"), context=pl.lit("c")).sort("item", "level")


def covered(repeats, **given):
    """Share of (world, load) pairs whose 90 % band holds the truth, and the mean error of the middle."""
    hits, errors = [], []
    for number in range(repeats):
        rng = np.random.default_rng([SEED, number])
        found = room.load_curve(world(rng, **given), LOADS, "load", seed=number)
        assert found.identified
        lower, upper = np.quantile(found.draws[:, : len(LOADS)], [0.05, 0.95], axis=0)
        hits.append((lower <= TRUTH) & (upper >= TRUTH))
        errors.append(found.draws[:, : len(LOADS)].mean(0) - TRUTH)
    return np.mean(hits), np.mean(errors, axis=0)


def test_the_band_covers_a_known_law():
    """120 worlds x 6 loads; loads of a world share their items, so that the rate's error is that of some 240 trials: .02."""
    rate, error = covered(120)
    assert 0.86 - 0.02 <= rate <= 0.94 + 0.02
    assert np.abs(error).max() < 0.02


@pytest.mark.prove
@pytest.mark.parametrize("given", [{}, {"items": 20, "calls": 12}, {"items": 300}, {"items": 40, "calls": 2}], ids=str)
def test_coverage_over_designs(given):
    rate, _ = covered(1000, **given)
    assert 0.86 <= rate <= 0.94


def test_items_that_arrive_under_heavy_load_do_not_bend_the_curve():
    """Harder items under heavier load: plain means fall too fast by .05 and more, items compared with themselves do not."""
    _, error = covered(60, items=120, calls=12, biased=0.7)
    plain = []
    for number in range(60):
        table = world(np.random.default_rng([SEED, number]), items=120, calls=12, biased=0.7)
        means = table.group_by("level").agg(pl.col("y").sum() / pl.col("n").sum()).sort("level")["y"].to_numpy()
        plain.append(means - TRUTH)
    drop = np.mean(plain, axis=0)
    assert drop[-1] - drop[0] < -0.05
    assert abs(error[-1] - error[0]) < 0.4 * abs(drop[-1] - drop[0])


def test_the_fit_is_least_squares_with_an_effect_an_item():
    rng = np.random.default_rng(SEED)
    n = rng.integers(0, 4, (9, 4)).astype(float)
    n[:, 0] += 1
    y = rng.random((9, 4)) * n
    weight = rng.standard_exponential((3, 9))
    for found, w in zip(room.fit(n, y, weight), weight, strict=True):
        rows, target, size = [], [], []
        for i in range(9):
            for g in range(4):
                if n[i, g]:
                    rows.append(np.concatenate([np.eye(9)[i], np.eye(4)[g]]))
                    target.append(y[i, g] / n[i, g])
                    size.append(np.sqrt(w[i] * n[i, g]))
        size = np.array(size)[:, None]
        solution = np.linalg.lstsq(np.array(rows) * size, np.array(target) * size[:, 0], rcond=None)[0]
        assert found == pytest.approx(solution[:9] @ w / w.sum() + solution[9:], abs=1e-9)


def test_refused_without_overlap_and_with_one_load():
    apart = pl.DataFrame({"item": list(range(20)), "level": [n % 2 for n in range(20)], "n": [3] * 20, "y": [1.0] * 20})
    table = apart.with_columns(model=pl.lit("m"), context=pl.lit("c"))
    found = room.load_curve(table, np.array([1.0, 9.0]), "requests_running")
    assert not found.identified and "do not overlap" in found.reasons[0] and np.isnan(found.draws).all()
    one = table.with_columns(level=pl.lit(0))
    assert "one level" in room.load_curve(one, np.array([1.0]), "load").reasons[0]
    few = pl.concat([table.head(4), table.head(4).with_columns(level=1 - pl.col("level"))])
    assert "4 items" in room.load_curve(few, np.array([1.0, 9.0]), "load").reasons[0]


def telemetry(*rows):
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    return pl.DataFrame(
        [
            (start + datetime.timedelta(seconds=at), 10.0, instance, model, "requests_running", value)
            for at, instance, model, value in rows
        ],
        schema=["window_start", "window_s", "instance", "model", "metric", "value"],
        orient="row",
    )


def at(*seconds, **columns):
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    return pl.DataFrame({"time": [start + datetime.timedelta(seconds=s) for s in seconds], **columns})


def test_a_window_gives_its_value_to_what_began_in_it_and_to_nothing_else():
    watched = telemetry((0, "a", "m", 3.0), (10, "a", "m", 5.0), (40, "a", "m", 7.0))
    found = load.as_of(at(41, -1, 0, 9.999, 10, 25, 49.9, 50), watched, "requests_running")
    assert found.to_list() == [7.0, None, 3.0, 3.0, 5.0, None, 7.0, None]


def test_instances_are_told_apart_by_name_or_by_model_or_not_at_all():
    watched = telemetry((0, "a", "m", 3.0), (0, "b", "k", 8.0))
    assert load.as_of(at(1, 1, 1, instance=["b", "a", "c"]), watched, "requests_running").to_list() == [8.0, 3.0, None]
    assert load.as_of(at(1, 1, model=["k", "m"]), watched, "requests_running").to_list() == [8.0, 3.0]
    with pytest.raises(NotIdentifiedError, match="2 instances"):
        load.as_of(at(1), watched.with_columns(model=pl.lit(None, pl.String)), "requests_running")


def test_from_a_log_with_telemetry_to_the_answer(tmp_path):
    """A stub that serves at random loads: the curve of the log is the curve of the loads that the stub had."""
    rng = np.random.default_rng(SEED)
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    difficulty = rng.normal(size=80)
    windows, rows = [], []
    for place in range(400):
        value = LOADS[rng.integers(len(LOADS))]
        begin = start + datetime.timedelta(seconds=10 * place)
        windows.append((begin, 10.0, "a", None, "requests_running", value))
        for _ in range(3):
            item = int(rng.integers(80))
            moment = begin + datetime.timedelta(seconds=float(rng.uniform(0, 10)))
            rows.append(("deployment", "m", f"i{item}", float(rng.random() < law(difficulty[item], value)), moment, "vllm"))
    log = pl.DataFrame(rows, schema=["regime", "model", "item", "score", "time", "engine"], orient="row")
    log.write_parquet(tmp_path / "log.parquet")
    names = ["window_start", "window_s", "instance", "model", "metric", "value"]
    pl.DataFrame(windows, schema=names, orient="row").write_parquet(tmp_path / "telemetry.parquet")
    answer = dv.load_curve(read(tmp_path))
    assert answer.identified and answer.rows["factor"].unique().to_list() == ["requests_running"]
    assert answer.rows["level"].to_list()[:-1] == ["1", "2", "4", "8", "16", "32"]
    change = answer.draws[:, answer.rows["statistic"].to_list().index("change")]
    assert np.quantile(change, 0.95) < 0 and answer.rows["unit"].to_list()[-1] == "points"
    refused = dv.load_curve(read(tmp_path / "log.parquet"))
    assert not refused.identified and "no column load" in refused.reasons[0]


def test_a_report_asks_only_where_a_load_is_offered(tmp_path):
    rows = {"regime": ["deployment"] * 4, "model": ["m"] * 4, "item": ["a", "a", "b", "b"], "score": [1.0, 0.0, 1.0, 1.0]}
    pl.DataFrame(rows).write_parquet(tmp_path / "plain.parquet")
    pl.DataFrame(rows | {"load": [1.0, 2.0, 1.0, 2.0]}).write_parquet(tmp_path / "loaded.parquet")
    assert under_load(read(tmp_path / "plain.parquet")) == {}
    (answer,) = under_load(read(tmp_path / "loaded.parquet")).values()
    assert not answer.identified and "needs 5" in answer.reasons[0]


def test_check_says_of_a_curve_what_its_answer_does(tmp_path, capsys):
    rows = {"regime": ["deployment"] * 4, "model": ["m"] * 4, "item": ["a", "a", "b", "b"], "score": [1.0, 0.0, 1.0, 1.0]}
    many = {"item": [f"i{n // 2}" for n in range(40)], "score": [1.0, 0.0] * 20, "load": [1.0, 2.0] * 20}
    logs = {
        "plain": rows,
        "few": rows | {"load": [1.0, 2.0, 1.0, 2.0]},
        "one": rows | {"load": [3.0] * 4},
        "apart": rows | {"load": [1.0, 1.0, 2.0, 2.0]},
        "nameless": {name: values for name, values in rows.items() if name != "item"} | {"load": [1.0, 2.0, 1.0, 2.0]},
        "many": many | {"regime": ["deployment"] * 40, "model": ["m"] * 40},
    }
    for name, columns in logs.items():
        pl.DataFrame(columns).write_parquet(tmp_path / "log.parquet")
        log = read(tmp_path / "log.parquet")
        told = {a.question: a for a in log.answers()}.get("load_curve")
        assert (told is None) == (name == "plain")
        answer, told = dv.load_curve(log), told or log.answer_under_load()
        assert told.identified == answer.identified == (name == "many")
        assert name == "many" or told.reason in answer.reasons
        with pytest.raises(SystemExit) as ended:
            main(["check", str(tmp_path / "log.parquet"), "--question", "load_curve"])
        assert (ended.value.code or 0) == (0 if name == "many" else 3)
        assert name == "many" or told.reason in capsys.readouterr().err
    assert told.reason.startswith("40 judged executions of 20 items over load; items were run under several levels")


def test_items_reweighed_in_groups_have_the_band_of_items_reweighed_one_by_one(monkeypatch):
    """Sizes of 400 draws have a relative error of 1 / sqrt(800) = .035 each, of 300 groups 1 / sqrt(600) = .041 more."""
    counted, sizes = world(np.random.default_rng(SEED), items=6000, calls=3), []
    for groups in (300, 10**6):
        monkeypatch.setattr(room, "GROUPS", groups)
        sizes.append(room.load_curve(counted, LOADS, "load").draws)
    middle = np.abs(sizes[0].mean(0) - sizes[1].mean(0)) / sizes[1].std(0)
    assert middle.max() < 5 * np.sqrt(2 / 400)
    assert np.abs(np.log(sizes[0].std(0) / sizes[1].std(0))).max() < 4 * np.sqrt(2 * 0.035**2 + 0.041**2)


def test_a_concurrency_is_a_load_and_no_context(tmp_path):
    rng = np.random.default_rng(SEED)
    item, level = rng.integers(30, size=2000), rng.integers(4, size=2000)
    rows = {
        "item": [f"i{i}" for i in item],
        "concurrency": [f"{2**g}" for g in level],
        "score": rng.integers(2, size=2000) * 1.0,
    }
    frame = pl.DataFrame(rows).with_columns(
        regime=pl.lit("deployment"), model=pl.lit("m"), engine=pl.Series(["a", "b"] * 1000)
    )
    frame.write_parquet(tmp_path / "log.parquet")
    answer = dv.load_curve(read(tmp_path / "log.parquet"))
    assert answer.identified and answer.rows["factor"].unique().to_list() == ["concurrency"]
    assert answer.rows["context"].unique().sort().to_list() == ["engine=a", "engine=b"]
    assert answer.rows["level"].to_list()[:4] == ["1", "2", "4", "8"]


@pytest.mark.parametrize("items", [20_000, 200_000])
def test_a_million_rows_take_seconds(tmp_path, items):
    """1e6 executions of many items: 5 CPU seconds on an idle machine; the assertion leaves room for a busy one."""
    rng = np.random.default_rng(SEED)
    height = 10**6
    item = rng.integers(items, size=height)
    value = rng.gamma(2.0, 8.0, height)
    frame = pl.DataFrame({"item": item, "load": value, "score": (rng.random(height) < 0.5).astype(float)})
    frame = frame.with_columns(
        regime=pl.lit("deployment"), model=pl.lit("m"), context=pl.lit("c"), item="i" + pl.col("item").cast(pl.String)
    )
    frame.write_parquet(tmp_path / "log.parquet")
    log = read(tmp_path / "log.parquet")
    began = time.process_time()
    answer = dv.load_curve(log)
    spent = time.process_time() - began
    assert answer.identified and answer.rows.height == load.BINS + 1
    assert spent < 15
