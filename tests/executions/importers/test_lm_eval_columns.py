"""Lines of lm-eval read by columns give what the same lines give one by one, whatever is wrong with some of them."""

import json
import math
import random

import pytest

from divergence.executions.importers import import_log, lm_eval, lm_eval_columns

SEED = 20261129


def generated(generator, number):
    text = generator.choice(["a", " b ", "", "é", "x" * 300, "[invalid]"])
    return {
        "doc_id": number,
        "doc": {"question": "q"},
        "target": generator.choice(["a", " a", "[1]", "['a', 'b']", "é", "", "y" * 250, 3]),
        "arguments": {"gen_args_0": {"arg_0": "Q", "arg_1": {"temperature": generator.choice([0, 0.5])}}},
        "resps": [["a"]],
        "filtered_resps": [text],
        "filter": "none",
        "metrics": ["exact_match", "f1"],
        "doc_hash": f"{number:08d}ffffffff",
        "exact_match": float(number % 2),
        "f1": generator.random(),
    }


def chosen(generator, number):
    size = generator.choice([2, 4, 4, 4])
    texts = generator.sample([" A", " B", "C ", " é", " D", "w" * 201, ""], size)
    likelihoods = [str(-generator.choice([1, 2, 3.5, generator.random()])) for _ in texts]
    return {
        **generated(generator, number),
        "target": generator.choice(["0", "1", "9", "B", " A "]),
        "arguments": {f"gen_args_{place}": {"arg_0": "Q", "arg_1": text} for place, text in enumerate(texts)},
        "filtered_resps": [[value, generator.choice(["True", "False"])] for value in likelihoods],
        "metrics": ["acc", "acc_norm"],
        "acc": float(number % 2),
        "acc_norm": 1.0,
    }


DAMAGES = (
    lambda line: {**line, line["metrics"][0]: math.nan},
    lambda line: {**line, line["metrics"][0]: None},
    lambda line: {**line, line["metrics"][0]: [1, 2]},
    lambda line: {**line, line["metrics"][0]: True},
    lambda line: {**line, line["metrics"][0]: 10**400},
    lambda line: {**line, "metrics": []},
    lambda line: {**line, "metrics": line["metrics"][::-1]},
    lambda line: {**line, "metrics": [*line["metrics"], "acc_mutual_info"], "acc_mutual_info": 0.0},
    lambda line: {name: value for name, value in line.items() if name != "metrics"},
    lambda line: {name: value for name, value in line.items() if name != "doc_hash"},
    lambda line: {**line, "doc_id": None},
    lambda line: {**line, "doc_id": "name"},
    lambda line: {**line, "doc_id": 0, "doc_hash": "00000000ffffffff"},
    lambda line: {**line, "doc_hash": "00000001ffffffff"},
    lambda line: {**line, "doc_hash": ""},
    lambda line: {**line, "filtered_resps": []},
    lambda line: {**line, "filtered_resps": [["a", "b"]]},
    lambda line: {**line, "filtered_resps": [["-1_0", "True"], ["-2", "False"]]},
    lambda line: {**line, "filtered_resps": [["nan", "True"], ["-2", "False"]]},
    lambda line: {**line, "filtered_resps": [[-1.5, True], [-2, False]]},
    lambda line: {**line, "filtered_resps": ["\ud800"]},
    lambda line: {**line, "target": "\ud800"},
    lambda line: {**line, "target": None},
    lambda line: {**line, "arguments": [["Q", {"temperature": 1}], ["Q", " B"]]},
    lambda line: {**line, "arguments": {}},
    lambda line: [line],
    lambda line: json.dumps(line)[:-20],
    lambda line: json.dumps(line) + " x",
    lambda line: "\x0b" + json.dumps(line),
    lambda line: json.dumps(line) + "\t ",
)


def read(path, by_columns, monkeypatch):
    with monkeypatch.context() as patch:
        if not by_columns:
            patch.setattr(lm_eval, "_several_filters", lambda *_: True)
        imported = import_log([path])
        parts = (imported.executions, imported.outcomes, imported.rejected.sort("row", "rule"))
    return parts, (imported.notes, imported.unmapped, imported.missing)


@pytest.mark.parametrize("make", [generated, chosen])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5])
@pytest.mark.parametrize("part", [40, 50_000])
def test_both_ways_give_the_same_tables(lm_eval_run, monkeypatch, make, share, part):
    generator = random.Random(SEED)
    lines = [make(generator, number) for number in range(600)]
    lines = [generator.choice(DAMAGES)(line) if generator.random() < share else line for line in lines]
    path = lm_eval_run(lines)
    monkeypatch.setattr(lm_eval_columns, "PART", part)
    (fast, said), (oracle, expected) = (read(path, way, monkeypatch) for way in (True, False))
    assert fast[0].height > 100
    for table, wanted in zip(fast, oracle, strict=True):
        assert table.equals(wanted, null_equal=True)
    assert said == expected


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("make", [generated, chosen])
def test_one_damaged_line_among_good_ones(lm_eval_run, monkeypatch, make, damage):
    generator = random.Random(SEED)
    lines = [make(generator, number) for number in range(40)]
    lines[20] = damage(lines[20])
    path = lm_eval_run(lines)
    (fast, said), (oracle, expected) = (read(path, way, monkeypatch) for way in (True, False))
    assert all(table.equals(wanted, null_equal=True) for table, wanted in zip(fast, oracle, strict=True))
    assert said == expected


def test_like_lines_are_never_read_one_by_one(lm_eval_run, monkeypatch):
    generator = random.Random(SEED)
    monkeypatch.setattr(lm_eval_columns, "_one_by_one", None)
    for make in (generated, chosen):
        path = lm_eval_run([make(generator, number) for number in range(600)])
        assert import_log([path]).rows == 600


def test_a_second_filter_is_found_late(lm_eval_run, monkeypatch):
    generator = random.Random(SEED)
    lines = [generated(generator, number) for number in range(600)]
    path = lm_eval_run([*lines, "{", *({**line, "filter": "flexible"} for line in lines)])
    (fast, said), (oracle, expected) = (read(path, way, monkeypatch) for way in (True, False))
    assert fast[0].height == 600 and fast[1].height == 2400 and fast[2].height == 1
    assert all(table.equals(wanted, null_equal=True) for table, wanted in zip(fast, oracle, strict=True))
    assert said == expected
