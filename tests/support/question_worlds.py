"""Coverage by question in both populations of items: fixed worlds, one fit each, asked for new items and for the log's own.

    python tests/support/question_worlds.py --worlds 500 --records build/questions

A world has five models and a candidate without deployment, a bench and four contexts, 80 items of two tasks, three trials,
costs, and contexts of which the first changes nothing at all. Truths for new items are means over 20,000 others of the same
law. `--waves 500` adds worlds of two waves whose contexts are two serving factors, crossed; `--plain 500` what takes no fit:
tests where there is nothing to find, hazards of independent steps. Appends one JSON line a world, so that a run that was
stopped goes on, and prints the table.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import itertools
import json
import pathlib
from collections.abc import Callable, Iterator

import numpy as np
import polars as pl

import divergence as dv
from divergence.cells.episodes import agent_episodes
from divergence.estimands.collapse_hazard import _combinations, _numbers
from divergence.estimands.heterogeneity import chi_square
from divergence.estimands.rows import OBSERVED_ITEMS
from divergence.identification.wave_agreement import wave_agreement
from divergence.joint.arms import measure_arms

MODELS, CONTEXTS, ITEMS, TRIALS, MANY = 5, 4, 80, 3, 20_000
MOVES = np.array([0.0, 0.0, 0.1, 0.4, 0.8])  # how far items move in a context; the bench and the first not at all
SHIFTS = np.array([0.0, 0.0, -0.25, -0.6, -0.4])
UNLOGGED = 0.2  # sd, logit scale, of what contexts differ by beside their factors: the model's own prior width of it
POPULATIONS = ("new", "observed")
NAMES = ("bench", *(f"c{k}" for k in range(CONTEXTS)))


@dataclasses.dataclass(frozen=True)
class World:
    """Chances of success: of the log's items and of many others, shape (models, contexts, items)."""

    own: np.ndarray
    """The log's."""
    others: np.ndarray
    """Those of new items, a task's share as in the log."""

    def chances(self, items: str) -> np.ndarray:
        """Of that population."""
        return self.own if items == "observed" else self.others


def draw(seed: int) -> tuple[World, pl.DataFrame]:
    """A world and its log."""
    rng = np.random.default_rng([151, seed])
    models = MODELS + 1
    ability = rng.normal(0.4, 0.5, models)
    own = rng.normal(0, 0.2, (models, 1 + CONTEXTS)) * (MOVES > 0)
    level = ability[:, None] + SHIFTS + own

    def chances(size: int) -> np.ndarray:
        easy = rng.normal(0, 1.2, size) + np.where(np.arange(size) % 2, 0.4, -0.4)
        taste = rng.normal(0, 0.4, (models, 1, size))
        moved = MOVES[:, None] * rng.standard_normal((models, 1 + CONTEXTS, size))
        return 1 / (1 + np.exp(-(level[:, :, None] + easy + taste + moved)))

    world = World(chances(ITEMS), chances(MANY))
    rows = []
    for m, c in np.ndindex(models, 1 + CONTEXTS):
        if m == MODELS and c:
            continue  # the candidate
        for t in range(TRIALS):
            score = (rng.random(ITEMS) < world.own[m, c]).astype(float)
            rows.append(
                pl.DataFrame(
                    {
                        "regime": "deployment" if c else "evaluation",
                        "model": f"m{m}",
                        "context": NAMES[c],
                        "item": [f"i{k}" for k in range(ITEMS)],
                        "task": [f"t{k % 2}" for k in range(ITEMS)],
                        "trial": t,
                        "score": score,
                        "cost_usd": spent(c) * rng.lognormal(0, 0.5, ITEMS) * np.where(score > 0, 1.0, 1.3),
                    }
                )
            )
    return world, pl.concat(rows)


def spent(context: int) -> float:
    """Median cost of a success."""
    return 0.01 * (1 + 0.3 * context)


def truths(p: np.ndarray) -> dict[str, dict[tuple, float]]:
    """By question the true value of every row, named (model, context) or as the question's rows are."""
    level = p.mean(2)
    served = level[:MODELS, 1:]
    mean = served.mean(1)
    cost = np.array([spent(c) for c in range(1 + CONTEXTS)]) * np.exp(0.125) * (level + 1.3 * (1 - level))
    out: dict[str, dict[tuple, float]] = collections.defaultdict(dict)
    apart = served - mean[:, None] - served.mean(0) + served.mean()
    s2_mc, s2_m, s2_c = (apart**2).mean(), mean.var(), served.mean(0).var()
    out["coupling"][None, None] = s2_mc / (s2_m + s2_mc)
    out["coupling_absolute"][None, None] = (s2_c + s2_mc) / (s2_m + s2_c + s2_mc)
    everyone = level[:, 1:].mean(1)  # the board holds the candidate, too
    pairs = np.triu_indices(MODELS, 1)
    signs = [np.sign(x[pairs[0]] - x[pairs[1]]) for x in (level[:MODELS, 0], mean)]
    out["rank_agreement"][None, None] = float((signs[0] * signs[1]).mean())
    for m in range(MODELS):
        name = f"m{m}"
        out["bench_level"][name, None] = level[m, 0]
        out["deployed_level"][name, None] = out["leaderboard"][name, None] = mean[m]
        out["leaderboard, rank"][name, None] = 1 + (everyone > mean[m]).sum()
        out["gap"][name, None] = mean[m] - level[m, 0]
        out["evaluation_advantage"][name, None] = level[m, 0] - mean[m]
        out["kappa"][name, None] = served[m].std()
        for c in range(1, 1 + CONTEXTS):
            out["context_effect"][name, NAMES[c]] = level[m, c] - level[m, 0]
            flips = float(((p[m, c] - p[m, 0]) ** 2).mean())
            where = "excess_flips, 0" if c == 1 else f"excess_flips, {'below .005' if flips < 0.005 else 'above'}"
            out[where][name, NAMES[c]] = flips
        for c in range(1 + CONTEXTS):
            out["cost_per_success"][name, NAMES[c]] = cost[m, c] / level[m, c]
            out["repeat_agreement"][name, NAMES[c]] = float((p[m, c] ** TRIALS + (1 - p[m, c]) ** TRIALS).mean())
            out["pass_power"][name, NAMES[c]] = float((p[m, c] ** TRIALS).mean())
        out["stability, quantile_10"][name, None] = out["stability, cvar_10"][name, None] = served[m].min()
        out["stability, share within .05"][name, None] = float((np.abs(served[m] - mean[m]) <= 0.05).mean())
        within, across = float((p[m, 1:] ** 2).mean()), float((p[m, 1:].mean(0) ** 2).mean())
        out["stability, pass^2_within"][name, None] = within
        out["stability, pass^2_across"][name, None] = across
        out["stability, pass^2_movement"][name, None] = within - across
        for t in range(2):
            out["deployed_level, of a task"][name, f"t{t}"] = p[m, 1:, t::2].mean()
    out["forecast"][f"m{MODELS}", None] = level[MODELS, 1:].mean()
    return out


def answers(posterior: dv.Posterior, items: str) -> Iterator[tuple[str, pl.DataFrame]]:
    """By question a table with `model`, `context`, `lower`, `upper`; of the log's own items those that are about them."""
    plain, own = pl.col("statistic").is_null(), items == "observed"
    for question in (
        dv.bench_level,
        dv.deployed_level,
        dv.gap,
        dv.evaluation_advantage,
        dv.kappa,
        dv.coupling,
        dv.coupling_absolute,
        dv.context_effect,
        dv.rank_agreement,
        dv.cost_per_success,
        dv.forecast,
    ):
        found = question(posterior)
        if not own or OBSERVED_ITEMS in found.text:
            yield question.__name__, told(found).filter(plain)
    board = told(dv.leaderboard(posterior))
    yield "leaderboard", board.filter(plain)
    yield "leaderboard, rank", board.filter(statistic="rank")
    stable = told(dv.stability(posterior, eps=0.05))
    for statistic in ("quantile_10", "cvar_10"):
        yield f"stability, {statistic}", stable.filter(statistic=statistic)
    yield "stability, share within .05", stable.filter(plain)
    if own:
        return
    for statistic in ("within", "across", "movement"):
        yield f"stability, pass^2_{statistic}", stable.filter(statistic=f"pass^2_{statistic}")
    tasks = dv.deployed_level(posterior).to_frame().filter("identified", statistic="task")
    yield "deployed_level, of a task", tasks.with_columns(context="task")
    power = told(dv.pass_power(posterior))
    yield "repeat_agreement", power.filter(statistic="agreement")
    yield "pass_power", power.filter(plain)
    flips = told(dv.excess_flips(posterior)).filter(plain, pl.col("context") == "bench")
    for name in ("excess_flips, 0", "excess_flips, below .005", "excess_flips, above"):
        yield name, flips.drop("context").rename({"context_b": "context"})


def told(estimate: dv.Estimate) -> pl.DataFrame:
    """Identified rows, whatever coordinates they have."""
    frame = estimate.to_frame().filter("identified")
    missing = [c for c in ("model", "context", "statistic", "context_b") if c not in frame.columns]
    return frame.with_columns(pl.lit(None, pl.String).alias(c) for c in missing)


def check(seed: int) -> dict[str, float]:
    """Share of the intervals of each question and population that hold the truth."""
    world, log = draw(seed)
    posterior = dv.fit(dv.collapse(dv.read(log)), seed=seed)
    found = {}
    for items in POPULATIONS:
        fits = tuple(dataclasses.replace(f, cells=dataclasses.replace(f.cells, items=items)) for f in posterior.fits)
        truth = truths(world.chances(items))
        for question, rows in answers(dataclasses.replace(posterior, fits=fits), items):
            held = [
                row["lower"] - 1e-9 <= truth[question][row["model"], row["context"]] <= row["upper"] + 1e-9
                for row in rows.iter_rows(named=True)
                if (row["model"], row["context"]) in truth[question]
            ]
            if held:
                found[f"{question}|{items}"] = float(np.mean(held))
    return found


def waves(seed: int) -> dict[str, float]:
    """Two waves, the second stricter or milder, in four contexts of two crossed factors: intervals that hold the truth."""
    rng = np.random.default_rng([153, seed])
    ability, strict = rng.normal(0.4, 0.5, 4), rng.normal(0, 0.25)
    effects = np.array([-0.5, -0.25])[:, None] + rng.normal(0, 0.15, (2, 4))  # of quantization and batching, by model
    apart = rng.normal(0, 0.1, (4, 5))
    unlogged = rng.normal(0, UNLOGGED, 5)
    unlogged[0] = 0

    def chances(size: int) -> Callable[[int, int, tuple, int], np.ndarray]:
        easy, moved = rng.normal(0, 1.2, size), rng.normal(0, 0.3, (5, size))
        moved[0] = apart[:, 0] = 0
        return lambda m, c, on, w: (
            1 / (1 + np.exp(-(ability[m] + effects[:, m] @ on + apart[m, c] + unlogged[c] + easy + moved[c] - strict * w)))
        )

    own, others = chances(ITEMS), chances(MANY)
    served = [(0, (0, 0)), *enumerate(np.ndindex(2, 2), 1)]
    rows = []
    for m, (c, on), w in itertools.product(range(4), served, range(2)):
        frame = {
            "regime": "deployment" if c else "evaluation",
            "model": f"m{m}",
            "quantization": ("none", "int4")[on[0]],
            "batch_policy": ("alone", "shared")[on[1]],
            "item": [f"i{k}" for k in range(ITEMS)],
            "wave": "ab"[w],
            "score": (rng.random(ITEMS) < own(m, c, on, w)).astype(float),
        }
        rows.append(pl.DataFrame(frame))
    posterior = dv.fit(dv.collapse(dv.read(pl.concat(rows))), seed=seed)
    held = collections.defaultdict(list)

    def judge(name: str, row: dict, truth: float) -> None:
        held[name].append(row["lower"] - 1e-9 <= truth <= row["upper"] + 1e-9)

    level = np.array([[[others(m, c, on, w).mean() for c, on in served] for m in range(4)] for w in range(2)])
    by_wave = (level[:, :, 0].mean(1) + level[:, :, 1:].mean((1, 2))) / 2
    for row in dv.instrument(posterior).to_frame().filter("identified").iter_rows(named=True):
        judge("instrument|new", row, (by_wave - by_wave.mean())["ab".index(row["level"])])
    flipped = np.zeros((2, 4))
    for f, m in np.ndindex(2, 4):
        for c, on in served[1:]:
            both = [(*on[:f], level_, *on[f + 1 :]) for level_ in (0, 1)]
            one, other = (np.mean([others(m, c, way, w).mean() for w in range(2)]) for way in both)
            flipped[f, m] += (other - one) / 4
    effect = dv.serving_effect(posterior).to_frame().filter("identified", pl.col("statistic").is_null())
    for row in effect.iter_rows(named=True):
        f = ("quantization", "batch_policy").index(row["factor"])
        if row["level"] in ("int4", "shared"):
            of_one = row["model"] is not None
            truth = flipped[f, int(row["model"][1:])] if of_one else flipped[f].mean()
            judge("serving_effect, of a model|new" if of_one else "serving_effect|new", row, truth)
    return {name: float(np.mean(shares)) for name, shares in held.items()}


def plain(seed: int) -> dict[str, float]:
    """What takes no fit: 1 where nothing was found that is not there, or the truth was held."""
    rng = np.random.default_rng([152, seed])
    easy = rng.normal(0, 1.2, 60)
    rows = [
        ("deployment", "m", f"c{c}", f"i{i}", t, "ab"[w], float(rng.random() < 1 / (1 + np.exp(-easy[i] - 0.4 * w))))
        for c in range(5)
        for i in range(60)
        for t in range(2)
        for w in range(2)
    ]
    log = pl.DataFrame(rows, schema=["regime", "model", "context", "item", "trial", "wave", "score"], orient="row")
    cells = dv.collapse(dv.read(log))
    once = dv.collapse(dv.read(log.filter(wave="a").drop("wave")))
    found = {
        "wave_agreement, waves alike but for a common shift": float(not wave_agreement(cells).changed.any()),
        "heterogeneity, p above .1 where contexts are alike": float(_p(once) > 0.1),
    }
    length = np.minimum(rng.geometric(0.2, 80), 12)
    capped, solved = length == 12, rng.random(80) < 0.4
    episodes = pl.DataFrame(
        {
            "regime": "evaluation",
            "model": "m",
            "context": "c",
            "item": [f"i{k}" for k in range(80)],
            "calls": length,
            "score": (solved & ~capped).astype(float),
            "finish_reason": np.where(capped, "calls", "done"),
        }
    )
    cells = dv.collapse(dv.read(episodes))
    weight = rng.standard_exponential((500, len(cells.levels["block"])))
    ((_, mine),) = _combinations(cells, agent_episodes(cells))
    for statistic, _, _, value, why in _numbers(cells, mine, weight, rng):
        if why is None and statistic in (None, "slope"):
            low, high = np.quantile(value, [0.05, 0.95])
            truth = 0.2 * 0.6 if statistic is None else 0.0
            found["collapse_hazard, " + ("mean" if statistic is None else "slope of independent steps")] = float(
                low <= truth <= high
            )
    return found


def _p(cells: dv.Cells) -> float:
    arms = measure_arms(cells)
    return chi_square(arms, np.arange(len(arms)))[2]


def recorded(kind: str, one: Callable[[int], dict], count: int, records: pathlib.Path | None) -> dict[str, list[float]]:
    """Shares of `count` worlds by question; worlds that are recorded are not made again."""
    path = records / f"{kind}.jsonl" if records else None
    seen = [json.loads(line) for line in path.read_text().splitlines()] if path and path.exists() else []
    for seed in range(len(seen), count):
        seen.append(one(seed))
        if path:
            with path.open("a") as out:
                out.write(json.dumps(seen[-1]) + "\n")
    found = collections.defaultdict(list)
    for world in seen[:count]:
        for name, share in world.items():
            found[name].append(share)
    return found


def table(fitted: dict[str, list[float]], plain_: dict[str, list[float]]) -> list[str]:
    """Lines of the table: the mean share and its Monte Carlo error between worlds."""

    def cell(shares: list[float] | None) -> str:
        if not shares:
            return ""
        return f"{np.mean(shares):.3f} ± {np.std(shares) / np.sqrt(len(shares)):.3f}"

    lines = ["| question | worlds | new items | observed items |", "|---|---|---|---|"]
    for name in dict.fromkeys(key.partition("|")[0] for key in fitted):
        both = [fitted.get(f"{name}|{items}") for items in POPULATIONS]
        lines.append(
            f"| `{name.partition(',')[0]}`{name.partition(',')[1]}{name.partition(',')[2]} | "
            f"{max(len(b or ()) for b in both)} | {cell(both[0])} | {cell(both[1])} |"
        )
    for name, shares in plain_.items():
        head, comma, tail = name.partition(",")
        lines.append(f"| `{head}`{comma}{tail} | {len(shares)} | {cell(shares)} | |")
    return lines


def main() -> None:
    """Run the worlds that are missing, then print the table of all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=500)
    parser.add_argument("--waves", type=int, default=500)
    parser.add_argument("--plain", type=int, default=500)
    parser.add_argument("--records", type=pathlib.Path)
    given = parser.parse_args()
    if given.records:
        given.records.mkdir(parents=True, exist_ok=True)
    without = recorded("plain", plain, given.plain, given.records)
    fitted = recorded("fitted", check, given.worlds, given.records)
    fitted |= recorded("waves", waves, given.waves, given.records)
    print("\n".join(table(fitted, without)))


if __name__ == "__main__":
    main()
