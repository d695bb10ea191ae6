"""What is to be measured: a frozen plan, as it stands in one TOML file (`reading` reads and validates it).

A plan is items x contexts x systems x waves x trials, or, with `[[allocation]]`, what each system is to be asked in each
context (`allocation`). Every context is listed explicitly, with the level of each
serving factor (what the log will say) beside what the runner must do for it (what is really done). The plan's hash
covers its content and the items' content, so that a changed plan or item list never mixes with rows measured before.

    name = "my-stack"
    items = "items.jsonl"                    # one item a line: item, prompt, gold, scorer, and optionally more; or a
                                             # Parquet file of them, or an Inspect or lm-eval log to be replayed
    waves = 2                                # the whole design is measured this often, in a new random order
    [endpoint.mine]
    base_url = "http://127.0.0.1:8080/v1"    # any OpenAI-compatible server
    api_key_env = "MY_KEY"                   # the NAME of the environment variable, never the key
    [[system]]
    model = "my-model"                       # the name in the log; `request_model` where the server wants another
    endpoint = "mine"                        # or: weights = "smollm2-135m-q4_1", served by the local stack
    [[context]]
    label = "bench"
    regime = "evaluation"
    factors = { sampler = "greedy" }
    sampler = { temperature = 0.0 }
    [[allocation]]                           # optional: so many items of the bank for one system ("*": all) in one context
    model = "*"
    context = "bench"
    items = 40
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import typing
from collections.abc import Mapping
from pathlib import Path

from divergence.probe.arrivals import Arrivals
from divergence.probe.budget import Budget, Price
from divergence.probe.factorial import Factorial
from divergence.probe.router import Router
from divergence.probe.telemetry import Scrape


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """A server that somebody else runs."""

    base_url: str
    """Up to and including `/v1`; no user name or password in it."""
    api_key_env: str = ""
    """Name of the environment variable that holds the bearer key; empty = none is sent."""
    headers_env: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Header name -> name of the environment variable that holds its value."""

    def variables(self) -> dict[str, str]:
        """Field of the plan -> the variable that it names; messages say the field, as the name may be a pasted key."""
        key = {"api_key_env": self.api_key_env} if self.api_key_env else {}
        return key | {f"headers_env {header}": variable for header, variable in self.headers_env.items()}


@dataclasses.dataclass(frozen=True)
class ServerSettings:
    """How one local server is started. `[stack]` gives the defaults, `[context.server]` what differs."""

    engine: str = "llama.cpp"
    """`llama.cpp`, or `ik_llama.cpp`: an independent fork (one slot, f16 cache)."""
    slots: int = 1
    """Requests decoded together (continuous batching)."""
    slot_tokens: int = 512
    """Context length of each slot, in tokens."""
    threads: int = 1
    """Threads of the engine."""
    kv_cache: str = "f16"
    """Type of the key-value cache: f16, q8_0, q4_0, ...; a quantised one needs flash attention."""
    flash_attention: str = "off"
    """on, off or auto."""
    prefix_cache: bool = True
    """Is the longest common prefix with the slot's previous prompt reused?"""
    template: str = ""
    """Jinja chat template; empty = the one inside the weights file."""
    prefill_batch: int = 0
    """Prompt tokens decoded at once; 0 = the engine's own choice."""
    draft: str = ""
    """Weights that draft tokens ahead (speculative decoding), of the same vocabulary, named as a replica's `weights` are;
    empty = none. `llama.cpp` only."""
    draft_tokens: int = 3
    """Most tokens drafted at once."""


@dataclasses.dataclass(frozen=True)
class System:
    """One model as a leaderboard would list it, and where it is served."""

    model: str
    """Name in the log."""
    endpoint: str = ""
    """Name of an `[endpoint.*]` table, or empty when `weights` is given."""
    weights: str = ""
    """Path of a GGUF file, or its name in the folder of weights (see `weights_file`), served by the local stack."""
    request_model: str = ""
    """Model name sent in the request; empty = `model`."""


@dataclasses.dataclass(frozen=True)
class Context:
    """One serving context: its label and factor levels in the log, and what the runner does for it."""

    label: str
    """Name of the context in the log."""
    regime: str
    """`evaluation` or `deployment`."""
    factors: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Serving factor -> level. Every context names the same factors."""
    endpoint: str = ""
    """Name of the `[endpoint.*]` table that serves this context, in place of the system's; empty = the system's."""
    sampler: Mapping[str, float | int | str] = dataclasses.field(default_factory=dict)
    """Sampling fields of the request; empty = the server's defaults."""
    concurrency: int = 1
    """Clients that each wait for their answer before they send the next question (closed loop)."""
    arrivals: Arrivals = dataclasses.field(default_factory=Arrivals)
    """When requests are sent; open loops ignore `concurrency`."""
    router: Router | None = None
    """A router before several replicas (local systems only)."""
    system_prompt: str = ""
    """System message; empty = none."""
    keep_examples: int = -1
    """Worked examples that survive the gateway's truncation, counted from the last; -1 = all."""
    workload: str = ""
    """Another items file for this context, asked in its own order (traffic): its items may repeat; empty = the plan's."""
    wrap: str = "{prompt}"
    """Form of the last message; `{prompt}` is the item's prompt."""
    server: Mapping[str, typing.Any] = dataclasses.field(default_factory=dict)
    """Fields of `ServerSettings` that differ from `[stack]` (local systems only)."""


@dataclasses.dataclass(frozen=True)
class Request:
    """Fields common to all requests."""

    max_tokens: int = 16
    """Longest answer, in tokens."""
    stop: tuple[str, ...] = ()
    """Strings that end the answer."""
    timeout_s: float = 60.0
    """Longest wait for a whole answer, in seconds."""
    retries: int = 3
    """Attempts after the first one, for errors that may pass."""
    backoff_s: float = 0.5
    """First pause before a retry, in seconds; doubled each time, at most `backoff_max_s`."""
    backoff_max_s: float = 30.0
    """Longest pause, in seconds, also where the server asks for a longer one."""


@dataclasses.dataclass(frozen=True)
class Allocation:
    """How many items one system is asked in one context (see `allocation`)."""

    model: str
    """Name of a system in the log; `*` = every system."""
    context: str
    """Label of a context; `*` = every context."""
    items: int = 0
    """Items of the bank that were not asked before, the same first ones for all."""
    again: int = 0
    """Items that were asked before of this system in this context, asked once more."""
    trials: int = 1
    """Repetitions of each of them."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """A whole measurement."""

    name: str
    """Name of the data set."""
    items: str
    """Path of the items (JSON lines), relative to the plan."""
    system: tuple[System, ...]
    """The systems."""
    context: tuple[Context, ...]
    """The contexts."""
    endpoint: Mapping[str, Endpoint] = dataclasses.field(default_factory=dict)
    """Endpoints by name."""
    stack: ServerSettings = ServerSettings()
    """Defaults of the local servers."""
    request: Request = Request()
    """Fields common to all requests."""
    factorial: Factorial | None = None
    """Contexts that are made by crossing factors; they follow the listed ones."""
    budget: Budget = dataclasses.field(default_factory=Budget)
    """What one run may use."""
    price: Mapping[str, Price] = dataclasses.field(default_factory=dict)
    """Declared prices by model; with them rows carry `cost_usd`."""
    telemetry: tuple[Scrape, ...] = ()
    """Prometheus endpoints to be watched."""
    telemetry_period_s: float = 0.0
    """Window in which the local servers are watched; 0 = they are not."""
    scorers: str = ""
    """Python file beside the plan with scoring functions, named `python:FUNCTION` by items; empty = none."""
    allocation: tuple[Allocation, ...] = ()
    """What each system is asked in each context; empty = every item in every context."""
    asked: str = ""
    """JSON lines beside the plan of what was asked before (`model`, `context`, `item`); empty = nothing was."""
    waves: int = 1
    """How often the whole design is measured."""
    trials: int = 1
    """Repetitions within one wave."""
    blocks_at_once: int = 1
    """Blocks (one system in one context) that are measured at the same time."""
    folder: Path = dataclasses.field(default=Path("."), compare=False)
    """Where the plan's file lies; not part of its hash."""

    def hash(self, items: list[dict], *traffic: list[dict]) -> str:
        """First 16 hexadecimal digits of the SHA-256 of plan, items and the workloads of contexts that have their own."""
        content = _said(self)
        # What a run may cost, how it is watched and where its items lie do not change what a row means.
        for name in ("items", "blocks_at_once", "budget", "telemetry", "telemetry_period_s", "asked"):
            content.pop(name, None)
        content.pop("factorial", None)  # its contexts are listed
        text = json.dumps([content, items, *traffic], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def where(self, system: System, context: Context) -> str:
        """Name of the endpoint that serves this system in this context; empty = the local stack."""
        return (context.endpoint or system.endpoint) if system.endpoint else ""

    def settings(self, context: Context) -> ServerSettings:
        """The server settings of a local system in this context."""
        return dataclasses.replace(self.stack, **context.server)


def _said(value):
    """What the plan says: its fields apart from defaults, so that a later version's new defaults keep the hash."""
    if dataclasses.is_dataclass(value):
        fields = [f for f in dataclasses.fields(value) if f.compare]
        said = {f.name: getattr(value, f.name) for f in fields}
        empty = {f.name: f.default_factory() for f in fields if f.default_factory is not dataclasses.MISSING}
        empty |= {f.name: f.default for f in fields if f.default is not dataclasses.MISSING}
        return {name: _said(v) for name, v in said.items() if name not in empty or v != empty[name]}
    if isinstance(value, Mapping):
        return {name: _said(v) for name, v in value.items()}
    return [_said(v) for v in value] if isinstance(value, tuple) else value
