"""The page `docs/formats.md`, made from what the formats declare: `python -m divergence.executions.importers.formats_page`.

Without an argument the page is printed; with a path it is written there.
"""

from __future__ import annotations

import sys
from pathlib import Path

from divergence.executions import schema
from divergence.executions.importers.format import Format
from divergence.executions.importers.mapping import Field
from divergence.executions.importers.registry import declared

HEADING = """# Formats that can be imported

Made by `python -m divergence.executions.importers.formats_page docs/formats.md` from the mappings themselves; do not edit.
*genuine*: tested on files that the tool itself wrote. *from documentation*: made after the tool's documentation or
source, and not yet tested on a file of the tool.

What stays of people and texts, in every format: prompts, completions, keys, users and addresses do not. An answer or a
right answer that is a choice or a number (`B`, `yes`, `-3.5`) stays as it is; of any other text the SHA-256 of its
normalised form stands for it, without a salt, so that runs imported on two machines compare; with `--keep-text` texts of
up to 200 characters stay. The name of a session is hashed with the user's salt.

A file that cannot be read is named and the others are imported (exit code 1); rows that break a rule are set aside with
it. The same calls in the logs of two tools are refused until `--same-calls` says what is meant.
"""

ROUND_TRIPS = """## Round trips

`make test-tools` (and `pytest -m postgres`) lets tools that are on the machine write a log of calls whose numbers are known,
and reads it with the same numbers; what is not there is skipped with its name.

| tool | what it does there |
|---|---|
| Inspect | an evaluation with fixed answers and token counts |
| lm-eval | a task of its own against a server on loopback: scores, their mean in its results, sampler |
| promptfoo | an evaluation against a server on loopback, an error and an empty answer among its answers |
| OpenTelemetry's instrumentation of the OpenAI client | spans of calls to a server on loopback, one of them refused |
| Every Eval Ever | its validator passes what `divergence export` writes (Python 3.12) |
| ClickHouse's engine (chdb) | tables as Langfuse has them, with versions and deletions, written as Parquet and JSON lines |
| PostgreSQL | a server of its own with the table of LiteLLM, read at its address: what its dump says |

LiteLLM's proxy does not write into that server by itself there: the engine of its database client is a download of its own
that was not to be had. The rows are those that a real proxy handed to it, put into the table that LiteLLM's own migrations
make."""


def page() -> str:
    """The whole page: a table of the formats, and the mapping of each."""
    formats = declared()
    lines = ["| format | what is read | versions | one row is | regime | evidence |", "|" + "---|" * 6]
    lines += [
        f"| [`{f.name}`](#{f.name}) | {f.title} | {f.versions} | {f.unit} | {f.regime} | {f.evidence} |" for f in formats
    ]
    return "\n".join([HEADING, *lines, "", ROUND_TRIPS, "", *(section(format) for format in formats)])


def section(format: Format) -> str:
    """The mapping of one format: every column with its sources, in the order in which they are tried."""
    lines = [f"## {format.name}", "", f"{format.title}; {format.versions}. Authority: {format.authority}.", ""]
    lines += [f"- {note}" for note in format.notes] + ([""] if format.notes else [])
    if format.fields:
        lines += ["| column | unit | from | since | note |", "|" + "---|" * 5]
        lines += [_row(field) for field in format.fields]
    if format.metrics:
        lines += ["| metric | kind, whatever a page types it | family | factor | since |", "|" + "---|" * 5]
        lines += [f"| `{m.name or '-'}` | {m.kind} | `{m.family}` | {m.factor:g} | {m.since} |" for m in format.metrics]
    return "\n".join([*lines, ""])


def _row(field: Field) -> str:
    sources = ", ".join(f"`{path}`" for path in (field.path, *field.aliases))
    unit = field.unit or schema.COLUMNS[field.column].unit
    note = "; ".join(part for part in (field.note, field.authority and f"after {field.authority}") if part)
    return f"| `{field.column}`{' (needed)' if field.needed else ''} | {unit} | {sources} | {field.since} | {note} |"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(page(), encoding="utf-8")
    else:
        sys.stdout.write(page())
