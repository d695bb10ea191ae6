"""Effective draws a CPU second, of this project's defaults and of its peers, on one log. Writes `benchmarks/engine.md`.

Every method runs in a process of its own (`engine_one.py`), on one thread. Peers that are not installed are named, and the
table is made without them. `--python` names other interpreters whose packages are tried, too.

    python benchmarks/engine.py [--only arm item ...] [--python /path/to/python ...]
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import subprocess
import sys

from history import append, processor
from spine import ROOT, measure

RESULTS = ROOT / "build" / "engine"
METHODS = {  # name -> what it is, the packages it needs
    "arm": ("default, arm-level: importance sampling", ()),
    "item": ("default, item-level: importance sampling", ()),
    "arm-nuts": ("NUTS on our arm-level density", ("numpyro",)),
    "numpyro": ("NumPyro NUTS, textbook non-centred items", ("numpyro",)),
    "numpyro-zerosum": ("NumPyro NUTS, items as ZeroSumNormal", ("numpyro",)),
    "nutpie": ("nutpie (PyMC model, numba)", ("nutpie", "pymc", "numba")),
    "pymc": ("PyMC NUTS (numba)", ("pymc", "numba")),
    "stan": ("Stan NUTS (PyStan)", ("stan", "httpstan")),
}
PEERS = ("numpyro", "numpyro-zerosum", "nutpie", "pymc", "stan")
TARGETS = {"arm": 500, "item": 50}  # times the best peer


def interpreter(packages: tuple[str, ...], candidates: list[str]) -> str | None:
    """The first Python that has the packages."""
    code = f"import importlib.util, sys; sys.exit(not all(importlib.util.find_spec(p) for p in {packages!r}))"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    found = (c for c in candidates if not subprocess.run([c, "-c", code], env=environment, check=False).returncode)
    return next(found, None)


def run(name: str, candidates: list[str]) -> dict:
    """What one method did, or why it did not run."""
    python = interpreter(METHODS[name][1], candidates)
    if python is None:
        return {"missing": "not installed: " + ", ".join(METHODS[name][1])}
    threads = {
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
        "PYTHONPATH": str(ROOT),
    }
    os.environ.update(threads)
    used = measure([python, "-W", "ignore", str(ROOT / "benchmarks" / "engine_one.py"), name], RESULTS / "cache" / name)
    return json.loads(used.output.splitlines()[-1]) | {"peak_mib": used.peak_mib}


def table(found: dict[str, dict]) -> list[str]:
    """The rows, our defaults first."""
    rate = {name: one["effective"] / one["cpu_s"] for name, one in found.items() if "missing" not in one}
    best = max((rate[name] for name in PEERS if name in rate), default=None)
    lines = [
        "| method | effective draws | warm CPU s | effective draws a CPU s | times the best peer | compiling, CPU s "
        "| worst R-hat | peak MiB | intervals that hold the truth |",
        "|---" * 9 + "|",
    ]
    for name, one in found.items():
        if "missing" in one:
            lines.append(f"| {METHODS[name][0]} | {one['missing']} |" + " |" * 7)
            continue
        times = f"{rate[name] / best:,.1f}" if best else ""
        times += f" (target {TARGETS[name]})" if name in TARGETS and best else ""
        r_hat = f"{one['r_hat']:.3f}" if one["r_hat"] else ""
        lines.append(
            f"| {METHODS[name][0]} ({one['version']}) | {one['effective']:,.0f} | {one['cpu_s']:.2f} | {rate[name]:,.2f} "
            f"| {times} | {max(one['compile_s'], 0):.1f} | {r_hat} | {one['peak_mib']:.0f} | {one['covered']:.2f} |"
        )
    return lines


def figure(found: dict[str, dict], path: pathlib.Path) -> None:
    """Effective draws a CPU second as points: a logarithmic axis has no zero for bars to stand on."""
    import altair
    import polars

    rows = [
        {"method": METHODS[name][0], "rate": one["effective"] / one["cpu_s"], "ours": name in TARGETS}
        for name, one in found.items()
        if "missing" not in one
    ]
    chart = (
        altair.Chart(polars.DataFrame(rows))
        .mark_point(filled=True, size=90)
        .encode(
            x=altair.X("rate:Q", scale=altair.Scale(type="log"), title="effective draws a CPU second"),
            y=altair.Y("method:N", sort="-x", title=None, axis=altair.Axis(labelLimit=320, grid=True)),
            color=altair.Color("ours:N", legend=None),
        )
    )
    chart.properties(width=380).save(path)


def main() -> None:
    """Run what is missing, then write the page and the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=list(METHODS), help="run these anew; the others as they were")
    parser.add_argument("--python", nargs="*", default=[], help="other interpreters whose packages are tried")
    given = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    load, found = os.getloadavg()[0], {}
    for name in METHODS:
        record = RESULTS / f"{name}.json"
        if given.only is None or name in given.only or not record.exists():
            record.write_text(json.dumps(run(name, [sys.executable, *given.python])))
        found[name] = json.loads(record.read_text())
    draws = {name: one for name, one in found.items() if "missing" not in one}
    append("engine", {f"{name}_draws_a_cpu_s": one["effective"] / one["cpu_s"] for name, one in draws.items()}, load)
    apart = ""
    if "numpyro-zerosum" in draws:
        mean, sd = (draws["numpyro-zerosum"][k][:20] for k in ("mean", "sd"))
        worst = max(abs(a - b) / s for a, b, s in zip(draws["arm"]["mean"][:20], mean, sd, strict=True))
        apart = f"Arm levels of the arm-level default and of NumPyro's differ by at most {worst:.2f} posterior sds."
    worth = ", ".join(
        f"{METHODS[name][0].partition(', ')[2].partition(':')[0]} {one['by_seeds']:,.0f}"
        for name, one in draws.items()
        if "by_seeds" in one
    )
    (ROOT / "benchmarks" / "engine.md").write_text(
        "\n".join(
            [
                "# Effective draws a CPU second",
                "",
                "Made by `make bench-engine`. One simulated log of 100,000 rows (4 models x 5 contexts = 20 arms, 500",
                "items, 10 trials). All methods get its counts and are asked for the same 36 numbers: the levels of the",
                "arms and their contrasts with the bench. Effective draws: the weights' own number for importance",
                "sampling (one for all numbers), the least bulk count over the numbers for NUTS. Peers ran 2 chains of",
                "200 + 200 transitions: an R-hat above 1.01 says that their true rate is lower than shown. Adaptation",
                "counts as time on their side, the search for the mode on ours; compiling does not, and stands beside.",
                "One thread each. Our seconds are the mean of 200 fits; by how little the posterior means of",
                "these differ from fit to fit, their draws are worth as many as independent draws (mean over",
                f"the numbers): {worth}. ",
                f"- {datetime.date.today().isoformat()}, {os.cpu_count()} cores of {processor()}, "
                f"Python {platform.python_version()}",
                "",
                *table(found),
                "",
                "![effective draws a CPU second](engine.svg)",
                "",
                "Intervals: the share of 36 intervals (90 %, own items) that hold the truth in this one log, of numbers",
                "that hang together and so say little; the coverage of the default over many logs is in `coverage.md`.",
                "The peers' model has no term for items that move with the context, and was not tested for coverage.",
                apart,
                "",
            ]
        )
    )
    figure(found, ROOT / "benchmarks" / "engine.svg")
    print((ROOT / "benchmarks" / "engine.md").read_text())


if __name__ == "__main__":
    main()
