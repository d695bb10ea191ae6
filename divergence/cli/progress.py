"""What a person sees while a verb works: steps on stderr, and tables on stdout."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Protocol


class Tell(Protocol):
    """Is told what a verb does next."""

    def __call__(self, what: str, steps: int = 1) -> None:
        """`what` begins; so many `steps` are behind."""


@contextlib.contextmanager
def steps(total: int, quiet: bool) -> Iterator[Tell]:
    """A progress bar on stderr that is told each step."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    with Progress(
        SpinnerColumn(),
        BarColumn(bar_width=20),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        disable=quiet,
        transient=True,
    ) as bar:
        task = bar.add_task("starting", total=total)

        def tell(what: str, steps: int = 1) -> None:
            bar.update(task, description=what, advance=steps)

        yield tell


def print_table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """A table of texts on stdout; brackets in them are shown as they are."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    shown = Table(*header)
    for row in rows:
        shown.add_row(*(escape(text) for text in row))
    Console().print(shown)
