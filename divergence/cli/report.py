"""`divergence report`: read, check, collapse, fit, estimate, draw."""

from __future__ import annotations

import dataclasses
import functools
import pathlib

import click

from divergence.cli.fitting import UNDER_LOAD, answerable, fitted, gates, known_question, risk_of
from divergence.cli.options import common, on_ray, reading
from divergence.cli.progress import steps
from divergence.errors import InputError, NotIdentifiedError

SMALL = 100_000  # rows up to which all that a fit takes is collapsed before a refusal by design: less than a second


@click.command()
@on_ray
@reading
@common
@click.option("-o", "--output", required=True, type=click.Path(path_type=pathlib.Path), help="Folder of the results.")
@click.option("--question", help="Stop with exit code 3 unless this question is answered.")
@click.option(
    "--format",
    "formats",
    multiple=True,
    metavar="html|md|tex|json",
    help="Also write report.md, report.tex, report.json; several, or a list with commas. The page is always made.",
)
@click.option(
    "--incumbent",
    multiple=True,
    metavar="MODEL",
    help="The model that runs now, which candidates have to beat; may be repeated.",
)
@click.option(
    "--preregistered",
    type=click.Path(path_type=pathlib.Path),
    metavar="FILE",
    help="Hold the run to this lock file; its seed is taken unless --seed is given. Departures are said, exit code 1.",
)
@click.option(
    "--since",
    type=click.Path(path_type=pathlib.Path),
    metavar="DIR",
    help="Folder of an earlier report (it may be the output folder): the page has a section on what changed since.",
)
@click.option("--risk", is_flag=True, help="Also make the risk model of the log's requests, and show its calibration.")
def report(read, output, question, formats, incumbent, seed, preregistered, since, **asked) -> int:
    """Read, check, collapse, fit, estimate, draw: the main job."""
    from divergence.estimate import INTERVAL
    from divergence.preregistration import departures, held_to, load
    from divergence.results import write_report
    from divergence.since import earlier

    known_question(question, UNDER_LOAD)
    if since is not None:
        earlier(since)
    formats = _known_formats(formats)
    lock = load(preregistered) if preregistered is not None else None
    given = click.get_current_context().get_parameter_source("seed")
    if lock is not None and given is not click.core.ParameterSource.COMMANDLINE:
        seed = lock.says["seed"]
    with steps(6, asked["quiet"]) as tell:
        tell("reading the log")
        log = read(functools.partial(tell, steps=0))
        log = _declaring(log, incumbent)
        if log.counts.valid <= SMALL:
            log.cells  # noqa: B018 - the design is then read off them, and is not counted by itself before
        answerable(log, question)
        posterior = fitted(log, seed, tell)
        if lock is not None:
            posterior = held_to(posterior, lock)
        made = risk_of(posterior, log, seed) if asked["risk"] else None
        estimates = write_report(posterior, output, log=log, progress=tell, formats=formats, risk=made, since=since)
    if question and not estimates.filter((estimates["question"] == question) & estimates["identified"]).height:
        raise NotIdentifiedError(
            f"{question} cannot be answered from this log (the other answers are in {output}): "
            f"{estimates.filter(estimates['question'] == question)['reason'][0]}"
        )
    if asked["as_json"]:
        click.echo(estimates.write_json())
    elif not asked["quiet"]:
        click.echo(f"{output / 'report.html'}", err=True)
    told = departures(lock, log.configuration, seed, INTERVAL) if lock is not None else ()
    for departure in told:
        click.echo(f"DEPARTURE from {preregistered}: {departure}", err=True)
    return gates(posterior) or int(bool(told))


def _declaring(log, incumbent: tuple[str, ...]):
    """The log with these incumbents declared; every incumbent, declared anywhere, must be one of its models."""
    from divergence.configuration import nearest

    chosen = tuple(dict.fromkeys(incumbent)) or log.configuration.incumbent
    if not chosen:
        return log
    models = log.design.cells.levels["model"]
    for name in chosen:
        if name not in models:
            shown = ", ".join(models[:8]) + (f" and {len(models) - 8} more" if len(models) > 8 else "")
            raise InputError(f"the incumbent {name!r} is not a model of this log{nearest(name, models)}; it has {shown}")
    return dataclasses.replace(log, configuration=dataclasses.replace(log.configuration, incumbent=chosen))


def _known_formats(given: tuple[str, ...]) -> tuple[str, ...]:
    from divergence.results import FORMATS

    names = tuple(dict.fromkeys(name.strip() for text in given for name in text.split(",")))
    for name in names:
        if name not in FORMATS:
            raise InputError(f"--format {name!r} is not known; choose from {', '.join(FORMATS)}")
    return names
