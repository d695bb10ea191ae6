"""Numbers that no log of requests can have: a sentence or a right answer, and never a failed decomposition."""

import json

import numpy as np
import polars as pl
import pytest

from divergence.configuration import Configuration
from divergence.errors import InputError
from divergence.executions import read
from divergence.joint.outcomes import fit_outcomes
from divergence.simulate import simulate, world


@pytest.fixture(scope="module")
def log():
    return simulate(world("baseline", n_models=2, n_contexts=2, n_items=20), 1)[0]


def fitted(frame: pl.DataFrame, outcome: str = "score"):
    kind = None if outcome == "score" else "positive"
    read_ = read(frame, configuration=Configuration(outcome=outcome, kind=kind))
    return read_, fit_outcomes(read_, seed=0, progress=lambda *_: None)


@pytest.mark.parametrize(
    "column, value",
    [("latency_s", 1e160), ("latency_s", 1e308), ("ttft_s", -1e12), ("cost_usd", 1e308), ("cost_usd", -1e308)],
)
def test_a_column_of_impossible_numbers_is_not_used_and_the_score_is_what_it_was(log, column, value):
    spread = value * np.random.default_rng(0).uniform(0.1, 1, log.height)
    read_, posterior = fitted(log.with_columns(pl.Series(column, spread)))
    assert [name for name, _ in read_.unused] == [column]
    assert [fit.cells.outcome for fit in posterior.fits] == ["score"]
    assert np.array_equal(posterior.fits[0].effects, fitted(log)[1].fits[0].effects)


@pytest.mark.parametrize("column, value, said", [("probability", 5e-324, "below 1e-12"), ("score_n", 10**15, "above 1e+12")])
def test_rows_of_impossible_weight_are_rejected(log, column, value, said):
    with pytest.raises(InputError, match=f"{column} is {said}".replace("+", r"\+")):
        fitted(log.with_columns(pl.lit(value).alias(column)))


@pytest.mark.parametrize("unit", [1e-74, 1e-30, 1e60, 1e74])
def test_the_unit_of_a_positive_outcome_changes_nothing(log, unit):
    """Levels are quantities in the unit, and what is fitted does not depend on it but for the arithmetic."""
    values = np.random.default_rng(1).lognormal(0, 0.5, log.height)
    here = fitted(log.with_columns(duration=pl.Series(values)), "duration")[1].fits[0]
    there = fitted(log.with_columns(duration=pl.Series(values * unit)), "duration")[1].fits[0]
    assert np.isfinite(there.effects).all()
    assert np.allclose(here.arms.level * unit, there.arms.level, rtol=1e-6, atol=0)


@pytest.mark.parametrize("value", [1e-80, 1e80])
def test_a_positive_outcome_beyond_any_unit_is_not_usable(log, value):
    values = np.random.default_rng(1).lognormal(0, 0.5, log.height) * value
    with pytest.raises(InputError, match="no usable value"):
        fitted(log.with_columns(duration=pl.Series(values)), "duration")


ODD = {
    "latency_s": 1e160,
    "ttft_s": 1e308,
    "cost_usd": 1e308,
    "probability": 5e-324,
    "score_n": 10**15,
    "output_tokens": 2**62,
}
USUAL = {"latency_s": 1.0, "ttft_s": 0.1, "cost_usd": 0.01, "probability": 0.5, "score_n": 1, "output_tokens": 10}


def odd(frame: pl.DataFrame, every: int) -> pl.DataFrame:
    """The table with usual numbers and, in one of so many rows, impossible ones: of one column after the other."""
    places = np.arange(frame.height)
    for turn, (name, value) in enumerate(ODD.items()):
        impossible = places % every == turn % every
        dtype = pl.Int64 if isinstance(USUAL[name], int) else pl.Float64
        column = [value if there else USUAL[name] for there in impossible]
        frame = frame.with_columns(pl.Series(name, column, dtype))
    return frame


ONE_ROW_IN = 100  # one in a hundred for each column: fewer than the twentieth of rejected rows that is accepted
VERBS = {
    "check": (["LOG"], ["LOG", "--outcome", "latency_s"], ["LOG", "--outcome", "cost_usd"]),
    "compare": (
        ["LOG", "--by", "context", "--before", "context-1", "--after", "context-2", "-o", "OUT"],
        ["LOG", "--by", "context", "--before", "context-1", "--after", "context-2", "-o", "OUT", "--outcome", "latency_s",
         "--margin", "0.1"],
    ),
    "drift": (["TRAFFIC", "--reference", "0.4", "-o", "OUT", "--quiet"],),
    "plan": (["LOG", "--goal", "gap", "--requests", "100", "-o", "OUT", "--quiet"],
             ["LOG", "--goal", "gap", "--usd", "10", "-o", "OUT", "--quiet"]),
    "score": (["MODEL", "LOG", "-o", "OUT", "--workers", "0", "--quiet"],),
    "report": (["LOG", "-o", "OUT", "--quiet"],),
}  # fmt: skip


def answered(arguments: list[str], capsys) -> str:
    """What a verb says: done with an answer, or one sentence."""
    from divergence.cli import main

    with pytest.raises(SystemExit) as stop:
        main(arguments)
    told = capsys.readouterr()
    assert stop.value.code in (None, 0, 1, 2, 3, 4, 5)
    if stop.value.code in (2, 3):
        lines = told.err.splitlines()
        assert len(lines) == (2 if arguments[0] == "score" else 1)  # a partition that failed is told, too
        assert max(map(len, lines)) <= len("divergence: ") + 300 and "unexpected" not in told.err
    return "refused" if stop.value.code in (2, 3) else "answered"


@pytest.mark.parametrize("every", [1, ONE_ROW_IN])
@pytest.mark.parametrize("verb", [pytest.param(v, marks=pytest.mark.prove) if v == "report" else v for v in VERBS])
def test_every_verb_answers_or_refuses(verb, every, log, tmp_path, capsys):
    from killed_verbs import MODEL, drifting

    named = {"MODEL": str(MODEL), "OUT": str(tmp_path / "out")}
    for name in ("LOG", "TRAFFIC"):
        table = log if name == "LOG" else pl.read_parquet(drifting(tmp_path / "stream.parquet", 1))
        odd(table, every).write_parquet(tmp_path / f"{name}.parquet")
        named[name] = str(tmp_path / f"{name}.parquet")
    said = {answered([verb, *(named.get(word, word) for word in words)], capsys) for words in VERBS[verb]}
    if every > 1 and verb != "plan":  # a budget in dollars needs a usable cost
        assert said == {"answered"}


@pytest.mark.parametrize("column", ["throughput", "queue", "ttft", "tpot"])
@pytest.mark.parametrize("value", [1e160, -1e308, 5e-324])
@pytest.mark.parametrize("every", [1, ONE_ROW_IN])
def test_signals_of_any_size_are_watched(column, value, every, tmp_path, capsys):
    from killed_verbs import drifting

    table = pl.read_parquet(drifting(tmp_path / "stream.parquet", 1))
    spread = value * np.random.default_rng(0).uniform(0.1, 1, table.height)
    changed = np.where(np.arange(table.height) % every == 0, spread, table[column].to_numpy())
    table.with_columns(pl.Series(column, changed)).write_parquet(tmp_path / "stream.parquet")
    words = ["drift", str(tmp_path / "stream.parquet"), "--reference", "0.4", "-o", str(tmp_path / "out"), "--quiet"]
    assert answered(words, capsys) == "answered"


def test_an_import_of_impossible_numbers_is_a_log(tmp_path, capsys):
    """Times and costs of other tools, as large as their formats can say them."""

    def record(number: int, latency: float) -> dict:
        measured = {"request_latency": {"value": latency, "unit": "ms"}, "output_sequence_length": {"value": 2**62}}
        about = {"x_request_id": f"r{number}", "session_num": number, "conversation_id": "c", "turn_index": 0}
        times = {"request_start_ns": 1767225600 * 10**9 + number, "request_end_ns": 1767225601 * 10**9}
        return {"metadata": {**about, **times, "benchmark_phase": "profiling"}, "metrics": measured, "error": None}

    rows = [record(n, value) for n, value in enumerate([1e160, 1e308, 5e-324, 1000.0])]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    target = tmp_path / "log.parquet"
    words = ["import", str(tmp_path / "a.jsonl"), "--format", "aiperf", "--set", "model=m", "-o", str(target), "--quiet"]
    assert answered(words, capsys) == "answered"
    assert pl.read_parquet(target)["latency_s"].to_list() == [1e157, 1e305, 0.0, 1.0]
    assert answered(["check", str(target)], capsys) in ("answered", "refused")
