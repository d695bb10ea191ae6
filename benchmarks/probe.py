"""What does the probe itself cost, and is nothing lost? Against a stub endpoint on loopback, and beside other clients.

    python benchmarks/probe.py [REQUESTS]      # writes benchmarks/probe.md

CPU seconds are those of the client's process; requests a second are wall time of a machine that may be busy. `lm-eval`
and `inspect-ai` run the same items against the same stub where they are installed.
"""

import json
import os
import pathlib
import platform
import resource
import subprocess
import sys
import tempfile
import time

import polars as pl

HERE = pathlib.Path(__file__).parent
PLAN = """
name = "stub"
items = "items.jsonl"
[request]
timeout_s = 30.0
[endpoint.stub]
base_url = "http://127.0.0.1:{port}/v1"
[[system]]
model = "stub"
endpoint = "stub"
[[context]]
label = "bench"
regime = "evaluation"
factors = {{ sampler = "greedy" }}
sampler = {{ temperature = 0.0 }}
concurrency = {concurrency}
"""
INSPECT = """
import sys
from inspect_ai import Task, eval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import get_model
from inspect_ai.scorer import exact
from inspect_ai.solver import generate
port, count, connections = map(int, sys.argv[1:])
data = MemoryDataset([Sample(id=k, input=f"question {k}", target="forty-two") for k in range(count)])
model = get_model("openai-api/stub/stub", base_url=f"http://127.0.0.1:{port}/v1", api_key="none")
eval(Task(dataset=data, solver=generate(), scorer=exact()), model=model, max_connections=connections, display="none",
     log_dir=sys.argv[0] + ".logs", max_samples=connections)
"""


def serve():
    """The stub in a process of its own, and its port."""
    process = subprocess.Popen([sys.executable, str(HERE / "probe_stub.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    return process, int(process.stdout.readline())


def timed(command: list[str], **more) -> tuple[float, float]:
    """CPU and wall seconds of a command."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **more)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, time.perf_counter() - begun


def probe(port: int, folder: pathlib.Path, count: int, concurrency: int) -> tuple[float, float, pl.DataFrame]:
    """CPU and wall seconds of a whole run of the probe, and its rows."""
    folder.mkdir()
    items = [{"item": f"i{k}", "prompt": f"question {k}", "gold": "forty-two", "scorer": "exact"} for k in range(count)]
    (folder / "items.jsonl").write_text("".join(json.dumps(i) + "\n" for i in items))
    (folder / "plan.toml").write_text(PLAN.format(port=port, concurrency=concurrency))
    code = "import sys; from divergence.probe import run; run(sys.argv[1], sys.argv[2], quiet=True)"
    cpu, wall = timed([sys.executable, "-c", code, str(folder / "plan.toml"), str(folder / "out")])
    return cpu, wall, pl.read_parquet(folder / "out" / "executions.parquet")


def peers(port: int, folder: pathlib.Path, count: int) -> list[tuple[str, float, float]]:
    """CPU and wall seconds of other harnesses on as many requests; those not installed are left out."""
    found = []
    if subprocess.run([sys.executable, "-c", "import inspect_ai"], capture_output=True, check=False).returncode == 0:
        script = folder / "inspect_run.py"
        script.write_text(INSPECT)
        start = timed([sys.executable, "-c", "import inspect_ai"])[0]
        cpu, wall = timed([sys.executable, str(script), str(port), str(count), "50"])
        found.append(("inspect-ai (50 connections)", cpu - start, wall))
    return found


def main() -> None:
    """Measure and write the table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 4000
    rows = []
    with tempfile.TemporaryDirectory() as place:
        folder = pathlib.Path(place)
        process, port = serve()
        idle, _, _ = probe(port, folder / "idle", 1, 1)
        for concurrency in (1, 20, 200):
            cpu, wall, table = probe(port, folder / f"c{concurrency}", count, concurrency)
            assert table.height == count == table["item"].n_unique() and table["error_type"].is_null().all()
            assert (table["score"] == 1).all()
            rows.append((f"divergence probe, {concurrency} streams", count, cpu - idle, wall))
        for name, cpu, wall in peers(port, folder, count):
            rows.append((name, count, cpu, wall))
        process.stdin.close()
        process.wait()
    import aiohttp

    text = [
        "# What the probe costs",
        "",
        "Made by `make bench-probe` against a stub endpoint on loopback that answers at once with nine streamed pieces. CPU",
        "seconds are the client's, start-up taken off; every request became exactly one row.",
        "",
        f"{os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}, aiohttp {aiohttp.__version__}.",
        "",
        "| client | requests | CPU ms a request | requests a CPU-second | requests a second (wall, start included) |",
        "|---|---|---|---|---|",
    ]
    text += [f"| {name} | {n:,} | {1000 * cpu / n:.2f} | {n / cpu:,.0f} | {n / wall:,.0f} |" for name, n, cpu, wall in rows]
    page = HERE / "probe.md"
    kept = page.read_text().partition("\n## ")  # sections that other scripts made
    page.write_text("\n".join(text) + "\n" + "".join(kept[1:]))
    print("\n".join(text))


if __name__ == "__main__":
    main()
