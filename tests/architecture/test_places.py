"""Adding a question, a format, a verb, a calibrator or a term of the model touches the places that
CONTRIBUTING names, and no other.

A second table of such names somewhere in the package is a further place: each kind may be listed in one file only.
"""

import ast
import dataclasses
import pathlib
import pkgutil

import pytest

import divergence as dv
from divergence import estimands
from divergence.cli import VERBS
from divergence.executions.importers import formats
from divergence.joint import terms
from divergence.joint.arms import measure_arms
from divergence.joint.design import make_design
from divergence.joint.spec import Spec
from divergence.risk.calibrate import NAMES
from divergence.simulate import simulate, world

ROOT = pathlib.Path(__file__).parents[2]
PACKAGE = ROOT / "divergence"
MANY = 0.6  # share of all names of a kind that makes a collection of texts a table of them
QUESTIONS = [question.name for question in estimands.QUESTIONS]
KINDS = {  # kind -> its names, the file that may list them
    "question": (QUESTIONS, "estimands/__init__.py"),
    "verb": (list(VERBS), "cli/__init__.py"),
    "format": (list(formats()), "executions/importers/__init__.py"),
    "calibrator": (list(NAMES), "risk/calibrate.py"),
}


def tables(path: pathlib.Path) -> list[set[str]]:
    """The texts of every list, tuple, set and dictionary of a file."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Dict):
            parts = [key for key in node.keys if key is not None]
        elif isinstance(node, ast.List | ast.Tuple | ast.Set):
            parts = node.elts
        else:
            continue
        found.append({part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)})
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_listed_once(kind):
    names, home = KINDS[kind]
    several = len(names) > 4  # two or three names together are no table
    listing = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        for table in tables(path)
        if several and len(table & set(names)) >= MANY * len(names)
    }
    assert listing <= {home}


def test_every_question_is_a_room_with_a_test():
    for name in QUESTIONS:
        text = (PACKAGE / "estimands" / f"{name}.py").read_text()
        assert "ROOM = Question(" in text and "@answered(ROOM" in text
        assert (ROOT / "tests" / "estimands" / f"test_{name}.py").is_file()


def test_every_verb_is_a_file():
    modules = {module.name for module in pkgutil.iter_modules([str(PACKAGE / "cli")])}
    assert {"import_" if verb == "import" else verb for verb in VERBS} <= modules


def test_a_kind_of_term_is_named_by_the_design_alone():
    """What else asks a kind asks what it says of itself; but a combination that stands apart says nothing of others."""
    kinds = {kind.__name__ for kind in vars(terms).values() if isinstance(kind, type) and issubclass(kind, terms.Kind)}
    named = {
        (str(path.relative_to(PACKAGE)), alias.name)
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == "divergence.joint.terms"
        for alias in node.names
        if alias.name in kinds
    }
    assert {name for path, name in named if path == "joint/design.py"} == kinds
    left_out = {(path, "StandsApart") for path in ("joint/new_context_check.py", "risk/summaries.py")}
    assert {entry for entry in named if entry[0] != "joint/design.py"} == left_out


def test_no_list_names_terms():
    """What some terms have in common their kinds say of themselves: a list of names is a second home of it. The two
    abilities are one pair, of which the draws name both."""
    names = {"alpha", "shift", "own_items", "own_items_of_model", "theta_E", "u", "delta", "beta:context"}
    told = [term.name for log in ("no_overlap", "baseline") for term in _design(log).terms]
    assert len(names & set(told)) >= 5
    assert [path for path in PACKAGE.rglob("*.py") if any(len(table & names) > 1 for table in tables(path))] == []


def _design(kind):
    cells = dv.collapse(dv.read(simulate(world(kind, n_models=2, n_contexts=2, n_items=10), 0)[0]))
    return make_design(cells, measure_arms(cells), Spec())


def test_every_width_of_a_term_is_one_field():
    """Each kind has its prior width from the specification: `make_design` names as many as there are kinds to leave out."""
    text = (PACKAGE / "joint" / "design.py").read_text()
    widths = {field.name for field in dataclasses.fields(Spec) if field.type == "float"}
    assert {name for name in widths if f"spec.{name}" in text} == widths - {"apart"}  # which is found after a first fit
    assert "spec.apart" in (PACKAGE / "joint" / "linearisation.py").read_text()


def test_contributing_names_the_places():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    for heading in (
        "Add a question (three places)",
        "Add an importer (two places)",
        "Add a verb (two places)",
        "Add a calibrator (one place)",
        "Add a term of the model (three places)",
    ):
        assert heading in text
