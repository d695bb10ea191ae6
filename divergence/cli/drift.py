"""`divergence drift`: has the regime changed, when, and in which couplings."""

from __future__ import annotations

import json
import pathlib

import click

from divergence.cli.options import common, configuration_of, naming
from divergence.cli.progress import print_table, steps
from divergence.errors import InputError


@click.command()
@click.argument("logs", nargs=-1, required=True)
@naming
@common
@click.option("-o", "--output", required=True, type=click.Path(path_type=pathlib.Path), help="Folder of the results.")
@click.option("--reference", metavar="RANGE", help="START/END in ISO 8601, or a fraction of the rows such as 0.4.")
@click.option(
    "--horizon", type=click.IntRange(min=1), metavar="CHUNKS", help="Planned chunks [default: the log's own length]."
)
@click.option("--endless", is_flag=True, help="No planned end: a bound on the rate of false alarms instead.")
@click.option("--state", type=click.Path(path_type=pathlib.Path), help="Small file from which the next run goes on.")
@click.option("--alpha", type=float, default=0.05, show_default=True, help="Bound on false alarms.")
@click.option(
    "--margin", type=float, default=0.1, show_default=True, help="Change of an edge that matters, on its own scale."
)
@click.option("--chunk-rows", type=click.IntRange(min=1), help="Rows of a chunk [default: from the autocorrelation].")
@click.option("--signal", multiple=True, metavar="COLUMN", help="A further column of the files that is a signal.")
@click.option("--only", multiple=True, metavar="COLUMN", help="Follow these signals and no others.")
@click.option("--randomised", multiple=True, metavar="FACTOR", help="The levels of this factor were assigned at random.")
@click.option("--zone", metavar="ZONE", help="The zone of times that name none, for example UTC.")
@click.option("--no-telemetry", is_flag=True, help="Leave telemetry beside executions out.")
def drift(logs, output, quiet, as_json, config, **flags) -> int:
    """Surface and structural drift of a stream, with evidence over time. Writes drift.html and evidence.parquet."""
    from divergence.drift.one_run import Asked, run
    from divergence.drift.reading import read_stream

    if flags["endless"] and flags["horizon"]:
        raise InputError("--endless and --horizon exclude each other: a planned run has an end.")
    with steps(4, quiet or as_json) as tell:
        tell("reading", 0)
        chosen = configuration_of(config, list(logs), flags)
        stream = read_stream(
            list(logs), chosen, zone=flags["zone"], signals=flags["signal"], telemetry=not flags["no_telemetry"]
        )
        tell("looking for drift")
        asked = Asked(
            reference=flags["reference"],
            horizon=flags["horizon"],
            endless=flags["endless"],
            alpha=flags["alpha"],
            margin=flags["margin"],
            chunk_rows=flags["chunk_rows"],
            only=flags["only"],
            randomised=flags["randomised"],
        )
        verdict = run(stream, asked, output, flags["state"], tell)
    if as_json:
        click.echo(json.dumps(verdict.to_json()))
    elif not quiet:
        click.echo(verdict.headline)
        click.echo(verdict.promise)
        rows = [
            (e.name, e.family, e.kind, f"{e.before:.3g}", f"{e.after:.3g}", f"{e.log_e:.1f}")
            for e in verdict.edges
            if e.settled
        ]
        if rows:
            print_table(("edge", "family", "what", "before", "since", "log e"), rows[:10])
        for note in verdict.notes:
            click.echo(f"- {note}")
        click.echo(f"The page is {output / 'drift.html'}")
    return 0
