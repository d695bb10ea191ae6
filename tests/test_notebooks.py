"""Do the notebooks run, from wherever they are opened, and is what they show committed with them?"""

import pathlib
import resource

import nbclient
import nbformat
import pytest

from notebooks.draw import shown

ROOT = pathlib.Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MAKE_THEIR_LOG = ("03_probe_your_own_stack", "11_bring_your_own_logs")  # and read none that lies in this repository
CPU_SECONDS_MAX = 90  # of one notebook; CPU time, because wall time depends on who else uses the machine
BYTES_MAX = 400_000  # of one notebook with its figures: code hosts show notebooks up to about a megabyte
CELL_SECONDS_MAX = 600  # only ends a kernel that hangs


def load(path: pathlib.Path) -> nbformat.NotebookNode:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook


def code(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def execute(notebook: nbformat.NotebookNode, folder: pathlib.Path) -> float:
    """Run all cells in a fresh kernel started in `folder`; CPU seconds of that kernel. A failing cell raises."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    nbclient.NotebookClient(
        notebook, timeout=CELL_SECONDS_MAX, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.fixture(autouse=True)
def own_folders(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Temporary files and the kernel's records stay inside the test's folder."""
    for variable in ("TMPDIR", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR"):
        (tmp_path / variable).mkdir()
        monkeypatch.setenv(variable, str(tmp_path / variable))


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs(path: pathlib.Path) -> None:
    notebook = load(path)
    seconds = execute(notebook, path.parent)
    outputs = [output for cell in code(notebook) for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert [output for output in outputs if "image/svg+xml" in output.get("data", {})], "no figure was drawn"
    assert not [output for output in outputs if output.get("name") == "stderr"], "a reader would see a warning"
    assert 1 < seconds <= CPU_SECONDS_MAX


def test_they_find_their_data_from_the_root() -> None:
    """One after the other in one kernel, without the names of those before: a kernel of its own costs each three seconds."""
    paths = [path for path in NOTEBOOKS if path.stem not in MAKE_THEIR_LOG]
    starts = [["%reset -f", *(cell.source for cell in code(load(path))[:2])] for path in paths]  # the second reads the log
    together = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for start in starts for source in start])
    execute(together, ROOT)
    for path, reading in zip(paths, together.cells[2::3], strict=True):
        assert "valid rows" in reading.outputs[0].data["text/plain"], path.stem


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_is_committed_is_figures_and_small_tables(path: pathlib.Path) -> None:
    """`notebooks/draw.py` made it: a reader on a code host sees the figures, and nothing that one machine alone has."""
    notebook = load(path)
    assert path.stat().st_size < BYTES_MAX
    assert notebook.metadata.kernelspec.name == "python3"
    assert "widgets" not in notebook.metadata
    outputs = [output for cell in code(notebook) for output in cell.outputs]
    assert [output for output in outputs if "image/svg+xml" in output.get("data", {})], "make notebooks: no figure is there"
    for output in outputs:
        assert shown(output) == output
    for cell in code(notebook):
        assert cell.execution_count is None and not cell.metadata
