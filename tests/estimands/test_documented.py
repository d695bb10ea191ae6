"""The docstring of a question says all of it, and wrong examples are found."""

import dataclasses

import pytest

from divergence import estimands
from divergence.estimands.documented import LOGS, PARAMETERS, documented, example
from divergence.simulate import KINDS


@pytest.mark.parametrize("question", estimands.QUESTIONS, ids=lambda question: question.name)
def test_it_holds_the_files_own_words_once(question):
    text = getattr(estimands, question.name).__doc__
    own = estimands.sys.modules[f"divergence.estimands.{question.name}"].__doc__
    assert text.startswith(own.strip()[:60]) and text.count(own.strip().split("\n")[0]) == 1
    assert question.example_log in (*KINDS, *LOGS)


def test_parameters_are_those_of_the_function():
    question = dataclasses.replace(estimands.QUESTIONS[0], example_log="waves", example_call="k=3")

    def asked(posterior, *, law=None, k=2):
        """Rows; `k`: how many."""

    text = documented(question, asked, "What?\n\n    a = b")
    assert "- `law`: " in text and "- `k`: " not in text and "- `eps`" not in text  # `k` is told by the function itself
    assert text.index("What?") < text.index("Rows;") < text.index("`posterior`") < text.index(">>>")
    assert example(question).splitlines()[2].count('world("waves")') == 1 and "k=3)" in example(question)


def test_every_parameter_of_a_question_is_explained():
    import inspect

    for question in estimands.QUESTIONS:
        for name in inspect.signature(getattr(estimands, question.name)).parameters:
            assert name in PARAMETERS, f"{question.name}: say what {name} is in estimands/documented.py"
