"""Drift measured: false alarms, detection, attribution, boundaries, endless runs, speed. `make bench-drift`.

    python benchmarks/drift.py                 # all parts, small; minutes
    python benchmarks/drift.py scenarios 25    # one part, with so many seeds

Parts: scenarios, laws, boundary, endless, speed, fleet. The peers run on the same streams (`divergence.simulate.stream`).
"""

from __future__ import annotations

import resource
import sys
import time

import numpy as np
import polars as pl

from divergence.drift import monitor
from divergence.drift.evidence import WINSOR, Evidence
from divergence.drift.many import fleet
from divergence.drift.state import save
from divergence.errors import InputError
from divergence.simulate import SCENARIOS, changed_edges, stream

REFERENCE, CHUNKS, CHANGE = 10_000, 40, 20
FIRST_SEED = 1000
ALPHA = 0.05


def scenario(name: str, seeds: int) -> dict[str, object]:
    """Alarms of both families before and after the change, delays, attribution and e-BH's false share over the seeds."""
    truth = changed_edges(name)
    before, after = {"surface": 0, "structural": 0}, {"surface": [], "structural": []}
    first, false, spent = 0, [], 0.0
    for seed in range(FIRST_SEED, FIRST_SEED + seeds):
        rows = stream(name, seed)
        begun = time.process_time()
        made = monitor(rows[:REFERENCE], horizon=CHUNKS)
        verdict = made.update(rows[REFERENCE:])
        spent += time.process_time() - begun
        for alarm in verdict.alarms:
            if alarm.chunk <= CHANGE or name.startswith("null"):
                before[alarm.family] += 1
            else:
                after[alarm.family].append(alarm.chunk - CHANGE)
        settled = [frozenset((e.a, e.b)) for e in verdict.edges if e.family == "structural" and e.settled]
        if truth and settled:
            first += all(edge in truth for edge in settled[: len(truth)])
            false.append(float(np.mean([edge not in truth for edge in settled])))
    return {
        "scenario": name,
        "surface before": before["surface"],
        "surface after": len(after["surface"]),
        "structural before": before["structural"],
        "structural after": len(after["structural"]),
        "median delay": float(np.median(after["structural"] or after["surface"] or [np.nan])),
        "changed edges first": first if truth else None,
        "false edges": float(np.mean(false)) if false else None,
        "seconds": spent / seeds,
    }


def scenarios(seeds: int) -> pl.DataFrame:
    """The separation matrix."""
    return pl.DataFrame([scenario(name, seeds) for name in SCENARIOS])


def draw(law: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Chunk statistics of one of the four laws."""
    if law == "lognormal .5":
        return np.exp(0.5 * rng.standard_normal(shape))
    return rng.standard_normal(shape) if law == "Gaussian" else rng.standard_t(5 if law == "t5" else 3, shape)


def ever(law: str, known: int, chunks: int, streams: int, seed: int) -> float:
    """Share of streams of one statistic that ever reach 1/alpha in `chunks` chunks without a change."""
    values = draw(law, (known + chunks, streams), np.random.default_rng(seed))
    middle = np.median(values[:known], axis=0)
    spread = 1.4826 * np.median(np.abs(values[:known] - middle), axis=0)
    z = np.clip((values - middle) / spread, -WINSOR, WINSOR)
    evidence, alarmed = Evidence.start(z[:known], chunks), np.zeros(streams, bool)
    for chunk in range(chunks):
        evidence.add(z[known + chunk])
        alarmed |= evidence.mixture >= 1 / ALPHA
    return float(alarmed.mean())


def laws(streams: int) -> pl.DataFrame:
    """P(ever an alarm) for chunk statistics of four laws."""
    names = ("Gaussian", "t5", "t3", "lognormal .5")
    return pl.DataFrame([{"law": law} | {f"m={m}": ever(law, m, 40, streams, 7) for m in (10, 20)} for law in names])


def endless(streams: int, chunks: int = 2000, statistics: int = 20, law: str = "Gaussian") -> pl.DataFrame:
    """Endless null streams: alarms over chunks watched until the first alarm (error over patience), and run length."""
    rng = np.random.default_rng(11)
    known = 20
    reference = draw(law, (known, streams * statistics), rng)
    middle = np.median(reference, axis=0)
    spread = 1.4826 * np.median(np.abs(reference - middle), axis=0)
    evidence = Evidence.start(np.clip((reference - middle) / spread, -WINSOR, WINSOR), None)
    first = np.zeros(streams, np.int64)
    for chunk in range(1, chunks + 1):
        evidence.add(np.clip((draw(law, (streams * statistics,), rng) - middle) / spread, -WINSOR, WINSOR))
        family = evidence.mixture.reshape(streams, statistics).mean(1) / 2
        first[(first == 0) & (family >= 1 / ALPHA)] = chunk
    watched = np.where(first > 0, first, chunks)
    return pl.DataFrame(
        [
            {
                "law": law,
                "streams": streams,
                "alarmed": int((first > 0).sum()),
                "mean chunks watched": float(watched.mean()),
                "error over patience": float((first > 0).mean() / watched.mean()),
            }
        ]
    )


def wandering(kind: str, phi: float, seed: int, rows: int = 30_000, length: int = 500) -> pl.DataFrame:
    """Nothing changes, but neighbouring chunks depend on each other: the level of all signals, of one, or one coupling."""
    rng = np.random.default_rng([seed, int(1000 * phi)])

    def slow() -> np.ndarray:
        noise, series = rng.standard_normal(rows // length + 50), np.zeros(rows // length + 50)
        for place in range(1, len(series)):
            series[place] = phi * series[place - 1] + np.sqrt(1 - phi**2) * noise[place]
        return np.repeat(0.3 * series[50:], length)

    x = rng.standard_normal((rows, 5))
    x[:, 1] = 0.6 * x[:, 0] + 0.8 * x[:, 1]
    for signal in range({"all levels": 5, "one level": 1, "one coupling": 0}[kind]):
        x[:, signal] += slow()
    if kind == "one coupling":
        r = np.tanh(0.7 + slow())
        x[:, 1] = r * x[:, 0] + np.sqrt(1 - r**2) * rng.standard_normal(rows)
    time_ = pl.datetime_range(
        pl.datetime(2026, 1, 1, time_zone="UTC"),
        pl.datetime(2026, 1, 1, time_zone="UTC") + pl.duration(seconds=rows - 1),
        "1s",
        time_zone="UTC",
        eager=True,
    )
    return pl.DataFrame({f"s{n}": x[:, n] for n in range(5)}).with_columns(time_.alias("time"))


def boundary(seeds: int) -> pl.DataFrame:
    """What happens where chunks depend on each other: refused, grown, held, or an alarm, with or without a word about it."""
    out = []
    for kind in ("all levels", "one level", "one coupling"):
        for phi in (0.4, 0.6, 0.8):
            row = {"kind": kind, "phi": phi, "refused": 0, "grown": 0, "held": 0, "alarms": 0, "silent alarms": 0}
            for seed in range(seeds):
                rows = wandering(kind, phi, seed)
                try:
                    made = monitor(rows[:REFERENCE], horizon=CHUNKS)
                except InputError:
                    row["refused"] += 1
                    continue
                verdict = made.update(rows[REFERENCE:])
                said = any("is not sure" in note or note.startswith("held") for note in verdict.notes)
                row["grown"] += made.length > 500
                row["held"] += bool(verdict.held)
                row["alarms"] += bool(verdict.alarms)
                row["silent alarms"] += bool(verdict.alarms) and not said
            out.append(row)
    return pl.DataFrame(out)


def speed(rows: int = 1_000_000, signals: int = 20) -> pl.DataFrame:
    """CPU seconds, memory and state for one long stream; half and twice the rows for linearity."""
    out = []
    for count in (rows // 2, rows, 2 * rows):
        rng = np.random.default_rng(3)
        x = rng.standard_normal((count, signals))
        x[:, 1:] += 0.5 * x[:, :1]
        start = pl.datetime(2020, 1, 1, time_zone="UTC")
        when = pl.datetime_range(start, start + pl.duration(seconds=count - 1), "1s", time_zone="UTC", eager=True)
        frame = pl.DataFrame({f"s{n}": x[:, n] for n in range(signals)}).with_columns(when.alias("time"))
        del x
        base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        begun = time.process_time()
        known = int(0.4 * count)
        made = monitor(frame[:known], horizon=(count - known) // 5000)
        made.update(frame[known:])
        spent = time.process_time() - begun
        state = _state_bytes(made)
        out.append(
            {
                "rows": count,
                "CPU s": spent,
                "rows per CPU s": count / spent,
                "peak MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
                "before MB": base / 1e3,
                "state MB": state / 1e6,
            }
        )
    return pl.DataFrame(out)


def _state_bytes(made) -> int:
    import pathlib
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "state"
        save(made, path)
        return path.stat().st_size


def many(streams: int = 10_000) -> pl.DataFrame:
    """Ten thousand streams of 40 chunks of 50 rows and four signals; in 100 of them a coupling breaks."""
    rng = np.random.default_rng(5)
    x = rng.standard_normal((streams, 20 * 50 + 40 * 50, 4))
    x[..., 1] += 0.8 * x[..., 0]
    x[:100, 2000:, 1] = 1.28 * rng.standard_normal((100, 1000))
    begun = time.process_time()
    found = fleet(x, 1000, 50)
    spent = time.process_time() - begun
    return pl.DataFrame(
        [
            {
                "streams": streams,
                "CPU s": spent,
                "false surface": float((found.alarm[100:, 0] > 0).mean()),
                "false structural": float((found.alarm[100:, 1] > 0).mean()),
                "found": int((found.alarm[:100, 1] > 0).sum()),
                "named": int(found.named[:, 1].sum()),
                "named rightly": int(found.named[:100, 1].sum()),
            }
        ]
    )


PARTS = {
    "scenarios": (scenarios, 4),
    "laws": (laws, 5000),
    "boundary": (boundary, 4),
    "endless": (endless, 200),
    "speed": (speed, 1_000_000),
    "fleet": (many, 10_000),
}


def main(arguments: list[str]) -> None:
    """Print the parts asked for."""
    names = [arguments[0]] if arguments else list(PARTS)
    (
        pl.Config.set_tbl_cols(20),
        pl.Config.set_tbl_rows(40),
        pl.Config.set_tbl_width_chars(200),
        pl.Config.set_tbl_hide_column_data_types(True),
    )
    for name in names:
        part, size = PARTS[name]
        begun = time.process_time()
        table = part(int(arguments[1]) if len(arguments) > 1 else size)
        print(f"\n{name} ({time.process_time() - begun:.0f} CPU-s)\n{table}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
