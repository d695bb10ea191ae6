"""What a person sees while a verb works: steps on stderr, and tables on stdout."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Protocol


class Tell(Protocol):
    """Is told what a verb does next."""

    def __call__(self, what: str, steps: int = 1) -> None:
        """`what` begins; so many `steps` are behind."""


@contextlib.contextmanager
def steps(total: int, quiet: bool) -> Iterator[Tell]:
    """What a verb does next, on stderr: a bar that moves until the end on a terminal, plain lines elsewhere.

    `total` is how many steps are expected; more may come. Texts are shown as they are: `[words]` are no markup.
    """
    if quiet or not sys.stderr.isatty():
        yield _silent if quiet else ProgressLines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), BarColumn(20), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=total)

        def tell(what: str, steps: int = 1) -> None:
            known = bar.tasks[0]
            expected = max(float(known.total or total), known.completed + steps + 1)  # a full bar stops its clock
            bar.update(task, description=what, advance=steps, total=expected)

        yield tell


def _silent(what: str, steps: int = 1) -> None:
    """Tells nobody."""


class ProgressLines:
    """One line a step with the time since the start; what only counts on (`steps=0`) every ten seconds at most."""

    EVERY = 10.0  # seconds

    def __init__(self) -> None:
        self.begin = self.told = time.monotonic()

    def __call__(self, what: str, steps: int = 1) -> None:
        now = time.monotonic()
        if steps or now - self.told >= self.EVERY:
            self.told = now
            print(f"{now - self.begin:6.1f} s  {what}", file=sys.stderr, flush=True)


def print_table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """A table of texts on stdout; brackets in them are shown as they are."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    shown = Table(*header)
    for row in rows:
        shown.add_row(*(escape(text) for text in row))
    Console().print(shown)
