"""A rule about what a log can tell has one home: the question's needs, which `check`, the report and its page ask alike."""

import ast
import pathlib

import pytest

from divergence import estimands

ROOT = pathlib.Path(__file__).parents[2]


def written_refusals(text: str) -> list[str]:
    """Sentences that a formula refuses a whole answer with: `return refuse(..., "...")` with the words written there."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Return) and isinstance(node.value, ast.Call):
            call = node.value
            named = isinstance(call.func, ast.Name) and call.func.id == "refuse"
            if named and any(isinstance(part, ast.Constant | ast.JoinedStr) for part in ast.walk(call.args[-1])):
                found.append(ast.unparse(call.args[-1]))
    return found


@pytest.mark.parametrize("question", [q for q in estimands.QUESTIONS if not q.depends], ids=lambda q: q.name)
def test_a_question_that_does_not_depend_on_values_refuses_in_its_needs_alone(question):
    text = (ROOT / "divergence" / "estimands" / f"{question.name}.py").read_text()
    assert written_refusals(text) == []


@pytest.mark.parametrize("question", [q for q in estimands.QUESTIONS if q.depends], ids=lambda q: q.name)
def test_what_depends_on_values_says_on_which(question):
    """The mark is a reason in words, and the formula has a refusal, or refuses rows, that the needs cannot know."""
    text = (ROOT / "divergence" / "estimands" / f"{question.name}.py").read_text()
    assert len(question.depends.split()) > 4
    before = text[: text.index("    depends=")].rstrip().splitlines()[-1]
    assert before.lstrip().startswith("#"), "a comment says why the design cannot know it"
    assert "refuse(" in text or "reason" in text


def test_a_refusal_that_is_written_in_a_formula_is_seen():
    written = 'def f(fit):\n    if not fit:\n        return refuse(fit, Q, T, "s", "no rows")\n    return 1\n'
    told = 'def f(fit, why):\n    return refuse(fit, Q, T, "s", why)\n'
    assert written_refusals(written) == ["'no rows'"] and written_refusals(told) == []
    assert written_refusals(written.replace('"no rows"', 'why or f"{fit}"')) != []
