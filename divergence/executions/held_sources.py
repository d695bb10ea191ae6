"""Text is parsed once: the rows of CSV and JSON lines in memory where they are few, else in a packed file for the while.

Reading passes over the rows several times, and so does all that is asked of a log; each pass over text would parse it anew.
The packed file has a tenth of the text's size, lies in the folder for temporary files, and is removed with the last plan
that reads it. Where that folder has no room, texts are long, or a file is damaged, the text stays as it is: the passes say
what is wrong.
"""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Iterator, Sequence

import polars as pl
from polars.io.plugins import register_io_source

from divergence.executions.files import DAMAGED, Source, format_of, unreadable
from divergence.executions.text_tables import is_gzip
from divergence.temporary_folders import TemporaryFolder

TEXT = (".csv", ".tsv", ".jsonl", ".ndjson")
ROWS = "rows.arrow"
IN_MEMORY = 64 * 2**20  # bytes of text of a log whose rows are held in memory, some 100 MB there
SHORT = 128  # bytes of a value, on average: longer texts, which no question reads, cost more to pack than to pass over
SEEN = 1000  # rows that tell how long the values are
BATCH = 2**14  # rows that are packed together
ROOM = 2  # bytes that must be free a byte of text: packed rows have a tenth, and rows that do not pack as many as the text


def held(sources: Sequence[Source], *, here: bool = True) -> list[Source]:
    """The sources, with those of text that lie in files held, unless the passes are made elsewhere (`here`).

    Gzip files are passed over: nobody knows before how much there is in one. Raises InputError for a CSV file with a row of
    too many fields, of which passes over some of the columns know nothing.
    """
    texts = [one for one in sources if here and one.path and one.path.suffix.lower() in TEXT and not is_gzip(one.path)]
    small = sum(one.bytes or 0 for one in texts) <= IN_MEMORY
    kept = [(_in_memory(one) if small else _packed(one)) if one in texts else one for one in sources]
    for one, was in zip(kept, sources, strict=True):
        if one is was and format_of(one.file) == "csv":
            _check_fields(one)
    return kept


def _in_memory(source: Source) -> Source:
    try:
        return dataclasses.replace(source, frame=source.frame.collect(engine="streaming").lazy())
    except DAMAGED:
        return source


def _check_fields(source: Source) -> None:
    try:
        source.frame.select(pl.all().null_count()).collect(engine="streaming")
    except DAMAGED as error:
        if "more fields" in str(error):
            raise unreadable(source.file, error) from error


def _packed(source: Source) -> Source:
    try:
        room = shutil.disk_usage(tempfile.gettempdir()).free >= ROOM * (source.bytes or 0)
        if not room or _longest(source) > SHORT:
            return source
        folder = TemporaryFolder("read")
        source.frame.sink_ipc(folder.path / ROWS, compression="lz4", record_batch_size=BATCH, engine="streaming")
    except DAMAGED:
        return source
    return dataclasses.replace(source, frame=_scanned(folder))


def _longest(source: Source) -> float:
    """Bytes of the values of the column with the longest texts, on average."""
    first = source.frame.head(SEEN).select(pl.col(pl.String).str.len_bytes().mean().fill_null(0)).collect(engine="streaming")
    return max(first.row(0), default=0) if first.height else 0


def _scanned(folder: TemporaryFolder) -> pl.LazyFrame:
    """A scan whose plans hold the folder: what the log gave out is read when the log itself is gone."""
    rows = pl.scan_ipc(folder.path / ROWS)

    def read(names: list[str] | None, keep: pl.Expr | None, most: int | None, _: int | None) -> Iterator[pl.DataFrame]:
        assert folder.path
        some = rows if most is None else rows.head(most)  # a plan that filters first is not asked for the first rows
        some = some if keep is None else some.filter(keep)
        yield from (some if names is None else some.select(names)).collect_batches(maintain_order=True, engine="streaming")

    return register_io_source(read, schema=rows.collect_schema(), is_pure=True)
