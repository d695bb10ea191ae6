"""Tests are found by the name of what they test."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[2]
FOLDERS = ("estimands", "risk", "scoring")
MODULES = [
    path.relative_to(ROOT / "divergence")
    for folder in FOLDERS
    for path in sorted((ROOT / "divergence" / folder).rglob("*.py"))
    if path.name != "__init__.py"
]


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_module_has_a_test_file_of_its_name(module):
    path = ROOT / "tests" / module.with_name(f"test_{module.name}")
    assert path.is_file(), f"the tests of divergence/{module} belong into tests/{module.parent}/{path.name}"
    names = [node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]
    assert any(name.startswith("test_") for name in names), f"{path} tests nothing"


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_test_file_holds_a_test_twice(path):
    """The second of two functions of one name replaces the first, which then never runs."""
    names = [node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)]
    assert len(names) == len(set(names)), f"{path} has {sorted({n for n in names if names.count(n) > 1})} twice"


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_test_imports_by_the_place_of_a_file(path):
    """Shared modules stand in `tests/support`, which pytest puts on the path for worker processes, too."""
    used = [ast.unparse(node) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)]
    ends = (".spec_from_file_location", ".SourceFileLoader", ".run_path")
    assert not [name for name in used if name == "sys.path" or name.endswith(ends)]
