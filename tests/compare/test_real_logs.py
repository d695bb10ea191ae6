"""Before and after pairs that other tools wrote, and our own lab: shared items, flips and verdicts as stated there."""

import math

import polars as pl
import pytest

import divergence as dv
from divergence.errors import InputError
from divergence.executions.importers import detect

PAIRS = {  # folder: before, after, shared items, gained, lost, scorer; as the README of the folder states them
    "lm_eval, temperature": ("lm_eval/real-before", "lm_eval/real-after", 60, 2, 10, None),
    "lm_eval, few-shot": ("lm_eval/real-before", "lm_eval/real-fewshot2", 60, 2, 18, None),
    "inspect": ("inspect/pair-eval/before", "inspect/pair-eval/after", 60, 8, 0, None),
    "inspect, includes": ("inspect/pair-eval/before", "inspect/pair-eval/after", 60, 8, 0, "includes"),
    "aiperf": ("aiperf/acc-before", "aiperf/acc-after", (37, 40), 6, 1, None),
    "lighteval": ("lighteval/before", "lighteval/after", 60, (1, 8), 0, None),
    "promptfoo": ("promptfoo/before.jsonl", "promptfoo/after.jsonl", (38, 40), 6, 2, "correct"),
    "openai_evals": ("openai_evals/before.jsonl", "openai_evals/after.jsonl", 30, 4, 0, None),
    "swebench": ("swebench/org__demo-model.before.json", "swebench/org__demo-model.after.json", (17, 20), 3, 0, None),
}


def read_or_skip(path):
    """Skip where no importer reads what another tool wrote there."""
    files = [path] if path.is_file() else [file for file in sorted(path.rglob("*")) if file.is_file()]
    if not any(detect(file) for file in files):
        pytest.skip(f"{path.name}: this format is not read yet")


def within(value, stated):
    return stated[0] <= value <= stated[1] if isinstance(stated, tuple) else value == stated


@pytest.mark.parametrize("name", PAIRS)
def test_pairs_of_other_tools(logs, name):
    before, after, shared, gained, lost, scorer = PAIRS[name]
    read_or_skip(logs / before)
    found = dv.compare(logs / before, logs / after, scorer=scorer)
    assert within(found.items.shared, shared)
    assert within(found.flips.up, gained) and within(found.flips.down, lost)
    assert found.difference.estimate == pytest.approx((found.flips.up - found.flips.down) / found.items.shared)


def test_harbor(logs):
    """Two attempts a task: rewards move from 18 of 24 to 19 of 24, in one task."""
    read_or_skip(logs / "harbor/before")
    found = dv.compare(logs / "harbor/before", logs / "harbor/after")
    assert found.items.shared == 12 and found.flips.floor is not None
    assert found.difference.estimate == pytest.approx(1 / 24)


def test_vllm_bench_has_answers_and_no_scores(logs):
    """Nothing was judged in these files: refused, with a sentence."""
    with pytest.raises((InputError, dv.NotIdentifiedError)):
        dv.compare(logs / "vllm_bench/vllm_before.json", logs / "vllm_bench/vllm_after.json")


def test_a_real_model_lost_by_its_sampler(logs):
    found = dv.compare(logs / "lm_eval/real-before", logs / "lm_eval/real-after")
    assert found.verdict in ("worse", "not settled") and found.direction == "lower"
    assert {c.field for c in found.changed} == {"gen_kwargs.temperature", "gen_kwargs.seed"}
    assert found.table.filter(pl.col("difference") < 0).height == 10


def test_a_retry_that_took_over_samples_is_said(logs):
    """An eval-set folder holds the tries of one task: samples taken over keep their ids and count once."""
    tries = [str(path) for path in sorted((logs / "inspect/evalset").glob("*arith-flaky_7dHD*.eval"))]
    found = dv.compare(tries[0], tries[-1])
    assert found.items.shared <= 17
    assert any("stand on both sides" in note for note in found.notes)
    together = dv.compare(tries, tries)
    assert together.items.shared == 17 and together.table["before_n"].max() == 1


def system(lab, context, **levels):
    kept = lab.filter(pl.col("context") == context)
    for column, level in levels.items():
        kept = kept.filter(pl.col(column) == level)
    return kept


@pytest.mark.parametrize("margin", [0.001, pytest.param(0.02, marks=pytest.mark.prove)])  # the first is the harder one
def test_two_waves_of_the_lab_are_no_change(lab, margin):
    """A/A in every context and model: `worse` in no more than 2.5 %, at a margin of two points and of next to none."""
    verdicts = [
        dv.compare(rows.filter(pl.col("wave") == "1"), rows.filter(pl.col("wave") == "2"), margin=margin).verdict
        for _, rows in lab.group_by("model", "context", maintain_order=True)
    ]
    assert len(verdicts) == 78
    assert verdicts.count("worse") <= math.floor(0.025 * 78)


def test_the_broken_kernel_is_found_in_one_system(lab):
    for model in lab["model"].unique().sort():
        sides = [system(lab, context, model=model) for context in ("bench", "second-engine-large")]
        found = dv.compare(*sides)
        assert (found.verdict == "worse") is (model == "smollm2-135m-q4_1"), model


def test_the_wrong_template_is_found_in_all_systems(lab):
    for model in lab["model"].unique().sort():
        found = dv.compare(*(system(lab, context, model=model) for context in ("bench", "chatml")))
        assert found.verdict == "worse" and found.direction == "lower", model


def test_flash_attention_changes_answers_silently(lab):
    found = dv.compare(system(lab, "bench"), system(lab, "flash"))
    assert found.verdict in ("no worse", "not settled") and found.direction == "open"
    assert "54 of 1,224 answers changed, 37 scores flipped" in repr(found).splitlines()[0]
    assert [(c.field, c.before, c.after) for c in found.changed] == [("attention", "standard", "flash")]
    assert found.flips.floor < 0.005 < found.flips.excess_lower
