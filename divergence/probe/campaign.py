"""Run a plan: every item, in every context, on every system, and write down what came back.

A *block* is one system in one context in one wave. Blocks are run in random order within their wave, because a machine
warms up and order would otherwise be confounded with the context; `wave` in the log is the number of the campaign, so
that every context measured in two waves is its own A/A comparison. Within a block, `concurrency` clients each send the
next question when they have their answer; items that share their worked examples follow one another.
"""

from __future__ import annotations

import asyncio
import collections
import concurrent.futures
import contextlib
import dataclasses
import functools
import importlib.util
import json
import random
import sys
import time
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar

from divergence.errors import InputError
from divergence.probe import allocation, client, scoring, stack, telemetry
from divergence.probe.block import Block, CampaignRun, draft_of, run_block, weights_of
from divergence.probe.budget import Spending
from divergence.probe.dry_run import confounded, read_traces, workloads
from divergence.probe.endpoint_check import greet
from divergence.probe.plan import Plan
from divergence.probe.reading import read_plan
from divergence.probe.router import Replica
from divergence.probe.store import Key, Store
from divergence.probe.telemetry import Scrape
from divergence.probe.workloads import turn_name

TELEMETRY = "telemetry.journal"  # appended window by window; `telemetry.parquet` is made from it
Done = TypeVar("Done")


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
    stopped: str | None = None
    """Why the run ended before everything was asked (a used-up budget); None = all is done."""
    windows: int = 0
    """Rows of telemetry."""
    error_types: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """`error_type` -> executions that have it."""
    unread: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Instance -> how often its metrics page could not be read."""
    damaged: int = 0
    """Lines of the journals that are no whole rows and were left out; their items were asked again."""

    def to_dict(self) -> dict:
        """For machines."""
        return dataclasses.asdict(self) | {"path": str(self.path)}

    def __str__(self) -> str:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(self.error_types.items(), key=lambda e: -e[1]))
        errors = f"{self.errors:,} errors" + (f": {kinds}" if kinds else "")
        said = f"{self.rows:,} rows ({errors}; {self.retries:,} retries) in {self.path}"
        if self.rows == self.errors:
            said += (
                "\nnothing was served: correct the plan or the server, and give another folder (rows of errors are "
                "kept, and not asked again)"
            )
        if self.unread:
            pages = ", ".join(f"{instance} {count:,} times" for instance, count in sorted(self.unread.items()))
            said += f"\nmetrics pages that could not be read: {pages} ({telemetry.UNREAD})"
        if self.damaged:
            said += (
                f"\nlines of the folder's journals that are no whole rows: {self.damaged:,}; they were left out, and their "
                "items asked again"
            )
        return said + (f"\nstopped early: {self.stopped}; run again to go on" if self.stopped else "")


def run(plan_path: str | Path, out: str | Path, *, quiet: bool = False, seed: int = 0) -> ProbeSummary:
    """Run the plan and write `out/executions.parquet`; what an earlier run has measured is not measured again.

    `seed` orders blocks and items. Failed requests become rows with `error_type`. Raises `InputError` for a plan that
    cannot be run; progress goes to standard error unless `quiet`.
    """
    if importlib.util.find_spec("aiohttp") is None:
        raise InputError("The probe needs the package 'aiohttp': pip install 'eval-divergence[probe]'.")
    plan = read_plan(plan_path)
    scorers = scoring.functions(plan.folder / plan.scorers if plan.scorers else None)
    items = workloads(plan, scorers)
    read_traces(plan)
    heads = {name: client.headers(name, endpoint) for name, endpoint in plan.endpoint.items()}
    for scrape in plan.telemetry:
        client.check_set(f"telemetry {scrape.instance!r}", scrape.variables())
    if not quiet:
        for sentence in confounded(plan):
            print(f"note: {sentence}", file=sys.stderr)
    _weights(plan)
    spending = Spending(plan.budget, plan.price)
    started = time.perf_counter()
    folder = Path(out)
    before = allocation.read_asked(plan)
    cells = allocation.allotted(plan, items[""], before)
    with Store(folder, plan.hash(*items.values(), *([before] if before else []))) as store:
        total = executions(plan, items, cells)
        with _progress(total, len(store.done), quiet) as advance:
            unread: collections.Counter[str] = collections.Counter()
            watch = functools.partial(_watching, folder / TELEMETRY, unread, list(heads.values()))
            shared = CampaignRun(plan, heads, store, spending, scorers, advance, seed, watch)
            campaign = Campaign(shared, items, cells)
            if any(map(campaign.missing, campaign.blocks())):
                for sentence in _to_the_end(greet(plan, heads)):
                    if not quiet:
                        print(f"note: {sentence}", file=sys.stderr)
                _to_the_end(campaign.all_blocks())
        if not store.done:
            raise InputError(f"Nothing was measured: {spending.used_up()}.")
        windows = damaged = 0

        def watched(fresh: Path) -> None:
            nonlocal windows, damaged
            windows, damaged = telemetry.finish(folder / TELEMETRY, fresh / "telemetry.parquet")

        path = store.finish(watched)
        rows = store.rows()
        damaged += store.damaged
        stopped = spending.used_up() if any(map(campaign.missing, campaign.blocks())) else None
    errors = collections.Counter(row["error_type"] for row in rows if row["error_type"] is not None)
    retries = sum(row["retries"] for row in rows)
    seconds = time.perf_counter() - started
    told = (dict(errors), dict(unread), damaged)
    return ProbeSummary(len(rows), errors.total(), retries, seconds, path, stopped, windows, *told)


def _to_the_end(work: Coroutine[Any, Any, Done]) -> Done:
    """What the work returns; in a thread of its own where this one has a running loop already, as a notebook's has."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with contextlib.closing(asyncio.new_event_loop()) as loop, concurrent.futures.ThreadPoolExecutor(1) as thread:
        task = loop.create_task(work)
        waited_for = thread.submit(loop.run_until_complete, task)
        try:
            return waited_for.result()
        except KeyboardInterrupt:  # ends the servers and sessions in order, then the thread
            loop.call_soon_threadsafe(task.cancel)
            raise


@contextlib.asynccontextmanager
async def _watching(path: Path, failed: collections.Counter[str], others: list[dict[str, str]], scrapes: tuple[Scrape, ...]):
    """Scrape these pages while the context is open, a last time when it closes; failed scrapes are counted by instance. No
    key of theirs is kept, nor one of the `others`, the headers of requests: a gateway's page may tell whose key it saw."""
    if not scrapes:
        yield
        return
    ended = asyncio.Event()
    async with client.open_session(len(scrapes)) as session:
        heads = [client.page_headers(scrape) for scrape in scrapes]
        keys = client.keys_of(*heads, *others)
        watched = [
            telemetry.watch(session, s, head, path, failed, ended, keys) for s, head in zip(scrapes, heads, strict=True)
        ]
        tasks = [asyncio.create_task(watch) for watch in watched]
        try:
            yield
        finally:
            ended.set()
            await asyncio.gather(*tasks, return_exceptions=True)


def _weights(plan: Plan) -> None:
    """Are the engines installed, and the weights of the local systems there? Asked before anything is started."""
    local = [system for system in plan.system if system.weights]
    for context in plan.context if local else ():
        stack.check_installed(plan.settings(context).engine)
    replicas = [r for c in plan.context if c.router for r in c.router.replica] or [Replica("server")]
    served = [(c, r) for c in plan.context if local for r in (c.router.replica if c.router else (Replica("server"),))]
    for system in local:
        for replica in [Replica("server"), *replicas]:
            weights_of(plan, system, replica)
        for context, replica in served:
            draft_of(plan, system, dataclasses.replace(plan.settings(context), **replica.server))


@contextlib.contextmanager
def _progress(total: int, done: int, quiet: bool):
    """Yields a function that is told the label of every finished row."""
    if quiet:
        yield lambda _label: None
        return
    if not sys.stderr.isatty():
        yield _Counting(total, done)
        return
    import rich.console
    import rich.progress

    text = rich.progress.TextColumn("{task.description}", markup=False)  # labels are shown as they are written
    columns = (text, *rich.progress.Progress.get_default_columns()[1:], rich.progress.MofNCompleteColumn())
    console = rich.console.Console(file=sys.stderr)
    with rich.progress.Progress(*columns, console=console) as bar:
        task = bar.add_task("probe", total=total, completed=done)
        yield lambda label: bar.update(task, advance=1, description=label)


class _Counting:
    """Off a terminal: a plain line every ten seconds and at the end."""

    EVERY = 10.0  # seconds

    def __init__(self, total: int, done: int) -> None:
        self.total, self.done, self.told = total, done, time.monotonic()

    def __call__(self, label: str) -> None:
        self.done += 1
        now = time.monotonic()
        if self.done >= self.total or now - self.told >= self.EVERY:
            self.told = now
            print(f"{self.done} of {self.total} rows, the last in {label}", file=sys.stderr, flush=True)


def executions(plan: Plan, items: Mapping[str, list[dict]], cells: Mapping[tuple[str, str], list]) -> int:
    """Executions of a whole run: those allotted, or every item for everyone."""
    if plan.allocation:
        return plan.waves * sum(trials for allotted in cells.values() for _, trials in allotted)
    asked = sum(len(items[context.workload]) for context in plan.context)
    return asked * len(plan.system) * plan.waves * plan.trials


def first_key(item: Mapping, key: Key) -> Key:
    """The key whose row says that the item is done: a conversation's first turn is written last."""
    return (key[0], turn_name(key[1], 1), *key[2:]) if item.get("turns") else key


@dataclasses.dataclass(frozen=True)
class Campaign:
    """The blocks of one run, in their random order."""

    run: CampaignRun
    """What they share."""
    items: Mapping[str, list[dict]]
    """The items of the plan (""), and those of contexts with a workload of their own, by its name."""
    cells: Mapping[tuple[str, str], list[tuple[dict, int]]] = dataclasses.field(default_factory=dict)
    """What each system is asked in each context, and how often, where the plan allots it."""

    def blocks(self) -> list[Block]:
        """All blocks, wave by wave, in random order within a wave."""
        ordered = []
        for wave in range(1, self.run.plan.waves + 1):
            within = [Block(wave, s, c) for s, c in allocation.contexts_of(self.run.plan, self.cells)]
            random.Random(f"{self.run.seed}/{wave}").shuffle(within)
            ordered += within
        return ordered

    def missing(self, block: Block) -> list[tuple[dict, Key]]:
        """Items and keys of the block that are not in the store, in the order of asking."""
        wanted = []
        if self.run.plan.allocation:
            most = max(trials for _, trials in self.cells[block.system.model, block.context.label])
            for repeat in range(most):
                wanted += self._shuffled(block, (block.wave - 1) * most + repeat + 1, repeat)
        for repeat in () if self.run.plan.allocation else range(self.run.plan.trials):
            trial = (block.wave - 1) * self.run.plan.trials + repeat + 1
            wanted += self._traffic(block, trial) if block.context.workload else self._shuffled(block, trial, repeat)
        return [(item, key) for item, key in wanted if first_key(item, key) not in self.run.store.done]

    def _shuffled(self, block: Block, trial: int, repeat: int) -> list[tuple[dict, Key]]:
        """The items in random order; those that share their worked examples follow one another."""
        groups: dict[str, list[dict]] = {}
        allotted = self.cells.get((block.system.model, block.context.label), [])
        mine = [i for i, trials in allotted if repeat < trials] if self.run.plan.allocation else self.items[""]
        for item in mine:
            groups.setdefault(json.dumps(item["examples"]), []).append(item)
        draw = random.Random(f"{self.run.seed}/{block.wave}/{block.system.model}/{block.context.label}/{repeat}")
        ordered = [i for group in draw.sample(list(groups.values()), len(groups)) for i in draw.sample(group, len(group))]
        return [(item, (block.context.label, item["item"], block.system.model, block.wave, trial)) for item in ordered]

    def _traffic(self, block: Block, trial: int) -> list[tuple[dict, Key]]:
        """The context's own items in their own order; the n-th time that an item comes is its n-th trial."""
        items = self.items[block.context.workload]
        most = max(collections.Counter(item["item"] for item in items).values())
        seen: collections.Counter[str] = collections.Counter()
        out = []
        for item in items:
            seen[item["item"]] += 1
            number = (trial - 1) * most + seen[item["item"]]
            out.append((item, (block.context.label, item["item"], block.system.model, block.wave, number)))
        return out

    async def all_blocks(self) -> None:
        """Work through the blocks, `blocks_at_once` at a time; the first error that is not a row stops all."""
        waiting = collections.deque(self.blocks())

        async def worker() -> None:
            while waiting and self.run.spending.used_up() is None:
                block = waiting.popleft()
                todo = self.missing(block)
                if todo:
                    await run_block(self.run, block, todo)

        try:
            async with self.run.watch(self.run.plan.telemetry), asyncio.TaskGroup() as tasks:
                for _ in range(self.run.plan.blocks_at_once):
                    tasks.create_task(worker())
        except* InputError as group:
            raise group.exceptions[0] from None
