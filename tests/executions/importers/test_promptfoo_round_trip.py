"""A real promptfoo writes a log against a server on loopback, and it is read with the numbers that the server knows.

Needs promptfoo (`npm install promptfoo`, node 22): on the PATH, or as the command in `DIVERGENCE_PROMPTFOO`.
"""

import http.server
import json
import os
import shlex
import shutil
import subprocess
import threading

import polars as pl
import pytest

from divergence.executions.importers import import_log

pytestmark = pytest.mark.tools

QUESTIONS = {  # question -> what the server answers, and what is right
    "2 + 2": ("4", "4"),
    "2 + 3": ("6", "5"),
    "3 + 3": ("6", "6"),
    "1 + 1": ("", "2"),
    "9 + 9": (None, "18"),  # refused with status 400
}
PROMPT_TOKENS, COMPLETION_TOKENS = 5, 2


class Server(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))["messages"][-1]["content"]
        answer = QUESTIONS[asked][0]
        usage = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": COMPLETION_TOKENS}
        usage["total_tokens"] = sum(usage.values())
        message = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": answer}}
        body = {"id": "x", "object": "chat.completion", "choices": [message], "usage": usage}
        if answer is None:
            body = {"error": {"message": "no", "type": "invalid_request_error"}}
        written = json.dumps(body).encode()
        self.send_response(400 if answer is None else 200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(written)))
        self.end_headers()
        self.wfile.write(written)

    def log_message(self, *_):
        pass


@pytest.fixture
def address():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


def command() -> list[str]:
    given = os.environ.get("DIVERGENCE_PROMPTFOO")
    found = shlex.split(given) if given else [shutil.which("promptfoo")]
    if found[0] is None:
        pytest.skip("promptfoo is not on this machine")
    return found


def test_promptfoo_writes_and_we_read_the_same_numbers(tmp_path, address):
    provider = {"apiBaseUrl": address, "apiKey": "sk-canary", "temperature": 0.25, "max_tokens": 9}
    tests = [
        {
            "description": f"item {number}",
            "vars": {"question": question},
            "assert": [
                {"type": "equals", "value": right, "metric": "correct"},
                {"type": "latency", "threshold": 0.001, "metric": "speed"},  # always fails, and is no quality
            ],
        }
        for number, (question, (_, right)) in enumerate(QUESTIONS.items())
    ]
    declared = {"id": "openai:chat:gpt-4o-mini", "label": "a", "config": provider}
    config = {"prompts": ["{{question}}"], "providers": [declared], "tests": tests}
    (tmp_path / "config.json").write_text(json.dumps(config))
    quiet = {f"PROMPTFOO_{name}": "1" for name in ("DISABLE_TELEMETRY", "DISABLE_UPDATE", "DISABLE_REMOTE_GENERATION")}
    flags = ["eval", "-c", "config.json", "--no-cache", "--no-table", "-o", "out.json", "-o", "out.jsonl"]
    environment = {**os.environ, **quiet, "PROMPTFOO_CONFIG_DIR": str(tmp_path / "home")}
    done = subprocess.run([*command(), *flags], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=500)
    assert (tmp_path / "out.json").is_file(), done.stderr

    for name in ("out.json", "out.jsonl"):
        imported = import_log([tmp_path / name])
        table = imported.executions.sort("item")
        answered = [answer for answer, _ in QUESTIONS.values() if answer is not None]
        expected = [None if answer is None else float(answer == right) for answer, right in QUESTIONS.values()]
        assert table["score"].to_list() == expected
        assert table["error_type"].to_list() == [None] * 4 + ["http_400"]
        assert table["input_tokens"].sum() == PROMPT_TOKENS * len(answered)
        assert table["output_tokens"].sum() == COMPLETION_TOKENS * len(answered)
        assert imported.outcomes.filter(pl.col("metric") == "speed")["value"].sum() == 0
        assert "canary" not in repr(imported)
        assert not [note for note in imported.notes if "in the log itself" in note]
        if name == "out.json":
            assert table["sampler"].unique().to_list() == ["temperature=0.25,max_tokens=9"]
            assert table["router"].unique().to_list() == [address.split("/")[2]]
