"""Synthetic answers for the page, from a seeded generator, with draws that hang together; results of the embedded data."""

import dataclasses
import pathlib
import time

import numpy as np
import polars as pl
import pytest
from browser import Browser

import divergence as dv
from divergence.estimate import Estimate
from divergence.report import Check, LogSummary, PageContent, render
from divergence.results import write_report

DRAWS = 400
BENCH = "context=bench"
FACTORS = {
    "kv_cache_dtype": ["f16", "q8_0", "q4_0"],
    "concurrency": ["1", "8"],
    "sampler": ["greedy", "server default"],
    "chat_template": ["built in", "none"],
    "truncation": ["off", "256 tokens"],
}
FAMILIES = ["Maple-135M-Instruct", "Maple-360M-Instruct", "orchard/Pear-270M", "Quince-0.5B-Chat"]


def context_labels(count):
    """Distinct combinations of factor levels, as the contract writes them."""
    first = {factor: levels[0] for factor, levels in FACTORS.items()}
    labels = []
    for factor, levels in FACTORS.items():
        labels += [first | {factor: level} for level in levels[1:]]
    labels += [
        first | {"concurrency": "8", "kv_cache_dtype": k, "sampler": s}
        for k in ("q8_0", "q4_0")
        for s in ("greedy", "server default")
    ]
    labels += [first | {"chat_template": "none", "truncation": "256 tokens", "concurrency": c} for c in ("1", "8")]
    return ["|".join(f"{f}={v}" for f, v in label.items()) for label in labels][:count]


class World:
    """Draws of levels mu[d, model, context] and of the bench, from which every answer follows."""

    def __init__(self, models=8, contexts=11, seed=0):
        generator = np.random.default_rng(seed)
        self.generator = generator
        self.models = [
            f"{FAMILIES[k % len(FAMILIES)]}-{['Q4_1', 'Q8_0', 'Q4_0'][k // len(FAMILIES) % 3]}" + f"-take-{k}" * (k >= 12)
            for k in range(models)
        ]
        self.contexts = context_labels(contexts)
        ability = np.sort(generator.uniform(0.42, 0.68, models))[::-1]
        shift = np.array([-0.005, -0.008, -0.07, -0.09, -0.21, -0.004, -0.05, 0.0, -0.06, -0.11, -0.12, -0.04])[:contexts]
        effect = shift + generator.normal(0, 0.025, (models, contexts)) * (0.4 + np.linspace(1.8, 0.2, models)[:, None])
        self.bench = ability + generator.normal(0, 0.014, (DRAWS, models))
        noise = generator.normal(0, 0.012, (DRAWS, models, contexts))
        self.effect = effect + noise
        self.effect[:, :, 0] = effect[:, 0] * 0.2 + noise[:, :, 0] * 0.6
        self.mu = self.bench[:, :, None] + self.effect
        self.deployed = self.mu.mean(axis=2)

    def by_model(self, question, draws, unit="fraction", **fields):
        return Estimate(
            question,
            f"synthetic {question}",
            unit,
            pl.DataFrame({"model": self.models}),
            draws,
            counts={"n_rows": 19200, "n_items": 200},
            method="synthetic draws",
            **fields,
        )

    def context_effect(self):
        m, c = len(self.models), len(self.contexts)
        rows = pl.DataFrame(
            {
                "model": [model for model in self.models for _ in range(c)] + [None] * c,
                "context": self.contexts * (m + 1),
            }
        )
        draws = np.concatenate([self.effect.reshape(DRAWS, -1), self.effect.mean(axis=1)], axis=1)
        return Estimate("context_effect", "synthetic", "fraction", rows, draws, counts={"n_items": 200})

    def excess_flips(self):
        c = len(self.contexts)
        rows, draws = [], []
        base = np.linspace(0.16, 0.002, c)[self.generator.permutation(c)]
        for statistic, lift in ((None, 0.0), ("answers", 0.15)):
            for model in self.models:
                for k, context in enumerate(self.contexts):
                    rows.append({"statistic": statistic, "model": model, "context": BENCH, "context_b": context})
                    draws.append(base[k] + lift + self.generator.normal(0, 0.012, DRAWS))
        floor = np.full(len(rows), 0.03)
        schema = dict.fromkeys(("statistic", "model", "context", "context_b"), pl.String)
        return Estimate(
            "excess_flips",
            "synthetic",
            "probability",
            pl.DataFrame(rows, schema=schema),
            np.array(draws).T,
            noise_floor=floor,
        )

    def reversal(self):
        if len(self.models) < 2:
            return Estimate.refused("reversal", "synthetic", "probability", "an order needs two models")
        pairs = [(i, j) for i in range(len(self.models)) for j in range(i + 1, len(self.models))]
        rows = pl.DataFrame({"model": [self.models[i] for i, _ in pairs], "model_b": [self.models[j] for _, j in pairs]})
        draws = np.stack(
            [
                ((self.bench[:, i] - self.bench[:, j]) * (self.deployed[:, i] - self.deployed[:, j]) < 0).astype(float)
                for i, j in pairs
            ],
            axis=1,
        )
        return Estimate("reversal", "synthetic", "probability", rows, draws)

    def serving_effect(self, unit="fraction", size=1.0):
        rows = [(factor, level) for factor, levels in FACTORS.items() for level in levels]
        centre = self.generator.normal(0, 0.06 * size, len(rows))
        draws = centre + self.generator.normal(0, 0.02 * size, (DRAWS, len(rows)))
        frame = pl.DataFrame(rows, schema={"factor": pl.String, "level": pl.String}, orient="row")
        return Estimate("serving_effect", "synthetic", unit, frame, draws)

    def instrument(self):
        draws = np.array([0.002, -0.001, -0.031]) + self.generator.normal(0, 0.008, (DRAWS, 3))
        rows = pl.DataFrame({"factor": ["wave"] * 3, "level": ["2031-03", "2031-04", "2031-05"]})
        return Estimate("instrument", "synthetic", "fraction", rows, draws)

    def answers(self):
        single = pl.DataFrame({"model": [None]}, schema={"model": pl.String})
        share = self.generator.beta(30, 60, (DRAWS, 1))
        gap = self.deployed - self.bench
        return {
            "bench_level": self.by_model("bench_level", self.bench, "probability"),
            "deployed_level": self.by_model("deployed_level", self.deployed, "probability"),
            "gap": self.by_model("gap", gap),
            "evaluation_advantage": self.by_model("evaluation_advantage", -gap),
            "kappa": self.by_model("kappa", self.mu.std(axis=2)),
            "coupling": Estimate("coupling", "synthetic", "ratio", single, share),
            "coupling_absolute": Estimate("coupling_absolute", "synthetic", "ratio", single, share + 0.2),
            "reversal": self.reversal(),
            "context_effect": self.context_effect(),
            "serving_effect": self.serving_effect(),
            "excess_flips": self.excess_flips(),
            "instrument": self.instrument(),
        }


CHECKS = (
    Check("Monte Carlo error of the levels", 0.0008, "at most 0.002", True, "More draws would change the digits shown."),
    Check("largest standardised residual", 2.9, "at most 4.5", True, "The model does not describe an arm's level."),
    Check(
        "posterior predictive check of the spread",
        0.41,
        "0.01 to 0.99",
        True,
        "The spread between contexts is not described.",
    ),
)


def make_content(world, **changes):
    rejected = pl.DataFrame(
        {
            "file": ["deployment.parquet"] * 12 + ["bench.jsonl"] * 2,
            "row": [*range(40, 52), 7, 9],
            "rule": ["score_in_range"] * 12 + ["regime_known"] * 2,
            "sentence": ["The score is 7; it must lie between 0 and 1."] * 12
            + ["The regime is 'test'; it must be evaluation or deployment."] * 2,
        }
    )
    judged = pl.DataFrame(
        {
            "regime": ["evaluation"] + ["deployment"] * len(world.contexts),
            "context": [BENCH, *world.contexts],
            "rows": [3200] + [1600] * len(world.contexts),
            "judged": [3200] + [1590 - 9 * k for k in range(len(world.contexts))],
        }
    )
    content = PageContent(
        title="Synthetic serving log",
        estimates=world.answers(),
        summary=LogSummary(
            {"evaluation": 3200, "deployment": 17600},
            len(world.models),
            len(world.contexts) + 1,
            200,
            waves=3,
            judged=judged,
            files=("bench.jsonl", "deployment.parquet"),
        ),
        rejected=rejected,
        checks=CHECKS,
        refusals=(
            ("collapse_hazard", "No session has more than one turn."),
            ("cost_per_success", "The log has no cost_usd and the configuration declares no prices."),
        ),
        skipped=(("notes.txt", "It has none of the columns of a log."),),
        unused_columns=(("time", "The times carry no zone, so drift over time is not answered."),),
        notes=(
            "Items are a sample: intervals hold for new items from the same source.",
            "Contexts are those of the log, weighted by their share of the traffic.",
        ),
        provenance={
            "divergence": "0.1.0",
            "seed": 0,
            "data": {"bench.jsonl": "sha256 4f1c", "deployment.parquet": "sha256 99ab"},
            "configuration": "none",
        },
        other_outcomes={"latency_s": {"serving_effect": world.serving_effect("s", 8.0)}},
    )
    return dataclasses.replace(content, **changes)


STEPS = np.linspace(-1, 1, 401)  # symmetric draws: the 5% and 95% quantiles lie at -0.9 and 0.9


def _hand_made(question, rows, centres, unit="fraction", spread=0.01, **fields):
    """An estimate whose medians are `centres` and whose 90% limits lie 0.9 spread on either side."""
    frame = pl.DataFrame(rows, schema=dict.fromkeys(rows, pl.String))
    draws = np.asarray(centres)[None, :] + np.asarray(spread) * STEPS[:, None]
    return Estimate(question, f"synthetic {question}", unit, frame, draws, **fields)


@pytest.fixture(scope="session")
def world():
    return World()


@pytest.fixture(scope="session")
def content(world):
    return make_content(world)


@pytest.fixture(scope="session")
def build():
    """The makers themselves, for tests that need another world."""
    return World, make_content


@pytest.fixture(scope="session")
def hand_made():
    return _hand_made


@pytest.fixture(scope="session")
def page(content):
    """The page of the whole synthetic log, as text."""
    return render(content)


FOLDER = pathlib.Path(__file__).parents[2] / "datasets" / "serving-lab"
SECONDS_MAX = 60  # CPU time of all answers and the page on a busy machine; alone it takes about a quarter


@pytest.fixture(scope="session")
def results(tmp_path_factory):
    """The folder of results of the embedded data with its declared requirements, and their table."""
    log = dv.read(FOLDER, configuration=dv.Configuration.load(FOLDER / "decision.toml"))
    posterior = dv.fit(dv.collapse(log), seed=0)
    folder = tmp_path_factory.mktemp("embedded") / "out"
    before = time.process_time()
    table = write_report(posterior, folder, log=log, formats=("md", "tex", "json"))
    assert time.process_time() - before <= SECONDS_MAX
    return folder, table


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """One Chromium for all tests that look at a page; only asked for where there is one."""
    chromium = Browser(tmp_path_factory.mktemp("chromium"))
    yield chromium
    chromium.close()
