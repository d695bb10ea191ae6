"""What stands in the wrong column is never told: a prompt, a completion or a key that a wrong mapping put where a number
belongs is in no sentence, no table of rejected rows, no note and no error, as it is, lower-cased or in base64."""

import base64
import json

import polars as pl
import pytest

import divergence as dv
from divergence.cli import main
from divergence.configuration import Configuration
from divergence.executions.importers import import_log, write
from divergence.executions.quoted import quoted, quoted_text

PROMPT = "Tell Nobody about the Canary-Prompt\x1b[31m in\nthe Mine"
KEY = "sk-Canary7f3QxZ9eLm"
SECRETS = (PROMPT, KEY, {"role": "user", "content": PROMPT}, [PROMPT, KEY], base64.b64encode(PROMPT.encode()).decode())


COLUMNS = ["score", "score_n", "trial", "time", "latency_s", "probability", "cost_usd", "regime", "item"]


def forms() -> list[str]:
    """What must not be seen, lower-cased."""
    parts = [KEY, "Canary-Prompt", "about the Canary", *(base64.b64encode(s.encode()).decode()[:12] for s in (PROMPT, KEY))]
    return [part.lower() for part in parts]


def check(told: object) -> None:
    text = str(told).lower()
    assert not [form for form in forms() if form in text], text[:500]


@pytest.mark.parametrize("secret", SECRETS, ids=["prompt", "key", "object", "list", "base64"])
def test_a_value_of_the_wrong_kind_is_said_by_its_size(secret):
    said = quoted(secret)
    check(said)
    assert said.isprintable() and len(said) <= 60


@pytest.mark.parametrize(
    "value", ["abc", "very good", "2026-01-01T00:00:00+14:00", "1.2345678901e-05", "é", "\x1b", -1, None, []]
)
def test_what_can_be_read_at_once_is_said(value):
    assert quoted(value) == (ascii(value) if value == "\x1b" else repr(value))


def test_a_column_is_said_as_a_value_is():
    texts = [PROMPT, KEY, "abc", "2026-01-01 00:00:00", "1e400", "a b c", "", "x" * 25]
    column = pl.DataFrame({"a": texts}).select(quoted_text(pl.col("a")))["a"].to_list()
    assert [one if one.startswith("a text") else repr(one) for one in column] == [quoted(text) for text in texts]


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("secret", [PROMPT, KEY], ids=["prompt", "key"])
def test_a_log_with_texts_in_a_wrong_column(column, secret, rows, tmp_path, capsys):
    frame = rows().with_columns(score_n=pl.lit(1), probability=pl.lit(0.5), latency_s=pl.lit(1.0), cost_usd=pl.lit(0.1))
    frame = frame.with_columns(time=pl.lit("2026-01-01T00:00:00Z"), trial=pl.lit(1))
    place = pl.int_range(pl.len()) == 0
    if column == "item":  # an item is what a log calls it; it is not told in a sentence
        named = pl.when(place).then(pl.lit(secret)).otherwise("item").alias("item")
        frame = frame.with_columns(named, score=pl.lit("nope"))
    else:
        frame = frame.with_columns(
            pl.when(place).then(pl.lit(secret)).otherwise(pl.col(column).cast(pl.String)).alias(column)
        )
    path = tmp_path / "log.csv"
    frame.write_csv(path)
    try:
        log = dv.read(path, configuration=Configuration(), accept_rejected=1.0)
    except dv.InputError as error:
        check(error)
    else:
        check(log.rejected.rows())
        check(log.unused)
        check(repr(log) if column not in ("regime", "item") else "")
    for extra in ([], ["--accept-rejected", "1"]):
        with pytest.raises(SystemExit):
            main(["check", str(path), *extra])
        told = capsys.readouterr()
        check(told.err)


def test_a_foreign_log_with_texts_in_a_wrong_place(tmp_path):
    """Every value of a run in turn, in a format whose mapping reads counts, times, names and costs."""
    whole = {"id": "run-1", "run_type": "llm", "dotted_order": "o", "trace_id": "t", "start_time": "2026-01-01T00:00:00Z",
             "end_time": "2026-01-01T00:00:01Z", "first_token_time": "2026-01-01T00:00:00.5Z", "total_cost": 0.1,
             "feedback_stats": {"good": {"avg": 1}}, "extra": {"metadata": {"ls_model_name": "m", "session_id": "s"}},
             "outputs": {"usage_metadata": {"input_tokens": 1, "output_tokens": 2}, "model": "m"}}  # fmt: skip
    paths = [("start_time",), ("end_time",), ("first_token_time",), ("total_cost",), ("feedback_stats",), ("extra",)]
    paths += [("feedback_stats", "good", "avg"), ("extra", "metadata"), ("outputs", "usage_metadata", "input_tokens")]
    paths += [("outputs", "usage_metadata", "output_tokens"), ("outputs", "usage_metadata"), ("outputs",), ("id",)]
    for number, (path, secret) in enumerate((path, secret) for path in paths for secret in SECRETS[:4]):
        changed = json.loads(json.dumps(whole))
        part = changed
        for name in path[:-1]:
            part = part[name]
        part[path[-1]] = secret
        file = tmp_path / f"{number}.jsonl"
        file.write_text("".join(json.dumps(run) + "\n" for run in ({**whole, "id": "run-0"}, changed)))
        try:
            imported = import_log([file], "langsmith")
        except dv.InputError as error:
            check(error)
            continue
        check([*imported.notes, *imported.rejected["sentence"]])
        if path != ("id",):  # the identity of a run is what its log calls it
            for written in write(imported, tmp_path / f"{number}.parquet"):
                check(pl.read_parquet(written).rows())
