"""The monitor: what each kind of change becomes, and that the verdict depends on rows and not on batches."""

import json

import numpy as np
import polars as pl
import pytest

from divergence.drift import detect, monitor
from divergence.drift.outcomes import outcome_structure
from divergence.errors import InputError
from divergence.simulate import changed_edges, stream

REFERENCE, CHANGE = 10_000, 20
KINDS = {
    "null": "none",
    "null_ar": "none",
    "coupling": "structural",
    "coupling_weak": "structural",
    "tail": "structural",
    "route_affinity": "structural",
    "phase_offset": "structural",
    "decay": "structural",
    "route_mix": "surface",
    "mean_shift": "surface",
}
LATEST = {
    "coupling": 5,
    "coupling_weak": 9,
    "tail": 12,
    "route_affinity": 5,
    "phase_offset": 6,
    "route_mix": 6,
    "mean_shift": 7,
}


def look(scenario: str, seed: int):
    rows = stream(scenario, seed)
    return monitor(rows[:REFERENCE], horizon=40).update(rows[REFERENCE:])


@pytest.mark.parametrize(("scenario", "expected"), KINDS.items())
def test_each_change_is_called_what_it_is(scenario, expected):
    for seed in (2000, 2001):  # the rates over 25 seeds: test_proof.py
        verdict = look(scenario, seed)
        assert verdict.verdict == expected, (seed, verdict)
        if expected != "none":
            assert CHANGE < verdict.alarms[0].chunk <= CHANGE + LATEST.get(scenario, 20)
            assert verdict.log_evidence[expected] > verdict.threshold and verdict.conformal[expected] > 0
        truth = changed_edges(scenario)
        settled = [frozenset((edge.a, edge.b)) for edge in verdict.edges if edge.settled]
        assert set(settled[: len(truth)]) <= truth if truth else True


def test_batches_and_their_order_do_not_matter():
    rows = stream("coupling_weak", 5)
    whole = monitor(rows[:REFERENCE], horizon=40)
    expected = whole.update(rows[REFERENCE:])
    parts, rng, place = monitor(rows[:REFERENCE], horizon=40), np.random.default_rng(0), REFERENCE
    while place < len(rows):
        size = int(rng.integers(1, 1300))
        verdict = parts.update(rows[place : place + size].sample(fraction=1.0, shuffle=True, seed=place))
        place += size
    assert verdict.edges == expected.edges and verdict.alarms == expected.alarms
    assert verdict.log_evidence == expected.log_evidence and verdict.rows == expected.rows
    assert parts.evidence.mixture.tobytes() == whole.evidence.mixture.tobytes()


def test_a_repeated_log_changes_nothing():
    rows = stream("mean_shift", 6, chunks=30)
    made = monitor(rows[:REFERENCE], horizon=40)
    before = made.update(rows[REFERENCE:])
    after = made.update(rows[REFERENCE:])
    assert before.log_evidence == after.log_evidence and before.rows == after.rows and before.edges == after.edges
    assert after.skipped == len(rows) - REFERENCE
    assert any("skipped: they were counted before" in note for note in after.notes)


def test_onset_is_bracketed():
    hits = 0
    for seed in range(3000, 3006):
        rows = stream("coupling", seed)
        truth = rows["time"][REFERENCE + CHANGE * 500].strftime("%Y-%m-%dT%H:%M:%SZ")
        alarm = monitor(rows[:REFERENCE], horizon=40).update(rows[REFERENCE:]).alarms[0]
        hits += alarm.change_from <= truth <= alarm.change_to
    assert hits >= 4  # 90 % of the evidence; P(fewer than 4 of 6 at .9) = .016


def test_decay_is_a_rate_with_an_interval():
    covered = 0
    for seed in (11, 12, 13, 14):
        edge = look("decay", seed).edges[0]
        assert {edge.a, edge.b} == {"queue", "ttft"} and edge.rate.shape in ("bend", "slope")
        covered += edge.rate.lower <= -0.072 <= edge.rate.upper  # .02 a chunk of 500 rows, 2 s apart
        assert "an hour" in edge.sentence
    assert covered >= 2
    jump = look("coupling", 11).edges[0]
    assert jump.rate.shape == "jump"


def test_endless_and_planned_say_what_they_promise():
    rows = stream("coupling", 8)
    planned, endless = (monitor(rows[:REFERENCE], horizon=h).update(rows[REFERENCE:]) for h in (40, None))
    assert "Over the planned 40 chunks" in planned.promise and "Endless" in endless.promise and "chunks" in endless.promise
    assert endless.verdict == planned.verdict == "structural"
    assert endless.alarms[0].chunk <= planned.alarms[0].chunk


def test_json_of_the_contract():
    rows = stream("route_affinity", 9)
    made = json.loads(json.dumps(detect(rows, "0.3334").verdict.to_json()))
    assert {"verdict", "time", "edges", "log_evidence", "false_alarm_bound"} <= made.keys()
    assert made["verdict"] == "structural" and made["false_alarm_bound"] == 0.05 and made["time"].endswith("Z")
    assert {"a", "b", "kind", "before", "after", "log_e", "settled", "material"} <= made["edges"][0].keys()


def test_reference_ranges():
    rows = stream("null", 10, chunks=4)
    first, last = rows["time"][500], rows["time"][9_999]
    found = detect(rows, f"{first.isoformat()}/{last.isoformat()}")
    assert len(found.reference) == 9_500 and len(found.stream) == len(rows) - 10_000
    for wrong in ("1.4", "yesterday", "2026-01-05T02:00:00Z/2026-01-05T01:00:00Z", "/"):
        with pytest.raises(InputError, match="--reference"):
            detect(rows, wrong)


def test_margin_says_what_matters():
    rows = stream("coupling", 12)
    verdict = monitor(rows[:REFERENCE], horizon=40, margin=0.1).update(rows[REFERENCE:])
    assert any(edge.material for edge in verdict.edges if edge.settled)
    wide = monitor(rows[:REFERENCE], horizon=40, margin=3.0).update(rows[REFERENCE:])
    assert not any(edge.material for edge in wide.edges)


def repeated_items(seed: int, flip: bool) -> pl.DataFrame:
    """200 items asked again and again; from row 6,000 on a tenth of the wrong ones swaps with as many right ones."""
    rng = np.random.default_rng(seed)
    rows, items = 12_000, 200
    item = rng.integers(0, items, rows)
    right = np.arange(items) < 100
    later = right.copy()
    later[:10], later[100:110] = False, True
    answer = np.where(np.arange(rows) < 6_000, right[item], (later if flip else right)[item])
    noise = rng.random(rows) < 0.03
    start = pl.datetime(2026, 1, 1, time_zone="UTC")
    return pl.DataFrame(
        {"item": item.astype(str), "score": (answer ^ noise).astype(float), "latency_s": rng.gamma(3, 1, rows)}
    ).with_columns(time=pl.datetime_range(start, start + pl.duration(seconds=rows - 1), "1s", time_zone="UTC", eager=True))


def test_flips_at_equal_accuracy_are_a_headline_of_their_own():
    from divergence.drift.bridges import flips_headline

    found = detect(repeated_items(1, flip=True), "0.4")
    assert found.verdict.verdict == "structural" and "item flips" in outcome_structure(found.verdict)
    assert "Accuracy stays, the answers do not: 1" in (flips_headline(found.verdict) or "")
    assert detect(repeated_items(1, flip=False), "0.4").verdict.verdict == "none"
