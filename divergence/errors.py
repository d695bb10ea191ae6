"""The errors that a user is meant to read.

All carry one sentence: what happened, the value seen, the valid choices, what to do.
The command line prints that sentence and exits with the code of `interface`: 2 for an input or usage error, 3 when no
question can be answered.
"""


class InputError(ValueError):
    """A log, a configuration or an argument breaks a rule; the message is one sentence that says which. Exit code 2.

    >>> import divergence as dv
    >>> try:
    ...     dv.Configuration.from_table({"outcom": "score"})
    ... except dv.InputError as error:
    ...     print(str(error)[:61])
    Unknown key outcom in the configuration: the nearest known ke
    """


class ArgumentError(InputError, TypeError):
    """A function of the package was called in a way that cannot be meant; the sentence names what it takes."""


class NotIdentifiedError(ValueError):
    """The question asked for cannot be answered from this log; the message says what is missing. Exit code 3.

    >>> import polars as pl
    >>> import divergence as dv
    >>> bench = pl.DataFrame({"regime": "evaluation", "model": "m", "item": ["a", "b"], "score": [1, 0], "context": "c"})
    >>> try:
    ...     dv.risk_model(dv.fit(dv.collapse(dv.read(bench))))
    ... except dv.NotIdentifiedError as error:
    ...     print("deployment" in str(error))
    True
    """
