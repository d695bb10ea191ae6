"""The canonical columns of an execution log, as data: name, type, unit, when needed, meaning, OpenTelemetry name.

Three tables. `executions` is the log: one row is one execution, one model answering one item once in one serving
context. `outcomes` holds further outcomes of the same executions, one row each. `telemetry` holds gauges scraped in
windows. The readers, the checks and the documentation page are made from these tuples and from nothing else.

Units are SI seconds, US dollars, tokens, or fractions between 0 and 1. OpenTelemetry names follow its semantic
conventions for generative AI (`gen_ai.*`), null where they name no such thing.
"""

from __future__ import annotations

import dataclasses

import polars as pl

REGIMES = ("evaluation", "deployment")
"""The two worlds that a row can come from."""

TIME = pl.Datetime("us", "UTC")

LONGEST_S = 1e9
"""Seconds that a request can have taken: 30 years. What is longer is an instant, or damage."""
DEAREST_USD = 1e12
"""US dollars that a request can have cost."""
MOST_TRIALS = 10**12
"""Trials that a score can be the mean of."""
SMALLEST_CHANCE = 1e-12
"""Probability with which a row can have been logged: one of less would stand for more requests than there are."""
SMALLEST, LARGEST = 1e-75, 1e75
"""Between them a positive outcome lies, in whatever unit: what is computed from it are fourth powers."""


@dataclasses.dataclass(frozen=True)
class Column:
    """One canonical column."""

    name: str
    """Name in the canonical table."""
    dtype: pl.DataType
    """Polars type in the canonical table."""
    meaning: str
    """What a value says."""
    needed: str = "no"
    """When the table must have it: `yes`, `no`, or under which condition."""
    unit: str = ""
    """Unit of the values, empty for labels."""
    otel: str | None = None
    """The attribute of OpenTelemetry's conventions that carries the same thing."""
    minimum: float | None = None
    """Smallest value allowed in an optional column, in the unit."""
    maximum: float | None = None
    """Largest value allowed in an optional column, in the unit."""


def _text(name: str, meaning: str, needed: str = "no", otel: str | None = None) -> Column:
    return Column(name, pl.String(), meaning, needed, otel=otel)


def _count(name: str, meaning: str, unit: str = "1", otel: str | None = None) -> Column:
    return Column(name, pl.Int64(), meaning, unit=unit, otel=otel, minimum=0)


def _seconds(name: str, meaning: str, otel: str | None = None) -> Column:
    return Column(name, pl.Float64(), meaning, unit="s", otel=otel, minimum=-LONGEST_S, maximum=LONGEST_S)


FACTOR_COLUMNS = (
    _text("engine", "serving engine (vllm, sglang, llama.cpp, api)", otel="service.name"),
    _text("engine_version", "its version or system fingerprint", otel="service.version"),
    _text("quantization", "number format of the weights"),
    _text("kv_cache_dtype", "number format of the key-value cache"),
    _text("attention", "attention kernel"),
    _text("batch_policy", "how requests share a batch"),
    _text("concurrency", "requests in flight, as a label"),
    _text("prefix_cache", "is a shared prefix reused"),
    _text("spec_decode", "speculative decoding: draft and length"),
    _text("parallelism", "tensor, pipeline and expert parallelism"),
    _text("hardware", "accelerator or machine type", otel="host.type"),
    _text("region", "where it ran", otel="cloud.region"),
    _text("router", "what chose the backend", otel="server.address"),
    _text("provider", "who serves the model", otel="gen_ai.provider.name"),
    _text("scaffold", "agent or harness around the model", otel="gen_ai.agent.name"),
    _text("prompt_version", "version of the prompt template", otel="gen_ai.prompt.name"),
    _text("chat_template", "template that turns messages into tokens"),
    _text("tool_set", "tools offered"),
    _text("sampler", "temperature and other sampling settings, as a label"),
)

SERVING_FACTORS = tuple(column.name for column in FACTOR_COLUMNS)
"""What a serving context is made of, in the order in which context labels name it."""

EXECUTIONS = (
    _text("regime", "evaluation or deployment", "yes", "deployment.environment.name"),
    _text("model", "what a leaderboard would list; its servings share the name", "yes", "gen_ai.request.model"),
    _text("item", "benchmark item or traffic stratum; one id is one item in both regimes", "in evaluation rows"),
    Column(
        "score",
        pl.Float64(),
        "primary outcome, 0 to 1; null = not judged",
        "or an outcomes row",
        "fraction",
        "gen_ai.evaluation.score.value",
    ),
    Column("score_n", pl.Int64(), "trials behind a fractional score", unit="1"),
    _text("answer", "the parsed answer: a label, a short string, or its hash"),
    _text("gold", "the right answer, in the same form"),
    _text("scorer", "what judged: exact, contains, a judge model, a user signal"),
    _text("task", "suite or workload", otel="gen_ai.workflow.name"),
    _text("prompt_hash", "hash of the item's prompt; an id whose prompt changed is another item"),
    Column("trial", pl.Int64(), "replicate number within model, item and context", unit="1"),
    _text("session", "conversation or trajectory", otel="gen_ai.conversation.id"),
    Column("turn", pl.Int64(), "position in the session", unit="1"),
    Column("time", TIME, "start, with its zone", "for drift", "UTC", "startTimeUnixNano"),
    _text("execution_id", "identity; when absent made of file hash and row number", otel="gen_ai.response.id"),
    _text("parent_id", "the execution that called this one", otel="parent_span_id"),
    *FACTOR_COLUMNS,
    _text("context", "label of the whole serving context", "if no serving factor varies"),
    _count("input_tokens", "tokens read", "token", "gen_ai.usage.input_tokens"),
    _count("output_tokens", "tokens written", "token", "gen_ai.usage.output_tokens"),
    _count("cached_tokens", "input tokens served from a cache", "token", "gen_ai.usage.cache_read.input_tokens"),
    _count("reasoning_tokens", "tokens of hidden reasoning", "token", "gen_ai.usage.reasoning.output_tokens"),
    _text("instance", "replica or server that answered, as telemetry names it", otel="service.instance.id"),
    Column("load", pl.Float64(), "load of its server when it began", unit="requests", minimum=0),
    _count("retries", "calls repeated after an error"),
    _count("tool_calls", "tools called"),
    _count("attempts", "tries at the task"),
    _count("calls", "model calls made"),
    Column("task_length", pl.Float64(), "declared length of the task, for example human minutes", unit="declared"),
    _seconds("latency_s", "from request to last token"),
    _seconds("ttft_s", "from request to first token", "gen_ai.response.time_to_first_chunk"),
    _seconds("tpot_s", "per output token after the first"),
    _seconds("queue_s", "waiting before the first prefill"),
    Column(
        "cost_usd",
        pl.Float64(),
        "realised cost; null = not metered, 0 = really free",
        unit="USD",
        minimum=-DEAREST_USD,
        maximum=DEAREST_USD,
    ),
    _text("error_type", "what failed; null = served", otel="error.type"),
    _text("finish_reason", "why generation stopped", otel="gen_ai.response.finish_reasons"),
    Column("predicted", pl.Float64(), "the system's own confidence", unit="fraction", minimum=0, maximum=1),
    Column("embedding", pl.List(pl.Float32), "embedding of the response"),
    Column("prompt_embedding", pl.List(pl.Float32), "embedding of the prompt"),
    Column("scale", pl.Float64(), "factor that the stored numbers of the embeddings are to be multiplied by"),
    _text("embedder", "what made the embeddings; those of several do not compare"),
    _text("embedder_sha256", "SHA-256 of the embedder's weights"),
    _text("wave", "measuring campaign"),
    Column("probability", pl.Float64(), "chance with which the row was logged or routed", unit="fraction"),
)

OUTCOMES = (
    _text("execution_id", "the execution that was judged", "yes", "gen_ai.response.id"),
    _text("metric", "name of the outcome", "yes", "gen_ai.evaluation.name"),
    Column("value", pl.Float64(), "its value", "or label", "of the metric", "gen_ai.evaluation.score.value"),
    _text("label", "its label", "or value", "gen_ai.evaluation.score.label"),
    _text("scorer", "what judged"),
)

TELEMETRY = (
    Column("window_start", TIME, "start of the window", "yes", "UTC"),
    Column("window_s", pl.Float64(), "length of the window", "yes", "s"),
    _text("instance", "replica or server", otel="service.instance.id"),
    _text("model", "the model it served", otel="gen_ai.request.model"),
    _text("metric", "name of the gauge or histogram bucket", "yes"),
    Column("value", pl.Float64(), "its value in the window", "yes", "of the metric"),
)

TABLES: dict[str, tuple[Column, ...]] = {"executions": EXECUTIONS, "outcomes": OUTCOMES, "telemetry": TELEMETRY}
"""The three tables that a log is made of."""

COLUMNS = {column.name: column for column in EXECUTIONS}
"""The columns of an execution log by name."""


def polars_schema(table: str = "executions") -> pl.Schema:
    """Names and Polars types of one of the three tables."""
    return pl.Schema({column.name: column.dtype for column in TABLES[table]})


def markdown() -> str:
    """The schema as a page of Markdown tables, one per table."""
    parts = []
    for table, columns in TABLES.items():
        lines = [f"## `{table}`", "", "| column | type | unit | needed | meaning | OpenTelemetry |", "|" + "---|" * 6]
        for column in columns:
            otel = f"`{column.otel}`" if column.otel else ""
            cells = (f"`{column.name}`", f"`{column.dtype}`", column.unit, column.needed, column.meaning, otel)
            lines.append("| " + " | ".join(cells) + " |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"
