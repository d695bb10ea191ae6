"""No file name and no class name twice where two rooms meet: who reads one of them knows which is meant.

A room is a folder of the package (or a file beside them); two rooms meet where one imports the other, and a room meets
itself. A file of `cli` has the name of its verb, which is that of what it asks.
"""

import ast
import collections
import itertools
import pathlib

import pytest

PACKAGE = pathlib.Path(__file__).parents[2] / "divergence"
FILES = [path for path in sorted(PACKAGE.rglob("*.py")) if path.stem not in ("__init__", "__main__")]
TREES = {path: ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}
VERBS = "cli"


def room(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def meetings():
    """Pairs of rooms of which one imports the other."""
    found = set()
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module and path.parent != PACKAGE:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
                found |= {frozenset((room(path), name.split(".")[1])) for name in names if name.startswith("divergence.")}
    return found


MEET = meetings()


def clashes(named):
    """Places of one name in rooms that meet."""
    places = collections.defaultdict(list)
    for name, path in named:
        places[name].append(path)
    return [
        f"{name}: {one.relative_to(PACKAGE)} and {other.relative_to(PACKAGE)}"
        for name, paths in places.items()
        for one, other in itertools.combinations(paths, 2)
        if room(one) == room(other) or frozenset((room(one), room(other))) in MEET
    ]


def test_a_file_name_is_one_file():
    assert clashes((path.name, path) for path in FILES if room(path) != VERBS) == []


def test_a_class_name_is_one_class():
    of = [(node.name, path) for path in FILES for node in TREES[path].body if isinstance(node, ast.ClassDef)]
    assert clashes(of) == []


@pytest.mark.parametrize(("one", "other"), [("joint", "cells"), ("cli", "report"), ("report", "estimands")])
def test_rooms_meet_where_one_imports_the_other(one, other):
    assert (frozenset((one, other)) in MEET) == ((one, other) == ("joint", "cells"))


def test_a_clash_is_seen():
    assert clashes([("a.py", PACKAGE / "joint" / "a.py"), ("a.py", PACKAGE / "cells" / "a.py")])
    assert not clashes([("a.py", PACKAGE / "geometry" / "a.py"), ("a.py", PACKAGE / "joint" / "a.py")])
