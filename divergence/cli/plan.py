"""`divergence plan`: what to measure next, and what width or regret that buys."""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
from collections.abc import Mapping

import click

from divergence.cli.fitting import gates
from divergence.cli.options import common, reading
from divergence.cli.progress import steps
from divergence.errors import InputError, NotIdentifiedError

EMPTY = (
    "Every item of {}'s bank was asked: add as many items to it as the plan asks, or `divergence probe next.toml` refuses."
)
AMOUNTS = ("requests", "usd", "tokens", "seconds")


@click.command()
@reading
@common
@click.option("--goal", default="decision", show_default=True, metavar="GOAL", help="decision, or the name of a question.")
@click.option("--requests", type=float, metavar="N", help="Budget in requests; 1,000 where no budget is given.")
@click.option("--usd", type=float, metavar="X", help="Budget in US dollars.")
@click.option("--tokens", type=float, metavar="N", help="Budget in tokens.")
@click.option("--seconds", type=float, metavar="S", help="Budget in seconds of answering, one request after the other.")
@click.option("--until", metavar="width=W|regret=R", help="Find the budget that reaches this, at most the one given.")
@click.option("--contexts", type=click.Choice(["logged", "new"]), help="About the log's contexts, or any like them.")
@click.option("--probe", "made_by", type=click.Path(path_type=pathlib.Path), help="The probe plan that made the log.")
@click.option("-o", "--output", type=click.Path(path_type=pathlib.Path), help="Folder of page, JSON, and next.toml.")
@click.option("--difference", type=float, help="Without a log: the difference that a compare is to see.")
@click.option("--flips", type=float, help="Without a log: share of items whose score changes.")
@click.option("--power", type=float, default=0.8, show_default=True, help="Without a log: chance to see the difference.")
@click.option("--confidence", type=float, default=0.95, show_default=True, help="Without a log: of the compare's interval.")
def plan(read, goal, until, contexts, made_by, output, quiet, as_json, seed, **flags) -> int:
    """What to measure next: items, trials, contexts, models or labels, and what width or regret that buys.

    Writes plan.html, plan.json and next.toml, a plan that `divergence probe` runs. Without a log, --difference and --flips
    give the number of items that a `compare` needs.
    """
    if flags["difference"] is not None or flags["flips"] is not None:
        return _without_log(flags, as_json)
    budget, unit = budget_of(flags)
    target = target_of(until)
    with steps(4, quiet) as tell:
        tell("reading the log")
        log = read(functools.partial(tell, steps=0))
        known_goal(log, goal)
        posterior = posterior_of(log, seed, tell)
        tell("weighing what to measure")
        from divergence.planning.measure import plan as planned
        from divergence.planning.next_plan import probe_plan_beside

        made_by = made_by or probe_plan_beside([source.file for source in log.sources])
        bank = bank_left(made_by, posterior)
        found = planned(
            posterior,
            goal=goal,
            budget=budget,
            unit=unit,
            contexts=contexts,
            bank=bank or None,
            until=target,
            declared=declared_of(log.configuration),
        )
    if bank == 0:
        found = dataclasses.replace(found, notes=(*found.notes, EMPTY.format(made_by)))
    if output is not None:
        from divergence.planning.write import write

        write(found, posterior.fits[0], output, made_by)
    if as_json:
        click.echo(json.dumps(found.to_dict(), allow_nan=False))
    elif not quiet:
        click.echo(repr(found))
    if output is not None and not quiet:
        click.echo(f"{output / 'plan.html'}\n{output / 'next.toml'}", err=True)
    return gates(posterior)


def _without_log(flags: Mapping, as_json: bool) -> int:
    if flags["difference"] is None or flags["flips"] is None:
        raise click.UsageError("--difference and --flips go together: how much is to be seen, and how many items flip")
    from divergence.planning.sample_size import sample_size

    found = sample_size(flags["difference"], flags["flips"], flags["power"], flags["confidence"])
    click.echo(json.dumps(found.to_dict()) if as_json else repr(found))
    return 0


def budget_of(flags: Mapping) -> tuple[float | None, str]:
    """The budget and its unit from the flags; UsageError for two of them."""
    given = [(flags[unit], unit) for unit in AMOUNTS if flags[unit] is not None]
    if len(given) > 1:
        raise click.UsageError(f"a plan has one budget, seen {', '.join('--' + unit for _, unit in given)}")
    return given[0] if given else (None, "requests")


def target_of(text: str | None, kinds: tuple[str, ...] = ("width", "regret")) -> dict[str, float] | None:
    """`width=0.02` as a mapping; InputError for anything else."""
    if text is None:
        return None
    out = {}
    for part in text.replace("|", ",").split(","):
        name, _, value = part.strip().partition("=")
        try:
            number = float(value)
        except ValueError:
            number = float("nan")
        if name not in kinds or not number > 0:
            raise InputError(
                f"--until takes {' or '.join(f'{kind}=NUMBER' for kind in kinds)}, above 0; seen {part.strip()!r}"
            )
        out[name] = number
    return out


def known_goal(log, goal: str) -> None:
    """The goal is one, and the design of the log answers it; before anything is fitted."""
    from divergence.planning.goals import question_of

    room = question_of(goal)
    answer = next(a for a in log.answers() if a.question == room.name)
    if not answer.identified:
        raise NotIdentifiedError(f"{goal} cannot be planned for, because this log does not answer it yet: {answer.reason}")


def posterior_of(log, seed: int, tell):
    """The joint posterior of the outcome alone: what serving took is not asked."""
    from divergence.joint import fit

    tell("collapsing the log")
    return fit(log.cells, seed=seed, progress=tell)


def declared_of(configuration) -> dict:
    """Requirements and prices as the goal takes them."""
    bounds, prices = configuration.acceptance, configuration.prices
    out: dict = {}
    if bounds is not None:
        out["acceptance"] = {k: v for k, v in dataclasses.asdict(bounds).items() if v is not None}
    if prices is not None:
        out |= {"prices": prices.per_million_tokens, "currency": prices.currency}
    return out


def bank_left(made_by: pathlib.Path | None, posterior) -> int | None:
    """Items of the probe plan's bank that the log did not ask; None where no bank is known."""
    if made_by is None:
        return None
    from divergence.planning.next_plan import asked_before
    from divergence.probe.item_files import read_items
    from divergence.probe.reading import read_plan

    try:
        from divergence.probe import scoring

        plan = read_plan(made_by)
        items = read_items(plan, "", scoring.functions(plan.folder / plan.scorers if plan.scorers else None))
    except InputError as error:
        raise InputError(f"the probe plan {made_by}, which stands for what made the log, cannot be used: {error}") from None
    asked = {row["item"] for row in asked_before(posterior.fits[0])}
    from divergence.probe.allocation import base_name

    turns = any(item.get("turns") for item in items)
    asked = {base_name(item, turns) for item in asked}
    return sum(item["item"] not in asked for item in items)
