"""One self-contained page: `PageContent` to an HTML file that opens without a network, on a phone or a desktop.

The vega bundle is inlined once; each chart is a block of JSON that the page's script draws in light or dark colours.
The page forbids itself every request (`Content-Security-Policy: default-src 'none'`), and names become text
everywhere: in the markup by jinja2's escaping, in JSON by writing `<` as an escape.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from divergence.estimate import INTERVAL
from divergence.report import board_sections, choice_sections, record
from divergence.report import sections as page_sections
from divergence.report.blocks import Block, Figure, Section, Text, told
from divergence.report.board import board
from divergence.report.choice import Choice, choose, undeclared
from divergence.report.content import PageContent
from divergence.report.decision import Decision, decide, ordered
from divergence.report.figures import contrasts, gap, order, score_kappa
from divergence.report.figures.theme import unchecked
from divergence.report.palette import DARK, LIGHT, TO_DARK
from divergence.report.reading import levels
from divergence.report.scripts import notices, vega_bundle, versions
from divergence.report.silent import find
from divergence.report.trust import verdict
from divergence.report.words import plural, seen, sentence, verb
from divergence.staging import whole

MOST_PAIRS = 12  # pairs of neighbours that are listed


def write_page(content: PageContent, path: str | Path) -> Path:
    """Write the page to `path` (whole or not at all) and return the path."""
    path = Path(path)
    text = render(content)
    with whole(path) as part:
        part.write_text(text, encoding="utf-8")
    return path


def render(content: PageContent) -> str:
    """The page as text."""
    import jinja2

    environment = jinja2.Environment(autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined)
    environment.filters |= {"seen": seen, "sentence": sentence, "rows": _rows, "written": _written}
    decision, choice = decide(content), choose(content)
    listed = board(content)
    with unchecked():
        sections = page_sections.build(content)
        opening = board_sections.first_screen(listed) if listed else []
        first = _order(content)
        specs, config = _specs([*_figures(opening), *([first] if first else [])], sections)
    models = page_sections.models_table(content, decision)
    behind = (opening if listed and not listed.leads else []) + ([models] if models else [])
    return environment.from_string(_template("page.html.j2")).render(
        content=content,
        decision=decision,
        board=listed,
        opening=opening,
        choice=choice,
        choice_table=choice_sections.first_table(choice, content) if choice else None,
        undeclared=undeclared(content) if not content.acceptance else _unjudgeable(content, choice),
        lead=_lead(content, decision),
        order=first,
        sections=sections,
        models=models,
        tables_of_models=told(behind),
        told=[said for said in decision.sentences if choice is None or said != content.measure_next],
        names=record.full_names(content),
        pairs=decision.pairs[:MOST_PAIRS],
        further_pairs=len(decision.pairs[MOST_PAIRS:]),
        counts=_counts(content),
        state=_state(content),
        failed_words=_failed(content),
        interval=f"{INTERVAL:.0%}",
        provenance=_flat(content.provenance),
        specs=specs,
        config=config,
        to_dark=_json(TO_DARK),
        light=LIGHT,
        dark=DARK,
        css=_template("page.css"),
        script=_template("page.js"),
        bundle=(bundle := vega_bundle()),
        scripts=versions(bundle),
        notices=notices(),
    )


def _written(text: str) -> str:
    """Escaped text in which what is meant to be typed stands out: `words` between backticks."""
    import markupsafe

    parts = [str(markupsafe.escape(part)) for part in text.split("`")]
    if len(parts) % 2 == 0:  # a backtick that ends nowhere is no mark
        return markupsafe.Markup("`".join(parts))
    return markupsafe.Markup("".join(f"<code>{part}</code>" if k % 2 else part for k, part in enumerate(parts)))


def _rows(html: str) -> str:
    """How many rows a table has, in words."""
    return plural(html.count("<tr") - html.count("<thead") - html.count("gt_group_heading_row"), "row")


def _unjudgeable(content: PageContent, choice: Choice | None) -> str:
    """Why declared requirements give no decision, or nothing."""
    if choice is not None:
        return ""
    asked = [q for q in ("coherence", "best_combination") if content.answer(q) is None]
    return "Requirements are declared, but cannot be judged. " + " ".join(content.reason(q) for q in asked[:1])


def _template(name: str) -> str:
    return (resources.files("divergence.report") / "template" / name).read_text(encoding="utf-8")


def _json(value: object) -> str:
    """JSON that cannot end its script element."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def _specs(first: list[Figure], sections: list[Section]) -> tuple[dict[str, str], str]:
    """The charts as JSON by name, without what they share, and the shared look."""
    figures = first + [block for section in sections for block in section.blocks if isinstance(block, Figure)]
    specs, config = {}, {}
    for figure in figures:
        spec = figure.chart.to_dict(validate=False)
        spec.pop("$schema")  # an address, which nothing here needs
        config = spec.pop("config")
        specs[figure.id] = _json(spec)
    return specs, _json(config)


def _figures(blocks: list[Block]) -> list[Figure]:
    return [block for block in blocks if isinstance(block, Figure)]


def _order(content: PageContent) -> Figure | None:
    """The figure of the first screen."""
    bench, deployed = content.answer("bench_level"), content.answer("deployed_level")
    if bench is None or deployed is None or not levels(bench, deployed).models or not ordered(content):
        return None
    return Figure("order", order.chart(bench, deployed), order.sentence(bench, deployed))


def _lead(content: PageContent, decision: Decision) -> list[Block]:
    """What else belongs on the first screen: the gaps, silent drift; without a bench, what deployment alone shows."""
    blocks: list[Block] = []
    change, effects = content.answer("gap"), content.answer("context_effect")
    if change is not None and len(decision.chances) > 1:
        blocks.append(Text(gap.sentence(change)))
    pairs = page_sections.against_bench(content)
    drift = find(pairs, effects) if pairs is not None and effects is not None else None
    if pairs is not None and drift is not None and drift.silent:
        blocks.append(page_sections.silent_line(drift, pairs, "plain"))
    if content.answer("bench_level") is None:
        deployed, kappa = content.answer("deployed_level"), content.answer("kappa")
        if deployed is not None and kappa is not None and levels(deployed, kappa).models:
            blocks.append(Text(score_kappa.sentence(deployed, kappa)))
        if effects is not None and contrasts.rows(effects).frame.height:
            blocks.append(Text(contrasts.sentence(effects)))
    return blocks


def _counts(content: PageContent) -> str:
    """The size of the log on one line."""
    summary = content.summary
    parts = [f"{sum(summary.rows.values()):,} rows"]
    for count, noun in (
        (summary.models, "model"),
        (summary.contexts, "context"),
        (summary.items, "item"),
        (summary.sessions, "session"),
        (summary.waves, "wave"),
    ):
        if count:
            parts.append(f"{count:,} {noun}{'' if count == 1 else 's'}")
    return " · ".join(parts)


def _state(content: PageContent) -> str:
    if not content.checks:
        return "diagnostics: none reported"
    if content.failed:
        return _failed(content)
    beyond = sum(verdict(review)[1] for review in content.reviews)
    also = f"; {plural(beyond, 'check')} of the model beyond {verb(beyond, 'its', 'their')} limit" if beyond else ""
    return f"all {plural(len(content.checks), 'diagnostic')} passed{also}"


def _failed(content: PageContent) -> str:
    failed = len(content.failed)
    return f"{failed} of {len(content.checks)} {verb(len(content.checks), 'diagnostic', 'diagnostics')} failed"


def _flat(given: Mapping[str, object], prefix: str = "") -> list[tuple[str, str]]:
    """Provenance as pairs of text, inner mappings under their outer name."""
    pairs: list[tuple[str, str]] = []
    for key, value in given.items():
        name = f"{prefix}{key}".replace("_", " ")
        if isinstance(value, Mapping):
            pairs += _flat(value, f"{key}: ")
        elif isinstance(value, list | tuple):
            pairs.append((name, ", ".join(map(str, value))))
        else:
            pairs.append((name, str(value)))
    return pairs
