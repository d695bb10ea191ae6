"""What benchmarks with records share: a run that was stopped goes on from them, and `--write` renews the table of a page.

What was written under the table, from its first `##` on, stays.
"""

import argparse
import pathlib
import warnings


def asked(parser: argparse.ArgumentParser, arguments: list[str] | None) -> argparse.Namespace:
    """The parsed arguments, with `--records` (its folder made) and `--write`; warnings of single fits are not shown."""
    parser.add_argument("--records", type=pathlib.Path)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    if given.records:
        given.records.mkdir(parents=True, exist_ok=True)
    return given


def kept(path: pathlib.Path) -> str:
    """What is written under the table of a page; nothing where there is none."""
    return "".join((path.read_text() if path.exists() else "").partition("\n## ")[1:])


def write_table(path: pathlib.Path, title: str, made: str, table: list[str]) -> None:
    """A page with this title, a sentence that says how the table was made, and the table."""
    path.write_text(f"# {title}\n\n{made}\n\n" + "\n".join(table) + "\n" + kept(path))
