"""How fast are other tools' logs read, beside parsing their JSON alone, and does memory grow with the input?

    python benchmarks/imports.py                          # the table, into benchmarks/imports.md
    python benchmarks/imports.py large                    # the same, and the memory of 10 GB
    python benchmarks/imports.py one FORMAT MEGABYTES     # one measurement, as JSON

The inputs are genuine records of ../shared/logs, repeated with identities of their own until the size is reached. Each
measurement is a process of its own with one thread: CPU seconds of `import_log` without writing, with msgspec (the extra
`fast`) and without it, CPU seconds of parsing the same bytes (unpacked) with `json` and, where it is installed, with orjson,
and the largest resident memory of the import. Of the tool's own table as JSON lines `read` is measured, beside Polars alone.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

LOGS = Path(__file__).resolve().parents[2] / "shared" / "logs"
TABLE = Path(__file__).with_suffix(".md")
MEGABYTE = 10**6
SIZE = 20
"""Megabytes of unpacked JSON of a measurement of speed."""
PEERS = ("json", "orjson")
GROWTH, LARGE = (100, 200, 400, 800), 10_000
"""Megabytes of the measurements of memory."""
OWN = 200  # megabytes of the own table that is too large to be held in memory
ABOUT = (
    "Targets: lm-eval and Inspect within twice of parsing their JSON; lines of JSON at 100 MB a CPU second where Polars",
    "reads them natively; 1 GB for 10 GB. Lines of OTLP are decoded under msgspec's types, and become columns without a",
    "record a span (`otlp_columns`); Polars' own reader of JSON lines is slower on them by itself, as above, so that the",
    "own table is what the second target is judged by. Of what the calls of OTLP say only keys are held, and beyond a",
    "quarter of a million spans those wait on disk, cut by trace. Lines of the own table are told plain by one regular",
    "expression (`plain_lines`) and parsed once, into a packed file (`held_sources`); rows stay on disk. Mapped pages of a",
    "file are given back where memory is short.",
)
WARM = 1.0  # megabytes that load what an import needs


def repeated(lines: list[str], megabytes: float, change: Callable[[str, int], str]) -> Iterator[str]:
    """Lines again and again, each time changed by the number of the repetition, until they have that size."""
    left, number = megabytes * MEGABYTE, 0
    while left > 0:
        for line in lines:
            made = change(line, number)
            left -= len(made)
            yield made
        number += 1


def _write(path: Path, lines: Iterator[str]) -> Path:
    with path.open("w") as file:
        file.writelines(f"{line}\n" for line in lines)
    return path


def _records(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line.strip()]


def lm_eval(folder: Path, megabytes: float) -> list[Path]:
    """A samples file with its results."""
    source = LOGS / "lm_eval" / "real-before" / "smollm2-135m-q4_1"
    (samples,), (results,) = source.glob("samples_*.jsonl"), source.glob("results_*.json")
    (folder / results.name).write_bytes(results.read_bytes())
    lines = _records(samples)
    length = len(lines)

    def change(line: str, number: int) -> str:
        place = json.loads(line)["doc_id"] if number == 0 else None
        return line if place is not None else line.replace('"doc_id": ', f'"doc_id": {number * length}', 1)

    return [_write(folder / samples.name, repeated(lines, megabytes, change))]


def inspect(folder: Path, megabytes: float) -> list[Path]:
    """An archive as Inspect writes it."""
    __import__("zipfile_zstd")
    (source,) = (LOGS / "inspect" / "pair-eval" / "before").glob("*.eval")
    left, number = megabytes * MEGABYTE, 0
    target = folder / source.name
    with zipfile.ZipFile(source) as read, zipfile.ZipFile(target, "w", 93) as copy:
        samples = [name for name in read.namelist() if name.startswith("samples/")]
        for name in read.namelist():
            if name not in samples and not name.startswith("summaries"):
                copy.writestr(name, read.read(name))
        while left > 0:
            for name in samples:
                sample = json.loads(read.read(name))
                sample |= {"id": f"{sample['id']}-{number}", "uuid": f"{sample['uuid']}-{number}"}
                content = json.dumps(sample)
                left -= len(content)
                copy.writestr(f"samples/{sample['id']}_epoch_1.json", content)
            number += 1
    return [target]


def otlp(folder: Path, megabytes: float) -> list[Path]:
    """Export requests, one a line, as the file exporter of OpenTelemetry writes them."""
    line = (LOGS / "otlp-genai-openai" / "traces_file_exporter.jsonl").read_text().strip()
    traces = {span["traceId"] for r in json.loads(line)["resourceSpans"] for s in r["scopeSpans"] for span in s["spans"]}

    def change(text: str, number: int) -> str:
        for trace in traces:
            text = text.replace(trace, f"{number:08x}{trace[8:]}")
        return text

    return [_write(folder / "traces.jsonl", repeated([line], megabytes, change))]


def litellm(folder: Path, megabytes: float) -> list[Path]:
    """Rows of LiteLLM's table as JSON lines."""
    lines = _records(LOGS / "litellm" / "spendlogs_rows.jsonl")
    change = lambda line, number: line.replace('"request_id":"', f'"request_id":"{number}-', 1)  # noqa: E731
    return [_write(folder / "rows.jsonl", repeated(lines, megabytes, change))]


def aiperf(folder: Path, megabytes: float) -> list[Path]:
    """Requests of AIPerf with the averages beside them."""
    source = LOGS / "aiperf" / "profile"
    (folder / "profile_export_aiperf.json").write_bytes((source / "profile_export_aiperf.json").read_bytes())
    lines = _records(source / "profile_export.jsonl")
    change = lambda line, number: line.replace('"x_request_id":"', f'"x_request_id":"{number}-', 1)  # noqa: E731
    return [_write(folder / "profile_export.jsonl", repeated(lines, megabytes, change))]


def every_eval_ever(folder: Path, megabytes: float) -> list[Path]:
    """Instances with their aggregate."""
    source = LOGS / "every_eval_ever" / "converted" / "real-before"
    (samples,) = source.glob("*_samples.jsonl")
    aggregate = next(path for path in source.glob("*.json"))
    (folder / aggregate.name).write_bytes(aggregate.read_bytes())
    change = lambda line, number: line.replace('"sample_id":"', f'"sample_id":"{number}-', 1)  # noqa: E731
    return [_write(folder / samples.name, repeated(_records(samples), megabytes, change))]


def promptfoo(folder: Path, megabytes: float) -> list[Path]:
    """Results as JSON lines."""
    lines = _records(LOGS / "promptfoo" / "repeat.jsonl")

    def change(line: str, number: int) -> str:
        result = json.loads(line)
        return json.dumps(result | {"id": f"{number}-{result.get('id')}", "testIdx": result["testIdx"] + 15 * number})

    return [_write(folder / "results.jsonl", repeated(lines, megabytes, change))]


MADE: dict[str, Callable[[Path, float], list[Path]]] = {
    "lm-eval": lm_eval,
    "inspect": inspect,
    "otlp": otlp,
    "litellm": litellm,
    "aiperf": aiperf,
    "every-eval-ever": every_eval_ever,
    "promptfoo": promptfoo,
}


def own_table(folder: Path, megabytes: float) -> Path:
    """A log of the tool's own columns as JSON lines."""
    from divergence.simulate import simulate, world

    table = simulate(world("baseline", n_items=400), 0)[0]
    target = folder / "log.jsonl"
    table.write_ndjson(folder / "one.jsonl")
    line = '"item":"'
    change = lambda text, number: text.replace(line, f"{line}{number}-", 1)  # noqa: E731
    return _write(target, repeated(_records(folder / "one.jsonl"), megabytes, change))


def documents(path: Path) -> Iterator[bytes]:
    """The JSON documents of a file, as bytes."""
    if path.suffix == ".eval":
        __import__("zipfile_zstd")
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                yield archive.read(name)
    else:
        with path.open("rb") as file:
            yield from file


def cpu(work: Callable[[], object]) -> float:
    """CPU seconds of this process."""
    before = time.process_time()
    work()
    return time.process_time() - before


def one(format: str, megabytes: float, peers: bool = True) -> dict[str, float]:
    """One measurement."""
    from divergence.executions.importers import Privacy, foreign_files, import_log

    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "first").mkdir()
        import_log(MADE[format](folder / "first", WARM), format)  # modules are loaded, and the engine has started
        paths = MADE[format](folder, megabytes)
        found = {"megabytes": sum(len(part) for path in paths for part in documents(path)) / MEGABYTE}
        at_rest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        rows = []
        read = lambda: rows.append(import_log(paths, format, privacy=Privacy(salt=b"0" * 32)).rows)  # noqa: E731
        found["import"] = cpu(read)
        found |= {
            "rows": rows[0],
            "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
            "rest": at_rest / 1000,
        }
        if peers:
            if foreign_files._FAST is not None:
                foreign_files._FAST = None
                found["without"] = cpu(read)
            for name in PEERS:
                try:
                    loads = __import__(name).loads
                except ImportError:
                    continue
                found[name] = cpu(lambda loads=loads: [loads(part) and None for path in paths for part in documents(path)])
    return found


def native(megabytes: float) -> dict[str, float]:
    """What reading text takes in Polars: lines of OTLP and of the own table, and the own table through `read`."""
    import polars as pl

    import divergence as dv

    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (spans,), table = otlp(folder, megabytes), own_table(folder, megabytes)
        plain, other = folder / "log.csv", folder / "odd.jsonl"
        pl.scan_ndjson(table).sink_csv(plain)
        lines = table.read_bytes()
        other.write_bytes(lines + lines.split(b"\n", 1)[0].replace(b'"score":', b'"score":N', 1) + b"\n")
        (folder / "first").mkdir()
        dv.read(own_table(folder / "first", WARM))  # modules are loaded, and the engine has started
        return {
            "megabytes": table.stat().st_size / MEGABYTE,
            "csv": plain.stat().st_size / MEGABYTE,
            "otlp in polars": cpu(lambda: pl.read_ndjson(spans)),
            "own in polars": cpu(lambda: pl.read_ndjson(table)),
            "own in read": cpu(lambda: dv.read(table)),
            "own in read, one line odd": cpu(lambda: dv.read(other)),
            "own as csv in read": cpu(lambda: dv.read(plain)),
        }


def memory_of_own(megabytes: float) -> dict[str, float]:
    """The memory that `read` takes by itself, and with the mapped pages of the file, which the system takes back."""
    import divergence as dv

    with tempfile.TemporaryDirectory() as made:
        table, peak, done = own_table(Path(made), megabytes), [0, 0], threading.Event()

        def watch() -> None:
            while not done.wait(0.01):
                status = Path("/proc/self/status").read_text()
                for place, name in enumerate(("RssAnon:", "VmRSS:")):
                    peak[place] = max(peak[place], int(status.split(name)[1].split()[0]))

        watching = threading.Thread(target=watch)
        watching.start()
        log = dv.read(table)
        done.set()
        watching.join()
        return {
            "megabytes": table.stat().st_size / MEGABYTE,
            "rows": log.counts.rows,
            "memory": peak[0] / 1000,
            "mapped": peak[1] / 1000,
        }


def measured(format: str, megabytes: float, peers: bool = True) -> dict[str, float]:
    """One measurement in a process of its own, with one thread."""
    single = {name: "1" for name in ("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    command = [sys.executable, __file__, "one", format, str(megabytes), *(() if peers else ("alone",))]
    ran = subprocess.run(command, env={**os.environ, **single}, capture_output=True, text=True, check=True)
    return json.loads(ran.stdout.splitlines()[-1])


def main(large: bool) -> None:
    """The whole table."""
    said = [
        "# Reading other tools' logs",
        "",
        "Made by `python benchmarks/imports.py large`: genuine records repeated under identities of their own; one"
        " thread, CPU seconds of one process. `json` and `orjson` parse the same bytes and do nothing else."
        " With the extra `fast` msgspec parses them.",
        "",
        "| format | MB | rows | import, CPU-s | MB / CPU-s | without `fast`, CPU-s | times `json` | times `orjson` |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for format in MADE:
        found = measured(format, SIZE)
        times = [f"{found['import'] / found[peer]:.2f}" if peer in found else "" for peer in PEERS]
        speed, without = found["megabytes"] / found["import"], f"{found['without']:.2f}" if "without" in found else ""
        numbers = f"{found['megabytes']:.0f} | {found['rows']:.0f} | {found['import']:.2f} | {speed:.0f} | {without}"
        said.append(f"| `{format}` | {numbers} | {' | '.join(times)} |")
        print(said[-1], flush=True)
    said += ["", "Text in Polars itself, and the own table through `read`, which checks every row:", ""]
    said += ["| what | MB | MB / CPU-s |", "|---|---|---|"]
    for size in (SIZE, OWN):
        found = measured("native", size)
        for what in ("otlp in polars", "own in polars", "own in read", "own in read, one line odd", "own as csv in read"):
            read = found["csv" if "csv" in what else "megabytes"]
            said.append(f"| {what} | {read:.0f} | {read / found[what]:.0f} |")
            print(said[-1], flush=True)
    said += ["", "Largest resident memory of an import of OTLP lines:", "", "| MB | rows | memory, MB |", "|---|---|---|"]
    grown = [measured("otlp", size, peers=False) for size in (*GROWTH, LARGE)[: None if large else -1]]
    for found in grown:
        said.append(f"| {found['megabytes']:.0f} | {found['rows']:.0f} | {found['memory']:.0f} |")
        print(said[-1], flush=True)
    slope = (grown[-1]["memory"] - grown[-2]["memory"]) / (grown[-1]["megabytes"] - grown[-2]["megabytes"])
    said += ["", f"From the last size but one to the last it grows by {1000 * slope:.0f} MB a GB.", ""]
    said += ["Memory of `read` of the own table as JSON lines (its own; with the pages of the file that are mapped):", ""]
    said += ["| MB | rows | its own, MB | with mapped pages, MB |", "|---|---|---|---|"]
    for size in (100, 1000, *((LARGE,) if large else ())):
        found = measured("own", size)
        said.append(f"| {found['megabytes']:.0f} | {found['rows']:.0f} | {found['memory']:.0f} | {found['mapped']:.0f} |")
        print(said[-1], flush=True)
    said += ["", *ABOUT]
    TABLE.write_text("\n".join(said) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["one"]:
        format, size = sys.argv[2], float(sys.argv[3])
        whole = {"native": native, "own": memory_of_own}
        print(json.dumps(whole[format](size) if format in whole else one(format, size, sys.argv[4:] != ["alone"])))
    else:
        main(sys.argv[1:] == ["large"])
