"""From disk to a posterior at 1e4 to 1e8 rows: CPU seconds and peak memory beside a bare scan. Writes `scaling.{md,svg}`.

A log is simulated in partitions of a million rows into a temporary folder, which goes when the measurement is done. Ten
partitions differ; larger logs have each of them several times over (hard links), and their sessions are as much longer.
Every case is a fresh process. The same run measures two peers on the same files: Polars reading the columns that matter
and counting what is missing in them (the floor), and Polars grouping by the same keys with count and sum.

    python benchmarks/scaling.py [--largest 100000000] [--folder /tmp]
    python benchmarks/scaling.py --figure      # only the figure, from the table that is there
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import sys
import tempfile
import time
from importlib.metadata import version

from history import processor
from pages import kept
from spine import measure

ROOT = pathlib.Path(__file__).parents[1]
PACKAGES = ("eval-divergence", "jax", "numpy", "polars", "pyarrow")
MODELS, CONTEXTS, ITEMS, WAVES, SESSION_ROWS = 8, 8, 500, 2, 20  # context 0 is the bench's
PART, PARTS = 1_000_000, 10
KEYS = ("regime", "model", "item", "quantization", "concurrency", "wave")
TARGETS = {"posterior": "20 s, 2048 MiB", "posterior with sessions": "30 s, 2048 MiB"}  # at 1e8 rows


def simulate(folder: pathlib.Path, rows: int) -> None:
    """A log of independent trials with sessions of twenty rows that do not stay together, in partitions."""
    import numpy as np
    import polars as pl

    def names(stem: str, count: int) -> pl.Series:
        return pl.Series([f"{stem}-{k:03d}" for k in range(count)])

    folder.mkdir()
    for part, first in enumerate(range(0, rows, PART)):
        path = folder / f"part-{part:03d}.parquet"
        if part >= PARTS:
            os.link(folder / f"part-{part % PARTS:03d}.parquet", path)
            continue
        size = min(PART, rows - first)
        rng = np.random.default_rng(part)
        model, context, item, wave = (rng.integers(0, k, size) for k in (MODELS, CONTEXTS, ITEMS, WAVES))
        chance = 1 / (1 + np.exp(-(-1 + model / 4 - context / 10 + np.sin(item))))
        session = rng.integers(0, max(size // SESSION_ROWS, 1), size)
        pl.DataFrame(
            {
                "regime": pl.Series(["deployment", "evaluation"]).gather((context == 0).astype(np.uint32)),
                "model": names("model", MODELS).gather(model),
                "item": names("item", ITEMS).gather(item),
                "score": (rng.random(size) < chance).astype(float),
                "quantization": pl.Series(["fp16", "q8", "q4", "q2"]).gather(context // 2),
                "concurrency": pl.Series(["1", "8"]).gather(context % 2),
                "wave": names("wave", WAVES).gather(wave),
                # Under this name it is no session until it is said to be one.
                "conversation": pl.select(pl.format("s{}-{}", pl.lit(part), pl.Series(session))).to_series(),
            }
        ).write_parquet(path, row_group_size=2**18)


def scan(folder: str) -> dict:
    """The bare scan."""
    import polars as pl

    columns = (*KEYS, "score")
    frame = pl.scan_parquet(f"{folder}/*.parquet")
    frame.select(pl.col(columns).null_count()).collect(engine="streaming")
    return {}


def group(folder: str) -> dict:
    """The bare grouping by the keys of the cells."""
    import polars as pl

    frame = pl.scan_parquet(f"{folder}/*.parquet")
    frame.group_by(KEYS).agg(pl.len(), pl.col("score").sum()).collect(engine="streaming")
    return {}


def posterior(folder: str, sessions: bool = False) -> dict:
    """Read, collapse, fit; CPU seconds of each."""
    used = {}

    def tick(name: str, start: float) -> float:
        now = time.process_time()
        used[name] = now - start
        return now

    start = tick("start", 0.0)
    import divergence as dv

    log = dv.read(folder, configuration=dv.Configuration(columns={"session": "conversation"} if sessions else {}))
    start = tick("read", start)
    cells = dv.collapse(log)
    start = tick("collapse", start)
    dv.fit(cells, seed=0)
    tick("fit", start)
    return used | {"cells": len(cells.counts), "sessions": len(cells.sessions)}


CASES = {
    "bare scan": scan,
    "bare group_by": group,
    "posterior": posterior,
    "posterior with sessions": lambda folder: posterior(folder, sessions=True),
}


def line(rows: int, case: str, used, stages: dict, floor: float) -> str:
    """One row of the table."""
    parts = ", ".join(f"{name} {stages[name]:.1f}" for name in ("read", "collapse", "fit") if name in stages)
    target = TARGETS.get(case, "") if rows >= 10**8 else ""
    return (
        f"| {rows:,} | {case} | {used.cpu_s:.1f} | {parts} | {used.cpu_s / floor:.1f} | {used.wall_s:.1f} "
        f"| {used.peak_mib:.0f} | {target} |"
    )


def measured(rows: int, folder: pathlib.Path) -> list[str]:
    """The lines of the table for a log of that many rows."""
    script = [sys.executable, str(pathlib.Path(__file__).resolve())]
    measure([*script, "--simulate", str(rows), str(folder / "log")], folder)
    lines, floor = [], 0.0
    for case in CASES:
        used = measure([*script, "--case", case, str(folder / "log")], folder)
        floor = floor or used.cpu_s
        lines.append(line(rows, case, used, json.loads(used.output), floor))
        print(lines[-1], file=sys.stderr, flush=True)
    return lines


def page(lines: list[str]) -> str:
    """The page, with the machine and the versions."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return "\n".join(
        [
            "# From disk to a posterior, by rows",
            "",
            f"Made by `make bench-scaling`: {MODELS} models, {CONTEXTS} contexts, {ITEMS} items, {WAVES} waves, sessions of",
            f"about {SESSION_ROWS} rows, Parquet in partitions of {PART:,} rows of which {PARTS} differ (the",
            "largest log has each of them several times over). CPU seconds are user and system time of a fresh",
            "process, imports included. Other work on the machine slows all cases, so `scans` gives them over",
            "the bare scan of the same files.",
            "",
            f"- {datetime.date.today().isoformat()}, {os.cpu_count()} cores of {processor()}, {memory:.0f} GiB, Python "
            f"{platform.python_version()}",
            "- " + ", ".join(f"{package} {version(package)}" for package in PACKAGES),
            f"- load average: {load}",
            "",
            "| rows | case | CPU s | of which | scans | wall s | peak MiB | target |",
            "|---|---|---|---|---|---|---|---|",
            *lines,
            "",
            "![CPU seconds by rows](scaling.svg)",
            "",
        ]
    )


def figure(text: str, path: pathlib.Path) -> None:
    """CPU seconds over rows, both logarithmic, from the table of a page."""
    import altair
    import polars

    cells = [
        [cell.strip() for cell in each.strip("| ").split(" | ")]
        for each in text.splitlines()
        if each.startswith("| ") and each[2].isdigit()
    ]
    frame = polars.DataFrame(
        {
            "rows": [int(c[0].replace(",", "")) for c in cells],
            "case": [c[1] for c in cells],
            "seconds": [float(c[2]) for c in cells],
        }
    )
    chart = (
        altair.Chart(frame)
        .mark_line(point=True)
        .encode(
            x=altair.X("rows:Q", scale=altair.Scale(type="log"), axis=altair.Axis(format="~s")),
            y=altair.Y("seconds:Q", scale=altair.Scale(type="log"), title="CPU seconds"),
            color=altair.Color("case:N", sort=list(CASES), title=None),
        )
    )
    chart.properties(width=380, height=260).save(path)


def main() -> None:
    """Measure and write the page; or do one case, as a child of that."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--largest", type=int, default=10**8, help="rows of the largest log")
    parser.add_argument("--folder", help="where the temporary folder is made (1e8 rows take 1 GB)")
    parser.add_argument("-o", "--output", type=pathlib.Path, default=ROOT / "benchmarks" / "scaling.md")
    parser.add_argument("--figure", action="store_true", help="only draw the table that is there")
    parser.add_argument("--case", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--simulate", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.case:
        print(json.dumps(CASES[given.case[0]](given.case[1])))
        return
    if given.simulate:
        simulate(pathlib.Path(given.simulate[1]), int(given.simulate[0]))
        return
    if given.figure:
        figure(given.output.read_text(), given.output.with_suffix(".svg"))
        return
    lines, rows = [], 10_000
    while rows <= given.largest:
        with tempfile.TemporaryDirectory(dir=given.folder) as name:
            lines += measured(rows, pathlib.Path(name))
        rows *= 10
    given.output.write_text(page(lines) + kept(given.output))
    figure(given.output.read_text(), given.output.with_suffix(".svg"))
    print(given.output.read_text())


if __name__ == "__main__":
    main()
