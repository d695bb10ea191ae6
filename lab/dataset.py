"""How does a run of the probe become a data set that others can check?

`python -m lab.dataset RUN PLAN FOLDER` puts the run's tables into a folder as `datasets/` keeps them: the
executions (`data.parquet`), further outcomes, telemetry, embeddings of every distinct answer and of the prompts of the
plan's items (needs the `lab` extra), the plan, its items and workloads, `schema.json` and `SHA256`. The card is written
by hand. Rows are those of the run, in another order: alike values together, which packs better.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
from pathlib import Path

import polars as pl

from divergence.errors import InputError
from divergence.executions.schema import COLUMNS
from divergence.probe.embedder import write_embeddings
from divergence.probe.item_files import read_items
from divergence.probe.reading import read_plan
from divergence.staging import whole

KEY = ("context", "item", "model", "wave", "trial")
LEVELS_MAX = 60  # a column with more distinct labels is described without listing them
CHECKED = ("data.parquet", "outcomes.parquet", "telemetry.parquet", "embeddings.parquet", "schema.json", "plan.toml")


def write_dataset(run: Path, plan: Path, folder: Path) -> Path:
    """Write the data set of a finished run; returns its folder. Raises InputError where the run has no table yet."""
    source = run / "executions.parquet"
    if not source.exists():
        raise InputError(
            f"{run} holds no executions.parquet: the run has not finished. Run the probe again; it goes on where it stopped."
        )
    folder.mkdir(parents=True, exist_ok=True)
    turn = [name for name in ("session", "turn") if name in pl.read_parquet_schema(source)]
    rows = pl.read_parquet(source).sort("context", "model", "item", "wave", "trial", *turn)
    _parquet(rows, folder / "data.parquet")
    for name in ("outcomes", "telemetry"):
        if (run / f"{name}.parquet").exists():
            table = pl.read_parquet(run / f"{name}.parquet")
            if name == "outcomes":
                table = rows.select("execution_id").join(table, on="execution_id", how="inner", maintain_order="left")
            _parquet(table, folder / f"{name}.parquet")
    workloads = _plan(plan, folder)
    texts = {i["item"]: i["prompt"] for i in read_items(read_plan(folder / "plan.toml")) if "prompt" in i}
    write_embeddings(rows["answer"].drop_nulls().unique().to_list(), texts, folder / "embeddings.parquet")
    (folder / "schema.json").write_text(json.dumps(_schema(rows), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    names = [n for n in (*CHECKED, *workloads) if (folder / n).exists()]
    sums = [f"{hashlib.sha256((folder / n).read_bytes()).hexdigest()}  {n}\n" for n in names]
    (folder / "SHA256").write_text("".join(sums), encoding="utf-8")
    return folder


def _plan(plan: Path, folder: Path) -> list[str]:
    """Copy the plan with its items and workloads beside it; returns the names of these."""
    text = plan.read_text(encoding="utf-8")
    copied = []
    for path in re.findall(r'^(?:items|workload)\s*=\s*"([^"]+)"', text, flags=re.M):
        name = Path(path).name
        if (plan.parent / path).resolve() != (folder / name).resolve():
            shutil.copyfile(plan.parent / path, folder / name)
        text = text.replace(f'"{path}"', f'"{name}"')
        copied.append(name)
    (folder / "plan.toml").write_text(text, encoding="utf-8")
    return copied


def _schema(rows: pl.DataFrame) -> dict:
    columns = []
    for name, dtype in rows.schema.items():
        known = COLUMNS[name]
        column = {"name": name, "type": str(dtype), "unit": known.unit, "meaning": known.meaning}
        if dtype == pl.String and rows[name].n_unique() <= LEVELS_MAX:
            column["levels"] = rows[name].drop_nulls().unique().sort().to_list()
        columns.append(column | {"nulls": rows[name].null_count()})
    key = [name for name in (*KEY, "session", "turn") if name in rows.columns]
    return {"table": "executions", "rows": rows.height, "key": key, "columns": columns}


def _parquet(frame: pl.DataFrame, path: Path) -> None:
    with whole(path) as part:
        frame.write_parquet(part, compression="zstd", compression_level=19, row_group_size=1 << 20)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("Usage: python -m lab.dataset RUN PLAN FOLDER")
    print(write_dataset(*map(Path, sys.argv[1:])))
