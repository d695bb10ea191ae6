"""Every public name can be used with nothing but `help()`: what it asks, takes, gives and raises, and lines that run."""

import doctest
import inspect
import typing

import polars as pl
import pytest

import divergence as dv
from divergence.calling import MADE_BY
from divergence.errors import InputError, NotIdentifiedError

NAMES = dv.__all__
FUNCTIONS = [name for name in NAMES if inspect.isfunction(getattr(dv, name))]
MADE = ("Estimate", "Cells", "Executions", "Posterior", "RiskModel", "Comparison", "Comparisons")  # by functions


@pytest.fixture(scope="module")
def fits():
    """Fits of simulated logs are made once: two dozen examples begin with the same one."""
    kept, fit = {}, dv.fit

    def once(cells, **options):
        key = (repr(cells), repr(sorted(options)), float(cells.counts["y"].sum()) if isinstance(cells, dv.Cells) else None)
        if options not in ({}, {"seed": 0}) or key not in kept:
            kept[key] = fit(cells, **options)
        return kept[key]

    return once


@pytest.fixture(scope="module")
def risk_models():
    """Likewise models of risk: the examples of scoring begin with that of `risk_model`."""
    kept, risk_model = {}, dv.risk_model

    def once(posterior, log=None):
        key = (id(posterior), repr(log))  # the posterior is kept: no other has its id
        if key not in kept:
            kept[key] = posterior, risk_model(posterior, log)
        return kept[key][1]

    return once


@pytest.mark.parametrize("name", NAMES)
def test_the_example_runs_and_gives_what_it_says(name, fits, risk_models, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(vars(dv), "fit", fits) if name != "fit" else None
    monkeypatch.setitem(vars(dv), "risk_model", risk_models) if name != "risk_model" else None
    thing = getattr(dv, name)
    found = doctest.DocTestParser().get_doctest(inspect.getdoc(thing) or "", {name: thing}, name, None, None)
    if name == "ArgumentError":  # the kind of InputError that a wrong call raises; InputError has the example
        return
    assert found.examples, f"{name} has no example"
    result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(found)
    assert not result.failed


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_parameter_is_annotated_and_told(name):
    function = getattr(dv, name)
    text = inspect.getdoc(function) or ""
    for parameter in inspect.signature(function).parameters.values():
        assert parameter.annotation is not inspect.Parameter.empty, f"{name}: {parameter.name} has no annotation"
        assert f"`{parameter.name}" in text, f"help({name}) says nothing of {parameter.name}"
    assert inspect.signature(function).return_annotation is not inspect.Signature.empty
    for word in ("Return", "Raises"):
        assert word in text, f"help({name}) does not say what it {word.lower()}"
    assert "?" in text.split("\n\n")[0] or name in NOT_QUESTIONS, f"help({name}) does not begin with its question"


NOT_QUESTIONS = {
    "answer_all",
    "collapse",
    "coupling_anova",
    "fit",
    "load",
    "load_curve",
    "merge",
    "read",
    "score_log",
    "table",
    "write_report",
    "citations",
    "methods",
}
"""Functions that answer no question of their own: they make, read or write."""


@pytest.mark.parametrize("name", FUNCTIONS)
def test_wrong_calls_are_sentences(name):
    function = getattr(dv, name)
    if not inspect.signature(function).parameters:
        return
    with pytest.raises(InputError, match=f"{name} (has no argument 'nothing_like_it'|takes)"):
        function(nothing_like_it=1)
    first = next(iter(inspect.signature(function).parameters.values()))
    if isinstance(first.annotation, str) and first.annotation in MADE_BY:
        for wrong in (None, 7, "a text", pl.DataFrame()):
            with pytest.raises(InputError, match=f"{name}: {first.name} is an? {first.annotation}, as .* seen"):
                function(wrong)


@pytest.mark.parametrize("name", ["kappa", "reversal", "fit", "collapse", "predictions", "write_report"])
def test_a_call_without_what_it_needs_is_a_sentence(name):
    with pytest.raises(InputError, match=f"{name} cannot be called like this: missing a required argument"):
        getattr(dv, name)()


@pytest.mark.parametrize("name", ["Configuration", "Spec", "NUTS", "Importance"])
def test_wrong_fields_are_sentences(name):
    made = getattr(dv, name)
    field = next(iter(inspect.signature(made).parameters))
    with pytest.raises(InputError, match=rf"did you mean {field}\?"):
        made(**{field + "s": 1})
    if name != "Spec":  # which says it in words of its own
        with pytest.raises(InputError, match=f"{name}: {field} is .*, seen a list"):
            made(**{field: []})


@pytest.mark.parametrize("name", MADE)
def test_made_values_have_documented_fields(name):
    made = getattr(dv, name)
    source = inspect.getsource(made)
    for field in typing.get_type_hints(made, localns=vars(dv)) if name == "Estimate" else made.__dataclass_fields__:
        assert f"    {field}:" in source


def test_a_wrong_name_is_answered_with_the_nearest():
    with pytest.raises(AttributeError, match="did you mean kappa"):
        _ = dv.kapa


def test_folders_load_when_they_are_asked_for():
    import subprocess
    import sys

    code = (
        "import sys, divergence as dv; before = 'divergence.geometry' in sys.modules; "
        "print(before, dv.simulate.KINDS['null'][:7], dv.geometry.__name__)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["False", "nothing", "divergence.geometry"]


def test_errors_are_what_a_caller_expects():
    assert issubclass(dv.ArgumentError, InputError) and issubclass(dv.ArgumentError, TypeError)
    assert not issubclass(NotIdentifiedError, InputError)
