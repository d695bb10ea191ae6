"""The sections under the first screen, in order; each shows its figure, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import polars as pl

from divergence.estimate import Estimate
from divergence.orders import AS_COUNTED
from divergence.report import (
    agents,
    behaviour,
    board_sections,
    calibration,
    choice_sections,
    flip_bounds,
    order_sections,
    record,
    since_section,
    tables,
)
from divergence.report.blocks import Block, Figure, Listing, Section, Table, Text
from divergence.report.content import Answers, PageContent
from divergence.report.decision import Decision
from divergence.report.figures import (
    context_map,
    contexts,
    contrasts,
    factors,
    flips,
    forest,
    gap,
    matrix,
    score_kappa,
    waves,
)
from divergence.report.names import spoken
from divergence.report.reading import bench_pairs, levels
from divergence.report.silent import LEVEL_MATERIAL, SilentDrift, find
from divergence.report.words import brief_chance, capital, exact, number, outcome_name, phrase, plural, question_name

REGIME_OF = {"bench_level": "evaluation", "deployed_level": "deployment"}
COUPLINGS = {
    "coupling": "of the variance between models within one context is how single models react to single contexts: "
    "the part of a ranking that does not carry over to another context",
    "coupling_absolute": "of the variance of a single level, one model in one context, is due to the context",
}


def figure_of(name: str, module: ModuleType, *estimates: Estimate, note: str = "") -> Figure:
    """A figure of one of the modules, with the numbers of its last estimate."""
    numbers = estimates[-1]
    return Figure(
        name,
        module.chart(*estimates),
        module.sentence(*estimates),
        note,
        tables.fragment(tables.answers(numbers)),
        tables.caption(numbers),
    )


def refused(content: PageContent, *questions: str, label: str = "No figure:") -> tuple[Block, ...]:
    """Why a section has no figure."""
    reasons = dict.fromkeys(content.reason(question) for question in questions)
    return tuple(Text(reason, "refusal", label) for reason in reasons)


def models_table(content: PageContent, decision: Decision) -> Table | None:
    """All headline numbers of each model, in bench order."""
    headings = {"bench_level": "bench", "deployed_level": "deployment", "gap": "gap", "kappa": "spread over contexts"}
    columns, order = {}, [model for model, _, _ in decision.chances]
    for question, heading in headings.items():
        answer = content.answer(question)
        if answer is not None:
            cells = tables.by_model(answer, signed=question == "gap")
            columns[heading + tables.unit_note(answer)] = cells
            counted = content.counted.get(REGIME_OF.get(question, ""))
            if counted:
                columns[f"{heading}, {AS_COUNTED}"] = {
                    model: tables.counted(answer.unit, *counted[model]) for model in counted
                }
            order += cells if order else tables.best_first(answer)
    if not order:
        return None
    if decision.chances:
        columns["first in deployment"] = {model: brief_chance(chance) for model, _, chance in decision.chances}
    on_bench = bool(decision.chances) or content.answer("bench_level") is not None
    caption = "The models in bench order." if on_bench else "The models in the order of their levels."
    caption = caption if len(dict.fromkeys(order)) > 1 else "The model."
    several = len(dict.fromkeys(order))
    if several > tables.MOST_MODELS:
        caption = f"{tables.FIRST_MODELS} of {several:,} models; all of them are in estimates.parquet."
    if any(seen < of for counted in content.counted.values() for _, seen, of in counted.values()):
        caption += (
            f" {AS_COUNTED.capitalize()}: the mean of a model's own rows. A level over contexts that it was not judged in"
        )
        caption += " is a prediction there."
    return Table(tables.fragment(tables.models(columns, list(dict.fromkeys(order)))), caption)


def steadiness(content: PageContent) -> tuple[Block, ...]:
    """Score against kappa, and the couplings."""
    score = content.answer("bench_level") or content.answer("deployed_level")
    kappa = content.answer("kappa")
    blocks: list[Block] = []
    models = len(levels(score, kappa).models) if score is not None and kappa is not None else 0
    if score is not None and kappa is not None and models == 1:
        blocks.append(Text(score_kappa.sentence(score, kappa)))
    elif score is not None and kappa is not None and models:
        blocks.append(figure_of("score-kappa", score_kappa, score, kappa, note=score_kappa.beside(score, kappa)))
    else:
        blocks += refused(content, *[q for q in ("bench_level", "kappa") if content.answer(q) is None] or ["kappa"])
    items = []
    for question, meaning in COUPLINGS.items():
        answer = content.answer(question)
        rows = answer.where(statistic=None, model=None).to_frame() if answer is not None else pl.DataFrame()
        if rows.height and rows["median"][0] is not None:
            share = phrase(rows.row(0, named=True) | {"unit": "probability"})  # stored as a ratio, told as a percentage
            items.append((content.words(question), f"{share} {meaning}."))
    blocks += order_sections.steady_table(content)
    return (*blocks, Listing(tuple(items))) if items else tuple(blocks)


def gaps(content: PageContent) -> tuple[Block, ...]:
    """The gap forest."""
    answer = content.answer("gap")
    if answer is None or not gap.rows(answer).frame.height:
        return refused(content, "gap")
    return (figure_of("gap", gap, answer, note=forest.beside(gap.rows(answer))),)


def worlds(content: PageContent) -> tuple[Block, ...]:
    """The context divergence matrix."""
    answer = content.answer("matrix")
    if answer is None or not matrix.rows(answer).height:
        return refused(content, "matrix")
    return (figure_of("matrix", matrix, answer),)


def context_effects(content: PageContent) -> tuple[Block, ...]:
    """The forest over contexts and the map of contexts and models; without a bench, contexts against each other."""
    answer = content.answer("context_effect")
    if answer is None:
        return refused(content, "context_effect")
    blocks: list[Block] = []
    if contexts.rows(answer).frame.height:
        blocks.append(figure_of("contexts", contexts, answer, note=forest.beside(contexts.rows(answer))))
    cells = context_map.rows(answer)
    if contexts.models(answer) > 1:
        blocks.append(
            Figure("context-map", context_map.chart(answer), context_map.sentence(answer), context_map.beside(cells))
        )
    if not blocks:
        pairs = contrasts.rows(answer)
        blocks += refused(content, "context_effect", label="Not against the bench:" if pairs.frame.height else "No figure:")
        if pairs.frame.height:
            blocks.append(figure_of("contrasts", contrasts, answer, note=forest.beside(pairs)))
    return (*blocks, *agents.answer_bias(answer))


def factor_effects(content: PageContent) -> tuple[Block, ...]:
    """The forest of serving factors."""
    answer = content.answer("serving_effect")
    if answer is None or not factors.rows(answer).frame.height:
        return refused(content, "serving_effect")
    figure = figure_of("factors", factors, answer, note=forest.beside(factors.rows(answer)))
    return (figure, *order_sections.factor_details(answer))


def against_bench(content: PageContent) -> Estimate | None:
    """The excess flips that compare with the bench, or None where there are none."""
    answer = content.answer("excess_flips")
    if answer is None:
        return None
    pairs = bench_pairs(answer, content.summary.bench_contexts)
    return pairs if flips.rows(pairs).height else None


def item_flips(content: PageContent) -> tuple[Block, ...]:
    """Excess flips against the floor, and the line of silent drift."""
    pairs, effects = against_bench(content), content.answer("context_effect")
    if pairs is None:
        return (*refused(content, "excess_flips"), *flip_bounds.blocks(content))
    blocks: list[Block] = [figure_of("flips", flips, pairs, note=flips.beside(pairs))]
    drift = find(pairs, effects) if effects is not None else None
    if drift is not None and drift.compared:
        blocks.append(silent_line(drift, pairs, "notice" if drift.silent else "plain"))
        if drift.silent or drift.open:
            blocks.append(Table(tables.fragment(tables.moved(drift, _context_names(pairs))), opened_by="Where items move"))
    return (*blocks, *flip_bounds.blocks(content))


def _context_names(pairs: Estimate) -> dict[str, str]:
    return spoken(pairs.rows["context_b"].drop_nulls())


def silent_line(drift: SilentDrift, pairs: Estimate, tone: str) -> Text:
    """The line of silent drift: in how many comparisons items move and the level does not, with an example."""
    compared, names = plural(drift.compared, "comparison"), _context_names(pairs)
    text = f"not shown in any of {compared} of a context with the bench."
    if drift.silent:
        example = drift.silent[0]
        row, effect = example.flips, example.effect
        kind = "answers" if row["statistic"] else "scores"
        who = f"{example.model} in {names[example.context]}" if example.model else names[example.context]
        text = (
            f"in {number(len(drift.silent))} of {compared} of a context with the bench, items move while the level "
            f"stays within {exact(LEVEL_MATERIAL, 'fraction')}. For example {who}: {phrase(row)} of the {kind} "
            f"change beyond what repeating changes, the level by {phrase(effect, signed=True)}."
        )
    if drift.open:
        text += f" In {number(len(drift.open))} more, items move and the level's interval is too wide to tell."
    return Text(text, tone, "Silent drift:")


def instrument(content: PageContent) -> tuple[Block, ...]:
    """The forest of waves."""
    answer = content.answer("instrument")
    if answer is None or not waves.rows(answer).frame.height:
        return refused(content, "instrument")
    return (figure_of("waves", waves, answer, note=forest.beside(waves.rows(answer))),)


def other_outcome(place: int, estimates: Answers) -> tuple[Block, ...]:
    """What contexts do to a further outcome as a figure; its gap and its factors in a sentence each, numbers to open."""
    shown = {}
    for question, module in {"context_effect": contexts, "gap": gap, "serving_effect": factors}.items():
        answer = estimates.get(question)
        if answer is not None and answer.identified and module.rows(answer).frame.height:
            shown[question] = module, answer
    blocks: list[Block] = []
    for question, (module, answer) in shown.items():
        if not blocks:
            note = forest.beside(module.rows(answer))
            blocks.append(figure_of(f"other-{place}-{question}", module, answer, note=note))
        else:
            numbers = Table(tables.fragment(tables.answers(answer)), opened_by="The numbers")
            blocks += [Text(module.sentence(answer), label=f"{capital(question_name(answer))}:"), numbers]
    return tuple(blocks)


ASKED = {
    "candidates": ("forecast",),
    "top": ("convergence",),
    "instrument": ("instrument",),
    "agents": agents.AGENTS,
    "cost": agents.COST,
}
"""Sections that are there only where one of these questions has an answer; else the page says why under what is open."""

Builder = Callable[[PageContent], tuple[Block, ...]]
ANSWERS: tuple[tuple[str, str, str, Builder], ...] = (
    (
        "combinations",
        "Combinations against the requirements",
        "Which meets everything, and which of those is best?",
        choice_sections.section,
    ),
    (
        "candidates",
        "Candidates",
        "What will a model do that was never deployed, and does it beat what runs now?",
        board_sections.candidates,
    ),
    (
        "steadiness",
        "Does a good level last?",
        "How much does each model's level change from context to context?",
        steadiness,
    ),
    (
        "order",
        "What a bench gap is worth",
        "How far apart must two models be before deployment keeps their order?",
        order_sections.bench_gaps,
    ),
    ("top", "The top of the bench", "How far are the first models truly apart?", board_sections.top_of_bench),
    ("gap", "Gap between bench and deployment", "How much of the bench level is left in deployment?", gaps),
    ("matrix", "How deployment differs from the bench", "In what is its use unlike what was tested?", worlds),
    ("contexts", "Serving contexts", "Which context moves the level, and for which model?", context_effects),
    ("factors", "Serving factors", "What does each part of the serving stack do?", factor_effects),
    ("flips", "Items that change sides", "Do single answers change, even where the level stays?", item_flips),
    ("behaviour", "Where behaviour went", "Did the answers move, and did the score move with them?", behaviour.section),
    ("agents", "Agents", "Does success repeat, and where do episodes break down?", agents.agents),
    ("cost", "Cost of a success", "What does one success take, with everything spent on failures?", agents.cost),
    ("instrument", "Instrument", "Did the measuring itself drift from campaign to campaign?", instrument),
)
RECORD: tuple[tuple[str, str, str, Builder], ...] = (
    ("refusals", "What this log cannot tell", "Which questions stay open, and what is missing?", record.cannot_tell),
    ("log", "The log", "What was read, and what was set aside?", record.log_section),
    ("diagnostics", "Diagnostics", "Can the fit be trusted?", record.diagnostics),
)


def build(content: PageContent) -> list[Section]:
    """All sections below the first screen."""
    sections = []
    if content.changes is not None:
        shown = since_section.blocks(content.changes)
        sections.append(Section("since", "Since the earlier report", "What changed, and is it more than chance?", shown))
    answers = [
        Section(name, title, question, builder(content))
        for name, title, question, builder in ANSWERS
        if (name not in ASKED or agents.answered(content, *ASKED[name]))
        and (name != "combinations" or content.acceptance)
        and (name != "behaviour" or "context_displacement" in content.estimates)
    ]
    sections += [section for section in answers if not section.refuses]
    for place, (outcome, estimates) in enumerate(content.other_outcomes.items()):
        blocks = other_outcome(place, estimates)
        if blocks:
            title = f"Further outcome: {outcome_name(outcome)}"
            sections.append(Section(f"outcome-{place}", title, "What does serving do to it?", blocks))
    if content.calibration is not None:
        sections.append(
            Section(
                "risk",
                "Risk of a request",
                "Do requests fail as often as predicted?",
                calibration.blocks(content.calibration),
            )
        )
    return sections + [
        Section(name, title, question, builder(content), rests_on_fit=False) for name, title, question, builder in RECORD
    ]
