"""Flags that several verbs share, and how a log is read from them."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from divergence.errors import InputError

if TYPE_CHECKING:
    from divergence.configuration import Configuration


def common(command: Callable) -> Callable:
    """Flags of every verb."""
    for option in (
        click.option("--quiet", is_flag=True, help="No progress on stderr."),
        click.option(
            "--json",
            "as_json",
            is_flag=True,
            help="The results as JSON on stdout; of report a list of rows, else an object.",
        ),
        click.option("--debug", is_flag=True, help="Show the traceback of an error."),
        click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of every draw."),
    ):
        command = option(command)
    return command


def naming(command: Callable) -> Callable:
    """Flags that say what the columns of a log are called; the command gets `config`, `map`, `set` and `where`."""
    for option in (
        click.option("--config", type=click.Path(), help="divergence.toml; by default the one beside the log."),
        click.option(
            "--map",
            multiple=True,
            metavar="COLUMN=NAME",
            help="This column has that name in the file, as score=data.correct.",
        ),
        click.option("--set", multiple=True, metavar="COLUMN=VALUE", help="A column that the file lacks."),
        click.option("--where", multiple=True, metavar="COLUMN=LEVEL", help="Keep only these rows."),
    ):
        command = option(command)
    return command


def configuration_of(
    config: str | None,
    paths: Sequence[str | pathlib.Path],
    flags: dict[str, tuple[str, ...]],
    outcome: str | None = None,
    items: str | None = None,
) -> Configuration:
    """What was declared: in the file named, else in the one beside the log; then by the flags of `naming`."""
    from divergence.configuration import Configuration

    chosen = Configuration.load(config) if config else Configuration.beside(paths)
    if outcome is not None:
        chosen = chosen.about(outcome)
    if items is not None:
        chosen = dataclasses.replace(chosen, items=items)
    return chosen.with_flags(**{name: flags[name] for name in ("map", "set", "where")})


def reading(command: Callable) -> Callable:
    """Flags of the verbs that read a log; the command gets the `Executions` as `read()`."""

    @functools.wraps(command)
    def with_log(logs, config, evaluation, deployment, accept_rejected, outcome, items, ray=None, **flags):
        columns = {name: flags.pop(name) for name in ("map", "set", "where")}

        def read(progress=None):
            from divergence.executions import read as read_log

            if not (logs or evaluation or deployment):
                raise click.UsageError("name a log: a file, a glob, or a folder")
            paths = [*logs, *evaluation, *deployment]
            return read_log(
                list(logs) or None,
                configuration=configuration_of(config, paths, columns, outcome, items),
                evaluation=list(evaluation) or None,
                deployment=list(deployment) or None,
                accept_rejected=accept_rejected,
                progress=progress,
                ray=ray,
            )

        return command(read=read, **flags)

    declared: Callable = with_log
    for option in (
        click.argument("logs", nargs=-1),
        click.option("--evaluation", multiple=True, help="Files whose rows are all evaluation."),
        click.option("--deployment", multiple=True, help="Files whose rows are all deployment."),
        click.option("--outcome", metavar="NAME", help="What the answers are about [default: score]: a column or a metric."),
        click.option(
            "--items",
            type=click.Choice(["new", "observed"]),
            help="About which items: new ones of the same source [default], or those of the log themselves.",
        ),
        naming,
        click.option(
            "--accept-rejected",
            type=float,
            default=0.05,
            show_default=True,
            metavar="FRACTION",
            help="Stop when more than this share of the rows breaks a rule.",
        ),
    ):
        declared = option(declared)
    return declared


def on_ray(command: Callable) -> Callable:
    """The flag of the verbs whose log a cluster may count and sum, and one connection to it for the whole command."""

    @functools.wraps(command)
    def connected_once(*given, ray=None, **flags):
        from divergence.ray_cluster import connected

        with connected(ray) if ray is not None else contextlib.nullcontext():
            return command(*given, ray=ray, **flags)

    return click.option(
        "--ray",
        metavar="ADDRESS",
        help="Count and sum the log file by file on this Ray cluster; its nodes need the files under the same paths.",
    )(connected_once)


def pairs_of(texts: tuple[str, ...]) -> dict[str, str]:
    """`COLUMN=VALUE` texts as a mapping; InputError for a text of another form."""
    pairs = [text.partition("=") for text in texts]
    for (name, equals, value), text in zip(pairs, texts, strict=True):
        if not (name and equals and value):
            raise InputError(f"--set takes COLUMN=VALUE, seen {text!r}")
    return {name: value for name, _, value in pairs}
