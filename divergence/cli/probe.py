"""`divergence probe`: items in declared contexts against live endpoints."""

from __future__ import annotations

import json
import pathlib

import click

from divergence.cli.options import common


@click.command()
@common
@click.argument("plan", type=click.Path(path_type=pathlib.Path))
@click.option("-o", "--output", type=click.Path(path_type=pathlib.Path), help="Folder of the rows.")
@click.option(
    "--dry-run", "unsent", is_flag=True, help="Say what would be asked, and what would be confounded; send nothing."
)
def probe(plan, output, unsent, quiet, as_json, seed, **_) -> int:
    """Run items in declared contexts against live endpoints, and write executions. Run again to resume."""
    from divergence.probe import dry_run, run

    if unsent:
        done = dry_run(plan)
    elif output is None:
        raise click.UsageError("name the folder of the rows with -o, or look at the plan with --dry-run")
    else:
        done = run(plan, output, quiet=quiet, seed=seed)
    if as_json or not quiet:
        click.echo(json.dumps(done.to_dict()) if as_json else done)
    return 0
