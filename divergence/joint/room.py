"""How many draws of a log's effects are kept, and whether they fit into this machine's memory: asked before any is made."""

from __future__ import annotations

import os
import pathlib

from divergence.errors import InputError

DRAWS = 2000  # kept of a fit
DRAWS_MIN = 500  # of the largest logs: 5 % quantiles are then known to a tenth of a standard deviation
NUMBERS = 2**24  # effects times draws above which fewer draws are kept: 134 MB
EACH_MAX = 512  # combinations of one model, which are one exact block: a fit of 510 takes 37 CPU-s
COPIES = 8  # of the draws of effects and levels that a fit and its questions hold at once, measured on 600 to 20,000 models
SHARE = 0.8  # of the memory that a fit may take
UNKNOWN = 8 * 2**30  # memory of a machine that does not say


def kept_draws(effects: int) -> int:
    """Draws that are kept of so many effects: 2,000 up to 8,388 of them, at least 500; kept_draws(20000) = 838."""
    return max(DRAWS_MIN, min(DRAWS, NUMBERS // max(effects, 1)))


def check_room(models: int, contexts: int, arms: int, levels: int, most: int = 1) -> None:
    """Raises InputError where draws of so many effects do not fit into memory, or one model has too many combinations.

    `contexts` are the labels, `levels` those of the serving factors together, `most` the combinations of one model.
    """
    if most > EACH_MAX:
        raise InputError(
            f"the log has {arms} combinations of model, regime and context, {most} of them of one model; what a fit takes "
            f"grows with the cube of that number, and it stops at {EACH_MAX}: keep fewer contexts with --where, or map a "
            "coarser column to context"
        )
    effects = models * (2 + contexts + levels)
    needed = 8 * COPIES * kept_draws(effects) * (effects + models * contexts)
    if needed > SHARE * memory():
        raise InputError(
            f"the log has {arms:,} combinations of {models:,} models in {contexts:,} contexts; a fit of their {effects:,} "
            f"effects takes about {needed / 2**30:.0f} GB, and this machine has {memory() / 2**30:.0f}: keep fewer models "
            "or contexts with --where, or name fewer factors"
        )


def memory() -> int:
    """Bytes of memory that this process may take: the machine's, or its control group's limit if that is less."""
    try:
        found = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        found = UNKNOWN
    try:
        limit = pathlib.Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        return found
    return min(found, int(limit)) if limit.isdigit() else found
