"""Run the notebooks and commit what they show: figures and small tables, without what only one machine has.

    python notebooks/draw.py [NAME...]        # all, or those whose name begins so; `make notebooks`

Kept are figures (SVG) and plain text; HTML twins of the same tables, counts of executions and times are not, nor is a
text that names a place on this machine. `tests/test_notebooks.py` runs the notebooks afresh and holds what is committed to
these rules.
"""

from __future__ import annotations

import pathlib
import re
import sys

import nbformat
from nbclient import NotebookClient

HERE = pathlib.Path(__file__).parent
KEPT = ("image/svg+xml", "text/plain")
PLACES = re.compile(r"(/tmp/|/home/|/root/|/Users/|[A-Z]:\\)")
TEXT_MAX = 6_000  # characters of one text


def draw(path: pathlib.Path) -> int:
    """Run one notebook and write what it shows into it; the size of the file in bytes."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook, timeout=1800, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}
    ).execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [kept for output in cell.outputs if (kept := shown(output)) is not None]
            cell.execution_count = None
            cell.metadata = {}
    notebook.metadata.pop("widgets", None)
    nbformat.write(notebook, path)
    return path.stat().st_size


def shown(output: nbformat.NotebookNode) -> nbformat.NotebookNode | None:
    """The part of an output that is kept; None where nothing is."""
    if output.output_type == "stream":
        text = output.text if output.name == "stdout" else ""
        return None if not text or PLACES.search(text) or len(text) > TEXT_MAX else output
    if output.output_type not in ("display_data", "execute_result"):
        return None
    data = {kind: output.data[kind] for kind in KEPT if kind in output.data}
    if "image/svg+xml" in data:
        data.pop("text/plain", None)
    text = data.get("text/plain", "")
    if not data or PLACES.search(text) or len(text) > TEXT_MAX:
        return None
    output.data, output.metadata = data, {}
    if output.output_type == "execute_result":
        output.execution_count = None
    return output


if __name__ == "__main__":
    for one in sorted(HERE.glob("*.ipynb")):
        if not sys.argv[1:] or one.name.startswith(tuple(sys.argv[1:])):
            print(f"{one.name}: {draw(one):,} bytes", flush=True)
