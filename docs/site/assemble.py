"""The sources of the site in one folder, in the shape of this repository, so that every relative link holds.

python docs/site/assemble.py build/docs-source && sphinx-build -W build/docs-source build/docs      # make docs
"""

from __future__ import annotations

import pathlib
import re
import shutil
import sys

from pages import PAGES

ROOT = pathlib.Path(__file__).parents[2]
COPIED = (
    "docs/*.md",
    "notebooks/*.ipynb",
    "benchmarks/*.md",
    "benchmarks/*.svg",
    "datasets/*/card.md",
    "datasets/*/*.toml",
    "models/*/card.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
)
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)#:\s]+)(#[^)\s]*)?\)")


def assemble(folder: pathlib.Path) -> list[pathlib.Path]:
    """Write all sources into the folder; the files."""
    shutil.rmtree(folder, ignore_errors=True)
    written = []
    for pattern in COPIED:
        for path in sorted(ROOT.glob(pattern)):
            target = folder / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            written.append(target)
    for name, page in PAGES.items():
        target = folder / "docs" / f"{name}.md"
        target.write_text(page(), encoding="utf-8")
        written.append(target)
    for name in ("conf.py", "index.md"):
        shutil.copyfile(ROOT / "docs" / "site" / name, folder / name)
    for path in written:
        if path.suffix == ".md":
            path.write_text(plain_code(path, folder), encoding="utf-8")
    return written


def plain_code(path: pathlib.Path, folder: pathlib.Path) -> str:
    """The page, with links to files of code (which are no pages) as code; a link to what is nowhere is an error."""

    def replaced(found: re.Match) -> str:
        text, target = found[1], found[2]
        if (path.parent / target).exists() or target.startswith("mailto"):
            return found[0]
        source = (ROOT / path.relative_to(folder)).parent / target
        if not source.exists():
            raise SystemExit(f"{path.relative_to(folder)} links to {target}, which is not there")
        return text if "`" in text else f"`{text}`"

    return LINK.sub(replaced, path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    print(f"{len(assemble(pathlib.Path(sys.argv[1])))} sources")
