"""What is declared arrives as declared; what cannot be understood is named, with the value seen and the choices."""

import dataclasses
import tomllib

import pytest

from divergence.configuration import Acceptance, Configuration, ContextLaw, RegimeRule
from divergence.errors import InputError

FULL = """
outcome = "latency_s"
kind = "positive"
factors = ["engine", "sampler"]
deployment_law = { vllm = 0.7, sglang = 0.3 }
stability_eps = 0.1
quality_required = 0.6
[prices]
currency = "USD"
date = 2026-05-01
[prices."large model"]
input = 2.5
output = 10
[what_if]
even = "uniform"
moved = { engine = { vllm = 0.25, sglang = 0.75 } }
[acceptance]
quality_min = 0.60
excess_flips_max = 0.05
[columns]
score = "pass_rate_2"
[constants]
trial = 3
[regime]
column = "context"
evaluation = ["imagenet-val", "imagenet-real"]
[where]
source_file = "quant"
n = [1, 2]
fresh = true
"""


def write(folder, text):
    path = folder / "divergence.toml"
    path.write_text(text)
    return path


def test_without_a_file_everything_has_its_default():
    assert Configuration.load() == Configuration()
    assert Configuration().deployment_law == ContextLaw("logged")


def test_every_key_of_a_full_file_is_read(tmp_path):
    path = write(tmp_path, FULL)
    seen = Configuration.load(path)
    assert seen.path == str(path)
    assert (seen.outcome, seen.kind, seen.factors) == ("latency_s", "positive", ("engine", "sampler"))
    assert seen.deployment_law == ContextLaw("declared", {"vllm": 0.7, "sglang": 0.3})
    assert (seen.stability_eps, seen.quality_required) == (0.1, 0.6)
    assert seen.prices.date == "2026-05-01"
    assert seen.prices.per_million_tokens == {"large model": {"input": 2.5, "output": 10.0}}
    assert seen.what_if["even"] == ContextLaw("uniform")
    assert seen.what_if["moved"] == ContextLaw("declared", {"vllm": 0.25, "sglang": 0.75}, factor="engine")
    assert seen.acceptance == Acceptance(quality_min=0.6, excess_flips_max=0.05)
    assert seen.columns == {"score": "pass_rate_2"}
    assert seen.constants == {"trial": "3"}
    assert seen.regime == RegimeRule("context", ("imagenet-val", "imagenet-real"))
    assert seen.where == {"source_file": ("quant",), "n": ("1", "2"), "fresh": ("true",)}


def test_the_file_beside_the_log_is_found(tmp_path):
    write(tmp_path, 'outcome = "cost_usd"')
    (tmp_path / "log.csv").write_text("model\n")
    assert Configuration.beside([tmp_path / "log.csv"]).outcome == "cost_usd"
    assert Configuration.beside([tmp_path]).outcome == "cost_usd"
    assert Configuration.beside([]) == Configuration()


def test_two_files_beside_the_log_need_a_choice(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, "")
    with pytest.raises(InputError, match="--config"):
        Configuration.beside([tmp_path / "a", tmp_path / "b"])


def test_flags_stand_on_top_of_the_file(tmp_path):
    base = Configuration.load(write(tmp_path, '[columns]\nscore = "x"\nmodel = "m"\n[where]\na = "old"\nb = "kept"'))
    seen = base.with_flags(map=["score=pass_rate_2"], set=["regime=evaluation"], where=["a=1", "a=2"])
    assert seen.columns == {"score": "pass_rate_2", "model": "m"}
    assert seen.constants == {"regime": "evaluation"}
    assert seen.where == {"a": ("1", "2"), "b": ("kept",)}
    assert base.where["a"] == ("old",), "the configuration that the flags were put on must not change"


def test_a_value_may_hold_the_equals_sign():
    assert Configuration().with_flags(where=["context=a=b"]).where == {"context": ("a=b",)}


@pytest.mark.parametrize("text", ["score", "=x", "score=", ""])
def test_a_flag_without_name_or_value_is_named(text):
    with pytest.raises(InputError, match="--map takes NAME=VALUE"):
        Configuration().with_flags(map=[text])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('outcom = "score"', "nearest known key is outcome"),
        ("[acceptance]\nquality_mn = 0.5", "nearest known key is quality_min"),
        ('[regime]\ncolumn = "c"\nevaluaton = "x"', "nearest known key is evaluation"),
        ("[prices.m]\ninputs = 1", "nearest known key is input"),
        ("outcome = 3", "outcome is a text, seen 3"),
        ('kind = "binry"', "did you mean binary"),
        ('factors = "engine"', "factors is a list"),
        ("factors = [1]", "factors is a text, seen 1"),
        ('deployment_law = "logd"', "did you mean logged"),
        ("deployment_law = { a = 0.5, b = 0.4 }", "must sum to 1, they sum to 0.9"),
        ("deployment_law = { a = 1.5, b = -0.5 }", "lies between 0 and 1, seen 1.5"),
        ("deployment_law = {}", "must sum to 1"),
        ("what_if = 1", "what_if is a table"),
        ('[what_if]\nx = "none"', "what_if.x is one of"),
        ('stability_eps = "wide"', "stability_eps is a number"),
        ("stability_eps = -1", "stability_eps lies between 0"),
        ("stability_eps = true", "stability_eps is a number"),
        ("quality_required = nan", "quality_required is a number"),
        ("[acceptance]\nexcess_flips_max = 2", "lies between 0 and 1"),
        ("[acceptance]\nlatency_p95_max_s = -1", "acceptance.latency_p95_max_s lies"),
        ("[columns]\nscore = 1", "columns.score is a text"),
        ("[where]\na = []", "empty list"),
        ('[regime]\ncolumn = "c"', "needs both column and evaluation"),
        ("[prices.m]\ninput = -1", "prices.m.input lies"),
        ('prices = "cheap"', "prices is a table"),
        ("outcome = ", "not valid TOML"),
    ],
)
def test_what_cannot_be_understood_is_named(tmp_path, text, sentence):
    with pytest.raises(InputError) as caught:
        Configuration.load(write(tmp_path, text))
    assert sentence in str(caught.value)
    assert "divergence.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_configuration_that_cannot_be_opened_is_named(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        Configuration.load(tmp_path / "none.toml")


KEYS = {
    "": [f.name for f in dataclasses.fields(Configuration) if f.name != "path"],
    "acceptance": [f.name for f in dataclasses.fields(Acceptance)],
    "regime": ["column", "evaluation"],
    "wide": ["model", "columns", "becomes", "trials"],
    "prices": ["currency", "date"],
    "prices.m": ["input", "output", "cached", "reasoning"],
    "values.score": ["scale"],
}
"""Tables whose keys are fixed; the others' are names of the log, which the log is asked for."""


def misspelt(key: str) -> list[str]:
    """The key with a letter left out, doubled, or two that changed places."""
    middle = len(key) // 2
    return [
        key[:middle] + key[middle + 1 :],
        key[:middle] + key[middle] + key[middle:],
        key[:1] + key[2] + key[1] + key[3:],
        key + "s",
    ]


@pytest.mark.parametrize(("table", "key"), [(table, key) for table, keys in KEYS.items() for key in keys])
@pytest.mark.parametrize("inline", [False, True], ids=["section", "inline"])
def test_every_misspelt_key_of_every_table_names_the_nearest(table, key, inline):
    value = (
        '["a"]'
        if table in ("regime", "wide")
        else "[1, 5]"
        if table == "values.score"
        else '"x"'
        if table == "prices"
        else "1"
    )
    for wrong in misspelt(key):
        if wrong in KEYS[table]:
            continue
        head, _, inner = table.partition(".")
        body = f"{wrong} = {value}"
        if inline:
            body = (
                f"{head} = {{ {f'{inner} = {{ {body} }}' if inner else body} }}" if table else f"{wrong} = {{ score = 1 }}"
            )
        elif table:
            body = f"[{table}]\n{body}"
        with pytest.raises(InputError) as error:
            Configuration.from_table(tomllib.loads(body))
        assert key in str(error.value).replace(wrong, ""), body
