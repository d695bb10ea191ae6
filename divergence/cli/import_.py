"""`divergence import`: other tools' logs as a canonical one, and what of them could not be carried over."""

from __future__ import annotations

import collections
import json
import pathlib
from typing import TYPE_CHECKING

import click

from divergence.cli.options import common, pairs_of

if TYPE_CHECKING:
    from divergence.executions.importers import Imported

SHOWN = 10  # rejected rows that are printed


@click.command("import")
@common
@click.argument("paths", nargs=-1, required=True)
@click.option("-o", "--output", required=True, type=click.Path(path_type=pathlib.Path), help="Parquet file to write.")
@click.option("--format", "format_", default="auto", help="Format of the logs; `auto` detects it by their content.")
@click.option("--set", "constants", multiple=True, metavar="COLUMN=VALUE", help="A column that the log lacks.")
@click.option("--primary", help="Metric that becomes the score; by default the log's first.")
@click.option("--keep-text", is_flag=True, help="Keep prompts and completions, in a table beside the executions.")
@click.option(
    "--item-key",
    type=click.Choice(["id", "prompt"]),
    default="id",
    show_default=True,
    help="Items by the tools' own ids, or by the salted hash of their prompt, which is one over tools that log it.",
)
@click.option("--salt", type=click.Path(path_type=pathlib.Path), help="File with the salt of hashed identities.")
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    help="Processes that read the files; 0 = this one. By default several where files that can be read apart are large.",
)
@click.option(
    "--ray", metavar="ADDRESS", help="Read on this Ray cluster instead; its nodes need the files in a shared place."
)
@click.option(
    "--same-calls",
    type=click.Choice(["refuse", "first", "both"]),
    default="refuse",
    show_default=True,
    help="Where two tools log the same calls: say so and stop, keep those of the format named first, or count both.",
)
def import_(paths, output, format_, constants, primary, workers, ray, as_json, quiet, **kept) -> int:
    """Turn other tools' logs into a canonical one, and list what could not be mapped.

    Files of several formats make one table: those of a harness come in as evaluation, traces as deployment. A file that
    cannot be read is named, the others are imported, and the exit code is 1.
    """
    from divergence.executions.closed_questions import closed
    from divergence.executions.importers import Privacy, import_log, write

    format_ = None if format_ == "auto" else format_
    privacy = Privacy(kept["keep_text"], salt_path=kept["salt"], item_by_prompt=kept["item_key"] == "prompt")
    told = None if quiet or as_json else lambda sentence: click.echo(sentence, err=True)
    imported = import_log(paths, format_, pairs_of(constants), primary, privacy, told, workers, ray, kept["same_calls"])
    written = write(imported, output)
    if as_json:
        click.echo(json.dumps(summary(imported, closed(imported))))
    elif not quiet:
        click.echo(
            f"{imported.rows} rows from {imported.format} in {', '.join(map(str, written))}; "
            f"{imported.rejected.height} rejected"
        )
        click.echo(f"not mapped: {', '.join(imported.unmapped) or 'nothing'}")
        click.echo(f"missing: {', '.join(imported.missing) or 'nothing'}")
        reasons: dict[str, list[str]] = {}
        for question, reason in closed(imported).items():
            reasons.setdefault(reason, []).append(question)
        for reason, questions in reasons.items():
            click.echo(f"closed: {', '.join(questions)}: {reason}")
        _say(imported)
    return 1 if refused(imported) else 0


def summary(imported: Imported, closed: dict[str, str]) -> dict:
    """What `--json` prints."""
    return {
        "format": imported.format,
        "rows": imported.rows,
        "rejected": imported.rejected.height,
        "refused": refused(imported),
        "rejected_by": dict(collections.Counter(imported.rejected["rule"])),
        "unmapped": list(imported.unmapped),
        "missing": list(imported.missing),
        "closed": closed,
        "notes": [*imported.notes, *imported.models],
        "sources": imported.sources,
    }


def refused(imported: Imported) -> list[str]:
    """The sentences about files that could not be read."""
    from divergence.executions.names import UNREAD

    return imported.rejected.filter(imported.rejected["rule"] == UNREAD)["sentence"].to_list()


def _say(imported: Imported) -> None:
    for note in (*imported.notes, *imported.models):
        click.echo(note, err=True)
    for rule, rows in collections.Counter(imported.rejected["rule"]).items():
        click.echo(f"rejected by {rule}: {rows}", err=True)
    unread = refused(imported)
    for sentence in unread:
        click.echo(f"not read: {sentence}", err=True)
    rows = imported.rejected.filter(~imported.rejected["sentence"].is_in(unread)).head(SHOWN)
    for row in rows.iter_rows(named=True):
        place = "" if row["row"] is None else f" row {row['row']}"
        click.echo(f"rejected: {row['file']}{place}: {row['sentence']}", err=True)
