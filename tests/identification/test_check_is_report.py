"""What `check` says of a question is what the report does: logs of designs crossed at random, and the data that we have."""

import pathlib

import polars as pl
import pytest
from random_logs import FEW, fitted

from divergence.configuration import Configuration
from divergence.executions import read
from divergence.joint.outcomes import fit_outcomes
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


def compared(log, posterior, configuration: Configuration) -> list[str]:
    """Questions that `check` and the report tell differently, and that do not depend on the values.

    The report answers of every outcome that it fits; `check` names the one that it means where it is not the log's own.
    """
    answers = {fit.cells.outcome: answer_all(posterior, fit.cells.outcome, configuration) for fit in posterior.fits}
    own = posterior.fits[0].cells.outcome
    answers[own] |= under_load(log)
    told = []
    for a in log.answers():
        of = [outcome for outcome, found in answers.items() if a.question in found and found[a.question].identified]
        if a.outcome and a.outcome not in answers:
            continue  # its fit failed a gate, which depends on the values and is said
        if bool(of) != a.identified and not (a.identified and a.depends):
            told.append(f"{a.question}: check {a.identified} ({a.reason}), report {of} ({answers[own][a.question].reasons})")
    return told


def disagreements(seed: int) -> list[str]:
    """The same of a random log; nothing where it has nothing to fit."""
    found = fitted(seed, outcomes=True)
    if found is None:
        return []
    log, posterior, _ = found
    return [f"seed {seed}: {line}" for line in compared(log, posterior, log.configuration)]


@pytest.mark.parametrize("seeds", [range(k, k + 8) for k in range(100, 140, 8)], ids=lambda s: f"{s[0]}-{s[-1]}")
def test_check_says_what_the_report_does(seeds):
    assert [line for seed in seeds for line in disagreements(seed)] == []


@pytest.mark.prove
def test_check_says_what_the_report_does_over_four_hundred_logs():
    assert [line for seed in range(1000, 1420) for line in disagreements(seed)] == []


def read_and_answer(path, configuration: Configuration) -> list[str]:
    """What the two say differently of a file."""
    log = read(path, configuration=configuration)
    return compared(log, fit_outcomes(log, method=FEW), configuration)


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


ROWS = [
    {"regime": r, "context": c, "model": m, "item": f"i{i}", "trial": t, "latency_s": 1 + ((7 * i + t + len(c + m)) % 5) / 3}
    for r, c in (("evaluation", "bench"), ("deployment", "c0"), ("deployment", "c1"))
    for m in "abcd"
    for i in range(12)
    for t in range(2)
]


def test_what_only_the_latency_can_answer_is_answered_and_said_so():
    """No score in deployment: its latencies have levels, gaps and effects all the same."""
    frame = pl.DataFrame(ROWS).with_columns(
        score=pl.when(regime="evaluation").then((pl.int_range(pl.len()) % 3 > 0).cast(pl.Float64))
    )
    found = {a.question: a for a in read(frame).answers()}
    for question in ("deployed_level", "gap", "context_effect", "leaderboard"):
        assert found[question].identified and found[question].outcome == "latency_s"
        assert "Of `latency_s`:" in found[question].reason and "this log has 0" in found[question].reason
    assert found["bench_level"].outcome == "" and not found["pass_power"].outcome
    judged = frame.with_columns(score=(pl.int_range(pl.len()) % 3 > 0).cast(pl.Float64))
    assert {a.outcome for a in read(judged).answers()} == {""}


def test_a_threshold_of_grades_is_a_success_that_can_be_repeated():
    frame = pl.DataFrame(ROWS).with_columns(
        score=pl.Series([("bad", "ok", "good")[(5 * k // 2) % 3] for k in range(len(ROWS))])
    )
    log = read(frame, configuration=Configuration.from_table({"grades": ["bad", "ok", "good"]}))
    found = {a.question: a for a in log.answers()}["pass_power"]
    assert found.identified and found.outcome == "score >= ok"
    assert compared(log, fit_outcomes(log, method=FEW), log.configuration) == []


@pytest.mark.prove
def test_check_says_what_the_report_does_of_a_table_whose_models_have_contexts_of_their_own(public_data):
    """194 models, 268 contexts, each of one model: nearly all combinations are empty, and no pair of models shares one."""
    flags = {"set": ["regime=deployment"]}
    assert read_and_answer(public_data / "aider_cells.parquet", Configuration().with_flags(**flags)) == []
