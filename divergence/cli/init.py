"""`divergence init`: a commented `divergence.toml` with what was recognised in a log, and what is to be decided."""

from __future__ import annotations

import json
import pathlib
import tomllib
from typing import TYPE_CHECKING

import click

from divergence.cli.options import common
from divergence.errors import InputError, printed
from divergence.shown import counted

if TYPE_CHECKING:
    from divergence.executions.guess import Guess

SHOWN = 4  # values of a column that a comment shows
COLUMNS = 40  # columns that a comment shows
DECISIONS = """\
# What else can be declared; take the # away. docs/configuration.md has every key.
# factors = ["engine", "sampler"]      # which columns are serving factors; default: every known one that varies
# deployment_law = "logged"            # how contexts count: logged (shares of traffic), own, uniform, { context = share }
# zero_cost = "free"                   # a logged cost of 0 is really nothing; default: it was not metered
# [prices]                             # for logs without cost_usd: US dollars a million tokens, by model
# date = "2026-01-01"
# "my-model" = { input = 0.5, output = 1.5 }
"""
REQUIRED = """\
# [acceptance]                         # what is required of a score and beside it: the report then opens with a decision
# quality_min = 0.6
# latency_p95_max_s = 2.0
"""


@click.command()
@common
@click.argument("logs", nargs=-1, required=True)
@click.option(
    "-o", "--output", type=click.Path(path_type=pathlib.Path), help="File [default: divergence.toml beside the log]."
)
@click.option("--force", is_flag=True, help="Write over a file that is there.")
def init(logs, output, force, quiet, as_json, **_) -> int:
    """Write a commented divergence.toml: what was recognised in a log, and what is to be decided."""
    from divergence.configuration import FILE_NAME, Configuration
    from divergence.executions import foreign, read
    from divergence.executions.files import local_paths, open_sources
    from divergence.executions.guess import guess, nothing
    from divergence.executions.recognise import recognise
    from divergence.plain_files import not_read
    from divergence.staging import whole

    paths = local_paths(logs)
    if not paths:
        raise InputError(f"nothing lies at {', '.join(logs)}: name a file, a folder or a pattern on this machine")
    target = output or (paths[0] if paths[0].is_dir() else paths[0].parent) / FILE_NAME
    if target.exists() and not force:
        raise InputError(f"{target} is there already: write elsewhere with -o FILE, or over it with --force")
    others = foreign.among(list(logs), None, Configuration())
    sources, skipped = open_sources(list(logs), None, frozenset(others))
    not_read(target, [*others, *(source.path for source in sources)])
    known = recognise(sources, Configuration())[0]["executions"]
    about = next(iter(known or sources), None)
    found = guess(about) if about is not None else nothing()
    if about is None and not others:
        raise InputError("no table was found: " + ("; ".join(f"{f}: {why}" for f, why in skipped[:5]) or "no file"))
    if about is not None and not found.table and about not in known:
        names = ", ".join(f"{name} ({', '.join(values[:2])})" for name, values in list(found.seen.items())[:20])
        raise InputError(f"{about.file} is no log that is recognised: that has models and scores or times; it has {names}")
    name = about.file if about is not None else ", ".join(map(str, others))
    text = written(name, found, [str(path) for path in others])
    log = read(list(logs), configuration=Configuration.from_table(tomllib.loads(text), str(target)), accept_rejected=1.0)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with whole(target) as part:
            part.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{target} cannot be written: {error.strerror}") from None
    if as_json:
        answers = [a.question for a in log.answers() if a.identified]
        click.echo(json.dumps({"file": str(target), "declared": found.table, "open": found.open, "answers": answers}))
    elif not quiet:
        click.echo(repr(log))
        for sentence in found.open:
            click.echo(f"to decide: {sentence}")
        yes = [a.question for a in log.answers() if a.identified]
        click.echo(f"{counted(len(yes), 'question')} can be answered: {', '.join(yes) or 'none yet'}")
        named = "" if output is None else f" --config {target}"
        click.echo(f"{target}: look it over, then divergence report {' '.join(logs)} -o out{named}", err=True)
    return 0


def written(file: str, found: Guess, others: list[str]) -> str:
    """The text of the file; names and values of a log are printed, so that no line break of theirs ends a comment."""
    from divergence.executions.guess import toml_lines

    name = printed(pathlib.Path(file).name)
    lines = [f"# What divergence recognised in {name}. Correct what is wrong: nothing is assumed beyond it."]
    if others:
        names = printed(", ".join(pathlib.Path(other).name for other in others))
        lines += [f"# Logs of other tools, read as they lie there: {names}."]
    if found.seen:
        lines += ["#", "# columns and the first values seen:"]
        for name, values in list(found.seen.items())[:COLUMNS]:
            lines += [f"#   {printed(name)}: {printed(', '.join(values[:SHOWN])) or 'empty'}"]
        more = len(found.seen) - COLUMNS
        lines += [f"#   and {more} more"] if more > 0 else []
    if found.open:
        lines += ["#", "# to decide:", *(f"#   - {printed(sentence)}" for sentence in found.open)]
    keys = {name: value for name, value in found.table.items() if not isinstance(value, dict)}
    single = toml_lines(keys)
    sections = "\n".join(toml_lines({k: v for k, v in found.table.items() if k not in keys})).strip("\n")
    choices = DECISIONS + ("" if "outcome" in found.table else REQUIRED)  # times alone cannot be required
    blocks = ["\n".join(lines), "\n".join(single), choices.rstrip("\n"), sections]
    return "\n\n".join(block for block in blocks if block) + "\n"
