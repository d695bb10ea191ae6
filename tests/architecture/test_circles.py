"""No module needs itself: imports form no circle, those inside functions included."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[2]
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "divergence").rglob("*.py"))
}
ASKED = "`Executions.answers()` is part of the contract: a log asks what lies above it when somebody asks the log"
SHOWN = "what a notebook shows of cells has the audit, which is asked when they are shown"
EXPLAINED = {
    ("divergence.executions.executions", "divergence.cells.collapse"): ASKED,
    ("divergence.executions.executions", "divergence.cells.further_outcomes"): ASKED,
    ("divergence.executions.executions", "divergence.identification.further_designs"): ASKED,
    ("divergence.executions.executions", "divergence.identification.log_design"): ASKED,
    ("divergence.executions.executions", "divergence.identification.question"): ASKED,
    ("divergence.executions.executions", "divergence.estimands"): ASKED,
    ("divergence.executions.executions", "divergence.identification.audit"): ASKED,
    ("divergence.cells.cells", "divergence.identification.audit"): SHOWN,
    ("divergence.cells.cells", "divergence.identification.log_design"): SHOWN,
}
"""Imports inside functions that close a circle all the same, and why."""


def imported(tree: ast.AST, modules: dict) -> set[str]:
    """Modules of the package that are imported anywhere but for type checkers alone."""
    typing = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in typing:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in modules else node.module for name in names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & set(modules)


def circle(needs: dict[str, set[str]]) -> list[str]:
    """The modules of one circle in their order, or nothing."""
    done: set[str] = set()
    for first in needs:
        path: list[str] = []
        waiting = [(first, 0)]
        while waiting:
            module, depth = waiting.pop()
            del path[depth:]
            if module in path:
                return [*path[path.index(module) :], module]
            if module in done:
                continue
            path.append(module)
            fresh = [(other, depth + 1) for other in sorted(needs[module]) if other not in done]
            waiting += fresh
            if not fresh:
                done.add(module)
    return []


@pytest.fixture(scope="module")
def needs():
    return {name: imported(ast.parse(path.read_text()), MODULES) - {name} for name, path in MODULES.items()}


def test_imports_form_no_circle(needs):
    free = {name: {other for other in found if (name, other) not in EXPLAINED} for name, found in needs.items()}
    assert circle(free) == []


def test_what_is_explained_is_still_there(needs):
    for one, other in EXPLAINED:
        assert other in needs.get(one, ()), f"{one} imports {other} no longer: take it from the list"


def test_a_circle_is_found():
    assert circle({"a": {"b"}, "b": {"c", "d"}, "c": set(), "d": {"a"}}) == ["a", "b", "d", "a"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
    source = "def f():\n    from divergence.numerics import expit\n"
    assert imported(ast.parse(source), {"divergence.numerics": None}) == {"divergence.numerics"}
