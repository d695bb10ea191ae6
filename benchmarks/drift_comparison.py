"""Which drift detector sees which change, how often does it cry wolf, and how fast is it? Writes `drift_peers.md`.

Streams of `divergence.simulate.streams` (a change whose truth is known after half of the chunks) go to Parquet; every tool of
`TOOLS` is installed into an environment of its own under `build/`, run by `drift_peers.py` on the same files, and removed
again, since no environment can hold them all and each takes up to 2 GB. What cannot be installed stands in the table with the
first line of its error.

    python benchmarks/drift_comparison.py [--tools river nannyml ...] [--seeds 3] [--keep] [--page-only]
"""

import argparse
import json
import pathlib
import shutil
import statistics
import subprocess
import sys

import numpy as np
import polars as pl

from divergence.simulate.streams import SCENARIOS, stream

HERE = pathlib.Path(__file__).parent
BUILD = HERE.parent / "build"
STREAMS, FOUND = BUILD / "drift-streams", BUILD / "drift-found"
REFERENCE, CHUNKS, ROWS, CHANGE = 10_000, 40, 500, 20
TOOLS = {  # what pip is asked for; the pins are those without which the tool does not import, or resolves to no version
    "plain": ["scipy"],
    "river": ["river"],
    "frouros": ["frouros"],
    "alibi-detect": ["alibi-detect"],
    "nannyml": ["nannyml", "statsmodels"],  # imports statsmodels and does not say so
    "evidently": ["evidently", "pandas<3"],
    "nonconform": ["nonconform"],
}
SILENT = ("null", "null_ar")
INDEPENDENT = [name for name in SCENARIOS if name != "null_ar"]


def write_streams(seeds: int) -> None:
    """One Parquet file a scenario and seed; `chunk` is -1 in the reference."""
    STREAMS.mkdir(parents=True, exist_ok=True)
    for scenario in SCENARIOS:
        for seed in range(seeds):
            frame = stream(scenario, seed, REFERENCE, CHUNKS, ROWS, CHANGE)
            chunk = ((np.arange(frame.height) - REFERENCE) // ROWS).clip(-1)
            frame.with_columns(chunk=pl.Series(chunk)).write_parquet(STREAMS / f"{scenario}-{seed}.parquet")


def run_tool(tool: str, seeds: int, keep: bool) -> None:
    """Make the environment, run the tool, remove the environment; an error's first line is kept in place of results."""
    FOUND.mkdir(parents=True, exist_ok=True)
    place = BUILD / f"peers-{tool}"
    python = place / "bin" / "python"
    target = FOUND / f"{tool}.jsonl"
    try:
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", place], check=True)
        install = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *TOOLS[tool], "polars"]
        _checked(install)
        told = _checked([python, HERE / "drift_peers.py", tool, STREAMS, "--seeds", str(seeds)])
        target.write_text(told, encoding="utf-8")
    except RuntimeError as error:
        target.write_text(json.dumps({"tool": tool, "error": str(error)}) + "\n", encoding="utf-8")
    finally:
        if not keep:
            shutil.rmtree(place, ignore_errors=True)


def _checked(command: list) -> str:
    """Standard output of a command; RuntimeError with the line that says what failed."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("WARNING")]
        raise RuntimeError(next((line for line in lines if line.startswith("ERROR")), lines[-1] if lines else "no message"))
    return done.stdout


def results() -> tuple[list[dict], dict[str, str]]:
    """All lines that were found, and tool -> the error that kept it from running."""
    lines: list[dict] = []
    failed: dict[str, str] = {}
    for tool in ["divergence", *TOOLS]:
        path = FOUND / f"{tool}.jsonl"
        read = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
        failed |= {tool: line["error"] for line in read if "error" in line}
        lines += [line for line in read if "error" not in line]
    return lines, failed


def cell(lines: list[dict]) -> str:
    """Share of looks with an alarm before and after the change, and the mean chunks from the change to the first alarm."""
    before = [a for line in lines for a, k in zip(line["alarms"], line["looks"], strict=True) if k < CHANGE]
    after = [a for line in lines for a, k in zip(line["alarms"], line["looks"], strict=True) if k >= CHANGE]
    if not after:
        return ""
    first = [delay for line in lines if (delay := delay_of(line)) is not None]
    wait = f" ({statistics.mean(first):.0f})" if first and np.mean(after) > 0.1 and lines[0]["scenario"] not in SILENT else ""
    return f"{np.mean(before):.2f} > {np.mean(after):.2f}{wait}"


def delay_of(line: dict) -> int | None:
    """Chunks from the change to the first alarm after it, 1 = in the first chunk after it; None = there is none."""
    return next((k - CHANGE + 1 for a, k in zip(line["alarms"], line["looks"], strict=True) if a and k >= CHANGE), None)


def ever(lines: list[dict]) -> str:
    """Streams with an alarm before anything changed, out of all; of `null` the whole stream counts."""
    hits = sum(
        any(a for a, k in zip(line["alarms"], line["looks"], strict=True) if k < CHANGE or line["scenario"] in SILENT)
        for line in lines
    )
    return f"{hits} of {len(lines)}"


def page(lines: list[dict], failed: dict[str, str]) -> str:
    """The tables of `drift_peers.md`, from the results."""
    methods = list(dict.fromkeys(line["method"] for line in lines))
    of = {m: [line for line in lines if line["method"] == m] for m in methods}
    rows = [["method", *SCENARIOS], ["---"] * (1 + len(SCENARIOS))]
    rows += [[m, *(cell([line for line in of[m] if line["scenario"] == s]) for s in SCENARIOS)] for m in methods]
    head = ["method", "streams, looks each", "false alarms a look", "streams with one", "autocorrelated: a look", "names"]
    more = [[*head, "rows a CPU-s"], ["---"] * (len(head) + 1)]
    for m in methods:
        quiet = [line for line in of[m] if line["scenario"] in INDEPENDENT]
        looked = [
            a
            for line in quiet
            for a, k in zip(line["alarms"], line["looks"], strict=True)
            if k < CHANGE or line["scenario"] == "null"
        ]
        tied = [a for line in of[m] if line["scenario"] == "null_ar" for a in line["alarms"]]
        rate = sum(line["rows"] for line in of[m]) / max(sum(line["cpu_s"] for line in of[m]), 1e-9)
        looks = max(len(line["looks"]) for line in of[m])
        more.append(
            [m, f"{len(of[m])}, {looks}", f"{np.mean(looked):.3f}", ever(quiet), f"{np.mean(tied):.2f}"]
            + [of[m][0]["names"], f"{rate:,.0f}"]
        )
    tables = ["\n".join("| " + " | ".join(row) + " |" for row in table) for table in (more, rows)]
    versions = ", ".join(dict.fromkeys(f"{line['tool']} {line['version']}" for line in lines if line["tool"] != "plain"))
    broken = "\n".join(f"- {tool} could not be run: `{error}`" for tool, error in failed.items())
    return PAGE.format(versions=versions, false=tables[0], seen=tables[1], failed=broken or "- every tool ran")


PAGE = """# Drift: who sees what, beside other tools

Made by `make bench-drift` (`drift_comparison.py`): streams of `divergence.simulate.streams`, 10,000 rows of reference, then 40
chunks of 500 rows, the change after chunk 20; the same Parquet files for every tool, each in an environment of its own, with
the settings that its documentation starts with. Python 3.11; {versions}.

## False alarms, names and speed

False alarms: looks with an alarm where nothing has changed yet (rows independent of each other), and streams in which that
happened at least once (20 chunks; of `null` all 40). `autocorrelated`: a look at `null_ar`, where rows depend on each other and
nothing ever changes. Names: what an alarm points at.

{false}

{failed}

## Alarms before and after the change

Share of looks with an alarm before > after the change, in brackets the mean number of chunks until the first one (left out
where fewer than one look in ten alarms). Read the second number only beside the first.

{seen}
"""


def main() -> int:
    """Streams, environments, page."""
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--tools", nargs="*", choices=[*TOOLS, "divergence"], default=[*TOOLS, "divergence"])
    reader.add_argument("--seeds", type=int, default=3)
    reader.add_argument("--keep", action="store_true", help="leave the environments in build/")
    reader.add_argument("--page-only", action="store_true", help="write the page from results that are there")
    told = reader.parse_args()
    if not told.page_only:
        write_streams(told.seeds)
        for tool in told.tools:
            run_tool(tool, told.seeds, told.keep)
    text = page(*results())
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
