"""Every example in a docstring runs and gives what it says; those of the public names are run in `test_public_docs`."""

import doctest
import importlib
import pathlib

import pytest

import divergence as dv

ROOT = pathlib.Path(__file__).parents[2]
NAMES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted((ROOT / "divergence").rglob("*.py"))
    if ">>> " in path.read_text()
]


@pytest.mark.parametrize("name", NAMES)
def test_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    seen = [test for test in doctest.DocTestFinder().find(module, name) if test.examples]
    public = {f"{name}.{own}" for own in dv.__all__ if own in vars(module)}
    for test in seen:
        if test.name not in public:
            assert not doctest.DocTestRunner().run(test).failed
    assert seen or public


def test_there_are_examples():
    assert len(NAMES) >= 5
