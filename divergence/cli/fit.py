"""`divergence fit`: the joint model only, saved with the risk of every request."""

from __future__ import annotations

import functools
import json
import pathlib

import click

from divergence.cli.fitting import fitted, gates, risk_of
from divergence.cli.options import common, on_ray, reading
from divergence.cli.progress import steps
from divergence.sealed import RISK_FILES
from divergence.staging import move_into, staging


@click.command()
@on_ray
@reading
@common
@click.option("-o", "--output", required=True, type=click.Path(path_type=pathlib.Path), help="Folder of the model.")
def fit(read, output, quiet, as_json, seed, **_) -> int:
    """Fit the joint model only, and save it, with the risk of every request where the log has deployment rows."""
    with steps(5, quiet) as tell:
        tell("reading the log")
        log = read(functools.partial(tell, steps=0))
        posterior = fitted(log, seed, tell)
        tell("checking the calibration of risks")
        model, check = risk_of(posterior, log, seed)
        with staging(output) as fresh:
            posterior.save(fresh)
            if model is not None:
                model.save(fresh)
            move_into(fresh, output, gone=RISK_FILES)
    risk = check["sentence"]
    if as_json:
        click.echo(
            json.dumps({"method": posterior.fits[0].method, "passed": posterior.passed, "output": str(output), "risk": risk})
        )
    elif not quiet:
        click.echo(f"risk: {risk}", err=True)
    return gates(posterior)
