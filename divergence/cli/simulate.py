"""`divergence simulate`: a log with known truth."""

from __future__ import annotations

import json
import pathlib

import click

from divergence.cli.options import common
from divergence.errors import InputError


@click.command()
@common
@click.argument("world")
@click.option("-o", "--output", required=True, type=click.Path(path_type=pathlib.Path), help="Parquet file to write.")
@click.option("--models", type=click.IntRange(1, 200), help="Number of models.")
@click.option("--contexts", type=click.IntRange(1, 200), help="Number of deployment contexts.")
@click.option("--items", type=click.IntRange(2, 1_000_000), help="Number of items.")
@click.option("--trials", type=click.IntRange(1, 1000), help="Replicates.")
def simulate(world, output, seed, as_json, quiet, models, contexts, items, trials, **_) -> int:
    """Draw a log from a world with known truth: Parquet, and truth.json beside it."""
    from divergence.simulate import KINDS, AgentWorld, write
    from divergence.simulate import world as make

    if world not in (*KINDS, AgentWorld.kind):
        raise InputError(f"the world {world!r} is not known; choose one of {', '.join((*KINDS, AgentWorld.kind))}")
    asked = {"n_models": models, "n_contexts": contexts, "n_items": items, "n_trials": trials}
    sizes = {k: v for k, v in asked.items() if v is not None}
    rows = write(AgentWorld(**sizes) if world == AgentWorld.kind else make(world, **sizes), seed, output)
    if as_json:
        click.echo(json.dumps({"rows": rows, "world": world, "seed": seed, "path": str(output)}))
    elif not quiet:
        click.echo(f"{rows} rows in {output}, truth in {output.parent / 'truth.json'}")
    return 0
