"""What do readers make of hostile files? Every format under damage to bytes, lines and values, each in a process of its own.

Runs the tests that `make fuzz` runs, with so many inputs a format, and writes `fuzz.md` beside this file: the inputs that
were read, how many of them ended in something else than tables or one sentence, or not in time, and the most memory that
the process had. Formats that are named are run anew; the rows of the others, and the words below the table, stay.

    python benchmarks/fuzz.py [--examples 10000] [FORMAT ...]
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import resource
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).parents[1]
PAGE = ROOT / "benchmarks" / "fuzz.md"
HEAD = """# Hostile files

Made by `python benchmarks/fuzz.py`: bytes, lines and values of genuine files of each format, and of `tests/corpus`, changed
by chance. A foreign exception is anything but tables, rejected rows or one sentence; a hang is an input that takes more than
20 s; memory is the most that the process had, which read all inputs one after another.

| format | inputs | foreign exceptions | hangs | peak memory, MiB | CPU-s |
|---|---|---|---|---|---|
"""
IMPORTS, TABLES = "tests/executions/importers/test_fuzz.py", "tests/executions/test_hostile_tables.py"
CHILD = """
import json, resource, sys
import pytest

class Ends:
    def __init__(self): self.foreign, self.late = [], []
    def pytest_runtest_logreport(self, report):
        if report.failed:
            (self.late if "TimeoutError" in str(report.longrepr) else self.foreign).append(report.nodeid)

ends = Ends()
pytest.main(["-q", *sys.argv[1:]], plugins=[ends])
import damage
print(json.dumps({"inputs": sum(damage.TRIED.values()), "foreign": len(ends.foreign), "late": len(ends.late),
                  "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
"""


def kinds() -> dict[str, list[str]]:
    """Name -> the tests of it."""
    from divergence.executions.importers import formats

    imports = [f"{IMPORTS}::test_{part}_of_every_format" for part in ("bytes", "lines", "values")]
    tests = {name: [f"{test}[{name}]" for test in imports] for name in formats()}
    tables = [f"{TABLES}::test_every_format_survives_{part}" for part in ("damage", "odd_values")]
    files = {f"table: {kind}": f"seed.{kind}" for kind in ("csv", "tsv", "json", "jsonl", "parquet", "arrow")}
    for what, file in (files | {"table: arrow stream": "stream.arrow", "configuration": "seed.toml"}).items():
        tests[what] = [f"{test}[{file}]" for test in tables]
    return tests | {"table: jsonl, fast = slow": [f"{TABLES}::test_the_fast_reader_and_the_slow_one_agree"]}


def tried(name: str, tests: list[str], examples: int) -> dict[str, float | str]:
    """Run the tests of one format; what they left."""
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "DIVERGENCE_FUZZ": str(examples)}
    run = subprocess.run([sys.executable, "-c", CHILD, *tests], cwd=ROOT, env=environment, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = json.loads(run.stdout.splitlines()[-1])
    if said["foreign"] or said["late"]:
        print(run.stdout[-20_000:])
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"format": name, **said, "cpu_s": round(cpu, 1), "wall_s": round(time.monotonic() - began, 1)}


def known() -> tuple[dict[str, dict], str]:
    """Rows of the page as it stands, by format, and what is written below them."""
    table, rows = PAGE.read_text().removeprefix(HEAD), {}
    *lines, _ = (line for line in table.splitlines() if line.startswith("|"))
    for line in lines:
        name, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        numbers = (int(cell.replace(",", "")) for cell in cells)
        rows[name] = dict(zip(("format", "inputs", "foreign", "late", "mib", "cpu_s"), (name, *numbers), strict=True))
    return rows, table.split("| all |")[1].split("\n", 1)[1]


def page(rows: list[dict]) -> str:
    """The table."""
    total = {key: sum(row[key] for row in rows) for key in ("inputs", "foreign", "late", "cpu_s")}
    total |= {"format": "all", "mib": max(row["mib"] for row in rows)}
    line = "| {format} | {inputs:,} | {foreign} | {late} | {mib:.0f} | {cpu_s:.0f} |\n"
    return HEAD + "".join(line.format(**row) for row in [*rows, total])


def main() -> int:
    """Run, keep and write; 1 where an input ended in something else."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("formats", nargs="*")
    asked.add_argument("--examples", type=int, default=10_000)
    given = asked.parse_args()
    tests = kinds()
    for name in given.formats or tests:
        row = tried(name, tests[name], given.examples)
        print(json.dumps(row), flush=True)
        rows, below = known()
        rows |= {name: row}
        shown = [rows[name] for name in tests if name in rows]
        PAGE.write_text(page(shown) + below)
    return int(any(row["foreign"] or row["late"] for row in shown))


if __name__ == "__main__":
    sys.exit(main())
