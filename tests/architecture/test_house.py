"""The house: imports go one way, files and functions stay small, importing stays light, public names stay put."""

import ast
import pathlib
import subprocess
import sys
import tomllib

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PACKAGE = ROOT / "divergence"
FILES = sorted(p for p in PACKAGE.rglob("*.py"))
SHARED = {
    "addresses",
    "calling",
    "errors",
    "estimate",
    "kept",
    "numerics",
    "orders",
    "outcome_names",
    "plain_files",
    "plain_text",
    "processes",
    "random_streams",
    "ray_cluster",
    "sealed",
    "shown",
    "staging",
    "temporary_folders",
    "wide",
}
ALLOWED = {  # folder -> folders it may import; errors, numerics, estimate and staging are open to all
    "configuration": set(),
    "executions": {"configuration"},
    "cells": {"executions"},
    "comparison": {"executions", "configuration"},
    "identification": {"cells"},
    "joint": {"cells", "identification"},
    "estimands": {"joint", "cells", "identification"},
    "geometry": set(),
    "risk": {"estimands", "joint", "cells", "executions", "configuration"},
    "scoring": {"risk", "executions", "configuration"},
    "report": set(),
    "simulate": {"executions", "cells"},
    "probe": {"executions"},
    "behaviour": {"executions", "geometry"},
    "planning": {"joint", "estimands", "identification", "cells"},
    "under_load": {"executions", "estimands"},
    "papers": set(),
    "preregistration": {"configuration"},
    "since": {"report"},
    "run_record": {"executions", "joint"},
    "results": {
        "cells",
        "run_record",
        "since",
        "papers",
        "preregistration",
        "planning",
        "under_load",
        "behaviour",
        "configuration",
        "estimands",
        "joint",
        "executions",
        "identification",
        "report",
    },
    "exchange": {"configuration", "executions", "cells", "joint"},
    "drift": {"configuration", "executions", "cells", "geometry"},
    "cli": {
        "configuration",
        "executions",
        "cells",
        "comparison",
        "joint",
        "estimands",
        "results",
        "since",
        "probe",
        "preregistration",
        "simulate",
        "risk",
        "scoring",
        "identification",
        "exchange",
        "drift",
        "planning",
    },
    "__main__": {"cli"},
    "addresses": set(),
    "outcome_names": {"configuration"},
    "errors": set(),
    "numerics": set(),
    "orders": set(),
    "estimate": set(),
    "kept": set(),
    "staging": set(),
    "temporary_folders": set(),
    "plain_files": set(),
    "plain_text": set(),
    "sealed": set(),
    "random_streams": set(),
    "processes": set(),
    "ray_cluster": set(),
    "calling": set(),
    "shown": set(),
    "wide": set(),
}
PUBLIC = {
    "ArgumentError",
    "Cells",
    "Comparison",
    "Comparisons",
    "Configuration",
    "Estimate",
    "Executions",
    "Importance",
    "InputError",
    "MeasurementPlan",
    "NUTS",
    "NotIdentifiedError",
    "Posterior",
    "RiskClassifier",
    "RiskModel",
    "Spec",
    "answer_all",
    "bench_level",
    "best_combination",
    "coherence",
    "collapse",
    "collapse_hazard",
    "compare",
    "compare_runs",
    "comparisons",
    "context_effect",
    "citations",
    "cost_ledger",
    "cost_per_success",
    "coupling",
    "coupling_absolute",
    "coupling_anova",
    "deployed_level",
    "detect",
    "evaluation_advantage",
    "excess_flips",
    "fit",
    "gap",
    "gap_for_confidence",
    "horizon",
    "hypotheses",
    "instrument",
    "kappa",
    "leverage",
    "load_curve",
    "load",
    "matrix",
    "merge",
    "methods",
    "monitor",
    "pass_power",
    "predictions",
    "plan",
    "projection_instability",
    "rank_agreement",
    "read",
    "reversal",
    "risk_model",
    "score_log",
    "sample_size",
    "serving_effect",
    "stability",
    "table",
    "write_report",
}


def _home(path: pathlib.Path) -> str:
    part = path.relative_to(PACKAGE).parts[0]
    return part.removesuffix(".py")


def _imports(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{a.name}" if node.module == "divergence" else node.module for a in node.names]
        elif isinstance(node, ast.Import):
            names = [a.name for a in node.names]
        found |= {n.split(".")[1] for n in names if n.startswith("divergence.")}
    return found


ASKED_LATER = {  # file -> rooms above it that it asks when a user asks it, and not before
    "estimate.py": {"report"},  # Estimate.plot()
    "cells/cells.py": {"identification"},  # what a notebook shows has the audit
    "executions/executions.py": {"cells", "identification", "estimands"},  # Executions.answers() is part of the contract
}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_one_way(path):
    home = _home(path)
    if home == "__init__":
        return
    assert home in ALLOWED, f"{home} has no row in ALLOWED: where does it stand in the flow of data?"
    later = ASKED_LATER.get(str(path.relative_to(PACKAGE)), set())
    extra = _imports(ast.parse(path.read_text())) - ALLOWED[home] - SHARED - later - {home}
    assert not extra, f"{path.relative_to(ROOT)} imports {sorted(extra)}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_budgets(path):
    text = path.read_text()
    assert text.count("\n") <= 400, "a file has at most 400 lines"
    tree = ast.parse(text)
    if text.strip():
        assert ast.get_docstring(tree), "a file says what it is for"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = node.end_lineno - node.lineno + 1
            assert length <= 90, f"{node.name} has {length} lines"
            count = len(node.args.args) + len(node.args.kwonlyargs)
            assert count <= 10, f"{node.name} has {count} parameters"


def test_file_median():
    lengths = sorted(p.read_text().count("\n") for p in FILES)
    assert lengths[len(lengths) // 2] <= 160


def test_import_is_light():
    code = (
        "import sys, divergence; heavy = ('jax', 'numpyro', 'altair', 'sklearn', 'arviz_stats', 'arviz_base', "
        "'polars', 'scipy'); print([m for m in heavy if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_reading_needs_no_jax():
    code = "import sys, divergence.executions, divergence.cells; print('jax' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


def test_public_names_are_frozen():
    import divergence

    assert set(divergence.__all__) >= PUBLIC, "a public name stays"
    folders = {p.name for p in PACKAGE.iterdir() if p.is_dir()}
    assert not set(divergence.__all__) & folders, "a public name that is a folder's hides it"
    for name in divergence.__all__:
        assert getattr(divergence, name).__doc__, f"{name} has no docstring"


def test_editors_see_what_loads_lazily():
    """The imports for type checkers name each public name once, from where it is loaded; `public_types.py` uses them all."""
    import divergence

    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.asname: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen.pop(None) == "divergence.estimands", "the questions, by a star"
    assert seen == divergence._FROM
    used = (pathlib.Path(__file__).parent / "public_types.py").read_text()
    assert not [name for name in PUBLIC if f"dv.{name}" not in used]
    assert (PACKAGE / "py.typed").is_file()


def test_the_version_is_said_alike():
    import divergence

    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    cited = (ROOT / "CITATION.cff").read_text()
    assert divergence.__version__ == declared and f"\nversion: {declared}\n" in cited


def test_locks_name_no_registry_and_pin_by_hash():
    for lock in sorted(ROOT.glob("requirements*.lock")):
        lines = lock.read_text().splitlines()
        assert not [line for line in lines if "://" in line or "index-url" in line.replace("--no-emit-index-url", "")], (
            lock.name
        )
        pinned = [line for line in lines if "==" in line and not line.startswith((" ", "#"))]
        assert pinned and all(line.endswith("\\") for line in pinned), f"{lock.name} has a package without a hash"


def test_texts_are_normalised_in_one_place():
    """Unicode's normal forms take the square of a run of combining marks: `plain_text` alone asks for them."""
    asks = [p.relative_to(PACKAGE).as_posix() for p in FILES if "unicodedata.normalize" in p.read_text()]
    assert asks == ["plain_text.py"]
