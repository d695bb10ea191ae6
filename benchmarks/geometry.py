"""What do the estimators of geometry cost beside other libraries? Writes `benchmarks/geometry.md`.

Every case is a fresh process on the same arrays and one thread; CPU seconds are those of the call after a small one;
imports and making the arrays are taken off. A library that is not installed has a row that says so; netrep installs from
its source only.

    python benchmarks/geometry.py [--smaller]
"""

import argparse
import datetime
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import platform
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]
CASES = {  # comparison: (rows, dimensions, own case, other case, package of the other, what is compared)
    "CKA": (
        20_000,
        384,
        "ours_cka",
        "netrep_cka",
        "netrep",
        "own: debiased and biased, interval by 32 blocks of sessions; netrep `LinearCKA`: biased, no interval",
    ),
    "CKA, fewer rows": (
        2_000,
        384,
        "ours_cka",
        "rsatoolbox_cka",
        "rsatoolbox",
        "rsatoolbox: cosine of two matrices of squared distances, another number, no interval asked for",
    ),
    "MMD, every pair, 200 permutations": (
        400,
        384,
        "ours_mmd_every_pair",
        "hyppo_mmd",
        "hyppo",
        "own: 6 bandwidths, sessions permuted, interval; hyppo: 1, rows permuted",
    ),
    "MMD, 2,000 permutations": (
        20_000,
        384,
        "ours_mmd",
        None,
        None,
        "own: 1,024 random features at each of 6 bandwidths; 20,000 rows a side",
    ),
    "Bures": (20_000, 384, "ours_bures", "pot_bures", "pot", "own: with interval and floor; POT: the value"),
}
STREAM = (250_000, 500_000, 1_000_000)  # rows: the last is the target, the others show that time is linear
RUNS = 3
TARGETS = {"CKA": "20 times netrep", "MMD, 2,000 permutations": "5 CPU s"}


def measure(case: str, n: int, d: int, runs: int = RUNS) -> dict:
    """The quickest of some runs of one case, each a fresh process."""
    found = [once(case, n, d) for _ in range(runs)]
    return min(found, key=lambda run: run.get("cpu_s", float("inf")))


def once(case: str, n: int, d: int) -> dict:
    """CPU seconds, peak memory and value of one case."""
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
        "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    }
    command = [sys.executable, str(ROOT / "benchmarks" / "geometry_one.py"), case, str(n), str(d)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        print(case, n, done.stderr[-500:], file=sys.stderr)
        return {"failed": (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]}
    print(case, n, done.stdout.splitlines()[-1], file=sys.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def cells(found: dict) -> str:
    """CPU seconds, memory and value, or why there are none."""
    if "failed" in found:
        return f"{found['failed']} | |"
    return f"{found['cpu_s']:.2f} | {found['peak_mib']:.0f} | {found['value']:.6g}"


def compared(divide: int) -> list[str]:
    """Own estimators and others on the same arrays."""
    lines = [
        "| what | rows x dimensions | who | CPU s | peak MiB | value | other / own | target |",
        "|---|---|---|---|---|---|---|---|",
    ]
    notes = []
    for name, (n, d, own, other, package, note) in CASES.items():
        n = n // divide
        ours = measure(own, n, d)
        target = TARGETS.get(name, "none")
        lines.append(f"| {name} | {n:,} x {d} | divergence | {cells(ours)} | | {target} |")
        notes.append(f"- {name}: {note}.")
        if other is None:
            continue
        if importlib.util.find_spec({"pot": "ot"}.get(package, package)) is None:
            lines.append(f"| | | {package} | not installed | | | | |")
            continue
        theirs = measure(other, n, d)
        ratio = f"{theirs['cpu_s'] / ours['cpu_s']:.1f}" if "cpu_s" in theirs and "cpu_s" in ours else ""
        lines.append(f"| | | {package} | {cells(theirs)} | {ratio} | |")
    n, d = CASES["CKA"][0] // divide, CASES["CKA"][1]
    exact = once("double_cka", n, d)["value"]
    note = (
        f"- The biased CKA of the {n:,} rows is {exact:.6g} in float64: products of all rows with all rows lose "
        "digits in float32."
    )
    return [*lines, "", *notes, note]


def stream(divide: int) -> list[str]:
    """One pass over rows that are never held whole; making them is measured alone and taken off."""
    lines = [
        "| rows x 384, paired | CPU s | of it making the rows | the pass alone | µs a row | peak MiB | target |",
        "|---|---|---|---|---|---|---|",
    ]
    for n in STREAM:
        n = n // divide
        whole, rows = (measure(case, n, 384, 1) for case in ("ours_stream", "generation"))
        if "failed" in whole:
            lines.append(f"| {n:,} | {whole['failed']} | | | | | |")
            continue
        alone = whole["cpu_s"] - rows["cpu_s"]
        lines.append(
            f"| {n:,} | {whole['cpu_s']:.1f} | {rows['cpu_s']:.1f} | {alone:.1f} | {1e6 * alone / n:.1f} | "
            f"{whole['peak_mib']:.0f} | 1,024 MiB, linear |"
        )
    return lines


def packages() -> str:
    """Versions of what was measured."""
    names, found = ("eval-divergence", "numpy", "scipy", "netrep", "hyppo", "pot", "rsatoolbox"), []
    for name in names:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"{name} without a version" if importlib.util.find_spec(name) else f"{name} not installed")
    return ", ".join(found)


def main() -> None:
    """Measure all and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smaller", action="store_true", help="a tenth of the rows, to try the script")
    parser.add_argument("-o", "--output", type=pathlib.Path, default=ROOT / "benchmarks" / "geometry.md")
    given = parser.parse_args()
    divide, load = 10 if given.smaller else 1, os.getloadavg()
    first, second = compared(divide), stream(divide)
    page = [
        "# Time and memory of geometry",
        "",
        "Made by `make bench-geometry`: each line a fresh process of one thread on the same float32 arrays. CPU seconds are",
        "those of the call (the least of three), after a small one; imports and making the arrays are taken off.",
        "",
        f"- {datetime.date.today()}, {os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}",
        f"- {packages()}",
        f"- load average at the start: {', '.join(f'{part:.1f}' for part in load)}",
        "",
        *first,
        "- alibi-detect is left out: it pins NumPy below 2 and cannot share an environment with this package.",
        "",
        "## A million rows in one pass",
        "",
        *second,
        "",
        "Paired moments of both sides with 32 blocks, then debiased CKA with its interval.",
    ]
    given.output.write_text("\n".join(page) + "\n")
    print("\n".join(page))


if __name__ == "__main__":
    main()
