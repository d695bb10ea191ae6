"""Coverage in simulated worlds: how often a 90 % interval holds the truth, by question and kind of world.

    python tests/support/coverage_worlds.py sessions copies --worlds 500 --records build/coverage

appends one JSON line a world, so that a run that was stopped goes on where it was, and writes the table.
"""

from __future__ import annotations

import argparse
import collections
import json
import pathlib
import time
from importlib.metadata import version

import numpy as np

import divergence as dv
from divergence.joint import levels
from divergence.simulate import KINDS, simulate_both, world
from divergence.simulate.worlds import BROKEN

MATERIAL = {"kappa": 0.01, "coupling": 0.02, "excess_flips": 0.005}  # a positive quantity is claimed above this only
QUESTIONS = ("bench_level", "deployed_level", "gap", "context_effect", "kappa", "excess_flips")
OWN = ("level, own items", "gap, own items", "context_effect, own items")
NAMES = (*QUESTIONS, "coupling", *OWN, "instrument", "broken combination", "found apart", "gates", "CPU s")
TABLE = pathlib.Path(__file__).parents[2] / "benchmarks" / "coverage.md"


def check_world(kind: str, seed: int, **sizes) -> dict[str, list[tuple[bool, bool]]]:
    """(covered, claimed) of every interval of one world, by question.

    A positive quantity whose truth is below its materiality is covered when its lower limit is below the materiality.
    """
    log, truth, own = simulate_both(world(kind, **sizes), seed)
    posterior = dv.fit(dv.collapse(dv.read(log)), seed=seed)
    out: dict[str, list[tuple[bool, bool]]] = collections.defaultdict(list)

    def count(question: str, limits: np.ndarray, values: np.ndarray) -> None:
        material = MATERIAL.get(question)
        for (lower, upper), value in zip(limits, np.atleast_1d(values), strict=True):
            if material is None:
                out[question].append((lower <= value <= upper, lower > 0 or upper < 0))
            else:
                small = value < material
                out[question].append(
                    (
                        (lower <= max(value, material) if small else lower <= value) and (value <= upper or small),
                        lower > material,
                    )
                )

    def rows(estimate, **where):
        return estimate.where(statistic=None, **where)

    count("bench_level", rows(dv.bench_level(posterior)).interval(), truth["level"][:, 0])
    count("deployed_level", rows(dv.deployed_level(posterior)).interval(), truth["level"][:, 1:].mean(1))
    count("gap", rows(dv.gap(posterior)).interval(), truth["gap"])
    count("kappa", rows(dv.kappa(posterior)).interval(), truth["kappa"])
    count("coupling", rows(dv.coupling(posterior)).interval(), truth["coupling"])
    effect = dv.context_effect(posterior)
    for m, name in enumerate(effect.rows["model"].drop_nulls().unique(maintain_order=True)):
        part = rows(effect, model=name)
        order = [int(c.split("-")[1]) - 1 for c in part.rows["context"]]
        count("context_effect", part.interval(), truth["context_effect"][m][order])
        if kind == "broken" and m == BROKEN[0]:
            where = order.index(BROKEN[1] - 1)
            count("broken combination", part.interval()[[where]], truth["context_effect"][m][[BROKEN[1] - 1]])
    if "excess_flips" in truth:
        flips = dv.excess_flips(posterior)
        for m, name in enumerate(flips.rows["model"].drop_nulls().unique(maintain_order=True)):
            part = rows(flips, model=name, context="bench")
            order = [int(c.split("-")[1]) - 1 for c in part.rows["context_b"]]
            count("excess_flips", part.interval(), truth["excess_flips"][m][order])
    for question, draws in observed_items(posterior).items():
        limits = np.quantile(draws, [0.05, 0.95], axis=0).reshape(2, -1).T
        # Where replicates leave no doubt about an item the interval is a point, and rounding decides nothing.
        count(f"{question}, own items", limits + np.array([-1e-9, 1e-9]), own[question].ravel())
    if kind == "waves":
        count("instrument", dv.instrument(posterior).interval(), truth["instrument"])
    out["found apart"] = [(len(posterior.fits[0].design.apart) > 0, False)]
    out["gates"] = [(posterior.passed, False)]
    return dict(out)


def observed_items(posterior) -> dict[str, np.ndarray]:
    """Draws for the items of the log themselves, (S, ...), by the names of `simulate.truth.of_levels`."""
    bench, deployed = (levels(posterior.fits[0], regime, items="observed").draws for regime in ("evaluation", "deployment"))
    return {
        "level": np.concatenate([bench, deployed], 2),
        "gap": deployed.mean(2) - bench[:, :, 0],
        "context_effect": deployed - bench,
    }


def worlds(kind: str, count: int, records: pathlib.Path | None = None, **sizes) -> tuple[dict, dict]:
    """Per question the share covered, and the share claimed, of each of `count` worlds.

    Worlds that the folder `records` already holds are not fitted again.
    """
    path = records / f"{kind}.jsonl" if records else None
    seen = [json.loads(line) for line in path.read_text().splitlines()] if path and path.exists() else []
    for k in range(len(seen), count):
        begin = time.process_time()
        pairs = check_world(kind, 1000 * list(KINDS).index(kind) + k, **sizes)
        spent = time.process_time() - begin
        record = {
            "covered": {q: float(np.mean([c for c, _ in p])) for q, p in pairs.items()} | {"CPU s": spent},
            "claimed": {q: float(np.mean([c for _, c in p])) for q, p in pairs.items()},
        }
        seen.append(record)
        if path:
            with path.open("a") as out:
                out.write(json.dumps(record) + "\n")
    covered, claimed = collections.defaultdict(list), collections.defaultdict(list)
    for record in seen[:count]:
        for question, share in record["covered"].items():
            covered[question].append(share)
        for question, share in record["claimed"].items():
            claimed[question].append(share)
    return covered, claimed


def write_table(rows: list[tuple[str, dict]], claims: dict[str, float], path: pathlib.Path = TABLE) -> None:
    """The table that is committed: coverage with its Monte Carlo error (between worlds)."""
    lines = [
        "# Coverage of 90 % intervals in simulated worlds",
        "",
        "Made by `make prove`: 8 models, 7 deployment contexts, 120 items, 2 trials; truths for new items by quadrature, "
        "for the log's own items (`own items`) by summing over them. "
        "Mean share of intervals that hold the truth, and the standard error of that mean over worlds. A positive "
        "quantity whose truth is below its materiality (`kappa` .01, `coupling` .02, `excess_flips` .005) is covered when "
        "its lower limit is below the materiality. `broken combination` is the context effect of the one model that fails "
        "in one context, `found apart` the share of fits that found any such, `gates` of those that passed; `CPU s` what a "
        "world cost, drawing its log and its true values included.",
        "",
        f"jax {version('jax')}, numpyro {version('numpyro')}, numpy {version('numpy')}, polars {version('polars')}.",
        "",
        "| world | worlds | " + " | ".join(NAMES) + " |",
        "|---" * (len(NAMES) + 2) + "|",
    ]
    for kind, covered in rows:
        cells = [
            f"{np.mean(covered[q]):.3f} ± {np.std(covered[q]) / np.sqrt(len(covered[q])):.3f}" if q in covered else ""
            for q in NAMES
        ]
        lines.append(f"| {kind} | {len(covered['gates'])} | " + " | ".join(cells) + " |")
    if claims:
        lines += [
            "",
            "Share of claims in null worlds (an interval without 0, or a lower limit above the materiality): "
            + ", ".join(f"`{q}` {v:.3f}" for q, v in claims.items())
            + ".",
        ]
    path.parent.mkdir(exist_ok=True)
    kept = (path.read_text() if path.exists() else "").partition("\n## ")  # what is said under the table stays
    path.write_text("\n".join([*lines, *["".join(kept[1:])] * bool(kept[1])]).rstrip("\n") + "\n")


def main() -> None:
    """Run the worlds that are missing, then write the table of all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="+", choices=list(KINDS))
    parser.add_argument("--worlds", type=int, default=500)
    parser.add_argument("--records", type=pathlib.Path, required=True)
    given = parser.parse_args()
    given.records.mkdir(parents=True, exist_ok=True)
    for count in range(10, given.worlds + 10, 10):  # kinds in turn, so that a run that is stopped has some of each
        for kind in given.kinds:
            worlds(kind, min(count, given.worlds), given.records)
    for kind in given.kinds:
        covered, _ = worlds(kind, given.worlds, given.records)
        print(kind, {q: f"{np.mean(v):.3f} ± {np.std(v) / np.sqrt(len(v)):.3f}" for q, v in covered.items()})


if __name__ == "__main__":
    main()
