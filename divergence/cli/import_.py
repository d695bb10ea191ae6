"""`divergence import`: another tool's log as a canonical one."""

from __future__ import annotations

import json
import pathlib

import click

from divergence.cli.options import common, pairs_of


@click.command("import")
@common
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=pathlib.Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=pathlib.Path), help="Parquet file to write.")
@click.option("--format", "format_", help="Format of the log; detected when left out.")
@click.option("--set", "constants", multiple=True, metavar="COLUMN=VALUE", help="A column that the log lacks.")
@click.option("--primary", help="Metric that becomes the score; by default the log's first.")
def import_(paths, output, format_, constants, primary, as_json, quiet, **_) -> int:
    """Turn another tool's log into a canonical one, and list what could not be mapped."""
    from divergence.executions.importers import import_log, write

    imported = import_log(list(paths), format_, constants=pairs_of(constants), primary=primary)
    written = write(imported, output)
    summary = {
        "format": imported.format,
        "rows": imported.executions.height,
        "rejected": imported.rejected.height,
        "unmapped": list(imported.unmapped),
        "missing": list(imported.missing),
    }
    if as_json:
        click.echo(json.dumps(summary))
    elif not quiet:
        click.echo(
            f"{summary['rows']} rows from {imported.format} in {', '.join(map(str, written))}; "
            f"{summary['rejected']} rejected"
        )
        click.echo(f"not mapped: {', '.join(imported.unmapped) or 'nothing'}")
        for note in imported.notes:
            click.echo(note, err=True)
        for row in imported.rejected.head(10).iter_rows(named=True):
            click.echo(f"rejected: {row['file']} row {row['row']}: {row['sentence']}", err=True)
    return 0
