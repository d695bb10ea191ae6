"""Run a plan: every item, in every context, on every system, and write down what came back.

A *block* is one system in one context in one wave. Blocks are run in random order within their wave, because a machine
warms up and order would otherwise be confounded with the context; `wave` in the log is the number of the campaign, so
that every context measured in two waves is its own A/A comparison. Within a block, `concurrency` clients each send the
next question when they have their answer; items that share their worked examples follow one another.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import datetime
import importlib.util
import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

from divergence.errors import InputError
from divergence.probe import client, scoring, stack, weights
from divergence.probe.plan import Context, Plan, System
from divergence.probe.reading import read_items, read_plan
from divergence.probe.store import Key, Store

# What a reply and a row call by the same name.
MEASURED = (
    "input_tokens", "output_tokens", "cached_tokens", "retries", "latency_s", "ttft_s", "error_type", "finish_reason",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class ProbeSummary:
    """What a run left behind."""

    rows: int
    """Executions in the file, those of earlier runs included."""
    errors: int
    """Executions with an `error_type`."""
    retries: int
    """Attempts beyond the first, over all executions."""
    seconds: float
    """Duration of this run."""
    path: Path
    """`executions.parquet`."""


@dataclasses.dataclass(frozen=True)
class Block:
    """One system in one context in one wave."""

    wave: int
    system: System
    context: Context


def run(plan_path: str | Path, out: str | Path, *, quiet: bool = False, seed: int = 0) -> ProbeSummary:
    """Run the plan and write `out/executions.parquet`; what an earlier run has measured is not measured again.

    `seed` orders blocks and items. Failed requests become rows with `error_type`. Raises `InputError` for a plan that
    cannot be run; progress goes to standard error unless `quiet`.
    """
    if importlib.util.find_spec("aiohttp") is None:
        raise InputError("The probe needs the package 'aiohttp': pip install 'eval-divergence[probe]'.")
    plan = read_plan(plan_path)
    items = read_items(plan)
    heads = {name: client.headers(endpoint) for name, endpoint in plan.endpoint.items()}
    paths = _weights(plan, quiet)
    started = time.perf_counter()
    with Store(Path(out), plan.hash(items)) as store:
        total = len(items) * len(plan.system) * len(plan.context) * plan.waves * plan.trials
        with _progress(total, len(store.done), quiet) as advance:
            campaign = Campaign(plan, items, heads, paths, store, advance, seed)
            asyncio.run(campaign.all_blocks())
        path = store.finish()
        rows = store.rows()
    errors = sum(row["error_type"] is not None for row in rows)
    retries = sum(row["retries"] for row in rows)
    return ProbeSummary(len(rows), errors, retries, time.perf_counter() - started, path)


def _weights(plan: Plan, quiet: bool) -> dict[str, Path]:
    """Weights files of the local systems by model; making one takes up to a minute, once."""
    local = [system for system in plan.system if system.weights]
    if local:
        stack.check_installed()
    found = {}
    for system in local:
        if not quiet:
            print(f"weights of {system.model}", file=sys.stderr)
        found[system.model] = weights.find(system.weights)
    return found


@contextlib.contextmanager
def _progress(total: int, done: int, quiet: bool):
    """Yields a function that is told the label of every finished row."""
    if quiet:
        yield lambda _label: None
        return
    import rich.console
    import rich.progress

    columns = (*rich.progress.Progress.get_default_columns(), rich.progress.MofNCompleteColumn())
    console = rich.console.Console(file=sys.stderr)
    with rich.progress.Progress(*columns, console=console) as bar:
        task = bar.add_task("probe", total=total, completed=done)
        yield lambda label: bar.update(task, advance=1, description=label)


@dataclasses.dataclass(frozen=True)
class Campaign:
    """Everything that the blocks of one run share."""

    plan: Plan
    items: list[dict]
    heads: dict[str, dict[str, str]] = dataclasses.field(repr=False)  # holds keys: never printed
    paths: dict[str, Path]
    store: Store
    advance: Callable[[str], None]
    seed: int

    def blocks(self) -> list[Block]:
        """All blocks, wave by wave, in random order within a wave."""
        ordered = []
        for wave in range(1, self.plan.waves + 1):
            within = [Block(wave, s, c) for s in self.plan.system for c in self.plan.context]
            random.Random(f"{self.seed}/{wave}").shuffle(within)
            ordered += within
        return ordered

    def missing(self, block: Block) -> list[tuple[dict, Key]]:
        """Items and keys of the block that are not in the store, in the order of asking."""
        groups: dict[str, list[dict]] = {}
        for item in self.items:
            groups.setdefault(json.dumps(item["examples"]), []).append(item)
        draw = random.Random(f"{self.seed}/{block.wave}/{block.system.model}/{block.context.label}")
        wanted = []
        for repeat in range(self.plan.trials):
            trial = (block.wave - 1) * self.plan.trials + repeat + 1
            for group in draw.sample(list(groups.values()), len(groups)):
                for item in draw.sample(group, len(group)):
                    key = (block.context.label, item["item"], block.system.model, block.wave, trial)
                    wanted.append((item, key))
        return [(item, key) for item, key in wanted if key not in self.store.done]

    async def all_blocks(self) -> None:
        """Work through the blocks, `blocks_at_once` at a time; the first error that is not a row stops all."""
        waiting = collections.deque(self.blocks())

        async def worker() -> None:
            while waiting:
                block = waiting.popleft()
                todo = self.missing(block)
                if todo:
                    await self.one_block(block, todo)

        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(self.plan.blocks_at_once):
                    tasks.create_task(worker())
        except* InputError as group:
            raise group.exceptions[0] from None

    async def one_block(self, block: Block, todo: list[tuple[dict, Key]]) -> None:
        """Ask everything in `todo`, on a server of its own where the system is a local one."""
        waiting = collections.deque(todo)
        async with contextlib.AsyncExitStack() as exits:
            session = await exits.enter_async_context(client.open_session(block.context.concurrency))
            extra: dict[str, str] = {}
            if block.system.weights:
                settings = self.plan.settings(block.context)
                server = await exits.enter_async_context(stack.serve(self.paths[block.system.model], settings))
                base, head = server.base_url, {}
                extra = {"engine": "llama.cpp", "engine_version": f"xllamacpp {server.version}"}
            else:
                base = self.plan.endpoint[block.system.endpoint].base_url
                head = self.heads[block.system.endpoint]

            async def one_client(number: int) -> None:
                jitter = random.Random(f"{self.seed}/{block}/{number}")
                while waiting:
                    item, key = waiting.popleft()
                    body = request_body(self.plan, block, item)
                    begun = datetime.datetime.now(datetime.UTC)
                    url = base.rstrip("/") + "/chat/completions"
                    reply = await client.ask(session, url, head, body, self.plan.request, jitter)
                    row = execution(block, item, key, reply)
                    self.store.add(row | extra | {"time": begun.isoformat()})
                    self.advance(f"wave {block.wave} {block.system.model} {block.context.label}")

            async with asyncio.TaskGroup() as clients:
                for number in range(block.context.concurrency):
                    clients.create_task(one_client(number))


def request_body(plan: Plan, block: Block, item: dict) -> dict:
    """The JSON body of one request: messages after the context's truncation and wrapping, and the sampler."""
    context = block.context
    keep = len(item["examples"]) if context.keep_examples < 0 else context.keep_examples
    messages = [{"role": "system", "content": context.system_prompt}] if context.system_prompt else []
    for question, answer in item["examples"][len(item["examples"]) - min(keep, len(item["examples"])) :]:
        messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    messages.append({"role": "user", "content": context.wrap.replace("{prompt}", item["prompt"])})
    body = {"model": block.system.request_model or block.system.model, "messages": messages}
    body |= {"max_tokens": plan.request.max_tokens, **context.sampler}
    return body | ({"stop": list(plan.request.stop)} if plan.request.stop else {})


def execution(block: Block, item: dict, key: Key, reply: client.Reply) -> dict:
    """The row of one execution, without its time and id."""
    answer, score = (None, None) if reply.error_type else scoring.score(reply.text, item)
    row = {"regime": block.context.regime, "model": block.system.model, "item": item["item"], "score": score}
    row |= {"answer": answer, "gold": scoring.tidy(item["gold"]), "scorer": item["scorer"], "task": item["task"]}
    row |= {"trial": key[4], "wave": str(key[3])}
    row |= {"context": block.context.label, **block.context.factors}
    row |= {name: getattr(reply, name) for name in MEASURED}
    decoded = (reply.output_tokens or 0) - 1
    spread = None if reply.latency_s is None or reply.ttft_s is None else reply.latency_s - reply.ttft_s
    return row | {"tpot_s": spread / decoded if spread is not None and decoded > 0 and not reply.error_type else None}
