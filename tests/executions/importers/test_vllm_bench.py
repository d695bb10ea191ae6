"""`vllm bench serve` with detailed results, on a genuine pair."""

import json
import math

import polars as pl
import pytest

from divergence.errors import InputError
from divergence.executions.importers import Privacy, import_log

FAILED = {19: "no_valid_chunk", 28: "http_429", 29: "http_400"}


def gold(logs):
    """The right answers of the items, which the tool does not know."""
    lines = (logs("lm_eval") / "tasks" / "arith60.jsonl").read_text().splitlines()
    return [json.loads(line)["answer"] for line in lines]


@pytest.mark.parametrize(("run", "ttft", "right"), [("before", 35.890233148132175, 22), ("after", 36.779830740737516, 27)])
def test_counts_times_and_answers(logs, run, ttft, right):
    imported = import_log([logs("vllm_bench") / f"vllm_{run}.json"], privacy=Privacy(keep_text=True))
    table = imported.executions
    assert table.height == 30
    places = table["item"].str.split("/").list.last().cast(pl.Int64)
    assert places.to_list() == list(range(30))
    errors = {place: error for place, error in zip(places, table["error_type"], strict=True) if error}
    assert errors == FAILED
    assert (table["input_tokens"].sum(), table["output_tokens"].sum()) == (94, 99)
    assert table["ttft_s"].count() == table["latency_s"].count() == 27
    assert 1e3 * math.fsum(table["ttft_s"].drop_nulls()) / 27 == pytest.approx(ttft, rel=1e-12)
    assert table["quantization"].unique().to_list() == ["fp16"]
    assert table["concurrency"].unique().to_list() == ["3"]
    said = [f" {answer} ".replace(".", " ") if answer else "" for answer in table["answer"].fill_null("")]
    assert sum(f" {one} " in text for one, text in zip(gold(logs), said, strict=False) if text) == right
    assert not [note for note in imported.notes if "in the log itself" in note]
    assert any("3 of 30" in note for note in imported.notes)


def test_a_pair_joins_on_places_and_its_metadata_is_context(logs):
    before, after = (import_log([logs("vllm_bench") / f"vllm_{run}.json"]).executions for run in ("before", "after"))
    both = before.join(after, on="item", suffix="_after")
    assert both.height == 30
    changed = both.filter(pl.col("answer") != pl.col("answer_after"))["item"].str.split("/").list.last()
    assert sorted(map(int, changed)) == [3, 12, 16, 18, 23]
    together = import_log([logs("vllm_bench")])
    assert together.executions["scaffold"].unique().sort().to_list() == ["run=after", "run=before"]


def made(tmp_path, name="a.json", **changes):
    log = {"date": "20260101-000000", "backend": "vllm", "model_id": "m", "num_prompts": 3, "completed": 3, "failed": 0}
    lists = {"input_lens": [1, 2, 3], "output_lens": [2, 1, 3], "ttfts": [0.1, 0.2, 0.3], "itls": [[0.1], [], [0.1, 0.3]]}
    log |= lists | {"generated_texts": ["a", "b", "c"], "errors": ["", "", ""]} | changes
    path = tmp_path / name
    path.write_text(json.dumps(log))
    return path


def test_latency_from_first_token_and_gaps(tmp_path):
    table = import_log([made(tmp_path)]).executions
    assert table["latency_s"].to_list() == pytest.approx([0.2, 0.2, 0.7])
    assert table["tpot_s"].to_list() == [pytest.approx(0.1), None, pytest.approx(0.2)]
    assert table["engine"].unique().to_list() == ["vllm"]


def test_other_prompts_are_other_items(tmp_path):
    first = import_log([made(tmp_path)]).executions
    other = import_log([made(tmp_path, "b.json", input_lens=[1, 2, 4])]).executions
    assert not set(first["item"]) & set(other["item"])


def test_appended_runs_lists_of_another_length_and_averages_alone(tmp_path):
    first, second = made(tmp_path).read_text(), made(tmp_path, ttfts=[0.1], completed=3).read_text()
    (tmp_path / "both.json").write_text(f"{first}\n{second}\n")
    imported = import_log([tmp_path / "both.json"])
    assert imported.executions.height == 6
    assert imported.executions["trial"].to_list() == [1, 1, 1, 2, 2, 2]
    assert any("ttfts has 1 entries for 3 requests" in note for note in imported.notes)
    with pytest.raises(InputError, match="--save-detailed"):
        import_log([made(tmp_path, "averages.json", input_lens=None)])
