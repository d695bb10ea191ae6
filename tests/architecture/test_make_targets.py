"""Every test runs somewhere: what the default run leaves out belongs to a target of the Makefile, with its whole path."""

import ast
import pathlib
import re
import tomllib

import pytest

ROOT = pathlib.Path(__file__).parents[2]
OPTIONS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
LEFT_OUT = re.findall(r"not (\w+)", re.search(r"-m '([^']*)'", OPTIONS["addopts"])[1])
RUNS = re.findall(r"pytest -m (\w+) ([^\n]*)", (ROOT / "Makefile").read_text())


def marked(marker: str) -> list[pathlib.Path]:
    """The test files that have the marker."""

    def has(path: pathlib.Path) -> bool:
        nodes = ast.walk(ast.parse(path.read_text()))
        return any(
            isinstance(n, ast.Attribute) and n.attr == marker and ast.unparse(n.value) == "pytest.mark" for n in nodes
        )

    return [path for path in sorted((ROOT / "tests").rglob("test_*.py")) if has(path)]


def places(marker: str) -> list[pathlib.Path]:
    """The paths under which a target runs tests with the marker."""
    return [ROOT / word for name, words in RUNS if name == marker for word in words.split() if not word.startswith("-")]


@pytest.mark.parametrize("marker", LEFT_OUT)
def test_every_marked_test_belongs_to_a_target(marker):
    files = marked(marker)
    assert files, f"no test is marked {marker}"
    for file in files:
        assert any(file.is_relative_to(place) for place in places(marker)), f"{file.name} is run by no target"


def test_every_marker_is_declared_and_the_default_run_leaves_out_three():
    declared = [marker.split(":")[0] for marker in OPTIONS["markers"]]
    assert sorted(LEFT_OUT) == ["cluster", "prove", "tools"] and set(LEFT_OUT) <= set(declared)


def test_what_is_installed_is_locked_by_hash():
    makefile = (ROOT / "Makefile").read_text()
    for line in re.findall(r"-m pip install ([^\n]*)", makefile):
        found = re.search(r"--require-hashes -r (\S+)", line)
        assert found or line.endswith("--no-deps --no-build-isolation -e ."), line
        if found:
            assert f"-o {found[1]}" in makefile, f"make locks does not renew {found[1]}"
            locked = (ROOT / found[1]).read_text()
            assert locked.count("--hash=sha256:") >= len(re.findall(r"^\S+==", locked, re.MULTILINE)) > 0
            assert "://" not in locked, "an address in a lock"


def test_the_paths_of_the_makefile_exist():
    for words in re.findall(
        r"(?:pytest|python) ((?:-\S+ (?:\w+ )?)*)((?:tests|benchmarks)/\S+(?: tests/\S+)*)", (ROOT / "Makefile").read_text()
    ):
        for path in words[1].split():
            assert (ROOT / path).exists(), path
