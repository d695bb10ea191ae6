"""`divergence score`: the risk of every logged request."""

from __future__ import annotations

import click

from divergence.cli.options import common, configuration_of, naming


@click.command()
@common
@click.argument("model", type=click.Path())
@click.argument("logs", nargs=-1, required=True)
@click.option("-o", "--output", required=True, help="Folder or object-store address of the results.")
@click.option("--workers", type=click.IntRange(min=0), help="Processes; by default one a core, 0 = in this process.")
@click.option("--ray", metavar="ADDRESS", help="Score on this Ray cluster instead.")
@naming
@click.option(
    "--accept-rejected",
    type=float,
    default=0.05,
    show_default=True,
    metavar="FRACTION",
    help="A partition fails when more than this share of its rows breaks a rule.",
)
def score(model, logs, output, workers, ray, config, accept_rejected, quiet, as_json, **flags) -> int:
    """Calibrated risk for every logged request, one Parquet a partition. Run again to resume."""
    from divergence.cli.score_summary import run
    from divergence.executions.files import local_paths
    from divergence.risk.model import RiskModel

    return run(
        model,
        logs,
        output,
        quiet=quiet,
        as_json=as_json,
        load=RiskModel.load,
        workers=workers,
        ray=ray,
        configuration=configuration_of(config, local_paths(logs), flags),
        accept_rejected=accept_rejected,
    )
