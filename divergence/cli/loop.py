"""`divergence loop`: plan, probe, fit until a width or regret is reached, or the requests are spent."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import sys

import click

from divergence.cli.options import common
from divergence.cli.plan import bank_left, declared_of, target_of
from divergence.cli.progress import steps
from divergence.errors import InputError

KINDS = ("width", "regret", "requests")
FIRST = 20  # items a cell of the pilot: the fewest from which a variance is known to a third (sqrt(2 / 20))
ROUNDS_MAX = 50  # a loop that has not ended by then will not


@click.command()
@common
@click.argument("plan", type=click.Path(path_type=pathlib.Path))
@click.option("--until", required=True, metavar="width=W|regret=R|requests=N", help="When to stop; several with commas.")
@click.option("--goal", default="decision", show_default=True, metavar="GOAL", help="decision, or the name of a question.")
@click.option("--first", type=click.IntRange(min=2), default=FIRST, show_default=True, help="Items a cell of round 1.")
@click.option("--requests", type=click.IntRange(min=1), help="Requests of each later round; as many as round 1 by default.")
@click.option("--config", type=click.Path(), help="divergence.toml with requirements or prices.")
@click.option("-o", "--output", required=True, type=click.Path(path_type=pathlib.Path), help="Folder of the rounds.")
def loop(plan, until, goal, first, requests, config, output, quiet, as_json, seed, **_) -> int:
    """Measure a probe plan in rounds, each where it gains most, until a width or regret is reached.

    Round 1 asks every system the same few items in every context. Each round lies in its own folder, with the plan that it
    ran, and `loop.json` records what was predicted and what came. Run again to go on. Deployment contexts count alike unless
    the configuration declares shares: their rows are what the loop chose, not traffic.
    """
    target = target_of(until, KINDS) or {}
    _affordable(plan, target, first, goal)
    done = _rounds(plan, target, goal, (first, requests), config, output, quiet, seed)
    click.echo(done.dumped() if as_json else repr(done)) if as_json or not quiet else None
    return 0


def _affordable(path: pathlib.Path, target: dict[str, float], first: int, goal: str) -> None:
    """The goal is known, the plan can be run, and the requests pay for round 1; before anything is asked."""
    from divergence.planning.goals import question_of
    from divergence.probe.dry_run import dry_run

    question_of(goal)
    seen = dry_run(path)
    if seen.plan.allocation:
        raise InputError(f"The plan {path} has allocations already; a loop makes them: take the plan without them.")
    cells = len(seen.plan.system) * len(seen.plan.context)
    limit = target.get("requests", float("inf"))
    if cells * first > limit:
        raise InputError(
            f"Round 1 asks {first} items in each of {cells} cells, {cells * first} requests; --until "
            f"requests={limit:g} is less: "
            f"give at least that, or --first {max(2, int(limit // cells))}"
        )
    if first > seen.items:
        raise InputError(
            f"Round 1 asks {first} items in every cell, and the bank holds {seen.items}: give --first or add items."
        )


def _rounds(path, target, goal, sizes, config, output, quiet, seed):
    """All rounds: what is there already is read, what is missing is asked."""
    from divergence.planning.rounds import Round, Rounds, why_stop
    from divergence.probe import run
    from divergence.staging import whole

    first, requests = sizes
    record, expected, stopped, total = [], None, None, 0
    while stopped is None and len(record) < ROUNDS_MAX:
        number = len(record) + 1
        folder = output / f"round-{number}"
        if number == 1 and not (folder / "next.toml").exists():
            _write_pilot(path, folder, first)
        summary = run(folder / "next.toml", folder, quiet=True, seed=seed)
        if summary.stopped:
            raise InputError(f"round {number} ended early: {summary.stopped}; run the loop again to go on")
        total += summary.rows
        rows = summary.rows
        each = requests or (rows if number == 1 else record[0].requests)
        left = target.get("requests", float("inf")) - total
        files = [output / f"round-{k}" / "executions.parquet" for k in range(1, number + 1)]
        found, posterior, bank = _planned(files, config, goal, max(1.0, min(each, left)), folder, seed, quiet)
        best = _best(posterior, found) if goal == "decision" else None
        record.append(Round(number, rows, total, found.width, found.regret, expected, best))
        stopped = why_stop(found, target, total, bank)
        if not quiet:
            print(repr(Rounds(goal, target, tuple(record), stopped or "nothing")).splitlines()[number], file=sys.stderr)
        if stopped is None:
            _next(found, posterior, output / f"round-{number + 1}", folder / "next.toml")
            expected = found.designs[0]
    done = Rounds(goal, target, tuple(record), stopped or "nothing")
    with whole(output / "loop.json") as part:
        part.write_text(done.dumped(), encoding="utf-8")
    return done


def _write_pilot(path: pathlib.Path, folder: pathlib.Path, items: int) -> None:
    """Round 1: the same few items for everyone."""
    from divergence.planning.next_plan import pilot
    from divergence.staging import whole

    folder.mkdir(parents=True, exist_ok=True)
    with whole(folder / "next.toml") as part:
        part.write_text(pilot(path, folder, items), encoding="utf-8")


def _planned(files, config, goal: str, budget: float, folder: pathlib.Path, seed: int, quiet: bool):
    """The plan after these rounds, the fit behind it, and what is left of the bank."""
    from divergence.executions import read
    from divergence.joint import fit
    from divergence.planning.measure import plan as planned

    with steps(3, quiet) as tell:
        tell("reading the rounds")
        log = read([str(file) for file in files], configuration=_configuration(config))
        posterior = fit(log.cells, seed=seed, progress=functools.partial(tell, steps=0))
        tell("weighing what to measure")
        bank = bank_left(folder / "next.toml", posterior) or 0
        declared = declared_of(log.configuration)
        found = planned(posterior, goal=goal, budget=budget, bank=bank or None, declared=declared)
    return found, posterior, bank


def _configuration(config):
    """What was declared; contexts count alike where no law is, for their rows are what the loop chose."""
    from divergence.configuration import Configuration, ContextLaw

    declared = Configuration.load(config) if config else Configuration()
    if declared.deployment_law.name != "logged":
        return declared
    return dataclasses.replace(declared, deployment_law=ContextLaw("uniform"))


def _best(posterior, found) -> tuple[str, str]:
    """The combination with the highest level in the mean."""
    from divergence.joint import levels

    mu = levels(posterior.fits[0], "deployment")
    assert mu is not None and found.decides  # a decision has deployed rows
    means = [(mu.draws[:, m, c].mean(), mu.models[m], mu.contexts[c]) for m, c in zip(*mu.observed.nonzero(), strict=True)]
    _, model, context = max(means)
    return model, context


def _next(found, posterior, folder: pathlib.Path, made_by: pathlib.Path) -> None:
    """The plan of the next round, unless it stands there already."""
    from divergence.planning.write import write

    if not (folder / "next.toml").exists():
        write(found, posterior.fits[0], folder, made_by)
