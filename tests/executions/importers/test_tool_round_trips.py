"""Real tools write logs of calls whose numbers are known, and these are read with the same numbers.

Each test runs its tool in a process of its own, with this Python or with that of an environment in which the tool is
installed, which `DIVERGENCE_INSPECT`, `DIVERGENCE_LM_EVAL`, `DIVERGENCE_OPENTELEMETRY`, `DIVERGENCE_CHDB` name:
OpenTelemetry's instrumentation of the OpenAI client (old and new package) against a server on loopback, Inspect with its
model of fixed answers, lm-eval with a task of its own against a server on loopback, and ClickHouse's engine (chdb) with
tables as Langfuse has them.
"""

import json
import os
import subprocess
import sys

import pytest
from loopback import WebLoopback

from divergence.executions.importers import import_log

pytestmark = pytest.mark.tools

ASKED = [(5, 2, 200), (11, 7, 200), (3, 1, 200), (8, 4, 429), (13, 6, 200)]
"""(input tokens, output tokens, status) of the answers of the server, in this order."""

CLIENT = """
import openai
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
try:
    from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor
except ImportError:
    from opentelemetry.instrumentation.openai_v2 import OpenAIInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
import sys
from google.protobuf.json_format import MessageToJson
kept, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(kept))
OpenAIInstrumentor().instrument(tracer_provider=provider)
client = openai.OpenAI(base_url=sys.argv[1], api_key="none", max_retries=0)
for number in range(int(sys.argv[3])):
    try:
        client.chat.completions.create(model="stub", messages=[{"role": "user", "content": f"question {number}"}])
    except openai.APIStatusError:
        pass
open(sys.argv[2], "w").write(MessageToJson(encode_spans(kept.get_finished_spans())))
"""

EVALUATION = """
import sys
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.model import ModelOutput, ModelUsage, get_model
from inspect_ai.scorer import match
answers = ["4", "5", "6", "6", "2"]
samples = [Sample(input=f"question {n}", target="6" if n else "4", id=f"q{n}") for n in range(5)]
outputs = [ModelOutput.from_content("mockllm/model", answer) for answer in answers]
for n, output in enumerate(outputs):  # else the model counts tokens with a vocabulary from the network
    output.usage = ModelUsage(input_tokens=10 + n, output_tokens=1 + n, total_tokens=11 + 2 * n)
model = get_model("mockllm/model", custom_outputs=outputs)
task = Task(dataset=samples, scorer=match())
(log,) = eval(task, model=model, log_dir=sys.argv[1], display="none", max_connections=1, max_samples=1)
assert log.status == "success", log.error
"""


QUESTIONS = {"What is 2 + 2?": ("4", "4"), "What is 2 + 3?": ("6", "5"), "3 + 3?": ("6", "6"), "1 + 1?": ("", "2")}
"""Question -> what the server answers, and what is right."""

TASK = """
task: sums
dataset_path: json
dataset_kwargs: {data_files: {test: FOLDER/questions.jsonl}}
test_split: test
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{target}}"
generation_kwargs: {until: ["\\n"], max_gen_toks: 8, temperature: 0.5, do_sample: true}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
"""

TABLES = """
import sys
from chdb import session
ask = session.Session().query
ask("CREATE DATABASE langfuse")
ask("USE langfuse")
ask('''CREATE TABLE observations (project_id String, type LowCardinality(String), id String, trace_id String,
    parent_observation_id Nullable(String), environment LowCardinality(String), level LowCardinality(String),
    start_time DateTime64(3), end_time Nullable(DateTime64(3)), completion_start_time Nullable(DateTime64(3)),
    input Nullable(String), provided_model_name Nullable(String), model_parameters Nullable(String),
    usage_details Map(LowCardinality(String), UInt64), cost_details Map(LowCardinality(String), Decimal64(12)),
    prompt_version Nullable(UInt16), event_ts DateTime64(3), is_deleted UInt8)
    ENGINE = ReplacingMergeTree(event_ts, is_deleted) ORDER BY (project_id, type, toDate(start_time), id)''')
ask('''CREATE TABLE scores (project_id String, id String, trace_id String, observation_id Nullable(String), name String,
    timestamp DateTime64(3), value Float64, source String, comment Nullable(String), data_type String,
    string_value Nullable(String), event_ts DateTime64(3), is_deleted UInt8)
    ENGINE = ReplacingMergeTree(event_ts, is_deleted) ORDER BY (project_id, toDate(timestamp), name, id)''')
ask("SYSTEM STOP MERGES observations")
used, paid = "{'input': 10, 'output': 5, 'total': 15, 'input_cached_tokens': 4}", "{'input': 0.0001, 'total': 0.000123}"
began, ended = "2026-01-02 03:04:05.000", "'2026-01-02 03:04:06.500'"
def write(id, type="GENERATION", used=used, paid=paid, ended=ended, level="DEFAULT", second=10, deleted=0):
    parent = "NULL" if type == "AGENT" else "'a'"
    ask(f'''INSERT INTO observations VALUES ('p', '{type}', '{id}', 't', {parent}, 'default', '{level}', '{began}', {ended},
        '2026-01-02 03:04:05.250', 'canary', 'm-1', '{{"temperature": 0.5}}', {used}, {paid}, 3,
        '2026-01-02 03:05:{second:02d}.000', {deleted})''')
write("a", "AGENT", "{}", "{}")
write("b", used="{}", paid="{}", ended="NULL", second=1)  # as it is written when it begins
write("b")
write("c")
write("c", second=20, deleted=1)
write("d", level="ERROR", used="{}", paid="{}")
write("e", "EMBEDDING", "{'input': 7}", "{'total': 0}")
given = "'p', 's', 't', 'b', 'helpful', '2026-01-02 03:05:00.000', 0.75, 'ANNOTATION', 'canary', 'NUMERIC', NULL, now(), 0"
ask(f"INSERT INTO scores VALUES ({given})")
for table in ("observations", "scores"):
    for kind, end in (("Parquet", "parquet"), ("JSONEachRow", "jsonl")):
        for merged in ("", "FINAL"):
            ask(f"SELECT * FROM {table} {merged} INTO OUTFILE '{sys.argv[1]}/{table}{merged}.{end}' FORMAT {kind}")
"""


class Answers(WebLoopback):
    """Answers each of `QUESTIONS` with its answer."""

    def routes(self):
        return [("POST", "/v1/chat/completions", self._handle)]

    async def _handle(self, request):
        from aiohttp import web

        (asked,) = [m["content"] for m in (await request.json())["messages"] if m["role"] == "user"]
        message = {"role": "assistant", "content": QUESTIONS[asked][0]}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        body = {"id": "x", "object": "chat.completion", "created": 1, "model": "stub-1", "choices": [choice]}
        return web.json_response({**body, "usage": {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}})


class Stub(WebLoopback):
    """Answers the n-th request with the n-th of `ASKED`."""

    def __init__(self):
        self.number = 0
        super().__init__()

    def routes(self):
        return [("POST", "/v1/chat/completions", self._handle)]

    async def _handle(self, _request):
        from aiohttp import web

        (read, written, status), name = ASKED[self.number], f"chatcmpl-{self.number}"
        self.number += 1
        if status != 200:
            return web.json_response({"error": {"message": "slow down", "type": "rate_limit"}}, status=status)
        message = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "yes"}}
        usage = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
        body = {"id": name, "object": "chat.completion", "created": 1, "model": "stub-1", "choices": [message]}
        return web.json_response({**body, "usage": usage})


def python(tool, *modules):
    """The Python that runs a tool; the test is skipped where it has not these modules."""
    found = os.environ.get(f"DIVERGENCE_{tool}", sys.executable)
    looked = "import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]"
    if subprocess.run([found, "-c", looked, *modules], capture_output=True, timeout=300).returncode:
        pytest.skip(f"{', '.join(modules)}: not all are on this machine")
    return found


def run(python, script, *given):
    environment = {**os.environ, "INSPECT_DISABLE_MODEL_API": "", "NO_PROXY": "127.0.0.1", "HF_HUB_OFFLINE": "1"}
    command = [python, "-c", script, *map(str, given)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert ran.returncode == 0, ran.stderr[-3000:]


def test_spans_of_the_instrumented_client_have_the_numbers_of_the_server(tmp_path):
    pytest.importorskip("aiohttp")
    found = python("OPENTELEMETRY", "openai", "opentelemetry.instrumentation", "opentelemetry.exporter.otlp.proto.common")
    server = Stub()
    try:
        run(found, CLIENT, server.base_url, tmp_path / "spans.json", len(ASKED))
    finally:
        server.close()
    rows = import_log([tmp_path / "spans.json"]).executions.sort("time")
    answered = [(read, written) for read, written, status in ASKED if status == 200]
    assert rows.height == len(ASKED)
    assert rows.filter(rows["error_type"].is_null()).select("input_tokens", "output_tokens").rows() == answered
    assert rows["error_type"].drop_nulls().len() == len(ASKED) - len(answered)
    assert set(rows["model"]) == {"stub"} and rows["latency_s"].min() > 0


def test_an_evaluation_of_lm_eval_has_the_scores_that_its_answers_earn(tmp_path):
    pytest.importorskip("aiohttp")
    found = python("LM_EVAL", "lm_eval", "datasets", "tenacity", "aiohttp")
    lines = [json.dumps({"question": question, "target": right}) for question, (_, right) in QUESTIONS.items()]
    (tmp_path / "questions.jsonl").write_text("\n".join(lines))
    (tmp_path / "sums.yaml").write_text(TASK.replace("FOLDER", str(tmp_path)))
    server = Answers()
    try:
        address = f"{server.base_url}/chat/completions"
        given = ["--model", "local-chat-completions", "--tasks", "sums", "--include_path", tmp_path, "--apply_chat_template"]
        given += ["--model_args", f"model=stub,base_url={address},num_concurrent=1,max_retries=1,tokenizer_backend=None"]
        given += ["--output_path", tmp_path / "out", "--log_samples"]
        run(found, "import sys; from lm_eval.__main__ import cli_evaluate; sys.exit(cli_evaluate())", *given)
    finally:
        server.close()
    imported = import_log([tmp_path / "out"])
    rows = imported.executions.sort("item")
    (results,) = (tmp_path / "out").rglob("results_*.json")
    stated = json.loads(results.read_text())["results"]["sums"]["exact_match,none"]
    scores = {question: float(answer == right) for question, (answer, right) in QUESTIONS.items()}
    assert rows.height == len(QUESTIONS) == rows["item"].n_unique()
    assert sorted(rows["score"].to_list()) == sorted(scores.values()) and rows["score"].mean() == stated == 0.5
    assert set(rows["model"]) == {"stub"} and set(rows["task"]) == {"sums"} and set(rows["regime"]) == {"evaluation"}
    assert "temperature=0.5" in rows["sampler"][0] and not [note for note in imported.notes if "mean" in note]


def test_an_evaluation_of_inspect_has_the_scores_that_its_answers_earn(tmp_path):
    run(python("INSPECT", "inspect_ai"), EVALUATION, tmp_path)
    (log,) = tmp_path.glob("*.eval")
    imported = import_log([log])
    rows = imported.executions.sort("item")
    assert rows["score"].to_list() == [1.0, 0.0, 1.0, 1.0, 0.0]
    assert rows.select("input_tokens", "output_tokens").rows() == [(10 + n, 1 + n) for n in range(5)]
    assert set(rows["model"]) == {"mockllm/model"} and rows["item"].n_unique() == 5
    assert not [note for note in imported.notes if "differ" in note and "mean" in note]


@pytest.mark.parametrize("merged", ["", "FINAL"])
@pytest.mark.parametrize("end", ["parquet", "jsonl"])
def test_tables_of_langfuse_in_clickhouse_have_the_numbers_written_into_them(tables, end, merged):
    paths = [tables / f"{name}{merged}.{end}" for name in ("observations", "scores")]
    imported = import_log(paths, primary="helpful")
    rows = imported.executions.sort("execution_id")
    assert rows["execution_id"].to_list() == ["b", "d", "e"] and not imported.rejected.height
    assert rows["input_tokens"].to_list() == [10, None, 7] and rows["output_tokens"].to_list() == [5, None, None]
    assert rows["cached_tokens"].to_list() == [4, None, None] and rows["cost_usd"].to_list() == [0.000123, None, None]
    assert rows["latency_s"].to_list() == [1.5] * 3 and rows["ttft_s"].to_list() == [0.25] * 3
    assert rows["error_type"].to_list() == [None, "error", None] and rows["score"].to_list() == [0.75, None, None]
    assert set(rows["sampler"]) == {"temperature=0.5"} and "canary" not in str(imported.executions.to_dicts())
    said = {note for note in imported.notes if "of the table" in note or "in the table" in note}
    assert len(said) == (0 if merged else 2)


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clickhouse")
    run(python("CHDB", "chdb"), TABLES, folder)
    return folder
