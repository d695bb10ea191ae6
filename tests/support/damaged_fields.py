"""Every field of something that was saved, damaged one at a time: words (what JSON holds) and arrays."""

import random

import numpy as np

ODD = (None, True, -1, 0.5, 10**30, 10**400, float("nan"), "", "x\x00", "\ud800", [], ["a"], {}, {"a": [1]}, [[1, 2], "b"])


def places(value, path=()):
    """The path of every value inside words; long lists by their first, middle and last entry."""
    yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places(inner, (*path, key))
    elif isinstance(value, list):
        for at in sorted({0, len(value) // 2, len(value) - 1} & set(range(len(value)))):
            yield from places(value[at], (*path, at))


def replaced(value, path, new):
    """The words with another value at a path."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


def without(value, path):
    """The words without what stands at a path, or a list one shorter."""
    if len(path) == 1:
        return {k: v for k, v in value.items() if k != path[0]} if isinstance(value, dict) else [*value][:-1]
    return replaced(value, path[:1], without(value[path[0]], path[1:]))


def of_words(words):
    """(what, words) of every damage of one word."""
    for path in places(words):
        if path:
            for new in ODD:
                yield ("word", path, new), replaced(words, path, new)
            yield ("without", path, None), without(words, path)


def of_arrays(arrays):
    """(what, arrays) of every damage of one array."""
    for name, array in arrays.items():
        yield ("array", name, "none"), {k: v for k, v in arrays.items() if k != name}
        others = {
            "short": array[:-1] if array.ndim else array[None],
            "deep": array[None],
            "text": array.astype(str),
            "nan": np.full(array.shape, np.nan),
            "huge": np.full(array.shape, 1e300),
            "negative": np.full(array.shape, -(2**31), np.int64),
            "empty": array.reshape(-1)[:0],
            "objectless": np.zeros(3),
        }
        for what, other in others.items():
            yield ("array", name, what), {**arrays, name: other}


def tried(kinds, most, use):
    """How many cases were used, and how many of them were refused: `use(number, what, *case)` gives "works" or a sentence.

    `kinds`: lists of (what, *case), of each of which `most` are drawn, or all. What else comes out is told with its case.
    """
    refused = number = 0
    for kind in kinds:
        for what, *case in kind if most is None else random.Random(0).sample(kind, most):
            try:
                refused += use(number, what, *case) != "works"
            except Exception as error:
                raise AssertionError(f"{what}: {type(error).__name__}: {error}") from error
            number += 1
    return number, refused
