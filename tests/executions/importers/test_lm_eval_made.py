"""What the genuine lm-eval run does not show: broken lines, other kinds of task and metric, runs without results."""

import gzip
import math

import pytest

from divergence.errors import InputError
from divergence.executions.importers import Privacy, import_log


def line(number=0, **more):
    return {
        "doc_id": number,
        "doc_hash": f"{number:08d}ff",
        "target": "a",
        "arguments": {},
        "resps": [["a"]],
        "filtered_resps": ["a"],
        "filter": "none",
        "metrics": ["exact_match"],
        "exact_match": 1.0,
        **more,
    }


def choice(likelihoods, continuations, target, **more):
    requests = {f"gen_args_{i}": {"arg_0": "Q", "arg_1": text} for i, text in enumerate(continuations)}
    pairs = [[str(value), "False"] for value in likelihoods]
    return line(arguments=requests, filtered_resps=pairs, target=target, metrics=["acc"], acc=1.0, **more)


def test_broken_lines_are_set_aside_with_their_number(lm_eval_run):
    lines = [
        line(0),
        '{"doc_id": 1,',
        line(2, exact_match=math.nan),
        line(0),
        line(4, doc_id=None),
        "[]",
        line(6, metrics=[]),
        line(7, exact_match=None),
        "",
        line(9),
    ]
    imported = import_log([lm_eval_run(lines)])
    assert imported.executions["item"].to_list() == ["t/00000000ff", "t/00000009ff"]
    assert imported.rejected.sort("row").select("row", "rule").rows() == [
        (2, "record_readable"),
        (3, "score_finite"),
        (4, "filter_unique"),
        (5, "record_is_sample"),
        (6, "record_is_sample"),
        (7, "record_is_sample"),
        (8, "score_finite"),
    ]
    assert all(sentence.endswith(".") for sentence in imported.rejected["sentence"])


def test_a_document_whose_primary_line_is_lost_is_not_scored_by_another_filter(lm_eval_run):
    lines = [line(0, filter="strict"), "{", line(0, filter="flex"), line(1, filter="flex")]
    imported = import_log([lm_eval_run(lines)])
    assert imported.executions.height == 1
    assert imported.rejected.sort("row")["rule"].to_list() == ["record_readable", "score_finite"]
    assert "exact_match,strict is absent" in imported.rejected.sort("row")["sentence"][1]


def test_an_empty_file_is_refused(lm_eval_run):
    with pytest.raises(InputError, match="is empty"):
        import_log([lm_eval_run([])])


def test_without_results_the_model_must_be_named(lm_eval_run):
    path = lm_eval_run([line()], results=None)
    with pytest.raises(InputError, match="--set model=NAME"):
        import_log([path])
    imported = import_log([path], constants={"model": "llama", "engine": "vllm"})
    assert imported.executions.select("model", "engine").row(0) == ("llama", "vllm")
    assert any("without its results_*.json" in note for note in imported.notes)


def test_results_of_another_run_are_not_taken(lm_eval_run, tmp_path):
    path = lm_eval_run([line()], results={})
    other = path.rename(tmp_path / "samples_t_2026-02-02T00-00-00.0.jsonl")
    with pytest.raises(InputError, match="--set model=NAME"):
        import_log([other])
    assert import_log([other, *tmp_path.glob("results_*.json")]).executions["model"].to_list() == ["m"]


def test_choices_are_named_by_text_or_by_place(lm_eval_run):
    lines = [
        choice([-2, -1], [" A", " B"], "1", number=0),
        choice([-2, -1], [" same", " same"], "0", number=1),
        choice([-2, -1], [" A", " B"], "B", number=2),
        choice([-2, -1], ["x" * 300, "y" * 300], "1", number=3),
        choice([-2, -1], [" A", " B"], "[0, 1]", number=4),
    ]
    table = import_log([lm_eval_run(lines)]).executions
    assert table["answer"].to_list() == ["B", "1", "B", "1", "B"]
    assert table["gold"].to_list() == ["B", "0", "B", "1", None]


def test_the_second_half_of_mutual_information_requests_is_no_choice(lm_eval_run):
    one = choice([-2, -3, -0.1, -0.2], [" A", " B", " A", " B"], "0")
    one |= {"metrics": ["acc", "acc_mutual_info"], "acc_mutual_info": 0.0}
    assert import_log([lm_eval_run([one])]).executions["answer"].to_list() == ["A"]


def test_single_continuations_and_repeats_have_no_answer(lm_eval_run):
    rolling = line(0, filtered_resps=[["-12.5", "True"]], metrics=["acc"], acc=1.0)
    repeats = line(1, filtered_resps=[["a", "b"]], metrics=["acc"], acc=0.5)
    assert "answer" in import_log([lm_eval_run([rolling, repeats])]).missing


def test_long_answers_are_hashed_and_short_ones_stay_where_texts_are_asked_for(lm_eval_run):
    lines = [line(0, filtered_resps=["w" * 201]), line(1, filtered_resps=["w" * 200])]
    table = import_log([lm_eval_run(lines)], privacy=Privacy(keep_text=True)).executions
    assert table["answer"][0].startswith("sha256:")
    assert table["answer"][1] == "w" * 200
    assert import_log([lm_eval_run(lines)]).executions["answer"].str.starts_with("sha256:").all()


def test_progress_is_told_while_a_file_is_read(lm_eval_run):
    told = []
    import_log([lm_eval_run([line(number) for number in range(6)])], progress=told.append)
    assert told and told[-1] == "6 rows read"


def test_metrics_where_lower_is_better_or_beyond_one_are_no_score(lm_eval_run):
    path = lm_eval_run([line(0, metrics=["brier"], brier=0.2)], results={"higher_is_better": {"t": {"brier": False}}})
    imported = import_log([path])
    assert imported.executions["score"].to_list() == [None]
    assert imported.outcomes["value"].to_list() == [0.2]
    assert any("lower is better" in note for note in imported.notes)
    words = import_log([lm_eval_run([line(0, metrics=["word_perplexity"], word_perplexity=[-20.5, 7])])])
    assert words.outcomes.select("value", "label").row(0) == (None, "[-20.5,7]")
    assert words.executions["score"].to_list() == [None]
    bleu = import_log([lm_eval_run([line(0, metrics=["bleu"], bleu=31.0), line(1, metrics=["bleu"], bleu=0.5)])])
    assert bleu.executions["score"].to_list() == [None, None]


def test_older_lines_without_a_list_of_metrics(lm_eval_run):
    old = {
        "doc_id": 0,
        "doc": {},
        "target": "a",
        "arguments": [["Q", {"temperature": 0.5}]],
        "resps": [["a"]],
        "filtered_resps": ["a"],
        "exact_match": 1.0,
        "f1": 0.5,
    }
    imported = import_log([lm_eval_run([old])])
    assert imported.outcomes["metric"].to_list() == ["exact_match", "f1"]
    assert imported.executions["sampler"].to_list() == ["temperature=0.5"]


def test_runs_of_one_item_in_one_context_are_trials(lm_eval_run):
    first = lm_eval_run([line()], stamp="2026-01-01T00-00-00.0")
    second = lm_eval_run([line(), line(1)], stamp="2026-01-02T00-00-00.0")
    other = lm_eval_run([line(0, extra=1)], stamp="2026-01-03T00-00-00.0", results={"chat_template_sha": "abc"})
    assert import_log([first, second, other]).executions["trial"].to_list() == [1, 2, 1, 1]


def test_the_same_file_twice_is_counted_once(lm_eval_run, tmp_path):
    path = lm_eval_run([line()])
    copy = tmp_path / "copy" / path.name
    copy.parent.mkdir()
    copy.write_bytes(path.read_bytes())
    imported = import_log([path, copy, *tmp_path.glob("results_*.json")])
    assert imported.executions.height == 1
    assert imported.rejected["rule"].to_list() == ["execution_id_unique"]


def test_what_the_run_says_becomes_serving_factors_and_secrets_do_not(lm_eval_run):
    arguments = "pretrained=org/llama,tensor_parallel_size=2,kv_cache_dtype=fp8,api_key=sk-hidden"
    config = {
        "model": "vllm",
        "batch_size": "auto",
        "model_dtype": "torch.bfloat16",
        "model_args": arguments,
        "gen_kwargs": "temperature=0.2",
    }
    said = {
        "model_name": "org/llama",
        "model_source": "vllm",
        "n-shot": {"t": 5},
        "date": 1.7e9,
        "config": config,
        "chat_template_sha": "0123456789abcdef",
        "system_instruction_sha": "fedcba9876543210",
    }
    imported = import_log([lm_eval_run([line()], results=said)])
    row = imported.executions.row(0, named=True)
    named = ("model", "engine", "parallelism", "kv_cache_dtype", "quantization")
    assert [row[name] for name in named] == ["org/llama", "vllm", "tp=2", "fp8", "bfloat16"]
    assert row["chat_template"] == "sha256:0123456789ab"
    assert row["prompt_version"] == "shots=5,system=fedcba987654"
    assert row["batch_policy"] == "batch_size=auto"
    assert "hidden" not in repr(imported)
    assert any("results.config.model_args.api_key" in note for note in imported.notes)


def test_compressed_lines(lm_eval_run):
    path = lm_eval_run([line(), line(1)])
    packed = path.with_name(path.name + ".gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    assert import_log([packed]).executions.height == 2
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(InputError, match="cannot be read to its end"):
        import_log([packed])


def test_results_under_another_name(lm_eval_run, tmp_path):
    path = lm_eval_run([line()])
    (tmp_path / "results_2026-01-01T00-00-00.0.json").rename(tmp_path / "run7_2026-01-01T00-00-00.0.json")
    assert import_log([path]).executions["model"].to_list() == ["m"]
    assert import_log([tmp_path]).executions["model"].to_list() == ["m"]
