"""`compare` measured: coverage, false alarms and power on the whole grid, and other tools on the same pairs of runs.

    python benchmarks/compare.py --peers build/peers/bin/python [--before DIR --after DIR]

The environment of the peers holds `errorbars`, `evalsig` and `lm_eval` (`make bench-compare` makes it). `--before` and
`--after` are two lm-eval folders; by default the real pair of ../shared/logs. Prints the tables of `compare.md`.
"""

import argparse
import itertools
import json
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

ROOT = pathlib.Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

import compare_worlds as worlds  # noqa: E402

from divergence.comparison.moves import limits, moves  # noqa: E402

PAIRS = 1000
ITEMS = 220
Z = statistics.NormalDist().inv_cdf(0.975)


def exact_grid():
    """One run a side, counted exactly."""
    print("\n| items | coverage, least | most with 10 flips or more | false `worse`, most | width over Tango's, most |")
    print("|---|---|---|---|---|")
    for items in worlds.ITEMS:
        rows = worlds.exact(items, 1e-9)
        enough = [row["covered"] for row in rows if row["rate"] * items >= 10]
        worse = max(row["worse"] for row in rows if row["share"] == 0.5)
        most = f"{max(enough):.4f}" if enough else "none has"
        least = min(row["covered"] for row in rows)
        print(f"| {items} | {least:.4f} | {most} | {worse:.4f} | {worlds.widths(items).max():.3f} |")


def power_grid():
    """The chance to see that something changed, beside exact McNemar, counted exactly."""
    print("\n| items | least of ours less McNemar's | most | at rate .11, 75 % down: ours, McNemar's |")
    print("|---|---|---|---|")
    for items in worlds.ITEMS:
        rows = worlds.powers(items)
        ahead = [row["ours"] - row["mcnemar"] for row in rows]
        one = next(row for row in rows if row["rate"] == 0.11 and row["share"] == 0.75)
        shown = f"{one['ours']:.3f}, {one['mcnemar']:.3f}"
        print(f"| {items} | {min(ahead):+.1e} | {max(ahead):+.3f} | {shown} |")


def replicate_grid():
    """Replicates, simulated: the range of coverage over kinds and shares."""
    rows = list(worlds.replicate_grid(np.random.default_rng(19), 8000))
    print("\n| items | replicates | " + " | ".join(f"rate {rate}" for rate in worlds.RATES) + " |\n|" + "---|" * 7)
    for items, replicates in itertools.product(worlds.ITEMS, (2, 5)):
        cells = []
        for rate in worlds.RATES:
            here = [r["covered"] for r in rows if (r["items"], r["replicates"], r["rate"]) == (items, replicates, rate)]
            cells.append(f"{min(here):.3f} to {max(here):.3f}")
        print(f"| {items} | {replicates} | " + " | ".join(cells) + " |")
    enough = [row for row in rows if row["items"] * row["rate"] >= 10]
    low, high = min(rows, key=lambda row: row["covered"]), max(enough, key=lambda row: row["covered"])
    print(f"\nLowest {low}; highest with 10 flips or more {high}.")


def cluster_grid():
    """Clusters with ICC .3, simulated."""
    print("\n| clusters | rate | independent flips expected | half down | 75 % down | all down |\n|---|---|---|---|---|---|")
    rows = list(worlds.cluster_grid(np.random.default_rng(20), 6000))
    for name, rate in itertools.product(worlds.CLUSTERS, worlds.RATES[1:]):
        here = [row for row in rows if (row["clusters"], row["rate"]) == (name, rate)]
        cells = " | ".join(f"{row['covered']:.3f}" for row in here)
        print(f"| {name} | {rate} | {here[0]['flips']:.1f} | {cells} |")


def looks():
    """Ever a false `worse` among 100 looks."""
    print("\n| what a look brings | rate of flips | ever a false `worse` in 1,000 worlds |\n|---|---|---|")
    for kind, rate in itertools.product(("items", "nights"), (0.01, 0.05, 0.2)):
        ever = worlds.false_worse_ever(np.random.default_rng(21), 1000, 100, rate, kind)
        what = "20 new items" if kind == "items" else "the same 220 items again"
        print(f"| {what} | {rate} | {ever:.3f} |")


def alarms(peers):
    """1,000 A/A pairs of 220 items: how often each tool calls the second run worse, and how wide it is."""
    print(
        "\n| rate of flips | tool | says lower | covers 0 | mean width, points | CPU-s for 1,000 pairs |\n"
        + "|---" * 6
        + "|"
    )
    for rate in (0.01, 0.05, 0.11):
        generator = np.random.default_rng(int(1000 * rate))
        before = (generator.random((PAIRS, ITEMS)) < 0.7).astype(float)
        after = np.abs(before - (generator.random((PAIRS, ITEMS)) < np.where(before > 0, rate / 1.4, rate / 0.6)))
        found = {"divergence": _ours(before, after), **_peers(peers, before, after)}
        found["lm-eval's comparator (unpaired)"] = _unpaired(before, after)
        for name, (low, high, seconds) in found.items():
            cover = np.mean((low <= 0) & (high >= 0))
            width = 100 * np.mean(high - low)
            print(f"| {rate} | {name} | {np.mean(high < 0):.3f} | {cover:.3f} | {width:.2f} | {seconds:.2f} |")
        low, seconds = _mcnemar(before, after)
        print(f"| {rate} | exact McNemar | {low:.3f} | | no interval | {seconds:.2f} |")


def _ours(before, after):
    begun = time.process_time()
    group = np.repeat(np.arange(len(before)), before.shape[1])
    low, high = limits(moves((after - before).ravel(), group), 0.95)
    return low, high, time.process_time() - begun


def _peers(python, before, after):
    with tempfile.TemporaryDirectory() as folder:
        place = pathlib.Path(folder) / "runs.npz"
        np.savez(place, before=before, after=after)
        command = [python, str(ROOT / "benchmarks" / "compare_peers.py"), str(place)]
        told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
    return {name: (*np.array(row["limits"]).T, row["seconds"]) for name, row in told.items()}


def _unpaired(before, after):
    """The z of lm-eval's scripts/model_comparator.py, from both runs' own standard errors, as limits."""
    begun = time.process_time()
    n = before.shape[1]
    error = np.sqrt((before.var(1, ddof=1) + after.var(1, ddof=1)) / n)
    d = after.mean(1) - before.mean(1)
    return d - Z * error, d + Z * error, time.process_time() - begun


def _mcnemar(before, after):
    from scipy.stats import binom

    begun = time.process_time()
    down, up = ((before - after) > 0).sum(1), ((after - before) > 0).sum(1)
    p = np.minimum(1, 2 * binom.cdf(np.minimum(down, up), down + up, 0.5))
    return float(np.mean((p <= 0.05) & (down > up))), time.process_time() - begun


def real_pair(peers, before, after):
    """Two lm-eval folders: what each command says, and its CPU seconds, start included."""
    samples = [next(iter(sorted(folder.rglob("samples_*.jsonl")))) for folder in (before, after)]
    folder = pathlib.Path(peers).parent
    commands = {
        "divergence compare": [sys.executable, "-m", "divergence", "compare", str(before), str(after)],
        "errorbars compare": [str(folder / "errorbars"), "compare", f"before={samples[0]}", f"after={samples[1]}"],
        "evalsig compare": [
            str(folder / "evalsig"),
            "compare",
            "--baseline",
            str(samples[0]),
            "--candidate",
            str(samples[1]),
        ],
    }
    for name, command in commands.items():
        start = resource.getrusage(resource.RUSAGE_CHILDREN)
        told = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        end = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = end.ru_utime + end.ru_stime - start.ru_utime - start.ru_stime
        print(f"\n### {name}: {seconds:.2f} CPU-s, exit {told.returncode}\n{told.stdout.strip()}")


def main():
    """All tables."""
    logs = ROOT.parent / "shared" / "logs" / "lm_eval"
    parser = argparse.ArgumentParser()
    parser.add_argument("--peers", required=True, help="Python of the environment with errorbars and evalsig.")
    parser.add_argument("--before", type=pathlib.Path, default=logs / "real-before")
    parser.add_argument("--after", type=pathlib.Path, default=logs / "real-after")
    given = parser.parse_args()
    real_pair(given.peers, given.before, given.after)
    alarms(given.peers)
    for table in (exact_grid, power_grid, cluster_grid, looks, replicate_grid):
        begun = time.process_time()
        table()
        print(f"\n({time.process_time() - begun:.0f} CPU-s)", flush=True)


if __name__ == "__main__":
    main()
