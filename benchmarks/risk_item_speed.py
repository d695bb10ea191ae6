"""How fast are requests scored whose items are known, and what does a million of them take? Section `Known items: speed and
memory` of `benchmarks/risk.md`.

A risk model of random numbers: models, contexts, strata and items as said. A batch has dictionary codes, as scoring makes
them; least CPU seconds of several runs. The long log is four batches over and over, each with another dictionary of items
than the last, from memory and with nothing written; peak resident memory is that of the process.

    python benchmarks/risk_item_speed.py [--rows 1e8] [--items 1e6]
"""

import argparse
import resource
import time

import numpy as np
import pyarrow as pa
from risk_throughput import PAGE, best, processor, replace_section

from divergence.risk.calibrate import Calibrator
from divergence.risk.item_lookup import POINTS, SPREADS, ItemRisks
from divergence.risk.model import RiskModel

HEADING = "## Known items: speed and memory"
BATCH, TARGET = 2**18, 1.5e7
SMALL = {"model": 6, "context": 13, "task": 6}
LARGE = {"model": 4, "context": 5, "task": 12}


def model(sizes: dict[str, int], items: int, seed: int = 0) -> RiskModel:
    """A risk model of random numbers."""
    random = np.random.default_rng(seed)
    levels = {key: tuple(f"{key}-{k}" for k in range(count)) for key, count in sizes.items()}
    rows = int(np.prod([count + 1 for count in sizes.values()]))
    shape = (items, sizes["model"] + 1, sizes["context"] + 1)
    table = {name: random.random(rows) for name in ("risk", "excess", "lower", "upper", "novelty")}
    known = ItemRisks(
        pa.array([f"item-{k:07}" for k in range(items)], pa.large_string()),
        random.integers(0, POINTS * SPREADS, shape).astype(np.uint16),
        random.integers(0, 4, shape).astype(np.uint8),
        random.integers(0, 256, shape).astype(np.uint8),
        (np.arange(items) % sizes["task"]).astype(np.int32),
    )
    return RiskModel(
        outcome="score",
        kind="binary",
        factors=(),
        levels=levels,
        table={**table, "known": np.ones(rows, bool), "reason": np.zeros(rows, np.int32)},
        reasons=("as usual",),
        calibrator=Calibrator("none", {}),
        check={},
        conformal={},
        traffic={"risks": np.linspace(0, 1, 400).tolist()},
        provenance={},
        items=known if items else None,
    )


def batch(scorer: RiskModel, items: int, seed: int, share: float = 1.0) -> pa.RecordBatch:
    """Requests of known items with their own tasks; `share` of them known."""
    random = np.random.default_rng(seed)
    item = random.integers(0, max(items, 1), BATCH)
    distinct, code = np.unique(item, return_inverse=True)
    names = [f"item-{k:07}" if (k * 7919) % 1000 < 1000 * share else f"new-{k}" for k in distinct.tolist()]
    columns = {"item": pa.DictionaryArray.from_arrays(pa.array(code.astype(np.int32)), pa.array(names))}
    for key, known in scorer.levels.items():
        where = item % len(known) if key == "task" else random.integers(0, len(known), BATCH)
        columns[key] = pa.DictionaryArray.from_arrays(pa.array(where.astype(np.int32)), pa.array(known))
    return pa.record_batch(columns)


def main() -> None:
    """Measure, and write the section."""
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--rows", type=float, default=1e8)
    flags.add_argument("--items", type=float, default=1e6)
    given = flags.parse_args()
    lines = [HEADING, "", f"Made by `python benchmarks/risk_item_speed.py`; {processor()}.", ""]
    lines += ["| from memory, all nine columns | rows a CPU s |", "|---|---|"]
    small = model(SMALL, 204)
    plain = model(SMALL, 0)
    for words, scorer, share in (
        ("no item is known to the model", plain, 1.0),
        (f"every item is known, 204 items (target {TARGET:.1e})", small, 1.0),
        ("half of the items are known", small, 0.5),
    ):
        one = batch(scorer, 204, 1, share)
        lines.append(f"| {words} | {BATCH / best(lambda scorer=scorer, one=one: scorer.score(one)):.2g} |")
    items = int(given.items)
    large = model(LARGE, items)
    one = batch(large, items, 2)
    lines.append(f"| every item is known, {items:,} items, a dictionary that was seen before | ")
    lines[-1] += f"{BATCH / best(lambda: large.score(one), 7):.2g} |"
    batches = [batch(large, items, 10 + k) for k in range(4)]
    start, done = time.process_time(), 0
    while done < given.rows:
        large.score(batches[done // BATCH % 4])
        done += BATCH
    rate = done / (time.process_time() - start)
    lines.append(
        f"| {given.rows:.0e} rows of {items:,} known items, every batch with a new dictionary of items | {rate:.2g} |"
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    lines += ["", f"Peak resident of the process with all of it: {peak:.2f} GiB (target 1.5 GB).", ""]
    section = "\n".join(lines)
    print(section)
    PAGE.write_text(replace_section(PAGE.read_text(), section))


if __name__ == "__main__":
    main()
