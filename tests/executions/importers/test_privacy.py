"""Nothing of people and texts leaves a foreign log: canaries in the genuine files of every format, and the salt."""

import json
import re
import stat

import pytest
from genuine_logs import genuine, rewritten

from divergence.errors import InputError
from divergence.executions.importers import Privacy, formats, import_log, write
from divergence.executions.importers.factors import without_secrets
from divergence.executions.importers.format import GENUINE
from divergence.executions.importers.mapping import Draft
from divergence.executions.importers.privacy import default_salt_path
from divergence.executions.importers.registry import module
from divergence.executions.importers.runs import flat

CANARY = "canary7f3a"
PERSONAL = re.compile(
    r"api[_.-]?key|secret|password|authorization|credential|bearer|user[_.-]?id|end[_.-]?user|(^|[_.])user$|e?mail|(^|_)ip(_|$)"
    r"|ip_address|address_ip|peer\.ip|client\.address|session[_.-]?id|sessionId|thread_id|gen_ai\.conversation|trace\.session",
    re.IGNORECASE,
)
TEXT = re.compile(r"\S+\s+\S+\s+\S+")  # three words: a prompt, a completion, an explanation
ANSWERED = {"completion", "answer", "sampled", "raw", "content", "text", "generated_texts", "filtered_resps", "target"}
"""Names under which tools keep what was answered and what is right, which are short and stay short."""
FILES = 3  # of each format


def marked(value, name=""):
    """The same document with a canary in every text and in everything personal."""
    if isinstance(value, dict) and isinstance(value.get("key"), str) and "value" in value:  # an attribute of OTLP
        return {**value, "value": marked(value["value"], value["key"])}
    if isinstance(value, dict) and "errorType" in value:  # an answer of a server of metrics, not of a model
        return value
    if isinstance(value, dict):
        inner = {"stringValue", "value"} & set(value)
        return {key: marked(part, name if key in inner and name else key) for key, part in value.items()}
    if isinstance(value, list):
        return [marked(part, name) for part in value]
    if not isinstance(value, str):
        return value
    if PERSONAL.search(name):
        return f"{CANARY}-{value}"
    if value[:1] in "[{":
        try:
            return json.dumps(marked(json.loads(value), name))
        except ValueError:
            pass
    if name in ANSWERED and value.strip():
        return f"{value} {CANARY}"
    if TEXT.search(value) and not re.fullmatch(r"[\d\s:.+TZ-]+|\d{4}-\d\d-\d\d .*", value):
        return f"{value} {CANARY} " + "and so on at length " * 12
    return value


@pytest.mark.parametrize("name", formats())
def test_no_canary_leaves_a_genuine_log(name, tmp_path):
    files = genuine().get(name, ())
    if not files:
        pytest.skip(f"no genuine file of {name} under ../shared")
    seen = 0
    for number, path in enumerate(files):
        folder = tmp_path / str(number)
        folder.mkdir()
        target = folder / path.name
        try:
            if seen == FILES or not rewritten(path, target, marked):
                continue
            for beside in path.parent.glob("*.json"):  # results that belong to the samples
                if beside != path and beside.stat().st_size < 2**20:
                    rewritten(beside, folder / beside.name, marked)
            imported = import_log([target], format=name, privacy=Privacy(salt=b"0" * 32))
        except InputError:
            continue
        holds_texts = CANARY.encode() in target.read_bytes() or target.read_bytes()[:2] == b"PK"
        seen += bool(imported.rows) and holds_texts
        written = write(imported, folder / "out.parquet") if imported.rows or imported.telemetry.height else ()
        told = [*imported.notes, *imported.unmapped, *imported.sources, *imported.rejected["sentence"]]
        for table in (imported.executions, imported.outcomes, imported.telemetry, imported.texts):
            told += [f"{column}: {value}" for column in table.columns for value in set(map(str, table[column]))]
        assert not [one for one in told if CANARY in one], path
        assert not [file for file in written if CANARY.encode() in file.read_bytes()]
    if not seen:
        pytest.skip(f"no genuine file of {name} holds texts and can be rewritten")


def test_texts_are_kept_where_they_are_asked_for_and_nowhere_else(inspect_log, lm_eval_run, tmp_path):
    sample = {"id": "a", "epoch": 1, "uuid": "u", "target": "x", "scores": {"match": {"value": "C"}}}
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 2 + 2?"}]
    arguments = {"gen_args_0": {"arg_0": [json.dumps(chat)], "arg_1": {}}}
    line = {"doc_id": 0, "filter": "none", "metrics": ["acc"], "acc": 0.0, "filtered_resps": ["4"], "resps": [["It is 4"]]}
    paths = [
        inspect_log([{**sample, "input": chat, "output": {"completion": "4!"}}]),
        lm_eval_run([{**line, "arguments": arguments}]),
    ]
    assert import_log(paths).texts.height == 0
    kept = import_log(paths, privacy=Privacy(keep_text=True, salt=b"1" * 32))
    assert kept.texts.sort("text")["text"].to_list() == ["4!", "It is 4", "What is 2 + 2?", "What is 2 + 2?"]
    assert [path.name for path in write(kept, tmp_path / "a.parquet")][-1] == "a.texts.parquet"


def test_an_item_is_known_by_its_prompt_over_tools_where_it_is_asked_for(inspect_log, lm_eval_run):
    sample = {"id": "a", "epoch": 1, "uuid": "u", "target": "x", "scores": {"match": {"value": "C"}}}
    line = {"doc_id": 0, "filter": "none", "metrics": ["acc"], "acc": 0.0, "filtered_resps": ["4"]}
    arguments = {"gen_args_0": {"arg_0": "What is  2 + 2?\n", "arg_1": {}}}
    paths = [inspect_log([{**sample, "input": "What is 2 + 2?"}]), lm_eval_run([{**line, "arguments": arguments}])]
    assert import_log(paths).executions["item"].n_unique() == 2
    joined = import_log(paths, privacy=Privacy(salt=b"1" * 32, item_by_prompt=True)).executions
    assert joined["item"].n_unique() == 1
    assert joined["item"][0].startswith("prompt:")
    assert "2 + 2" not in str(joined.rows())


def test_a_pseudonym_is_stable_under_one_salt_and_says_nothing_under_another():
    mine, yours = Privacy(salt=b"a" * 32), Privacy(salt=b"b" * 32)
    assert mine.pseudonym("user", "ann") == mine.pseudonym("user", "ann")
    assert mine.pseudonym("user", "ann") != yours.pseudonym("user", "ann")
    assert mine.pseudonym("user", "ann") != mine.pseudonym("key", "ann")
    assert "ann" not in mine.pseudonym("user", "ann").removeprefix("user:")
    assert mine.prompt_item("What  is\n2 + 2?") == mine.prompt_item("What is 2 + 2? ")
    assert mine.prompt_item("What is 2 + 2?") != mine.prompt_item("What is 2 + 3?")


def test_the_salt_is_made_once_for_its_owner_alone_and_no_result_carries_it(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    first = Privacy().pseudonym("user", "ann")
    assert default_salt_path().is_relative_to(tmp_path)
    assert stat.S_IMODE(default_salt_path().stat().st_mode) == 0o600
    assert Privacy().pseudonym("user", "ann") == first
    default_salt_path().unlink()
    assert Privacy().pseudonym("user", "ann") != first


@pytest.mark.parametrize("content", ["", "short"])
def test_a_salt_that_is_none_is_refused(tmp_path, content):
    (tmp_path / "salt").write_text(content)
    with pytest.raises(InputError, match="at least"):
        Privacy(salt_path=tmp_path / "salt").pseudonym("user", "ann")


def test_every_format_that_claims_genuine_files_has_some():
    if not genuine():
        pytest.skip("../shared is not on this machine")
    claimed = {name for name in formats() if module(name).FORMAT.evidence == GENUINE}
    assert claimed <= set(genuine(2**30)), claimed - set(genuine(2**30))


SETTINGS = {
    "base_url": "http://alice:hunter2@model.example:8000/v1?api_key=hunter2&v=1",
    "headers": {"X-Own-Name": "hunter2"},
    "header": '{"Authorization": "Bearer hunter2"}',
    "client": {"password": "hunter2", "auth": "hunter2", "retries": 3},
    "env": {"OPENAI": "hunter2"},
    "arguments": "api_key=hunter2,temperature=0.7,'password': 'hunter2'",
    "user_email": "alice@example.org",
    "user": "alice",
    "stages": [{"token": "hunter2", "turns": 2}],
}


def test_settings_carry_no_secret_at_any_depth():
    draft = Draft((), (), {})
    draft.run_settings("a", SETTINGS)
    assert draft.runs["a"] == {
        "base_url": "http://model.example:8000/v1?api_key=...&v=1",
        "client": '{"retries":3}',
        "arguments": "api_key=...,temperature=0.7,'password': ...",
        "stages": '[{"turns":2}]',
    }
    flattened = json.dumps({**flat(SETTINGS), **{name: without_secrets(text) for name, text in flat(SETTINGS).items()}})
    assert "hunter2" not in flattened and "alice" not in flattened


def test_settings_of_a_run_of_inspect_reach_no_context_with_their_secrets(logs, tmp_path):
    (log,) = (logs("inspect") / "dict-json").glob("*.json")
    document = json.loads(log.read_text())
    document["eval"] |= {"model_args": SETTINGS, "task_args": SETTINGS, "run_id": "other", "task_id": "other"}
    for sample in document["samples"]:
        sample["uuid"] += "-other"
    (tmp_path / "other.json").write_text(json.dumps(document))
    imported = import_log([log, tmp_path / "other.json"])
    assert imported.rows == 16 and imported.executions["scaffold"].n_unique() == 2
    written = json.dumps([imported.executions.write_csv(), *imported.notes, *imported.unmapped])
    assert "hunter2" not in written and "alice" not in written


def test_texts_that_were_asked_for_and_are_not_there_are_said(logs):
    log = logs("openai_evals") / "before.jsonl"
    said = "No text is kept: these logs of openai-evals hold none, or none is read from that format."
    assert said in import_log([log], privacy=Privacy(keep_text=True, salt=b"s" * 32)).notes
    assert said not in import_log([log]).notes
