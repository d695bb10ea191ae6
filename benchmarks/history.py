"""What did a benchmark say when it ran before? One line a run in `benchmarks/history/NAME.csv`, only ever appended.

A line holds when and where the run was made (date, version, Python, processor, cores, load) and its figures. A page of
`benchmarks/` shows the last run; its history shows whether the figures move.
"""

import csv
import datetime
import os
import pathlib
import platform
from importlib.metadata import version

FOLDER = pathlib.Path(__file__).parent / "history"


def processor() -> str:
    """Name of the processor, from /proc/cpuinfo where there is one."""
    information = pathlib.Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def circumstances(load: float) -> dict[str, str]:
    """When and where a run was made; `load` is the load average when it began."""
    return {
        "date": datetime.date.today().isoformat(),
        "version": version("eval-divergence"),
        "python": platform.python_version(),
        "processor": processor(),
        "cores": str(os.cpu_count()),
        "load": f"{load:.1f}",
    }


def earlier_runs(name: str, folder: pathlib.Path = FOLDER) -> list[str]:
    """The history `name` as lines of a table, the last run last; none where there is none."""
    path = folder / f"{name}.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        columns, *runs = csv.reader(file)
    shown = [place for place, column in enumerate(columns) if column not in ("python", "processor", "cores")]
    lines = [[column.replace("_", " ") for column in columns], ["---"] * len(columns), *runs]
    return ["| " + " | ".join(line[place] for place in shown) + " |" for line in lines]


def append(name: str, figures: dict[str, float], load: float, folder: pathlib.Path = FOLDER) -> pathlib.Path:
    """Add a run to the history `name`; figures that earlier runs did not have become new columns, empty in those."""
    path = folder / f"{name}.csv"
    earlier: list[dict[str, str]] = []
    columns: list[str] = []
    if path.exists():
        with path.open(newline="") as file:
            reader = csv.DictReader(file)
            earlier, columns = list(reader), list(reader.fieldnames or ())
    run = circumstances(load) | {key: f"{value:.6g}" for key, value in figures.items()}
    columns += [key for key in run if key not in columns]
    folder.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows([*earlier, run])
    part.replace(path)
    return path
