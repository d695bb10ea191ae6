"""Which scorers measure one thing: those whose names all say that an answer is right or wrong.

An exact match, a choice and a number that agree are three ways to see a right answer, each fit for its tasks: their mean is
a share of right answers. What a name does not say so plainly is a metric of its own: a share of answers at all, of code that
runs, of votes.
"""

from __future__ import annotations

import re

import numpy as np

from divergence.cells.cells import Cells

_RIGHT = """
    accuracy acc correct correctness exact match matches em choice choices mcq multiple includes include number numeric
    numerical math equal equals equality regex pattern pass passed resolved solved success end_state right
"""
RIGHT = frozenset(_RIGHT.split())
"""Words of a scorer's name that say that it tells right answers from wrong ones."""


def says_right(scorer: str) -> bool:
    """Does the name of a scorer say that it tells right answers from wrong ones?

    >>> [says_right(name) for name in ("exact_match,strict-match", "acc_norm", "end_state", "response_rate", "executable")]
    [True, True, True, False, False]
    """
    name = scorer.lower()
    return bool(RIGHT & {name, *re.split(r"[^a-z0-9]+", name)})


def metric_codes(cells: Cells) -> np.ndarray:
    """The code of one scorer for all that measure the same, shape (scorers,)."""
    codes = np.arange(len(cells.levels["scorer"]))
    right = np.array([says_right(name) for name in cells.levels["scorer"]], bool)
    codes[right] = codes[right].min(initial=len(codes))
    return codes
