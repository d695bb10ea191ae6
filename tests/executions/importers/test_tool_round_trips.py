"""Real tools write logs of calls whose numbers are known, and these are read with the same numbers.

Each test needs its tool importable (`pip install --target FOLDER ...` with FOLDER on PYTHONPATH is enough), and runs it in
a process of its own: OpenTelemetry's instrumentation of the OpenAI client against a server on loopback, and Inspect with its
model of fixed answers, and lm-eval with a task of its own against a server on loopback.
"""

import importlib.util
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


def needs(*modules):
    for module in modules:
        try:
            found = importlib.util.find_spec(module)
        except ModuleNotFoundError:
            found = None
        if found is None:
            pytest.skip(f"{module} is not on this machine")


def run(script, *given):
    environment = {**os.environ, "INSPECT_DISABLE_MODEL_API": "", "NO_PROXY": "127.0.0.1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", script, *map(str, given)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert ran.returncode == 0, ran.stderr[-3000:]


def test_spans_of_the_instrumented_client_have_the_numbers_of_the_server(tmp_path):
    needs(
        "openai", "opentelemetry.instrumentation.openai_v2", "opentelemetry.exporter.otlp.proto.common", "httpx", "aiohttp"
    )
    server = Stub()
    try:
        run(CLIENT, server.base_url, tmp_path / "spans.json", len(ASKED))
    finally:
        server.close()
    rows = import_log([tmp_path / "spans.json"]).executions.sort("time")
    answered = [(read, written) for read, written, status in ASKED if status == 200]
    assert rows.height == len(ASKED)
    assert rows.filter(rows["error_type"].is_null()).select("input_tokens", "output_tokens").rows() == answered
    assert rows["error_type"].drop_nulls().len() == len(ASKED) - len(answered)
    assert set(rows["model"]) == {"stub"} and rows["latency_s"].min() > 0


def test_an_evaluation_of_lm_eval_has_the_scores_that_its_answers_earn(tmp_path):
    needs("lm_eval", "datasets", "tenacity", "aiohttp")
    lines = [json.dumps({"question": question, "target": right}) for question, (_, right) in QUESTIONS.items()]
    (tmp_path / "questions.jsonl").write_text("\n".join(lines))
    (tmp_path / "sums.yaml").write_text(TASK.replace("FOLDER", str(tmp_path)))
    server = Answers()
    try:
        address = f"{server.base_url}/chat/completions"
        given = ["--model", "local-chat-completions", "--tasks", "sums", "--include_path", tmp_path, "--apply_chat_template"]
        given += ["--model_args", f"model=stub,base_url={address},num_concurrent=1,max_retries=1,tokenizer_backend=None"]
        given += ["--output_path", tmp_path / "out", "--log_samples"]
        run("import sys; from lm_eval.__main__ import cli_evaluate; sys.exit(cli_evaluate())", *given)
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
    needs("inspect_ai")
    run(EVALUATION, tmp_path)
    (log,) = tmp_path.glob("*.eval")
    imported = import_log([log])
    rows = imported.executions.sort("item")
    assert rows["score"].to_list() == [1.0, 0.0, 1.0, 1.0, 0.0]
    assert rows.select("input_tokens", "output_tokens").rows() == [(10 + n, 1 + n) for n in range(5)]
    assert set(rows["model"]) == {"mockllm/model"} and rows["item"].n_unique() == 5
    assert not [note for note in imported.notes if "differ" in note and "mean" in note]
