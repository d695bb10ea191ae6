"""What other tools say of pairs of runs: run by `benchmarks/compare.py` with the Python of an environment that has them.

Reads an .npz of `before` and `after` (pairs, items), right or wrong, and prints one JSON object: per tool, limits (pairs, 2)
of AFTER - BEFORE or p-values, and CPU seconds.
"""

import importlib
import json
import sys
import time

import numpy as np


def errorbars(before, after):
    """Paired interval of the mean difference, Student or normal, of `errorbars`."""
    paired = importlib.import_module("errorbars.compare").paired_compare
    found = []
    for first, second in zip(before, after, strict=True):
        got = paired(second, first)
        found.append([got.ci_low, got.ci_high])
    return found


def evalsig(before, after):
    """The interval of `evalsig.compare` with its own choice of method."""
    import evalsig as tool

    def frame(name, scores):
        items = [tool.ItemResult(item_id=str(k), score=float(s)) for k, s in enumerate(scores)]
        return tool.RunFrame(run_id=name, model_id=name, task_id="t", metric_name="m", items=items)

    found = []
    for first, second in zip(before, after, strict=True):
        got = tool.compare(frame("a", first), frame("b", second))
        found.append(list(got.ci))
    return found


def main():
    """All tools on all pairs."""
    runs = np.load(sys.argv[1])
    told = {}
    for tool in (errorbars, evalsig):
        begun = time.process_time()
        limits = tool(runs["before"], runs["after"])
        told[tool.__name__] = {"limits": limits, "seconds": time.process_time() - begun}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
