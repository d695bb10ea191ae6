"""What `check` says of a question is what the report does: logs of designs crossed at random, and the data that we have."""

import pathlib

import pytest
from random_logs import fitted

import divergence as dv
from divergence.configuration import Configuration
from divergence.executions import read
from divergence.results import answer_all
from divergence.under_load import under_load

DATASETS = pathlib.Path(__file__).parents[2] / "datasets"
EMBEDDED = sorted(folder.name for folder in DATASETS.iterdir() if (folder / "data.parquet").is_file())
SET, MAP = {"set": ["regime=evaluation"]}, {"map": ["score_n=n_items"]}
PUBLIC = {  # public table -> flags that say what it is
    "aider_cells.parquet": {"set": ["regime=deployment"], "map": ["score_n=n_cases"], "where": ["source_file=quant"]},
    "tau_bench_episodes.parquet": SET | {"map": ["calls=n_messages"]},
    "llmperf_requests.parquet": {"set": ["regime=deployment"], "map": ["model=context", "context=model"]},
    "llm_drift.parquet": {"set": ["regime=deployment"], "where": ["task=prime_full"]},
    "llm_stability_items.parquet": SET | {"where": ["task=navigate"]},
    "timm_accuracy.parquet": MAP | {"where": ["architecture=resnet50"]},
}


def compared(log, answers) -> list[str]:
    """Questions that `check` and the report tell differently, and that do not depend on the values."""
    answers = answers | under_load(log)
    return [
        f"{a.question}: check {a.identified} ({a.reason}), report {answers[a.question].identified} "
        f"({'; '.join(answers[a.question].reasons)})"
        for a in log.answers()
        if a.identified != answers[a.question].identified and not (a.identified and a.depends)
    ]


def disagreements(seed: int) -> list[str]:
    """The same of a random log; nothing where it has nothing to fit."""
    found = fitted(seed)
    if found is None:
        return []
    log, _, answers = found
    return [f"seed {seed}: {line}" for line in compared(log, answers)]


@pytest.mark.parametrize("seeds", [range(k, k + 8) for k in range(100, 140, 8)], ids=lambda s: f"{s[0]}-{s[-1]}")
def test_check_says_what_the_report_does(seeds):
    assert [line for seed in seeds for line in disagreements(seed)] == []


@pytest.mark.prove
def test_check_says_what_the_report_does_over_four_hundred_logs():
    assert [line for seed in range(1000, 1420) for line in disagreements(seed)] == []


def read_and_answer(path, configuration: Configuration) -> list[str]:
    """What the two say differently of a file."""
    log = read(path, configuration=configuration)
    posterior = dv.fit(log.cells, seed=0)
    return compared(log, answer_all(posterior, None, configuration))


@pytest.mark.prove
@pytest.mark.parametrize("name", EMBEDDED)
def test_check_says_what_the_report_does_of_embedded_data(name):
    declared = DATASETS / name / "decision.toml"
    configuration = Configuration.load(declared) if declared.is_file() else Configuration()
    assert read_and_answer(DATASETS / name, configuration) == []


SMALL = ("aider_cells.parquet", "tau_bench_episodes.parquet")


@pytest.mark.parametrize("name", [n if n in SMALL else pytest.param(n, marks=pytest.mark.prove) for n in PUBLIC])
def test_check_says_what_the_report_does_of_public_tables(public_data, name):
    flags = {key: list(value) for key, value in PUBLIC[name].items()}
    assert read_and_answer(public_data / name, Configuration().with_flags(**flags)) == []
