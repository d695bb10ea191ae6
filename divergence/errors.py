"""The errors that a user is meant to read.

Both carry one sentence: what happened, the value seen, the valid choices, what to do. It is one line, of at most
`LONGEST` characters where it is an InputError: what is longer loses its middle, as the end says what to do. What a file
holds may be in it, and cannot change what a terminal shows: characters that are not printed are escaped.
The command line prints that sentence and exits with the code of `interface`: 2 for an input or usage error, 3 when no
question can be answered.
"""

import re

LONGEST = 300
_END = 110  # characters of the end that stay
BEGINNING = LONGEST - _END - 3
"""Characters of the beginning that stay."""
_PATH = re.compile(r"(?:(?<![\w.:/])|\b[A-Za-z]:)(?:[/\\][^/\\\s:;,()]+){2,}((?:[/\\][^/\\\s:;,()]+){2})")
"""A path of four parts or more, of no address; its last two say which file it is."""


def printed(text: str) -> str:
    r"""A text on one line, with what is not printed escaped.

    >>> printed("a\nb \x1b[31m")
    'a b \\x1b[31m'
    """
    joined = " ".join(text.split())
    if joined.isprintable():
        return joined
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in joined)


def shortened(text: str) -> str:
    """At most `LONGEST` characters of a text: first the beginnings of long paths go, then its middle.

    >>> len(shortened("a" * 1000))
    300
    >>> shortened("a" * 270 + ": /data/of/last/night/run.eval is cut")[270:]
    ': …/night/run.eval is cut'
    >>> shortened("a" * 290 + ": s3://logs/of/last/night/run.eval")[-32:]
    's3://logs/of/last/night/run.eval'
    """
    if len(text) > LONGEST:
        text = _PATH.sub(r"…\1", text)
    return text if len(text) <= LONGEST else f"{text[:BEGINNING]} … {text[-_END:]}"


class InputError(ValueError):
    """A log, a configuration or an argument breaks a rule; the message is one sentence that says which. Exit code 2.

    >>> import divergence as dv
    >>> try:
    ...     dv.Configuration.from_table({"outcom": "score"})
    ... except dv.InputError as error:
    ...     print(str(error)[:61])
    Unknown key outcom in the configuration: the nearest known ke
    """

    def __init__(self, sentence: object = "") -> None:
        super().__init__(shortened(printed(str(sentence))))


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
