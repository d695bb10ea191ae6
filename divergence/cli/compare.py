"""`divergence compare`: did this re-served model get worse? A gate for reviews and for CI.

Exit codes: 0 no worse, 4 worse, 5 not settled; 2 input or usage error, 3 the question cannot be answered.
"""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Sequence
from typing import Any

import click

from divergence.cli.options import common, configuration_of, naming
from divergence.errors import InputError


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="BEFORE AFTER [AFTER...]")
@click.option("--margin", type=float, help="Loss that is accepted, in the unit of the outcome; 0.02 for scores.")
@click.option("--confidence", type=float, default=0.95, show_default=True, help="Of the two-sided interval.")
@click.option("--by", metavar="COLUMN", help="Compare two levels of this column of one log.")
@click.option("--before", metavar="LEVEL", help="The level before, with --by.")
@click.option("--after", metavar="LEVEL", help="The level after, with --by.")
@click.option("--cluster", metavar="COLUMN", help="Items of one level move together: they are one unit.")
@click.option("--outcome", metavar="NAME", help="What to compare; the score by default.")
@click.option("--scorer", metavar="NAME", help="Whose judgement, where there are several.")
@click.option("--items", type=click.Choice(["new", "observed"]), default="new", show_default=True, help="About which items.")
@click.option("--anytime", is_flag=True, help="The limits hold over all looks; needs --state.")
@click.option("--state", type=click.Path(path_type=pathlib.Path), help="File that the looks of --anytime share.")
@click.option(
    "-o", "--output", type=click.Path(path_type=pathlib.Path), help="Folder of page, Markdown, JSON, table, JUnit."
)
@click.option("--keep-text", is_flag=True, help="Show the prompts of moved items on the page.")
@click.option("--exit-zero", is_flag=True, help="Exit 0 whatever the verdict; errors keep their codes.")
@click.option("--accept-rejected", type=float, default=0.05, show_default=True, metavar="FRACTION", help="As in report.")
@naming
@common
def compare(runs, by, output, keep_text, exit_zero, quiet, as_json, **flags) -> int:
    """Did the second run get worse than the first? Paired item by item, with a margin.

    BEFORE and AFTER are anything that report or import reads: lm-eval folders, Inspect logs, tables. Several AFTERs are
    each compared with BEFORE. One log is compared with itself by --by COLUMN --before LEVEL --after LEVEL.
    """
    from divergence.comparison.write import dumped, write, write_runs

    if flags.pop("anytime") != (flags["state"] is not None):
        raise click.UsageError("--anytime and --state FILE go together: the looks share the file")
    reading, asked = _asked(runs, by, flags)
    if by is None and (flags["before"] is not None or flags["after"] is not None):
        raise click.UsageError("--before and --after name levels of --by COLUMN; runs are named by their paths")
    if by is None and len(runs) > 2:
        found, files = _several(runs, reading, asked)
        prompts = [_prompts(run, files) for run in found.runs] if keep_text else None
        page, save = "compare.json", functools.partial(write_runs, found, prompts=prompts)
    else:
        found, files = _two(runs, by, flags, reading, asked)
        page, save = "compare.html", functools.partial(write, found, prompts=_prompts(found, files) if keep_text else None)
    if output is not None:
        save(folder=output)
    if as_json:
        click.echo(dumped(found.to_dict()), nl=False)
    elif not quiet:
        click.echo(repr(found))
        if output is not None:
            click.echo(f"{output / page}", err=True)
    return 0 if exit_zero else found.exit_code


def _asked(runs: tuple[str, ...], by: str | None, flags: dict[str, Any]):
    """What is asked, and how the logs are read."""
    from divergence.comparison.opening import SideOptions
    from divergence.comparison.two_runs import Asked

    paths = [run for run in runs if pathlib.Path(run).exists()]
    named = any(flags[name] for name in ("config", "map", "set", "where"))
    configuration = configuration_of(flags["config"], paths, flags) if named else None
    reading = SideOptions(
        configuration=configuration,
        outcome=flags["outcome"],
        scorer=flags["scorer"],
        columns=(flags["cluster"],) if flags["cluster"] else (),
        accept_rejected=flags["accept_rejected"],
    )
    names = ("margin", "confidence", "cluster", "items", "state")
    return reading, Asked(**{name: flags[name] for name in names}, apart=by)


def _two(runs: Sequence[str], by: str | None, flags: dict[str, Any], reading, asked):
    """Two runs, or one log by a column: the comparison, and the files behind it."""
    from divergence.comparison.sides import side, sides_by
    from divergence.comparison.two_runs import between

    level_before, level_after = flags["before"], flags["after"]
    if by is not None:
        if len(runs) > 1 or level_before is None or level_after is None:
            raise click.UsageError("--by COLUMN takes one log, with --before LEVEL and --after LEVEL")
        before, after = sides_by(runs[0], (by, level_before, level_after), reading)
    elif len(runs) == 1:
        raise InputError(
            f"Only {runs[0]} is named: name a second run, or compare it with itself by --by COLUMN --before LEVEL "
            "--after LEVEL (for a folder with several models: --by model)."
        )
    else:
        before, after = (side(run, run, reading) for run in runs)
    return between(before, after, asked), {**before.files, **after.files}


def _several(runs: tuple[str, ...], reading, asked):
    """Several runs after one: the comparisons, and the files behind them."""
    from divergence.comparison.many_runs import among
    from divergence.comparison.sides import side

    sides = [side(run, run, reading) for run in runs]
    return among(sides[0], sides[1:], asked), {path: digest for one in sides for path, digest in one.files.items()}


def _prompts(found, files) -> dict[str, str]:
    from divergence.comparison.moved import moved_items
    from divergence.comparison.prompts import prompts

    return prompts(files, moved_items(found.table)["item"].to_list())
