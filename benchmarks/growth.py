"""How a fit grows with models, contexts, items, factors and sessions. Writes `benchmarks/growth.md`.

Simulated logs of one shape, one thing changed at a time; every case is a fresh process that collapses and fits. CPU seconds
of the fit alone, peak memory of the process, and the slope of log seconds over log size between the two largest cases.

    python benchmarks/growth.py [--only models]
"""

import argparse
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]
PAGE = ROOT / "benchmarks" / "growth.md"
BASE = {"models": 50, "contexts": 3, "items": 100, "factors": 0, "sessions": 0}
CASES = {
    "models": (50, 200, 800, 3200),
    "contexts": (3, 10, 30, 100),
    "items": (100, 1000, 10_000),
    "factors": (1, 5, 20),
    "sessions": (0, 1000, 100_000),
}
SMALLER = {
    "contexts": {"models": 20},
    "items": {"models": 20},
    "factors": {"models": 20, "contexts": 8},
    "sessions": {"models": 20},
}


def rows(models: int, contexts: int, items: int, factors: int, sessions: int):
    """One trial of every model in every context on every item; `models` alone: published rates without items."""
    import numpy as np
    import polars as pl

    rng = np.random.default_rng(0)
    m, c, i = (a.ravel() for a in np.meshgrid(*map(np.arange, (models, contexts, items)), indexing="ij"))
    chance = 1 / (
        1
        + np.exp(
            -(rng.normal(0, 1, models)[m] + rng.normal(0, 1, items)[i] - np.where(c, rng.normal(0.2, 0.1, contexts)[c], 0))
        )
    )
    columns = {
        "regime": np.where(c == 0, "evaluation", "deployment"),
        "model": np.char.add("m", m.astype(str)),
        "item": np.char.add("i", i.astype(str)),
        "score": (rng.random(len(m)) < chance).astype(int),
    }
    if factors:
        for f in range(factors):
            level = rng.integers(0, 2, contexts)
            level[0] = 0
            columns[f"factor.f{f}"] = np.char.add("l", level[c].astype(str))
    else:
        columns["context"] = np.char.add("c", c.astype(str))
    if sessions:
        columns["session"] = np.char.add("s", rng.integers(0, sessions, len(m)).astype(str))
    return pl.DataFrame(columns)


def case(sizes: dict[str, int]) -> dict:
    """CPU seconds of collapse and fit, peak memory, arms and gates of one log."""
    import resource
    import time

    import divergence as dv

    log = dv.read(rows(**sizes))
    begin = time.process_time()
    cells = dv.collapse(log)
    middle = time.process_time()
    posterior = dv.fit(cells, seed=0)
    end = time.process_time()
    return {
        "collapse": middle - begin,
        "fit": end - middle,
        "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "arms": len(posterior.fits[0].arms),
        "passed": posterior.passed,
    }


def main() -> None:
    """Every case in a process of its own; the page."""
    import math

    parser = argparse.ArgumentParser()
    parser.add_argument("--only")
    parser.add_argument("--case")
    given = parser.parse_args()
    if given.case:
        print(json.dumps(case(json.loads(given.case))))
        return
    lines = [
        "| what grows | size | arms | collapse, CPU-s | fit, CPU-s | peak, MiB | gates |",
        "|---|---|---|---|---|---|---|",
    ]
    slopes = []
    for what, sizes in CASES.items():
        if given.only and what not in given.only.split(","):
            continue
        seen = []
        for size in sizes:
            whole = BASE | SMALLER.get(what, {}) | {what: size}
            run = subprocess.run(
                [sys.executable, __file__, "--case", json.dumps(whole)],
                capture_output=True,
                text=True,
                check=False,
                cwd=ROOT,
            )
            if run.returncode:
                lines.append(f"| {what} | {size:,} | - | - | {run.stderr.strip().splitlines()[-1][:160]} | - | - |")
                continue
            found = json.loads(run.stdout.splitlines()[-1])
            seen.append((size, found["fit"]))
            figures = f"{found['collapse']:.1f} | {found['fit']:.1f} | {found['mib']:,.0f}"
            lines.append(
                f"| {what} | {size:,} | {found['arms']:,} | {figures} | {'passed' if found['passed'] else 'FAILED'} |"
            )
            print(lines[-1], flush=True)
        if len(seen) > 1 and seen[-2][0]:
            (small, fast), (large, slow) = seen[-2:]
            slopes.append(f"{what} {math.log(slow / fast) / math.log(large / small):.2f}")
    PAGE.write_text(
        "# How a fit grows\n\n"
        "`python benchmarks/growth.py`: simulated logs, one trial an item, 50 models x 3 contexts x 100 items (20 models "
        "where something else grows; of factors 8 contexts), one thing changed at a time. "
        "CPU seconds include loading SciPy.\n\n" + "\n".join(lines) + "\n\n"
        f"Slope of log seconds over log size between the two largest cases: {', '.join(slopes)}.\n"
    )


if __name__ == "__main__":
    main()
