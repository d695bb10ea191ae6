"""One block: one system in one context in one wave, with the servers that it needs, asked as its arrivals say."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import datetime
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path

from divergence.probe import arrivals, client, scoring, stack
from divergence.probe import router as routing
from divergence.probe.budget import Spending
from divergence.probe.plan import Context, Plan, ServerSettings, System
from divergence.probe.router import SESSION_HEADER
from divergence.probe.store import Key, Store
from divergence.probe.telemetry import Scrape
from divergence.probe.weights_file import weights_file
from divergence.probe.workloads import Asked, execute


@dataclasses.dataclass(frozen=True)
class Block:
    """One system in one context in one wave."""

    wave: int
    """Number of the campaign, from 1."""
    system: System
    """Who is asked."""
    context: Context
    """How it is served."""

    @property
    def name(self) -> str:
        """For progress and seeds."""
        return f"wave {self.wave} {self.system.model} {self.context.label}"


@dataclasses.dataclass(frozen=True)
class Target:
    """Where the requests of a block go."""

    url: str
    """Address of the chat route."""
    head: Mapping[str, str] = dataclasses.field(repr=False)  # holds keys: never printed
    """Request headers."""
    extra: Mapping[str, str]
    """Columns that every row of the block has."""
    replicas: Mapping[str, Mapping[str, str]]
    """Replica -> the factor levels of the rows that it answered."""
    watched: tuple[Scrape, ...]
    """Metrics pages of the servers that the block started."""


@dataclasses.dataclass(frozen=True)
class CampaignRun:
    """What all blocks of one run share."""

    plan: Plan
    """The plan."""
    heads: Mapping[str, Mapping[str, str]] = dataclasses.field(repr=False)
    """Request headers by endpoint; they hold keys."""
    store: Store
    """Where rows go."""
    spending: Spending
    """What the budget counts."""
    scorers: Mapping[str, scoring.Function]
    """Python scorers by name."""
    advance: Callable[[str], None]
    """Told the name of the block at every row."""
    seed: int
    """Seed of orders, arrivals and routing."""
    watch: Callable[[tuple[Scrape, ...]], contextlib.AbstractAsyncContextManager]
    """Watches metrics pages while its context is open."""


async def run_block(run: CampaignRun, block: Block, todo: list[tuple[dict, Key]]) -> None:
    """Ask everything in `todo`; stops early, in good order, when the budget is used up."""
    law = block.context.arrivals
    at_once = block.context.concurrency if law.kind == "closed" else law.in_flight_max
    async with contextlib.AsyncExitStack() as exits:
        session = await exits.enter_async_context(client.open_session(at_once))
        target = await exits.enter_async_context(_serve(run, block))
        await exits.enter_async_context(run.watch(target.watched))

        async def ask(item: dict, key: Key, jitter: random.Random, queue_s: float | None) -> None:
            async def send(messages: list[dict[str, str]], named: str | None) -> client.Reply:
                head = target.head if named is None else {**target.head, SESSION_HEADER: named}
                body = request_body(run.plan, block, messages)
                reply = await client.ask(session, target.url, head, body, run.plan.request, jitter)
                run.spending.add(block.system.model, reply)
                return reply

            begun = {"time": datetime.datetime.now(datetime.UTC).isoformat()}
            waited = {} if queue_s is None else {"queue_s": queue_s}
            asked = Asked(block.system, block.context, item, key, run.scorers)
            rows = []
            for row, replies in await execute(asked, send):
                row = {**begun, **row, **waited, **target.extra, **target.replicas.get(replies[-1].replica, {})}
                costs = [run.spending.cost(block.system.model, reply) for reply in replies]
                known = {} if None in costs else {"cost_usd": sum(cost for cost in costs if cost is not None)}
                rows.append(row | known)
            run.store.add(rows)
            run.advance(block.name)

        if law.kind == "closed":
            await _closed(run, block, todo, ask)
        else:
            await _open(run, block, todo, ask)


Ask = Callable[[dict, Key, random.Random, float | None], Awaitable[None]]


async def _closed(run: CampaignRun, block: Block, todo: list[tuple[dict, Key]], ask: Ask) -> None:
    """Every client sends its next request when it has its answer."""
    waiting = collections.deque(todo)

    async def one_client(number: int) -> None:
        jitter = random.Random(f"{run.seed}/{block}/{number}")
        while waiting and run.spending.used_up() is None:
            item, key = waiting.popleft()
            await ask(item, key, jitter, None)

    async with asyncio.TaskGroup() as clients:
        for number in range(block.context.concurrency):
            clients.create_task(one_client(number))


async def _open(run: CampaignRun, block: Block, todo: list[tuple[dict, Key]], ask: Ask) -> None:
    """Requests go out at times drawn before, whatever has come back."""
    law = block.context.arrivals
    gaps = arrivals.read_gaps(run.plan.folder / law.trace) if law.trace else None
    draw = random.Random(f"{run.seed}/{block.name}/arrivals")
    room = asyncio.Semaphore(law.in_flight_max)
    begun = time.perf_counter()

    async def one(item: dict, key: Key, due: float) -> None:
        try:
            late = max(0.0, time.perf_counter() - begun - due)
            await ask(item, key, random.Random(f"{run.seed}/{key}"), late)
        finally:
            room.release()

    async with asyncio.TaskGroup() as requests:
        for (item, key), due in zip(todo, arrivals.schedule(law, len(todo), draw, gaps), strict=True):
            await asyncio.sleep(max(0.0, begun + due - time.perf_counter()))
            await room.acquire()
            if run.spending.used_up() is not None:
                break
            requests.create_task(one(item, key, due))


@contextlib.asynccontextmanager
async def _serve(run: CampaignRun, block: Block) -> AsyncIterator[Target]:
    """The block's endpoint: somebody's, or local servers that live as long as the block, with a router before them."""
    if not block.system.weights:
        name = run.plan.where(block.system, block.context)
        base = run.plan.endpoint[name].base_url.rstrip("/")
        yield Target(f"{base}/chat/completions", run.heads[name], {}, {}, ())
        return
    settings, router = run.plan.settings(block.context), block.context.router
    replicas = router.replica if router is not None else (routing.Replica("server"),)
    async with contextlib.AsyncExitStack() as exits:
        servers = []
        for replica in replicas:
            own = dataclasses.replace(settings, **replica.server)
            own = dataclasses.replace(own, draft=str(draft_of(run.plan, block.system, own) or ""))
            servers.append(await exits.enter_async_context(stack.serve(weights_of(run.plan, block.system, replica), own)))
        bases = [server.base_url for server in servers]
        base = bases[0]
        if router is not None:
            base = await exits.enter_async_context(routing.route(router, bases, f"{run.seed}/{block.name}"))
        period = run.plan.telemetry_period_s
        pages = {f"{block.context.label}/{r.name}": b for r, b in zip(replicas, bases, strict=True)}
        pages |= {f"{block.context.label}/router": base} if router is not None else {}
        watched = (
            tuple(Scrape(f"{b.removesuffix('/v1')}/metrics", name, block.system.model, period) for name, b in pages.items())
            if period
            else ()
        )
        versions = dict.fromkeys(server.version for server in servers)
        extra = {"engine": settings.engine, "engine_version": ", ".join(versions)}
        yield Target(f"{base}/chat/completions", {}, extra, {r.name: r.factors for r in replicas}, watched)


def weights_of(plan: Plan, system: System, replica: routing.Replica) -> Path:
    """The weights file of a replica."""
    return weights_file(_named(replica.weights, system) or system.weights, plan.folder)


def draft_of(plan: Plan, system: System, settings: ServerSettings) -> Path | None:
    """The weights file that drafts for a server with these settings; None = nothing is drafted."""
    return weights_file(_named(settings.draft, system), plan.folder) if settings.draft else None


def _named(name: str, system: System) -> str:
    return name.replace("{family}", system.weights.rsplit("-", 1)[0])


def request_body(plan: Plan, block: Block, messages: list[dict[str, str]]) -> dict:
    """The JSON body of one request."""
    body = {"model": block.system.request_model or block.system.model, "messages": messages}
    body |= {"max_tokens": plan.request.max_tokens, **block.context.sampler}
    return body | ({"stop": list(plan.request.stop)} if plan.request.stop else {})
