"""Which drift detector sees which change, how often does it cry wolf, how fast is it? Writes `drift_peers.md`.

Streams of `divergence.simulate.streams` (a change whose truth is known after half of the chunks) go to Parquet; every tool
of `TOOLS` is installed into an environment of its own under `build/`, run by `drift_peers.py` on the same files, and removed
again, since no environment can hold them all and each takes up to 2 GB. What cannot be installed stands in the table with
the line of its error that says why.

    python benchmarks/drift_comparison.py [--tools river nannyml ...] [--seeds 3] [--keep] [--page-only]

The tables are written anew; what stands from `## Reading` on is kept, as it is written by hand.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys

import numpy as np
import polars as pl

from divergence.simulate import SCENARIOS, stream

HERE = pathlib.Path(__file__).parent
BUILD = HERE.parent / "build"
STREAMS, FOUND = BUILD / "drift-streams", BUILD / "drift-found"
PAGE_FILE, BY_HAND = HERE / "drift_peers.md", "## Reading"
REFERENCE, CHUNKS, ROWS, CHANGE = 10_000, 40, 500, 20
# What pip is asked for, beside polars; None = this environment; a pin is one without which the tool does not import.
TOOLS = {
    "divergence": None,
    "plain": None,
    "river": ["river"],
    "frouros": ["frouros"],
    "alibi-detect": ["alibi-detect"],
    "nannyml": ["nannyml", "statsmodels"],  # imports statsmodels and does not say so
    "evidently": ["evidently", "pandas<3"],
    "nonconform": ["nonconform", "scikit-learn"],
}
NEWER = ("python3.14", "python3.13", "python3.12")  # tried in this order for tools that do not run on 3.11
NEEDS_NEWER = ("nonconform",)
SILENT = ("null", "null_ar")


def write_streams(seeds: int) -> None:
    """One Parquet file a scenario and seed; `chunk` is -1 in the reference."""
    STREAMS.mkdir(parents=True, exist_ok=True)
    for scenario in SCENARIOS:
        for seed in range(seeds):
            frame = stream(scenario, seed, REFERENCE, CHUNKS, ROWS, CHANGE)
            chunk = ((np.arange(frame.height) - REFERENCE) // ROWS).clip(-1)
            frame.with_columns(chunk=pl.Series(chunk)).write_parquet(STREAMS / f"{scenario}-{seed}.parquet")


def run_tool(tool: str, seeds: int, keep: bool) -> None:
    """Make the environment, run the tool, remove the environment; where that fails its error is kept in place of results."""
    FOUND.mkdir(parents=True, exist_ok=True)
    place = BUILD / f"peers-{tool}"
    target = FOUND / f"{tool}.jsonl"
    try:
        python = _environment(tool, place)
        told = _checked([python, HERE / "drift_peers.py", tool, STREAMS, "--seeds", seeds])
        target.write_text(told, encoding="utf-8")
    except RuntimeError as error:
        target.write_text(json.dumps({"tool": tool, "error": str(error)}) + "\n", encoding="utf-8")
    finally:
        if not keep:
            shutil.rmtree(place, ignore_errors=True)


def _environment(tool: str, place: pathlib.Path) -> str | pathlib.Path:
    """The interpreter with which the tool runs; RuntimeError where its environment cannot be made."""
    packages = TOOLS[tool]
    if packages is None:
        return sys.executable
    python = place / "bin" / "python"
    if not python.exists():
        _checked([(tool in NEEDS_NEWER and _newer()) or sys.executable, "-m", "venv", place])
    _checked([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages, "polars"])
    return python


def _newer() -> str | None:
    """A newer interpreter of this machine, if there is one that starts (a shim may lead nowhere)."""
    for name in NEWER:
        found = shutil.which(name)
        if found and subprocess.run([found, "-c", ""], capture_output=True).returncode == 0:
            return found
    return None


def _checked(command: list) -> str:
    """Standard output of a command; RuntimeError with the line that says what failed."""
    own = str(command[0]) == sys.executable  # only this environment may see this project
    path = os.pathsep.join(filter(None, (str(HERE.parent), os.environ.get("PYTHONPATH"))))
    seen = os.environ | ({"PYTHONPATH": path} if own else {})
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, env=seen)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("WARNING")]
        told = [line for line in lines if line.startswith("ERROR") and "Ignored the following" not in line]
        raise RuntimeError((told or lines[-1:] or ["no message"])[0])
    return done.stdout


def results() -> tuple[list[dict], dict[str, str]]:
    """All lines that were found, and tool -> the error that kept it from running."""
    lines: list[dict] = []
    failed: dict[str, str] = {}
    for tool in TOOLS:
        path = FOUND / f"{tool}.jsonl"
        for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
            line = json.loads(text)
            if "error" in line:
                failed[tool] = line["error"]
            else:
                lines.append(line)
    return lines, failed


def looks(lines: list[dict], after: bool) -> list[int]:
    """All alarms (0 or 1) of these streams before the change, or after it."""
    return [a for line in lines for a, k in zip(line["alarms"], line["looks"], strict=True) if (k >= CHANGE) == after]


def delay(line: dict) -> int | None:
    """Chunks from the change to the first alarm after it, 1 = in the first chunk after it; None = there is none."""
    return next((k - CHANGE + 1 for a, k in zip(line["alarms"], line["looks"], strict=True) if a and k >= CHANGE), None)


def share(alarms: list[int], digits: int = 2) -> str:
    """A share of looks without the zero before its point; empty where nothing was looked at."""
    return f"{np.mean(alarms):.{digits}f}".removeprefix("0") if alarms else ""


def cell(lines: list[dict]) -> str:
    """Alarms before and after the change, and the mean number of chunks to the first one."""
    after = looks(lines, True)
    if not after:
        return ""
    waits = [wait for line in lines if (wait := delay(line)) is not None]
    told = waits and np.mean(after) > 0.1 and lines[0]["scenario"] not in SILENT
    return f"{share(looks(lines, False))} > {share(after)}" + (f" ({statistics.mean(waits):.0f})" if told else "")


def quiet(line: dict) -> list[int]:
    """The looks of an independent stream at which nothing has changed."""
    null = line["scenario"] == "null"
    return [a for a, k in zip(line["alarms"], line["looks"], strict=True) if null or k < CHANGE]


def table(rows: list[list[str]]) -> str:
    """Markdown; the first row is the head."""
    return "\n".join("| " + " | ".join(row) + " |" for row in (rows[0], ["---"] * len(rows[0]), *rows[1:]))


def page(lines: list[dict], failed: dict[str, str]) -> str:
    """The tables of `drift_peers.md`, from the results."""
    methods = {line["method"]: [other for other in lines if other["method"] == line["method"]] for line in lines}
    seen = [["method", *SCENARIOS]]
    head = ["method", "streams, looks each", "false alarms a look", "streams with one", "autocorrelated: a look", "names"]
    false = [[*head, "rows a CPU-s"]]
    for name, own in methods.items():
        seen.append([name, *(cell([line for line in own if line["scenario"] == s]) for s in SCENARIOS)])
        independent = [quiet(line) for line in own if line["scenario"] != "null_ar"]
        tied = [a for line in own if line["scenario"] == "null_ar" for a in line["alarms"]]
        rate = sum(line["rows"] for line in own) / sum(line["cpu_s"] for line in own)
        size = f"{len(own)}, {max(len(line['looks']) for line in own)}"
        ever = f"{sum(map(any, independent))} of {len(independent)}"
        alarms = share([a for part in independent for a in part], 3)
        false.append([name, size, alarms, ever, share(tied), own[0]["names"], f"{rate:,.0f}"])
    versions = ", ".join(dict.fromkeys(f"{line['tool']} {line['version']}" for line in lines if TOOLS[line["tool"]]))
    broken = "\n".join(f"- {tool} could not be run: `{error}`" for tool, error in failed.items())
    return PAGE.format(versions=versions, false=table(false), seen=table(seen), failed=broken or "Every tool ran.")


PAGE = """# Drift: who sees what, beside other tools

Made by `make bench-drift-peers` (`drift_comparison.py`): streams of `divergence.simulate.streams`, 10,000 rows of
reference, then 40 chunks of 500 rows, the change after chunk 20; the same Parquet files for every tool, each in an
environment of its own, with the settings that its documentation starts with.
{versions}.

## False alarms, names and speed

False alarms: looks with an alarm where nothing has changed yet (rows independent of each other), and streams in which that
happened at least once (20 chunks; of `null` all 40). Autocorrelated: a look at `null_ar`, where rows depend on each other
and nothing ever changes. Names: what an alarm points at. Slow tools saw two streams a scenario instead of three, and every
fourth chunk: their shares come in steps of .10 (before or after, one scenario) and their delays in steps of four chunks.
Rows a CPU-s count the rows looked at, and the time of learning from the reference too; chunks of 500 rows are short, so
what a call costs weighs more than rows do.

{false}

{failed}

## Alarms before and after the change

Share of looks with an alarm before > after the change, in brackets the mean number of chunks until the first one (left out
where fewer than one look in ten alarms). Read the second number only beside the first. An alarm of `divergence` stays, and
its promise is for the whole run; the others look at every chunk anew.

{seen}
"""


def main() -> int:
    """Streams, environments, page."""
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--tools", nargs="*", choices=list(TOOLS), default=list(TOOLS))
    reader.add_argument("--seeds", type=int, default=3)
    reader.add_argument("--keep", action="store_true", help="leave the environments in build/")
    reader.add_argument("--page-only", action="store_true", help="write the page from results that are there")
    told = reader.parse_args()
    if not told.page_only:
        write_streams(told.seeds)
        for tool in told.tools:
            run_tool(tool, told.seeds, told.keep)
    old = PAGE_FILE.read_text(encoding="utf-8") if PAGE_FILE.exists() else ""
    text = page(*results())
    PAGE_FILE.write_text(text + (f"\n{BY_HAND}{old.split(BY_HAND, 1)[1]}" if BY_HAND in old else ""), encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
