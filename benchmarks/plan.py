"""Does a plan hold what it promises? Widths, decisions, rounds, loops, single moves and speed, each against its target.

    python benchmarks/plan.py widths decision rounds loop moves speed

| section | what | target |
|---|---|---|
| `widths` | predicted width against that of a refit, simulated worlds | mean ratio .90-1.10, 90 % inside limits |
| `decision` | realised regret of the choice, planned against equal shares, 6 models x 10 contexts | 30 % fewer requests |
| `rounds` | coverage of levels and gaps after a pilot and three adaptive rounds | .86-.94 |
| `loop` | `divergence loop` against an endpoint with a known law, three rounds | right in 90 % at 60 % of a full factorial |
| `moves` | the plan's best three single moves against refits of all of them, subsampled `datasets/serving-lab` | 80 % |
| `speed` | `plan` on `datasets/serving-lab` beyond the fit | 8 CPU-s |
| `lab` | the record of `make lab-loop`: real llama.cpp servers, three rounds | none: one run |

Each section replaces its own part of `plan.md`. Seeds from 1,000 on were used by no test.
"""

import argparse
import importlib.util
import pathlib
import re
import tempfile
import time

import numpy as np
import polars as pl
from plan_lab import record

import divergence as dv
from divergence.configuration import Configuration, ContextLaw
from divergence.planning.allocation import allocate, equal_shares
from divergence.planning.goals import goal_of
from divergence.planning.knowledge import knowledge
from divergence.planning.preposterior import Preposterior, Purchase
from divergence.simulate import simulate, world

ROOT = pathlib.Path(__file__).parents[1]
OUT = ROOT / "benchmarks" / "plan.md"
ALIKE = Configuration(deployment_law=ContextLaw("uniform"))


def fitted(log: pl.DataFrame, method=None):
    """The posterior of a frame, contexts counting alike."""
    return dv.fit(dv.collapse(dv.read(log.select(pl.exclude("number")), configuration=ALIKE)), seed=0, method=method)


def valued(posterior, goal: str) -> Preposterior:
    """What values designs for a goal."""
    known = knowledge(posterior.fits[0])
    return Preposterior(known, goal_of(goal, posterior, known, None, {}, "logged"))


def bank(kind: str, seed: int, items: int, **sizes):
    """A world with a whole bank of items, and its truth."""
    log, truth = simulate(world(kind, n_items=items, **sizes), seed)
    return log.with_columns(number=pl.col("item").str.extract(r"(\d+)$").cast(int)), truth


def rows_of(whole: pl.DataFrame, known, design: Purchase, begin: int, trials: int = 1) -> list[pl.DataFrame]:
    """The rows that a design would have brought, new items from `begin` on."""
    out = []
    for k, place in enumerate(known.places):
        here = whole.filter((pl.col("model") == place.model) & (pl.col("context") == place.context))
        if design.items[k]:
            fresh = pl.col("number").is_between(begin, begin + int(design.items[k]) - 1)
            out.append(here.filter(fresh & (pl.col("trial") == pl.col("trial").min())))
        if design.again[k]:
            more = pl.col("trial").is_between(trials, trials + int(design.again[k]) - 1)
            out.append(here.filter((pl.col("number") < begin) & more))
    return out


def realised(posterior, goal: str) -> float:
    """Mean width of the goal's intervals."""
    answer = getattr(dv, goal)(posterior)
    rows = answer.where(statistic=None) if "statistic" in answer.rows.columns else answer
    return float(np.diff(rows.interval(), axis=1).mean())


def widths(worlds: int) -> str:
    """Predicted width against that of a refit."""
    found: dict[tuple[str, str, str], list] = {}
    for number in range(worlds):
        kind = ("baseline", "baseline", "no_overlap", "copies")[number % 4]
        trials = 1 + number % 2
        whole, _ = bank(kind, 1000 + number, 500, n_models=3, n_contexts=4, n_trials=trials + 2)
        old = whole.filter((pl.col("number") < 60) & (pl.col("trial") < trials))
        before = fitted(old)
        for goal in ("gap", "kappa"):
            of = valued(before, goal)
            designs = {
                "planned": allocate(of, 400, "requests")[-1].design,
                "equal shares": equal_shares(of.known, 400, "requests").design,
            }
            for name, design in designs.items():
                after = fitted(pl.concat([old, *rows_of(whole, of.known, design, 60, trials)]))
                lower, upper = of.width_limits(design)
                came = realised(after, goal)
                found.setdefault((goal, name, kind), []).append((came / of.width(design), lower <= came <= upper))
    lines = ["| goal | design | worlds | n | mean ratio | inside the limits |", "|---|---|---|---|---|---|"]
    for (goal, name, kind), values in sorted(found.items()):
        ratio, inside = np.array(values, float).T
        lines.append(f"| {goal} | {name} | {kind} | {len(values)} | {ratio.mean():.3f} | {inside.mean():.2f} |")
    ratio, inside = np.concatenate([np.array(v, float) for v in found.values()]).T
    lines.append(f"| all | | {worlds} worlds | {len(ratio)} | {ratio.mean():.3f} | {inside.mean():.2f} |")
    lines.append("\n3 models x 4 contexts and a bench, 60 items, 400 requests; realised over predicted width.")
    return "\n".join(lines)


def decision(worlds: int) -> str:
    """Realised regret of the choice after one purchase."""
    budgets = (250, 500, 1000, 2000)
    lost: dict[tuple[str, int], list[float]] = {}
    start, expected = [], []
    for number in range(worlds):
        whole, truth = bank("baseline", 2000 + number, 700, n_models=6, n_contexts=10, n_trials=1)
        level = truth["level"][:, 1:]
        old = whole.filter(pl.col("number") < 20)
        before = fitted(old)
        of = valued(before, "decision")
        start.append(regret_of(before, level))
        expected.append(of.regret(Purchase.nothing(len(of.known.places))))
        path = allocate(of, max(budgets), "requests")
        for budget in budgets:
            planned = [step for step in path if step.cost <= budget][-1]
            planned = planned if planned.cost > 0 else path[1]
            for name, step in (("planned", planned), ("equal shares", equal_shares(of.known, budget, "requests"))):
                after = fitted(pl.concat([old, *rows_of(whole, of.known, step.design, 20)])) if step.cost else before
                lost.setdefault((name, budget), []).append(regret_of(after, level))
    lines = ["| requests | planned: mean regret | equal shares | difference ± standard error |", "|---|---|---|---|"]
    shown = []
    curves = {name: [float(np.mean(lost[name, b])) for b in budgets] for name in ("planned", "equal shares")}
    for budget in budgets:
        pair = np.array(lost["planned", budget]) - np.array(lost["equal shares", budget])
        if abs(pair.mean()) > 2 * pair.std() / np.sqrt(len(pair)):
            shown.append(f"{budget:,}")
        lines.append(
            f"| {budget:,} | {np.mean(lost['planned', budget]):.4f} | {np.mean(lost['equal shares', budget]):.4f} | "
            f"{pair.mean():.4f} ± {pair.std() / np.sqrt(len(pair)):.4f} |"
        )
    lines.append(
        f"\n{worlds} worlds of 6 models x 10 contexts and a bench, 20 items each before ({np.mean(start):.4f} "
        "regret; the fit "
        f"expected {np.mean(expected):.4f}). {saved(float(np.mean(start)), curves, budgets)} "
        f"Differences beyond two standard errors: {', '.join(shown) or 'none'}."
    )
    return "\n".join(lines)


def saved(start: float, curves: dict[str, list[float]], budgets: tuple[int, ...]) -> str:
    """Fewer requests at the regret of equal shares; both curves made to fall by pooling, so that luck at one is not kept."""
    from scipy.optimize import isotonic_regression

    falling = {n: isotonic_regression([start, *values], increasing=False).x for n, values in curves.items()}
    told = []
    for budget, regret in zip(budgets, falling["equal shares"][1:], strict=True):
        if regret < falling["planned"].min():
            told.append(f"not reached at {budget:,}")
            continue
        needed = float(np.interp(-regret, -falling["planned"], [0, *budgets]))
        told.append(f"{1 - needed / budget:.0%} at {budget:,}")
    return f"Fewer requests at the regret of equal shares, curves made to fall: {', '.join(told)}."


def regret_of(posterior, level: np.ndarray) -> float:
    """Level lost by choosing the highest mean."""
    from divergence.joint import levels

    mean = levels(posterior.fits[0], "deployment").draws.mean(0)
    return float(level.max() - level.flat[mean.argmax()])


def rounds(worlds: int) -> str:
    """Coverage after a pilot of 20 items a cell and three adaptive rounds of 200 requests."""
    hits: dict[tuple[str, str], list[float]] = {}
    for number in range(worlds):
        goal = ("decision", "gap")[number % 2]
        whole, truth = bank("baseline", 3000 + number, 700, n_models=3, n_contexts=4, n_trials=1)
        log, begin = whole.filter(pl.col("number") < 20), 20
        for _ in range(3):
            of = valued(fitted(log), goal)
            design = allocate(of, 200, "requests")[-1].design
            log = pl.concat([log, *rows_of(whole, of.known, design, begin)])
            begin += int(design.items.max())
        after = fitted(log)
        of = valued(after, goal)
        tail = np.quantile(of.known.draws, [0.05, 0.95], axis=0)
        column = {"bench": 0, **{f"context-{c}": c for c in range(1, 5)}}
        true = np.array([truth["level"][int(p.model[-1]), column[p.context]] for p in of.known.places])
        held = (tail[0, : len(true)] <= true) & (true <= tail[1, : len(true)])
        hits.setdefault((goal, "levels"), []).append(held.mean())
        best = of.known.draws[:, : len(true)].mean(0)[3:].argmax() + 3
        hits.setdefault((goal, "level of the chosen one"), []).append(float(held[best]))
        interval = dv.gap(after).where(statistic=None).interval()
        hits.setdefault((goal, "gaps"), []).append(
            float(((interval[:, 0] <= truth["gap"]) & (truth["gap"] <= interval[:, 1])).mean())
        )
    lines = ["| rounds chosen by | of | worlds | coverage of 90 % intervals ± standard error |", "|---|---|---|---|"]
    for (goal, name), values in sorted(hits.items()):
        lines.append(f"| {goal} | {name} | {len(values)} | {told(values)} |")
    for name in ("levels", "gaps"):
        both = [v for (_, of), values in hits.items() if of == name for v in values]
        lines.append(f"| both | {name} | {len(both)} | {told(both)} |")
    lines.append("\n3 models x 4 contexts and a bench, pilot of 20 items a cell, three rounds of 200 requests.")
    return "\n".join(lines)


def told(values: list[float]) -> str:
    """Mean and standard error."""
    return f"{np.mean(values):.3f} ± {np.std(values) / np.sqrt(len(values)):.3f}"


def loop(runs: int) -> str:
    """`divergence loop` against an endpoint with a known law; and the same law asked as a full factorial."""
    from divergence.cli import main

    spec = importlib.util.spec_from_file_location("known_law", ROOT / "tests" / "support" / "known_law.py")
    law = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(law)
    right, asked, factorial = [], [], []
    for seed in range(runs):
        with tempfile.TemporaryDirectory() as name:
            folder, server = pathlib.Path(name), law.KnownLaw(seed)
            plan = law.write_plan(folder, server.base_url)
            flags = ["--first", "20", "--requests", "240", "--until", "requests=720", "--quiet"]
            try:
                main(["loop", str(plan), "-o", str(folder / "out"), *flags])
            except SystemExit as end:
                assert end.code == 0
            asked.append(server.requests)
            server.close()
            import json

            last = json.loads((folder / "out" / "loop.json").read_text())["rounds"][-1]["best"]
            right.append((last["model"], last["context"]) == law.BEST)
        rng = np.random.default_rng(seed)
        mean = {cell: np.mean([rng.random() < law.chance(cell[0], cell[1], i) for i in range(100)]) for cell in law.LEVELS}
        factorial.append(max(mean, key=mean.get) == ("bea", 0.5))
    return (
        "| design | requests | right combination found |\n|---|---|---|\n"
        f"| three rounds of `divergence loop` | {np.mean(asked):.0f} | {np.mean(right):.2f} of {runs} runs |\n"
        f"| full factorial, 100 items a cell, plain means | 1200 | {np.mean(factorial):.2f} |\n\n"
        "3 models x 3 deployment contexts and a bench; true levels .89, .80, .74, .70 and below."
    )


def moves(logs: int) -> str:
    """Best three single moves by the plan, and by refits of every one of them."""
    lab = pl.read_parquet(ROOT / "datasets" / "serving-lab" / "data.parquet")
    lab = lab.filter(pl.col("wave") == "1")
    names = lab["model"].unique().sort().to_list()
    contexts = [c for c in lab["context"].unique().sort().to_list() if c != "bench" and "=" not in c]
    agree, first, chance, ranks, apart = [], [], [], [], []
    for seed in range(logs):
        rng = np.random.default_rng(4000 + seed)
        keep = [str(n) for n in rng.choice(names, 2, replace=False)]
        where = ["bench", *map(str, rng.choice(contexts, 3, replace=False))]
        part = lab.filter(pl.col("model").is_in(keep) & pl.col("context").is_in(where))
        order = rng.permutation(part["item"].unique().sort().to_numpy())
        number = pl.DataFrame({"item": order, "number": np.arange(len(order))})
        whole = part.join(number, on="item")
        old = whole.filter(pl.col("number") < 60)
        before = fitted(old)
        of = valued(before, "gap")
        known = of.known
        logged = np.flatnonzero(known.logged)
        start = Purchase.nothing(len(known.places))
        one = {int(k): start.more(int(k), items=72) for k in logged}
        expected = {int(k): of.objective(of.left(one[int(k)])) / of.objective(of.left(start)) for k in logged}
        by_plan = sorted(logged, key=lambda k: expected[int(k)])
        came = {int(k): np.mean([spread(old, whole, known, one[int(k)], begin) for begin in (60, 132)]) for k in logged}
        by_refit = sorted(logged, key=lambda k: came[int(k)])
        apart += [
            (expected[int(k)], came[int(k)] / float(dv.gap(before).where(statistic=None).draws.std(0).mean()))
            for k in logged
        ]
        order_of = [np.argsort(np.argsort([values[int(k)] for k in logged])) for values in (expected, came)]
        ranks.append(float(np.corrcoef(*order_of)[0, 1]))
        agree.append(len(set(by_plan[:3]) & set(by_refit[:3])) / 3)
        first.append(by_plan[0] in by_refit[:3])
        chance.append(3 / len(logged))
    share = np.array(agree)
    return (
        "| | |\n|---|---|\n"
        "| subsampled logs (2 models, bench and 3 contexts, 60 items; moves of 72 items at one place, refitted "
        f"with two sets of them) | {logs} |\n"
        f"| at least two of the plan's best three are among the refits' best three | {np.mean(share > 0.5):.2f} |\n"
        f"| mean share of the best three that agree | {share.mean():.2f} (by chance {np.mean(chance):.2f}) |\n"
        f"| the plan's first is among the refits' best three | {np.mean(first):.2f} |\n"
        f"| mean rank correlation of predicted and refitted widths over the 8 moves | {np.mean(ranks):.2f} |\n"
        f"| mean ratio of refitted to predicted width | {np.mean([b / a for a, b in apart]):.3f} |\n\n"
        "Contexts of this log share most answers with the bench, so new items at one place alone widen most gaps: "
        "predicted, and so refitted (arm-level, as the log's own fit)."
    )


def spread(old: pl.DataFrame, whole: pl.DataFrame, known, design: Purchase, begin: int) -> float:
    """Mean standard deviation of the gaps after a refit; less of it is chance than of the widths of 2,000 draws."""
    after = fitted(pl.concat([old, *rows_of(whole, known, design, begin)]), dv.Importance())
    return float(dv.gap(after).where(statistic=None).draws.std(0).mean())


def speed(_: int) -> str:
    """CPU seconds of `plan` beyond the fit."""
    posterior = dv.fit(dv.collapse(dv.read(str(ROOT / "datasets" / "serving-lab" / "data.parquet"))), seed=0)
    lines = ["| goal | CPU-s beyond the fit |", "|---|---|"]
    for goal in ("decision", "gap", "kappa", "reversal"):
        begin = time.process_time()
        dv.plan(posterior, goal=goal, budget=1000)
        lines.append(f"| {goal} | {time.process_time() - begin:.2f} |")
    return "\n".join(lines)


SECTIONS = {
    "widths": ("Predicted and realised widths", widths, 200),
    "decision": ("Choosing among 6 x 10 combinations", decision, 40),
    "rounds": ("Coverage after adaptive rounds", rounds, 100),
    "loop": ("Loops against an endpoint with a known law", loop, 40),
    "moves": ("Single moves against refits", moves, 50),
    "lab": ("A loop against real llama.cpp servers", record, 1),
    "speed": ("Speed on `datasets/serving-lab`", speed, 1),
}


def main() -> None:
    """Run the sections that are named, and put them into `plan.md`."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("sections", nargs="*", default=[name for name in SECTIONS if name != "lab"])
    arguments.add_argument("--number", type=int, help="worlds, runs or logs, in place of the default")
    given = arguments.parse_args()
    head = "# What a plan promises, and what comes\n\nMade by `python benchmarks/plan.py`.\n"
    for name in given.sections:
        title, section, number = SECTIONS[name]
        begin = time.process_time()
        body = section(given.number or number)
        block = f"\n## {title}\n\n{body}\n\n{time.process_time() - begin:.0f} CPU-s.\n"
        text = OUT.read_text() if OUT.exists() else head
        text = re.sub(rf"\n## {re.escape(title)}\n.*?(?=\n## |\Z)", "", text, flags=re.S).rstrip("\n") + "\n" + block
        OUT.write_text(text)


if __name__ == "__main__":
    main()
