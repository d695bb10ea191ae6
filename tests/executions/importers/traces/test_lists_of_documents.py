"""Documents in a list, over several lines, or one after another are the documents that others write line by line."""

import json

import pytest
from polars.testing import assert_frame_equal

from divergence.configuration import Configuration
from divergence.errors import InputError
from divergence.executions import read
from divergence.executions.importers import Privacy, detect, import_log

LINES = {
    "litellm": "litellm/spendlogs_rows.jsonl",
    "otlp": "otlp-genai-openai/traces_file_exporter.jsonl",
    "langsmith": "langsmith/runs_merged.jsonl",
}
SHAPES = {
    "a list": json.dumps,
    "a list over lines": lambda documents: json.dumps(documents, indent=1),
    "a list after a blank": lambda documents: "\n " + json.dumps(documents),
    "one after another over lines": lambda documents: "\n".join(json.dumps(one, indent=2) for one in documents),
    "one after another in a line": lambda documents: " ".join(map(json.dumps, documents)),
    "lines that end as on Windows": lambda documents: "\r\n".join(map(json.dumps, documents)),
    "lines after a mark of byte order": lambda documents: "\ufeff" + "\n".join(map(json.dumps, documents)),
}


def executions(path, format=None):
    imported = import_log([path], format, privacy=Privacy(salt=b"0" * 32))
    return imported.executions.sort("execution_id"), imported.rejected.height


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("format", LINES)
def test_documents_are_read_whatever_lies_between_them(tmp_path, logs, format, shape):
    source = logs(LINES[format])
    documents = [json.loads(line) for line in source.read_text().splitlines() if line.strip()]
    path = tmp_path / "log.json"
    path.write_text(shape(documents))
    assert detect(path) == format
    found, expected = executions(path), executions(source)
    assert_frame_equal(found[0], expected[0])
    assert found[1] == expected[1] and found[0].height


def test_a_list_that_holds_something_else_is_set_aside_by_name(tmp_path, logs):
    row = json.loads(logs(LINES["litellm"]).read_text().splitlines()[0])
    path = tmp_path / "log.json"
    path.write_text(json.dumps([row, 5, None, "text"]))
    imported = import_log([path], privacy=Privacy(salt=b"0" * 32))
    assert (imported.rows, imported.rejected["rule"].to_list()) == (1, ["record_readable"] * 3)


def test_a_log_without_any_execution_says_so(tmp_path, logs):
    header = logs("litellm/spendlogs_psql_copy.csv").read_text().splitlines()[0]
    path = tmp_path / "rows.csv"
    path.write_text(header + "\n")
    imported = import_log([path], privacy=Privacy(salt=b"0" * 32))
    assert imported.rows == 0 and any("There is no execution" in note for note in imported.notes)


def test_what_lies_beside_logs_of_other_tools_in_a_folder_is_named_and_passed_over(tmp_path, logs):
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "rows.jsonl").write_text(logs(LINES["litellm"]).read_text())
    (folder / "export.csv").write_text("Status,Status\nPASS,FAIL\n")
    (folder / "truth.jsonl").write_text('{"model": "m", "item": "a", "score": 1}\n')
    log = read(folder, configuration=Configuration(outcome="latency_s"))
    assert log.counts.valid == 19
    reasons = {file.rsplit("/", 1)[1]: reason for file, reason in log.skipped}
    assert "2 times in line 1" in reasons["export.csv"] and "without a column regime" in reasons["truth.jsonl"]
    with pytest.raises(InputError, match="2 times in line 1"):
        read([folder / "rows.jsonl", folder / "export.csv"])
    with pytest.raises(InputError, match="no column regime"):
        read([folder / "rows.jsonl", folder / "truth.jsonl"])
