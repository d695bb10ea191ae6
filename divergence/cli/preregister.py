"""`divergence preregister`: questions, margins and seed in a lock file, before data are seen."""

from __future__ import annotations

import json
import pathlib

import click

from divergence.cli.options import common, configuration_of, naming
from divergence.errors import InputError
from divergence.shown import counted


@click.command()
@common
@click.argument("log_or_config")
@click.option("-o", "--output", required=True, type=click.Path(path_type=pathlib.Path), help="Lock file to write.")
@click.option("--question", "questions", multiple=True, metavar="NAME", help="A question asked in advance [default: all].")
@click.option("--outcome", metavar="NAME", help="What the answers are about [default: score].")
@naming
def preregister(log_or_config, output, questions, outcome, config, quiet, as_json, seed, **flags) -> int:
    """Fix questions, margins and seed in a lock file that `report --preregistered FILE` checks.

    LOG_OR_CONFIG is a divergence.toml, or a log: then the configuration beside it is taken, and the lock says which files
    were there already. No outcome is read.
    """
    from importlib.metadata import version

    from divergence.cli.fitting import known_question
    from divergence.estimands import QUESTIONS
    from divergence.executions.files import expanded
    from divergence.preregistration import write

    for question in questions:
        known_question(question)
    path = pathlib.Path(log_or_config)
    if path.suffix == ".toml":
        if config is not None:
            raise click.UsageError(f"{path} is the configuration: leave --config out")
        configuration, data = configuration_of(str(path), [], flags, outcome), {}
    else:
        configuration = configuration_of(config, [path], flags, outcome)
        files = [found for found, _ in expanded(log_or_config) if found.suffix != ".toml"]
        if not files:
            raise InputError(f"there is nothing at {log_or_config}: name a divergence.toml, or a log")
        data = {str(found): _sha256(found) for found in files}
    names = list(dict.fromkeys(questions)) or [question.name for question in QUESTIONS]
    lock = write(output, configuration, names, seed, data, version("eval-divergence"))
    if as_json:
        click.echo(json.dumps({"file": str(output), "sha256": lock.sha256, **lock.says}))
    elif not quiet:
        there = (
            f"; {counted(len(data), 'file')} of data {'was' if len(data) == 1 else 'were'} there already"
            if data
            else "; no data were there"
        )
        click.echo(f"{output}: {counted(len(names), 'question')}, seed {seed}, SHA-256 {lock.sha256}{there}")
    return 0


def _sha256(path: pathlib.Path) -> str:
    import hashlib

    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
