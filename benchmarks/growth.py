"""How a fit and its questions grow with models, contexts, items, factors and sessions. Writes `benchmarks/growth.md`.

Simulated logs of one shape, one thing changed at a time; every case is a fresh process that collapses, fits, checks the
model and answers every question. CPU seconds of each, peak memory of the process, and the slope of log seconds over log
size between the two largest cases. `empty`: as many models as contexts, each model in three of them. `aider`: the whole of
a public table (`../shared/data`), in which every model has contexts of its own.

    python benchmarks/growth.py [--only models]
"""

import argparse
import json
import math
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]
PAGE = ROOT / "benchmarks" / "growth.md"
AIDER = ROOT.parent / "shared" / "data" / "aider_cells.parquet"
BASE = {"models": 50, "contexts": 3, "items": 100, "factors": 0, "sessions": 0, "empty": 0}
CASES = {
    "models": (50, 200, 800, 3200),
    "contexts": (3, 10, 30, 100),
    "items": (100, 1000, 10_000, 100_000),
    "factors": (1, 5, 20),
    "sessions": (0, 1000, 100_000),
    "empty": (50, 100, 200),
}
KEPT = 3  # contexts of a model beside the bench, where most combinations are empty
SMALLER = {
    "contexts": {"models": 20},
    "items": {"models": 20},
    "factors": {"models": 20, "contexts": 8},
    "sessions": {"models": 20, "items": 1000},
    "empty": {"items": 30},
}
RECORDS = ROOT / "build" / "growth.jsonl"  # a line a case that was run: one that is there is not run again


def rows(models: int, contexts: int, items: int, factors: int, sessions: int, empty: int):
    """One trial of every model in every context on every item; `empty`: so many models and contexts, `KEPT` a model."""
    import numpy as np
    import polars as pl

    rng = np.random.default_rng(0)
    models, contexts = (empty, empty) if empty else (models, contexts)
    m, c, i = (a.ravel() for a in np.meshgrid(*map(np.arange, (models, contexts, items)), indexing="ij"))
    chance = 1 / (
        1
        + np.exp(
            -(rng.normal(0, 1, models)[m] + rng.normal(0, 1, items)[i] - np.where(c, rng.normal(0.2, 0.1, contexts)[c], 0))
        )
    )

    if empty:
        own = np.stack([rng.permutation(contexts - 1)[:KEPT] + 1 for _ in range(models)])
        kept = (c == 0) | (own[m] == c[:, None]).any(1)
        m, c, i, chance = m[kept], c[kept], i[kept], chance[kept]

    def named(letter: str, codes: np.ndarray) -> pl.Series:
        """Names without a wide array of text a row: the log of 1e5 items has six million."""
        names = pl.Series([f"{letter}{k}" for k in range(int(codes.max()) + 1)])
        return names.gather(codes)

    columns = {
        "regime": pl.Series(["evaluation", "deployment"]).gather((c > 0).astype(int)),
        "model": named("m", m),
        "item": named("i", i),
        "score": (rng.random(len(m)) < chance).astype(int),
    }
    if factors:
        for f in range(factors):
            level = rng.integers(0, 2, contexts)
            level[0] = 0
            columns[f"f{f}"] = named("l", level[c])
    else:
        columns["context"] = named("c", c)
    if sessions:
        columns["session"] = named("s", rng.integers(0, sessions, len(m)))
    return pl.DataFrame(columns)


def case(sizes: dict[str, int]) -> dict:
    """CPU seconds of collapse and fit, peak memory, arms and gates of one log."""
    import resource
    import time

    import divergence as dv
    from divergence.joint.checks import model_checks
    from divergence.numerics import one_blas_thread

    if sizes.pop("aider", 0):
        flags = dv.Configuration().with_flags(set=["regime=deployment"])
        log = dv.read(AIDER, configuration=flags)
    else:
        factors = tuple(f"f{k}" for k in range(sizes["factors"]))
        log = dv.read(rows(**sizes), configuration=dv.Configuration(factors=factors or None))
    times = [time.process_time()]
    cells = dv.collapse(log)
    times.append(time.process_time())
    posterior = dv.fit(cells, seed=0)
    times.append(time.process_time())
    with one_blas_thread():
        model_checks(posterior)
        times.append(time.process_time())
        dv.answer_all(posterior)
    times.append(time.process_time())
    return {
        **{name: after - before for name, before, after in zip(PARTS, times, times[1:], strict=False)},
        "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "arms": len(posterior.fits[0].arms),
        "passed": posterior.passed,
    }


def run(sizes: str, limit: float) -> dict:
    """One case in a process of its own."""
    command = [sys.executable, __file__, "--case", sizes]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=limit)
    except subprocess.TimeoutExpired:
        return {"why": f"not finished in {limit:g} s of the clock"}
    if done.returncode:
        return {"why": done.stderr.strip().splitlines()[-1][:160]}
    return json.loads(done.stdout.splitlines()[-1])


PARTS = ("collapse", "fit", "checks", "questions")


def measured(what: str, size: int, limit: float) -> dict:
    """The figures of one case, from the records or from a run of its own; or why there are none."""
    key = {"what": what, "size": size, **(BASE | SMALLER.get(what, {}) | {what: size})}
    names = [*BASE, *([what] if what not in BASE else [])]
    done = [json.loads(line) for line in RECORDS.read_text().splitlines()] if RECORDS.exists() else []
    found = next((d["found"] for d in done if d["case"] == key), None)
    if found is None:
        found = run(json.dumps({k: key[k] for k in names}), limit)
        RECORDS.parent.mkdir(exist_ok=True)
        with RECORDS.open("a") as out:
            out.write(json.dumps({"case": key, "found": found}) + "\n")
    return found


def line(what: str, size: int, found: dict) -> str:
    """A row of the table."""
    if "why" in found:
        return f"| {what} | {size:,} | - | {found['why']} | | | | | |"
    figures = " | ".join(f"{found[part]:.1f}" for part in PARTS) + f" | {found['mib']:,.0f}"
    return f"| {what} | {size:,} | {found['arms']:,} | {figures} | {'passed' if found['passed'] else 'FAILED'} |"


def slope(seen: list[tuple[int, float]]) -> float | None:
    """Of log seconds over log size between the two largest cases above size 0."""
    seen = [pair for pair in seen if pair[0]]
    if len(seen) < 2:
        return None
    (small, fast), (large, slow) = seen[-2:]
    return math.log(slow / fast) / math.log(large / small)


def main() -> None:
    """Every case in a process of its own; the page of what was asked for and of what is recorded."""
    parser = argparse.ArgumentParser()
    cases = CASES | ({"aider": (1,)} if AIDER.exists() else {})
    parser.add_argument("--only", default=",".join(cases))
    parser.add_argument("--limit", type=float, default=1800.0, help="seconds of the clock that a case may take")
    parser.add_argument("--case", help="run one case: JSON of its sizes")
    given = parser.parse_args()
    if given.case:
        print(json.dumps(case(json.loads(given.case))))
        return
    lines, slopes = [], {}
    for what in given.only.split(","):
        seen = []
        for size in cases[what]:
            found = measured(what, size, given.limit)
            lines.append(line(what, size, found))
            print(lines[-1], flush=True)
            seen += [] if "why" in found else [(size, sum(found[part] for part in PARTS))]
        slopes[what] = slope(seen)
    known = {what: s for what, s in slopes.items() if s is not None}
    kept = (PAGE.read_text() if PAGE.exists() else "").partition("\n## ")  # what was written under the table stays
    PAGE.write_text(HEAD + "\n".join(lines) + "\n\n" + said(known) + "".join(kept[1:]))


HEAD = """# How a fit grows

Made by `benchmarks/growth.py` (`make bench-scaling`): simulated logs, one trial an item, 50 models x 3 contexts x 100 items
(20 models where something else grows; 8 contexts where factors do, 1,000 items where sessions do), one thing changed at a
time. `empty`: so many models and so many contexts, each model on the bench and in three of them, 30 items. `aider`: a
whole public table, 194 models and 268 contexts, each of one model. CPU seconds include loading SciPy; questions are all of
them, of a log without prices or requirements; peak memory is that of the whole process, the log in it included.

| what grows | size | arms | collapse, CPU-s | fit, CPU-s | checks, CPU-s | questions, CPU-s | peak, MiB | gates |
|---|---|---|---|---|---|---|---|---|
"""


def said(slopes: dict[str, float]) -> str:
    """The slopes, and which of them is the first wall."""
    if not slopes:
        return ""
    steepest = max(slopes, key=lambda what: slopes[what])
    table = ", ".join(f"{what} {s:.2f}" for what, s in slopes.items())
    return (
        "Slope of log seconds (all four) over log size between the two largest cases: "
        f"{table}. The first wall is {steepest}.\n"
    )


if __name__ == "__main__":
    main()
