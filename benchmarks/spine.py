"""How long does the main job take, and how much memory? Writes `benchmarks/spine.md`.

Every case is a fresh process with a folder of compiled kernels of its own; `wait4` says what it used. CPU seconds come
first, because wall seconds depend on who else uses the machine: the load average at the start stands beside them.

    python benchmarks/spine.py [--rows 1000000]
"""

import argparse
import dataclasses
import datetime
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version

from history import append, earlier_runs, processor

ROOT = pathlib.Path(__file__).parents[1]
LAB = ROOT / "datasets" / "serving-lab"
PACKAGES = ("eval-divergence", "jax", "numpyro", "numpy", "polars", "scipy")
MODELS, CONTEXTS, TRIALS = 8, 7, 2  # of the simulated log; the evaluation context is one more
SECONDS_LAB, SECONDS_MILLION, MEMORY_MIB = 60, 120, 2048  # targets
WARM_RUNS = 3


@dataclasses.dataclass(frozen=True)
class Usage:
    """What one process used."""

    cpu_s: float
    """User and system time, with that of its children."""
    wall_s: float
    """From start to end."""
    peak_mib: float
    """Largest resident set."""
    output: str
    """Its stdout."""


def measure(command: list[str], cache: pathlib.Path, accept: tuple[int, ...] = (0,)) -> Usage:
    """Run `command` with its compiled kernels in `cache`. Raises RuntimeError for an exit code outside `accept`.

    The peak of a child starts at that of its parent, which is why this process imports nothing large.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")} | {"XDG_CACHE_HOME": str(cache)}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        begin = time.monotonic()
        process = subprocess.Popen(command, stdout=out, stderr=errors, env=environment, cwd=ROOT)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.monotonic() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        errors.seek(0)
        if process.returncode not in accept:
            raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {errors.read().decode()[-500:]}")
        return Usage(used.ru_utime + used.ru_stime, wall, used.ru_maxrss / 1024, out.read().decode())


def verb(*words: object) -> list[str]:
    """A call of the command line in this environment."""
    return [sys.executable, "-m", "divergence", *map(str, words)]


def row(case: str, used: Usage, target: str) -> str:
    """One line of the table of processes."""
    return f"| {case} | {used.cpu_s:.1f} | {used.wall_s:.1f} | {used.peak_mib:.0f} | {target} |"


def figures(case: str, cold: Usage, warm: Usage) -> dict[str, float]:
    """What the history keeps of a case."""
    return {f"{case}_cold_cpu_s": cold.cpu_s, f"{case}_cpu_s": warm.cpu_s, f"{case}_peak_mib": warm.peak_mib}


def main_job(folder: pathlib.Path, cache: pathlib.Path) -> tuple[list[str], dict[str, float]]:
    """The embedded data set: an empty folder of compiled kernels, then the middle one of some runs with a full one."""
    rows = json.loads(measure(verb("check", LAB, "--json"), cache).output)["rows"]
    command = verb("report", LAB, "-o", folder / "out", "--quiet")
    cold = measure(command, cache)
    warm = sorted((measure(command, cache) for _ in range(WARM_RUNS)), key=lambda used: used.cpu_s)[WARM_RUNS // 2]
    lines = [
        row(f"`report datasets/serving-lab` ({rows:,} rows), nothing compiled", cold, "none"),
        row("the same, compiled", warm, f"{SECONDS_LAB} s, {MEMORY_MIB} MiB"),
    ]
    return lines, figures("lab", cold, warm)


def many_rows(folder: pathlib.Path, cache: pathlib.Path, least: int) -> tuple[list[str], dict[str, float]]:
    """A simulated log of at least `least` rows."""
    items = -(-least // (MODELS * (CONTEXTS + 1) * TRIALS))
    log = folder / "simulated" / "log.parquet"
    sizes = ("--models", MODELS, "--contexts", CONTEXTS, "--items", items, "--trials", TRIALS)
    made = measure(verb("simulate", "baseline", "-o", log, *sizes, "--json"), cache)
    rows = json.loads(made.output)["rows"]
    command = verb("report", log, "-o", folder / "out", "--quiet")
    accept = (0, 1)  # a gate that fails is reported by the command; the time is the same
    cold, warm = measure(command, cache, accept), measure(command, cache, accept)
    megabytes = log.stat().st_size / 1e6
    lines = [
        row(f"`report` on {rows:,} simulated rows ({megabytes:.1f} MB Parquet), not compiled", cold, "none"),
        row("the same, compiled", warm, f"{SECONDS_MILLION} s, {MEMORY_MIB} MiB"),
    ]
    return lines, figures("simulated", cold, warm) | {"simulated_rows": rows}


def methods(cache: pathlib.Path) -> tuple[list[str], dict[str, float]]:
    """Effective draws a CPU second of the default method and of NUTS, on the same cells."""
    script = [sys.executable, str(ROOT / "benchmarks" / "fit_twice.py"), str(LAB)]
    found = {name: json.loads(measure([*script, name], cache / name).output) for name in ("importance", "nuts")}
    header = "| method | effective draws | CPU s, compiled | effective draws a CPU s | compiling, CPU s |"
    lines = [header, "|---|---|---|---|---|"]
    for name, fit in found.items():
        spent = fit["second_cpu_s"]
        lines.append(
            f"| {name} | {fit['effective_draws']:.0f} | {spent:.1f} | {fit['effective_draws'] / spent:.1f} "
            f"| {fit['first_cpu_s'] - spent:.1f} |"
        )
    first, second = (found[name]["scales"] for name in ("importance", "nuts"))
    apart = {name: abs(first[name][0] - second[name][0]) / second[name][1] for name in first}
    worst = max(apart, key=lambda name: apart[name])
    error = found["nuts"]["effective_draws"] ** -0.5
    rates = {f"{name}_draws_a_cpu_s": fit["effective_draws"] / fit["second_cpu_s"] for name, fit in found.items()}
    said = [
        *lines,
        "",
        "Effective draws: `1 / sum w^2` of the importance weights, one number for all coordinates; for NUTS the least",
        "over the coordinates, of bulk and tail, the stricter count. NUTS ran 2 chains of 100 + 100 transitions.",
        "",
        f"Means of the model's {len(apart)} standard deviations and correlations: the methods differ by at most",
        f"{apart[worst]:.2f} posterior standard deviations (`{worst}`); the Monte Carlo error of one such difference",
        f"is about {error:.2f}.",
    ]
    return said, rates


def main() -> None:
    """Measure all cases and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="least rows of the simulated log")
    parser.add_argument("-o", "--output", type=pathlib.Path, default=ROOT / "benchmarks" / "spine.md")
    given = parser.parse_args()
    load = os.getloadavg()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        lab, of_lab = main_job(folder, folder / "cache")
        simulated, of_simulated = many_rows(folder, folder / "cache", given.rows)
        compared, rates = methods(folder / "fits")
    processes = [*lab, *simulated]
    append("spine", of_lab | of_simulated | rates, load[0])
    today = datetime.date.today().isoformat()
    versions = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    given.output.write_text(
        "\n".join(
            [
                "# Time and memory of the main job",
                "",
                "Made by `make bench-spine`. CPU seconds are user and system time of the whole process; wall",
                "seconds are those of a machine with the load stated.",
                "",
                f"- {today}, {os.cpu_count()} cores of {processor()}, Python {platform.python_version()}",
                f"- {versions}",
                f"- load average at the start: {', '.join(f'{value:.1f}' for value in load)}",
                "",
                "| case | CPU s | wall s | peak MiB | target |",
                "|---|---|---|---|---|",
                *processes,
                "",
                "## Effective draws on the cells of `datasets/serving-lab`",
                "",
                *compared,
                "",
                "## All runs",
                "",
                "From `benchmarks/history/spine.csv`, to which each run adds its line.",
                "",
                *earlier_runs("spine"),
                "",
            ]
        )
    )
    print(given.output.read_text())


if __name__ == "__main__":
    main()
