"""What a notebook shows of a log: what was read, what was set aside, what can be answered, and what the audit found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from divergence.shown import card, counted, fold, html_table, listing

if TYPE_CHECKING:
    from divergence.executions.executions import Executions

AUDITED_ROWS = 2_000_000  # rows up to which a notebook waits for the audit: a second or two


def audited(log: Executions) -> bool:
    """Is it quick to say what the log can answer? Large logs are counted when somebody asks `log.answers()`."""
    return log.counts.rows <= AUDITED_ROWS or log.tally is not None or bool({"cells", "design"} & set(vars(log)))


def card_of(log: Executions, answers: list[list[str]], findings: list[str]) -> str:
    """The HTML of a log; `answers` are rows of question, yes or no, and why; `findings` what the audit found."""
    counts = log.counts
    regimes = ", ".join(f"{number:,} {regime}" for regime, number in counts.regimes.items())
    yes = sum(row[1] == "yes" for row in answers)
    later = "" if audited(log) else listing(["This is a large log: log.answers() counts what it can answer."])
    return card(
        "Executions",
        f"{counts.valid:,} valid of {counted(counts.rows, 'row')} in {counted(len(log.sources), 'file')}: {regimes}",
        listing([log.kind_reason, f"factors: {', '.join(log.factors) or 'none, one context'}"]),
        fold(f"what the audit found ({len(findings)})", listing(findings), opened=bool(findings)),
        fold(f"questions it can answer ({yes} of {len(answers)})", html_table(("question", "answer", "why"), answers)),
        later,
        fold(
            f"rows set aside ({sum(counts.rejected.values()):,})",
            html_table(("rule", "rows"), list(counts.rejected.items())) if counts.rejected else "",
        ),
        fold("columns that are not used", listing(f"{column}: {reason}" for column, reason in log.unused)),
        fold("files left aside", listing(f"{file}: {reason}" for file, reason in log.skipped)),
        fold("notes", listing(log.notes)),
        fold("files", listing(source.file for source in log.sources)),
    )
