"""Telemetry: counters become rates, resets are no drift, buckets are an instrument, executions get their window."""

import datetime as dt

import polars as pl

from divergence.drift.telemetry import joined_telemetry, windows

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def table(values: dict[str, list[float]], instance: str = "stream/a") -> pl.DataFrame:
    return pl.DataFrame(
        [
            {
                "window_start": START + dt.timedelta(seconds=2 * n),
                "window_s": 2.0,
                "instance": instance,
                "model": "m",
                "metric": k,
                "value": v,
            }
            for k, series in values.items()
            for n, v in enumerate(series)
        ]
    )


def test_counters_are_rates_and_resets_are_said():
    steps = [*range(0, 80, 4), 2, 6, 10]
    wide, notes = windows(table({"tokens_total": steps, "queue": [1.0] * len(steps)}))
    assert wide["tokens_total"].to_list()[1:20] == [2.0] * 19 and wide["tokens_total"][20] is None
    assert wide["queue"].unique().to_list() == [1.0] and notes == [
        "1 counters were reset (the process began again): no drift"
    ]


def test_a_metric_by_reason_is_not_added_to_its_sum():
    wide, _ = windows(table({"num_requests_waiting": [4.0, 4.0], 'num_requests_waiting_by_reason{reason="kv"}': [3.0, 3.0]}))
    assert wide["num_requests_waiting"].to_list() == [4.0, 4.0]


def test_other_buckets_are_another_instrument():
    before = table({'ttft_bucket{le="0.1"}': [1.0, 2.0], 'ttft_bucket{le="1"}': [2.0, 3.0], "queue": [1.0, 1.0]})
    after = table({'ttft_bucket{le="0.2"}': [1.0, 2.0], "queue": [1.0, 1.0]}).with_columns(
        pl.col("window_start") + pl.duration(minutes=1)
    )
    wide, _ = windows(pl.concat([before, after]))
    assert wide["buckets"].n_unique() == 2 and not any("bucket{" in name for name in wide.columns)


def test_each_execution_gets_the_window_of_its_instance():
    both = pl.concat([table({"running": [1.0, 2.0, 3.0]}), table({"running": [7.0, 8.0, 9.0]}, "stream/b")])
    rows = pl.DataFrame({"time": [START + dt.timedelta(seconds=3)] * 2, "region": ["a", "b"], "score": [1.0, 0.0]})
    joined, notes = joined_telemetry(rows, both)
    assert joined["running"].to_list() == [2.0, 8.0] and "of its region" in notes[-1]
