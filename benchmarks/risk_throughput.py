"""How many requests are scored a second, and in how much memory? Writes the section `Throughput` of `benchmarks/risk.md`.

Three measurements: the lookup alone, from memory; one partition from Parquet to Parquet, beside a bare Polars copy of
the same columns; and a log of 1e8 rows in partitions under the temporary folder (about 1.5 GB, removed at the end).
CPU seconds come first, because wall seconds depend on who else uses the machine: the load average stands beside them.

    python benchmarks/risk_throughput.py [--rows 1e8]
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from importlib.metadata import version

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from divergence.risk.lookup import LookupGrid, take
from divergence.scoring.score import score_log
from divergence.scoring.sources import BATCH

PAGE = pathlib.Path(__file__).with_name("risk.md")
HEADING = "## Throughput"
PACKAGES = ("eval-divergence", "numpy", "polars", "pyarrow", "scikit-learn")
LEVELS = {
    "model": tuple(f"model-{k}" for k in range(20)),
    "context": tuple(f"engine=engine-{e}|sampler=t={t}" for e in range(6) for t in range(4)),
    "item": tuple(f"stratum-{k}" for k in range(50)),
}
PARTITION = 4_000_000  # rows
COPIES = {"zstd": "the columns read, zstd", "snappy": "the columns read, snappy", "result": "the result, zstd"}
RESULT = ["execution_id", "risk", "excess", "lower", "upper", "novelty", "known", "reason"]
COLUMNS = ["execution_id", "model", "engine", "sampler", "item", "score"]


class Scorer:
    """A risk model of 20 models, 24 contexts and 50 strata, its summaries random numbers."""

    outcome, kind, factors, columns = "score", "binary", ("engine", "sampler"), ()
    traffic, check = {}, {}

    def __init__(self) -> None:
        shape = tuple(len(known) + 1 for known in LEVELS.values())
        random, size = np.random.default_rng(0), int(np.prod(shape))
        self.grid = LookupGrid(LEVELS, np.arange(size, dtype=np.int32).reshape(shape))
        floats = {name: random.random(size) for name in ("risk", "excess", "lower", "upper", "novelty")}
        reason = pa.array(["model", "context", "stratum", "novelty"]).take(pa.array(random.integers(0, 4, size)))
        self.table = {**floats, "known": random.random(size) < 0.9, "reason": reason.dictionary_encode()}

    def score(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Look each request up."""
        return pa.record_batch({"execution_id": batch.column("execution_id"), **take(self.table, self.grid.rows(batch))})


def load(_: str) -> Scorer:
    """The scorer; its folder holds nothing that it needs."""
    return Scorer()


def write_partition(path: pathlib.Path, rows: int, seed: int) -> None:
    """Requests with an id each; one in five is judged."""
    random = np.random.default_rng(seed)

    def labels(names):
        codes = random.integers(0, len(names), rows, dtype=np.int32)
        return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(names))

    ids = pa.array(np.arange(rows) + 10**12 * (seed + 1)).cast(pa.string())
    table = pa.table(
        {
            "execution_id": ids,
            "regime": pa.array(["deployment"]).dictionary_encode().take(pa.array(np.zeros(rows, np.int32))),
            "model": labels(LEVELS["model"]),
            "engine": labels([f"engine-{k}" for k in range(6)]),
            "sampler": labels([f"t={k}" for k in range(4)]),
            "item": labels(LEVELS["item"]),
            "score": pa.array(random.integers(0, 2, rows).astype(float), mask=random.random(rows) < 0.8),
        }
    )
    names = [name for name in table.column_names if name != "execution_id"]
    pq.write_table(table, path, compression="zstd", row_group_size=2**20, use_dictionary=names)


def best(function, runs: int = 15) -> float:
    """Least CPU seconds of several runs of something short."""
    seconds = []
    for _ in range(runs):
        start = time.process_time()
        function()
        seconds.append(time.process_time() - start)
    return min(seconds)


def from_memory() -> list[tuple[str, float]]:
    """Rows a CPU second of the lookup, of hashing texts, and of two ways without a table of summaries."""
    from sklearn.linear_model import LogisticRegression

    random = np.random.default_rng(1)
    coded = pa.record_batch(
        {
            key: pa.DictionaryArray.from_arrays(
                pa.array(random.integers(0, len(known), BATCH, dtype=np.int32)), pa.array(known)
            )
            for key, known in LEVELS.items()
        }
    )
    texts = [coded.column(key).cast(pa.string()) for key in LEVELS]
    scorer = Scorer()
    three = {name: scorer.table[name] for name in ("risk", "lower", "upper")}
    rows = scorer.grid.rows(coded)
    draws = random.random((len(scorer.table["risk"]), 200))
    few = rows[:4096]
    design = np.eye(24)[random.integers(0, 24, BATCH)]
    classifier = LogisticRegression().fit(design[:2000], random.integers(0, 2, 2000))
    return [
        (
            "mean and interval, from dictionary codes (target 2e7)",
            BATCH / best(lambda: take(three, scorer.grid.rows(coded))),
        ),
        ("all seven columns", BATCH / best(lambda: take(scorer.table, scorer.grid.rows(coded)))),
        (
            "hashing the three keys of every row, where they come as texts",
            BATCH / best(lambda: [column.dictionary_encode() for column in texts]),
        ),
        (
            "scikit-learn `predict_proba`, 24 indicator columns, no interval",
            BATCH / best(lambda: classifier.predict_proba(design)),
        ),
        (
            "5 % and 95 % percentiles of 200 draws a row",
            len(few) / best(lambda: np.percentile(draws[few], [5, 95], axis=1), 3),
        ),
    ]


def children_cpu() -> float:
    """CPU seconds of the children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def resident(process: int) -> int:
    """Resident bytes of a process and of all below it; memory that they share is counted for each."""
    total, waiting = 0, [process]
    while waiting:
        one = waiting.pop()
        try:
            total += int(pathlib.Path(f"/proc/{one}/statm").read_text().split()[1]) * resource.getpagesize()
            for task in pathlib.Path(f"/proc/{one}/task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
        except (OSError, ValueError):
            continue
    return total


def run(code: str, *arguments: object) -> tuple[float, float, float]:
    """CPU seconds, wall seconds and peak resident MiB of a fresh process with all its children."""
    before, begin, peak = children_cpu(), time.monotonic(), [0]
    child = subprocess.Popen(
        [sys.executable, *([__file__, code] if code.startswith("--") else ["-c", code]), *map(str, arguments)]
    )

    def watch() -> None:
        while child.poll() is None:
            peak[0] = max(peak[0], resident(child.pid))
            time.sleep(0.1)

    watcher = threading.Thread(target=watch)
    watcher.start()
    watcher.join()
    if child.returncode:
        raise RuntimeError(f"{code} ended with {child.returncode}")
    return children_cpu() - before, time.monotonic() - begin, peak[0] / 2**20


COPY = (
    "import sys, polars as pl; pl.scan_parquet(sys.argv[1]).select(sys.argv[4:])"
    ".sink_parquet(sys.argv[2], compression=sys.argv[3])"
)
FEW = 1000  # rows of a partition that costs nothing but the start


def one_partition(folder: pathlib.Path) -> list[tuple[str, float, float]]:
    """CPU seconds of scoring one partition and of copying its columns, medians of alternating runs: less what the same
    command needs for a partition of `FEW` rows (imports, Arrow's of pandas included, and what is done once a run), and in
    full. A copy imports less than a score does, so each has its own start."""
    for name, rows in (("one", PARTITION), ("few", FEW)):
        write_partition(folder / f"{name}.parquet", rows, 0)
    seconds: dict[str, list[tuple[float, float]]] = {"score": [], "zstd": [], "snappy": [], "result": []}
    for _ in range(5):
        spent: dict[str, list[float]] = {name: [] for name in seconds}
        for name in ("one", "few"):
            log, copy = folder / f"{name}.parquet", folder / "copy.parquet"
            spent["score"].append(run("--score", log, folder / "out", 0)[0])
            spent["result"].append(run(COPY, folder / "out" / log.name, copy, "zstd", *RESULT)[0])
            shutil.rmtree(folder / "out")
            for compression in ("zstd", "snappy"):
                spent[compression].append(run(COPY, log, copy, compression, *COLUMNS)[0])
        for name, (one, few) in spent.items():
            seconds[name].append((one - few, one))
    return [(name, *map(statistics.median, zip(*values, strict=True))) for name, values in seconds.items()]


def whole_log(folder: pathlib.Path, rows: int) -> dict:
    """A log of many partitions, two workers."""
    logs = folder / "logs"
    logs.mkdir()
    count = max(1, round(rows / PARTITION))
    for k in range(count):
        write_partition(logs / f"part-{k:03}.parquet", PARTITION, k)
    cpu, wall, peak = run("--score", logs, folder / "whole", 2)
    scored = json.loads((folder / "whole" / "manifest.json").read_text())
    again = run("--score", logs, folder / "whole", 2)
    return {
        "rows": scored["rows"],
        "scored": scored["scored"],
        "partitions": count,
        "cpu": cpu,
        "wall": wall,
        "peak": peak,
        "again": again[1],
        "in": sum(p.stat().st_size for p in logs.iterdir()),
        "out": sum(p.stat().st_size for p in (folder / "whole").glob("*.parquet")),
    }


def page(memory: list, one: list, whole: dict, load_average: tuple) -> str:
    """The section."""
    (_, score, full), *copies = one
    lines = [
        HEADING,
        "",
        "Made by `make bench-risk`. CPU seconds are user and system time of the process and its workers; "
        "where one partition is compared, what the same command needs for 1,000 rows is subtracted, except in the last two "
        "columns.",
        "",
        f"- {datetime.date.today()}, {os.cpu_count()} cores of {processor()}, Python {platform.python_version()}",
        f"- {', '.join(f'{name} {version(name)}' for name in PACKAGES)}",
        f"- load average at the start: {', '.join(f'{value:.1f}' for value in load_average)}",
        f"- the model: {len(LEVELS['model'])} models, {len(LEVELS['context'])} contexts, {len(LEVELS['item'])} strata",
        "",
        "| from memory | rows a CPU s |",
        "|---|---|",
        *(f"| {name} | {rate:.2g} |" for name, rate in memory),
        "",
        f"| {PARTITION:,} rows, Parquet to Parquet, one thread's worth of CPU | CPU s | rows a CPU s | scoring against it "
        "| CPU s with the start | scoring against it |",
        "|---|---|---|---|---|---|",
        f"| score: read, judge every row, score, write | {score:.2f} | {PARTITION / score:.2g} | | {full:.2f} | |",
        *(
            f"| bare Polars copy of {COPIES[name]} | {value:.2f} | {PARTITION / value:.2g} | {score / value:.2f} x "
            f"| {started:.2f} | {full / started:.2f} x |"
            for name, value, started in copies
        ),
        "",
        "| a log in partitions, two workers | |",
        "|---|---|",
        f"| rows, partitions | {whole['rows']:,}, {whole['partitions']} |",
        f"| CPU s; rows a CPU s | {whole['cpu']:.1f}; {whole['rows'] / whole['cpu']:.3g} |",
        f"| wall s; rows a wall s (target 2e6) | {whole['wall']:.1f}; {whole['rows'] / whole['wall']:.3g} |",
        f"| peak resident, all processes together, what they share counted for each (target 1024 MiB) | "
        f"{whole['peak']:.0f} MiB |",
        f"| read, written | {whole['in'] / 1e9:.2f} GB, {whole['out'] / 1e9:.2f} GB |",
        f"| run again, everything finished: wall s | {whole['again']:.1f} |",
        "",
    ]
    return "\n".join(lines)


def processor() -> str:
    """Name of the processor."""
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def replace_section(text: str, section: str) -> str:
    """The page with this section in the place of the one with the same heading."""
    heading = section.split("\n", 1)[0]
    parts = ("\n" + text).split("\n## ")
    kept = [part for part in parts[1:] if f"## {part.split(chr(10), 1)[0]}" != heading]
    return "\n\n".join([parts[0].strip(), *(f"## {part.strip()}" for part in kept), section.strip()]) + "\n"


def main() -> None:
    """Measure, and write the section."""
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--rows", type=float, default=1e8)
    flags.add_argument("--score", nargs=3, metavar=("LOG", "OUT", "WORKERS"))
    given = flags.parse_args()
    if given.score:
        log, out, workers = given.score
        model = pathlib.Path(tempfile.mkdtemp())
        scored = score_log(model, [log], out, load=load, workers=int(workers))
        model.rmdir()
        sys.exit(len(scored.failed))
    need = given.rows * 16  # bytes in and out
    if shutil.disk_usage(tempfile.gettempdir()).free < 2 * need:
        sys.exit(f"{2 * need / 1e9:.0f} GB are needed in {tempfile.gettempdir()}: set TMPDIR, or give fewer --rows")
    load_average = os.getloadavg()
    with tempfile.TemporaryDirectory(prefix="divergence-bench-") as folder:
        memory = from_memory()
        one = one_partition(pathlib.Path(folder))
        whole = whole_log(pathlib.Path(folder), round(given.rows))
    text = PAGE.read_text() if PAGE.exists() else "# Risk: speed and calibration"
    PAGE.write_text(replace_section(text, page(memory, one, whole, load_average)))
    print(PAGE.read_text())


if __name__ == "__main__":
    main()
