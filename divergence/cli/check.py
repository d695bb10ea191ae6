"""`divergence check`: what a log can answer, and why not the rest."""

from __future__ import annotations

import json

import click

from divergence.cli.fitting import answerable, known_question
from divergence.cli.options import common, reading
from divergence.cli.progress import print_table


@click.command()
@reading
@common
@click.option("--question", help="Stop with exit code 3 unless this question can be answered.")
def check(read, question, as_json, **_) -> int:
    """Validate a log, and say which questions it can answer, which not, and why."""
    known_question(question)
    log = read()
    answers = log.answers()
    if as_json:
        click.echo(
            json.dumps(
                {
                    "rows": log.counts.rows,
                    "rejected": sum(log.counts.rejected.values()),
                    "answers": [{"question": a.question, "identified": a.identified, "reason": a.reason} for a in answers],
                }
            )
        )
    else:
        click.echo(repr(log))
        print_table(
            ("question", "answer", "why"), [(a.question, "yes" if a.identified else "no", a.reason or "") for a in answers]
        )
    answerable(log, question)
    return 0
