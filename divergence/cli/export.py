"""`divergence export`: a log, with our intervals, in the files of another tool."""

from __future__ import annotations

import json
import pathlib

import click

from divergence.cli.options import common, reading
from divergence.cli.progress import steps
from divergence.errors import InputError


@click.command()
@reading
@common
@click.option("-o", "--output", required=True, type=click.Path(path_type=pathlib.Path), help="Folder of the files.")
@click.option("--format", "format_", required=True, help="every-eval-ever")
@click.option("--organization", default="unknown", show_default=True, help="Who provides the results.")
@click.option("--relationship", default="other", show_default=True, help="first_party, third_party, collaborative, other")
@click.option("--library", default="unknown", show_default=True, help="The tool that ran the evaluation.")
@click.option("--no-intervals", is_flag=True, help="Fit nothing: standard errors only.")
def export(read, output, format_, organization, relationship, library, no_intervals, quiet, as_json, seed, **_) -> int:
    """Write a log with our intervals in another tool's format."""
    from divergence.exchange import FORMATS, Evaluator, level_intervals, write

    if format_ not in FORMATS:
        raise InputError(f"--format {format_!r} cannot be written; choose from {', '.join(FORMATS)}")
    with steps(3, quiet) as tell:
        tell("reading the log")
        log = read()
        tell("fitting each task")
        intervals, notes = ({}, ()) if no_intervals else level_intervals(log, seed)
        tell("writing")
        written = write(log, intervals, output, Evaluator(organization, relationship, library))
    if as_json:
        click.echo(json.dumps({"format": format_, "files": written.files, "rows": written.rows, "notes": notes}))
    elif not quiet:
        click.echo(f"{written.rows} rows in {len(written.files)} evaluations in {output}", err=True)
        if written.unjudged:
            click.echo(f"{written.unjudged} rows have neither a score nor an error, and are left out", err=True)
    if not quiet:
        for note in notes:
            click.echo(note, err=True)
    return 0
