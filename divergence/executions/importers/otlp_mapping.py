"""The mapping of OTLP spans: which attribute of which dialect and version fills which canonical column.

Five dialects name the same things differently, and the semantic conventions renamed theirs several times. A column lists
today's name first and the others as aliases:

| dialect | tool | sign in a span |
|---|---|---|
| semantic conventions | OpenTelemetry GenAI instrumentations, Logfire, OpenLLMetry since 0.50 | `gen_ai.operation.name` |
| before 1.28 | older instrumentations | `gen_ai.system`, `gen_ai.usage.prompt_tokens` |
| OpenLLMetry before 0.50 | Traceloop | `llm.request.type`, `llm.usage.*` |
| OpenInference | Arize Phoenix | `openinference.span.kind` |
| Langfuse | its SDK since 3 | `langfuse.observation.type` |
| engines | vLLM, SGLang | `gen_ai.latency.*` |

Paths that begin with `span.`, `resource.` or `request.` are worked out in `otlp_spans`.
"""

from __future__ import annotations

import hashlib
import urllib.parse
from typing import Any

from divergence.executions.importers import convert, written
from divergence.executions.importers.mapping import Field

INVOCATION = "llm.invocation_parameters"
USAGE = "langfuse.observation.usage_details"
OPENINFERENCE = "Arize-ai/openinference: openinference.semconv.trace"
LANGFUSE = "langfuse/langfuse-python: langfuse._client.attributes"
ENGINES = "vllm-project/vllm: vllm/tracing; sgl-project/sglang: srt/tracing"


def conversation(value: Any) -> str | None:
    """A conversation's name; what Logfire scrubbed names none."""
    named = convert.text(value)
    return None if named is None or named.startswith("[Scrubbed") else named


def host(value: Any) -> str | None:
    """The host of an address."""
    text = convert.text(value)
    parts = urllib.parse.urlsplit(text if text and "//" in text else f"//{text}")
    return parts.hostname


def address(value: Any) -> str | None:
    """An address without the user and password that may stand before it."""
    text = convert.text(value)
    return convert.label(text.rpartition("@")[2]) if text else None


def fingerprint(value: Any) -> str:
    """A short hash that stands for a long definition."""
    return "sha256:" + hashlib.sha256(convert.printable(value).encode()).hexdigest()[:16]


FIELDS = (
    Field("execution_id", "span.identity", convert.text, "trace id and span id", True),
    Field(
        "model",
        "gen_ai.request.model",
        convert.text,
        "the name asked for; what was served is engine_version",
        True,
        aliases=(
            *(f"{INVOCATION}.model", "embedding.invocation_parameters.model", "llm.request.model_name"),
            *("langfuse.observation.model.name", "gen_ai.response.model", "llm.model_name", "embedding.model_name"),
        ),
    ),
    Field("task", "gen_ai.workflow.name", convert.text, aliases=("traceloop.workflow.name",)),
    Field(
        "task",
        "gen_ai.operation.name",
        convert.text,
        "chat, text_completion, embeddings: what was asked for, where no workflow is named",
        aliases=("llm.request.type", "openinference.span.kind", "langfuse.observation.type", "span.name"),
    ),
    Field(
        "item",
        "span.item",
        convert.text,
        "salted hash of the prompt, with `--item-key prompt`; else the item of an experiment",
        aliases=("langfuse.experiment.item.id",),
    ),
    Field(
        "session",
        "gen_ai.conversation.id",
        conversation,
        "else the trace, where it holds several calls",
        aliases=("session.id", "traceloop.association.properties.session_id", "langfuse.session.id"),
    ),
    Field("time", "span.start", written.nanoseconds, unit="ns since 1970"),
    Field("latency_s", "gen_ai.latency.e2e", written.amount, "of the server, where an engine logs it", authority=ENGINES),
    Field("latency_s", "span.duration_s", written.amount, "of the client, its silent retries included"),
    Field(
        "ttft_s",
        "gen_ai.response.time_to_first_chunk",
        written.amount,
        "from the first chunk's event where only that is logged",
        aliases=("gen_ai.latency.time_to_first_token", "gen_ai.server.time_to_first_token", "span.first_token_s"),
        since="1.38",
    ),
    Field("queue_s", "gen_ai.latency.time_in_queue", written.amount, authority=ENGINES),
    Field(
        "input_tokens",
        "gen_ai.usage.input_tokens",
        written.whole,
        "cached ones included",
        aliases=(
            *("gen_ai.usage.prompt_tokens", "llm.usage.prompt_tokens", "llm.token_count.prompt"),
            *(f"{USAGE}.prompt_tokens", f"{USAGE}.input_tokens", f"{USAGE}.input"),
        ),
        since="1.27; prompt_tokens before",
    ),
    Field(
        "output_tokens",
        "gen_ai.usage.output_tokens",
        written.whole,
        "reasoning included; of all choices together",
        aliases=(
            *("gen_ai.usage.completion_tokens", "llm.usage.completion_tokens", "llm.token_count.completion"),
            *(f"{USAGE}.completion_tokens", f"{USAGE}.output_tokens", f"{USAGE}.output"),
        ),
        since="1.27; completion_tokens before",
    ),
    Field(
        "cached_tokens",
        "gen_ai.usage.cache_read.input_tokens",
        written.whole,
        "part of the input",
        aliases=(
            *(
                "gen_ai.usage.cache_read_input_tokens",
                "gen_ai.usage.cached_tokens",
                "llm.token_count.prompt_details.cache_read",
            ),
            *(f"{USAGE}.prompt_tokens_details.cached_tokens", f"{USAGE}.input_tokens_details.cached_tokens"),
            *(f"{USAGE}.prompt_tokens_details", f"{USAGE}.input_cached_tokens", f"{USAGE}.cache_read_input_tokens"),
        ),
    ),
    Field(
        "reasoning_tokens",
        "gen_ai.usage.reasoning.output_tokens",
        written.whole,
        "part of the output",
        aliases=(
            *("gen_ai.usage.reasoning_tokens", "llm.token_count.completion_details.reasoning"),
            *(f"{USAGE}.completion_tokens_details.reasoning_tokens", f"{USAGE}.output_tokens_details.reasoning_tokens"),
            *(f"{USAGE}.output_reasoning_tokens", "gen_ai.usage.raw.completion_tokens_details.reasoning_tokens"),
            "gen_ai.usage.raw.output_tokens_details.reasoning_tokens",
        ),
    ),
    Field(
        "cost_usd",
        "llm.cost.total",
        written.amount,
        "as the tool computed it; 0 of a failed call is not a price",
        aliases=("gen_ai.usage.cost", "operation.cost", "langfuse.observation.cost_details.total"),
        authority=OPENINFERENCE,
    ),
    Field(
        "finish_reason",
        "gen_ai.response.finish_reasons",
        written.finish,
        aliases=("llm.finish_reason", "llm.response.finish_reason", "langfuse.observation.metadata.finish_reason"),
    ),
    Field("error_type", "error.type", convert.label, "class of the exception", aliases=("span.exception", "span.error")),
    Field("engine", "span.engine", convert.label, "vllm or sglang, where the engine wrote the span itself"),
    Field(
        "engine_version",
        "gen_ai.response.model",
        convert.label,
        "the snapshot that was served, where it differs from the name asked for",
        aliases=("llm.response.model_name", "llm.model_name", "langfuse.observation.model.name"),
    ),
    Field(
        "provider",
        "gen_ai.provider.name",
        convert.label,
        aliases=("gen_ai.system", "llm.provider", "llm.system"),
        since="1.37",
    ),
    Field("router", "server.address", address, "host that was asked", aliases=("net.peer.name",)),
    Field("router", "gen_ai.openai.api_base", host),
    Field("instance", "span.instance", address, "address and port that were asked; the instance of an engine's own spans"),
    Field("region", "resource.cloud.region", convert.label),
    Field("hardware", "resource.host.type", convert.label),
    Field(
        "scaffold",
        "gen_ai.agent.name",
        convert.label,
        "of the call or an ancestor; else service and version",
        aliases=("agent.name",),
    ),
    Field(
        "prompt_version",
        "gen_ai.prompt.version",
        convert.label,
        aliases=("gen_ai.prompt.name", "langfuse.observation.prompt.version", "llm.prompt_template.version"),
        since="unreleased",
    ),
    Field("tool_set", "gen_ai.tool.definitions", fingerprint, "a hash", since="1.38"),
    Field("sampler", "request.sampler", convert.label, "temperature and other settings; not the seed, nor varied lengths"),
)

SETTINGS = {
    "temperature": ("gen_ai.request.temperature",),
    "top_p": ("gen_ai.request.top_p",),
    "top_k": ("gen_ai.request.top_k",),
    "max_tokens": ("gen_ai.request.max_tokens",),
    "frequency_penalty": ("gen_ai.request.frequency_penalty",),
    "presence_penalty": ("gen_ai.request.presence_penalty",),
    "num_choices": ("gen_ai.request.choice.count", "gen_ai.request.n"),
    "reasoning_effort": ("gen_ai.request.reasoning.level", "gen_ai.request.reasoning_effort"),
}
"""Setting of the sampler -> attributes that carry it. The seed is none of them: a client that sends another one with each
request would put every request into a context of its own."""

PARAMETERS = (INVOCATION, "langfuse.observation.model.parameters")
"""Attributes that hold the settings of a request as JSON text."""

EXPANDED = frozenset(
    {*PARAMETERS, "embedding.invocation_parameters", USAGE, "langfuse.observation.cost_details", "gen_ai.usage.raw"}
)
"""Attributes whose JSON text is read; their members are paths below them."""

PROMPTS = ("gen_ai.input.messages", "llm.input_messages", "langfuse.observation.input", "input.value", "gen_ai.prompt")
"""Attributes that hold a prompt; only a salted hash of it is kept, unless texts are asked for."""

ANSWERS = ("gen_ai.output.messages", "langfuse.observation.output", "output.value", "gen_ai.completion")
"""Attributes that hold an answer; read only where texts are asked for."""

NOTED = (
    *("gen_ai.request.stream", "openai.response.service_tier", "gen_ai.request.seed", "gen_ai.is_streaming"),
    *("openai.response.system_fingerprint", "gen_ai.openai.response.system_fingerprint"),
)
"""Settings that no column holds; where their values differ between calls, that is said."""

DROPPED = (
    *("gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system_instructions", "gen_ai.prompt", "gen_ai.completion"),
    *("input.value", "output.value", "llm.input_messages", "llm.output_messages", "llm.tools", "llm.prompts"),
    *("langfuse.observation.input", "langfuse.observation.output", "langfuse.trace.input", "langfuse.trace.output"),
    *(
        "request_data",
        "response_data",
        "logfire.msg",
        "logfire.json_schema",
        "traceloop.entity.input",
        "traceloop.entity.output",
    ),
    *("user.id", "gen_ai.user", "langfuse.user.id", "enduser.id", "client.address", "embedding.embeddings"),
    *("code.filepath", "code.function", "code.lineno", "code.namespace", "exception.message", "exception.stacktrace"),
)
"""Texts, people and places in a program: never read. A name that begins with one of these and a dot is one too."""
