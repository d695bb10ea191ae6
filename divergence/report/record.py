"""What stands beside the answers: refusals, the log and what was set aside, the diagnostics, the full names."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from divergence.orders import AS_COUNTED
from divergence.report import tables, trust
from divergence.report.blocks import Block, Listing, Table, Text
from divergence.report.content import PageContent
from divergence.report.names import short, spoken
from divergence.report.words import amount, capital, every, join, of_them, plural, question_name, sentence, verb

MOST_OPEN = 6  # rows of a judged table that stand open
MOST_TOGETHER = 6  # names told together
MOST_NAMES = 200  # names listed in full


def cannot_tell(content: PageContent) -> tuple[Block, ...]:
    """Every refusal with its reason: of whole questions once, of single numbers with their count."""
    whole = [(content.words(question), sentence(reason)) for question, reason in content.refusals]
    parts: dict[tuple[str, ...], tuple[list[str], str, int]] = {}
    others: dict[tuple[str, ...], tuple[list[str], str, int]] = {}
    refused = {question for question, _ in content.refusals}
    further = [(outcome, e) for outcome, answers in content.other_outcomes.items() for e in answers.values()]
    for outcome, estimate in [("", e) for e in content.estimates.values()] + further:
        name = capital(question_name(estimate)) + (f" ({outcome})" if outcome else "")
        if outcome and (estimate.question in refused or content.answer(estimate.question) is None):
            continue  # the outcome that the decision is about says it already
        if estimate.identified:
            for reason in estimate.reasons:
                told, kept = sentence(reason), others if outcome else parts
                if not (outcome and _alike(told, "") in parts):  # said of the outcome that the decision is about
                    _together(kept, name, told, estimate.reason.count(reason), outcome)
        elif outcome:
            for reason in estimate.reasons:
                _together(others, name, sentence(reason), 0, outcome)
        elif estimate.question not in refused:
            whole += [(name, sentence(reason)) for reason in estimate.reasons]
    blocks: list[Block] = []
    if whole:
        blocks.append(Listing(_by_reason(tuple(dict.fromkeys(whole)))))
    for kept, opened_by in ((parts, "Parts of answers, by reason"), (others, "Of the further outcomes, by reason")):
        if kept:
            told = tuple(
                (join(names, MOST_TOGETHER), f"{reason} ({capital(plural(n, 'number'))} of this answer.)" if n else reason)
                for names, reason, n in kept.values()
            )
            blocks.append(Listing(told, opened_by=opened_by))
    return tuple(blocks) or (Text("Every question that was asked is answered."),)


def _alike(reason: str, outcome: str) -> tuple[str, ...]:
    """What two reasons share that say the same of two outcomes, or of two things in the other order."""
    said = reason.lower().replace(outcome.lower(), "it") if outcome else reason.lower()
    return tuple(sorted(said.split()))


def _together(kept: dict, name: str, reason: str, count: int, outcome: str) -> None:
    """Add a reason; the names of answers that it is the reason of stand together, and its numbers are summed."""
    names, told, before = kept.get(_alike(reason, outcome), ([], reason, 0))
    kept[_alike(reason, outcome)] = ([*names, *([] if name in names else [name])], told, before + count)


def log_section(content: PageContent) -> tuple[Block, ...]:
    """What was read, what was set aside, what was not used, what was not judged."""
    blocks: list[Block] = []
    summary, rejected = content.summary, content.rejected.height
    counts = [f"{count:,} {regime} rows" for regime, count in summary.rows.items()]
    read = f"{join(counts)} from {join(summary.files)}." if summary.files else f"{join(counts)}."
    if rejected:
        total = sum(summary.rows.values()) + rejected
        blocks += [
            Text(
                f"{read} {rejected:,} of {total:,} rows ({amount(rejected / total, 'probability')}) "
                f"{verb(rejected, 'breaks a rule and is', 'break a rule and are')} set aside, none repaired."
            ),
            Table(tables.fragment(tables.rejected(content.rejected)), "Rejected rows, by file and rule.", "Rejected rows"),
        ]
    else:
        blocks.append(Text(f"{read} No row was rejected."))
    if summary.joining:
        blocks.append(Text(" ".join(summary.joining)))
    for title, pairs in (("Files not read", content.skipped), ("Columns not used", content.unused_columns)):
        if pairs:
            blocks.append(Listing(_by_reason(pairs), title))
    return (*blocks, *_judged(summary.judged, summary.unjudged))


def _by_reason(pairs: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Names that share a reason, together."""
    named: dict[str, list[str]] = {}
    for name, reason in pairs:
        named.setdefault(sentence(reason), []).append(name)
    return tuple((join(names, MOST_TOGETHER), reason) for reason, names in named.items())


def _judged(judged: pl.DataFrame | None, others: str) -> tuple[Block, ...]:
    """How many rows carry a score, and where the fewest do."""
    if judged is None or not judged["rows"].sum():
        return ()
    judged = judged.filter(pl.col("rows") > 0)
    least = judged.sort(pl.col("judged") / pl.col("rows")).row(0, named=True)
    if least["judged"] == least["rows"]:
        return (Text("Every row is judged."),)
    share = amount(float(judged["judged"].sum()) / float(judged["rows"].sum()), "probability")
    lowest = amount(least["judged"] / least["rows"], "probability")
    where = spoken(judged["context"].drop_nulls()).get(least["context"], "rows without a context")
    return (
        Text(f"{share} of the rows are judged, {AS_COUNTED} fewest in {where} ({lowest}); {others}."),
        Table(
            tables.fragment(tables.judged(judged)),
            opened_by="Judged share by context" if judged.height > MOST_OPEN else "",
        ),
    )


def diagnostics(content: PageContent) -> tuple[Block, ...]:
    """The table of gates, then what else was looked at."""
    if not content.checks:
        return (Text("No diagnostic was reported for this fit, so its numbers are unchecked.", "refusal"),)
    failed, total = len(content.failed), len(content.checks)
    passed = f"{failed} of {verb(total, 'the one gate', f'{total} gates')} of the fit failed."
    if not failed:
        passed = f"{capital(every(total, 'gate'))} of the fit {verb(total, 'is', 'are')} passed."
    beyond = sum(trust.verdict(review)[1] for review in content.reviews)
    if content.reviews:
        told = f"{of_them(beyond)} went beyond {verb(beyond, 'its', 'their')} limit"
        passed += f" Of {plural(len(content.reviews), 'check')} of the model beside them {told}."
    table = Table(tables.fragment(tables.checks(content.checks)), opened_by="" if failed else "The gates")
    return (Text(passed), table, *trust.blocks(content.reviews))


def full_names(content: PageContent) -> Table | None:
    """The table of names that charts abbreviate."""
    pairs: dict[str, str] = {}
    for estimate in content.estimates.values():
        for column in {"model", "context", "context_b"} & set(estimate.rows.columns):
            names = short(estimate.rows[column].drop_nulls())
            pairs |= {label: name for label, name in names.items() if label != name}
    if not pairs:
        return None
    listed = dict(sorted(pairs.items())[:MOST_NAMES])
    return Table(tables.fragment(tables.names(listed)), opened_by="Names that charts shorten")
