"""Are requests sent when the law says, whatever comes back, and does a trace lend its shape and nothing else?"""

import random

import numpy as np
import polars as pl
import pytest

from divergence.errors import InputError
from divergence.probe import run
from divergence.probe.arrivals import Arrivals, read_gaps, schedule


def test_poisson_gaps_have_the_rate_and_no_memory():
    """20,000 gaps: mean within 4 standard errors, and the share above one mean gap is 1/e."""
    gaps = np.diff([0.0, *schedule(Arrivals("poisson", 4.0), 20_000, random.Random(1))])
    assert abs(gaps.mean() * 4 - 1) < 4 / np.sqrt(20_000)
    assert abs((gaps > 0.25).mean() - np.exp(-1)) < 4 * np.sqrt(0.37 * 0.63 / 20_000)


def test_a_trace_keeps_its_bursts_at_the_asked_rate(tmp_path):
    gaps = np.tile([0.01] * 9 + [10.0], 30)
    pl.DataFrame({"inter_arrival_s": gaps}).write_parquet(tmp_path / "trace.parquet")
    read = read_gaps(tmp_path / "trace.parquet")
    sent = np.diff([0.0, *schedule(Arrivals("trace", 2.0, "trace.parquet"), 300, random.Random(3), read)])
    assert sent.mean() == pytest.approx(0.5)
    assert sorted(sent) == pytest.approx(sorted(gaps / (gaps.mean() * 2)))


def test_arrival_times_are_read_as_gaps(tmp_path):
    times = pl.datetime_range(pl.datetime(2024, 5, 1), pl.datetime(2024, 5, 1, 1), "1m", eager=True)
    pl.DataFrame({"time": times}).write_csv(tmp_path / "trace.csv")
    assert read_gaps(tmp_path / "trace.csv") == pytest.approx(np.full(60, 60.0))
    pl.DataFrame({"other": [1]}).write_csv(tmp_path / "bare.csv")
    with pytest.raises(InputError, match="none of the columns"):
        read_gaps(tmp_path / "bare.csv")
    with pytest.raises(InputError, match="cannot be read"):
        read_gaps(tmp_path / "absent.csv")


def test_an_open_loop_does_not_wait_for_answers(write_plan, tmp_path, stub):
    """Answers take .3 s and requests come every .02 s; a closed loop of one never has two in flight."""
    stub.pause = 0.3
    plan = write_plan({f"ok {n}": "x" for n in range(40)}, context='arrivals = { kind = "poisson", rate_per_s = 50.0 }')
    plan.write_text(plan.read_text().replace("concurrency = 4\n", ""))
    rows = pl.read_parquet(run(plan, tmp_path / "out", quiet=True).path)
    assert rows.height == 80 and rows["error_type"].is_null().all()
    most = {}
    for context in ("bench", "live"):
        asked = rows.filter(context=context)
        ends = asked.select(end=pl.col("time") + pl.duration(microseconds=1e6 * pl.col("latency_s")))["end"]
        most[context] = max(((asked["time"] <= begun) & (ends > begun)).sum() for begun in asked["time"])
    assert most["bench"] == 1 and most["live"] > 4
    assert rows.filter(context="live")["queue_s"].null_count() == 0
    assert rows.filter(context="bench")["queue_s"].null_count() == 40


def test_a_full_house_holds_requests_back_and_says_so(write_plan, tmp_path, stub):
    stub.pause = 0.05
    law = 'arrivals = { kind = "poisson", rate_per_s = 1000.0, in_flight_max = 2 }'
    plan = write_plan({f"ok {n}": "x" for n in range(20)}, context=law)
    rows = pl.read_parquet(run(plan, tmp_path / "out", quiet=True).path)
    assert rows.filter(context="live")["queue_s"].max() > 0.2


@pytest.mark.parametrize(
    ("law", "words"),
    [
        ('{ kind = "poisson" }', "rate_per_s above 0"),
        ('{ kind = "burst" }', "closed, poisson, trace"),
        ('{ kind = "trace", rate_per_s = 1.0 }', "names the recorded log"),
        ('{ kind = "poisson", rate = 1.0 }', "Unknown key 'rate' in 'arrivals'"),
    ],
)
def test_an_incomplete_law_is_a_sentence(write_plan, tmp_path, law, words):
    with pytest.raises(InputError, match=words):
        run(write_plan({"ok a": "a"}, context=f"arrivals = {law}"), tmp_path / "out", quiet=True)
