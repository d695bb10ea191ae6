"""`divergence check`: what a log can answer, and why not the rest."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import click

from divergence.cli.fitting import UNDER_LOAD, answerable, known_question
from divergence.cli.options import common, reading
from divergence.cli.progress import print_table

if TYPE_CHECKING:
    from divergence.identification import Answer


@click.command()
@reading
@common
@click.option("--question", help="Stop with exit code 3 unless this question can be answered.")
def check(read, question, as_json, **_) -> int:
    """Validate a log, and say which questions it can answer, which not, and why."""
    known_question(question, UNDER_LOAD)
    from divergence.identification.audit import audit

    log = read()
    answers, findings = log.answers(), audit(log.design)
    if as_json:
        click.echo(
            json.dumps(
                {
                    "outcome": log.outcome,
                    "rows": log.counts.rows,
                    "rejected": sum(log.counts.rejected.values()),
                    "notes": log.notes,
                    "findings": [dataclasses.asdict(f) for f in findings],
                    "answers": [
                        {"question": a.question, "identified": a.identified, "reason": a.reason, "depends": a.depends}
                        for a in answers
                    ],
                }
            )
        )
    else:
        click.echo(repr(log))
        for finding in findings:
            click.echo(f"{finding.level}: {finding}")
        print_table(("question", "answer", "why"), [(a.question, _answer(a), a.reason) for a in answers])
    answerable(log, question)
    return 0


def _answer(found: Answer) -> str:
    """Yes, no, or yes unless the values say otherwise."""
    if not found.identified:
        return "no"
    return f"depends on the values: {found.depends}" if found.depends else "yes"
