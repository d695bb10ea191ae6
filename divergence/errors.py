"""The two errors that a user is meant to read.

Both carry one sentence: what happened, the value seen, the valid choices, what to do.
The command line prints that sentence and exits with the code of `interface`: 2 for an input or usage error, 3 when no
question can be answered.
"""


class InputError(ValueError):
    """A log, a configuration or an argument breaks a rule. Exit code 2."""


class NotIdentifiedError(ValueError):
    """The question asked for cannot be answered from this log. Exit code 3."""
