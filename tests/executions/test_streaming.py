"""A log that is larger than the memory it may take: rows stream, only counts stay."""

import gzip
import pathlib
import subprocess
import sys

import pytest

ROW_BYTES = 1900
BLOCK_ROWS = 6000

READER = """
import sys
from divergence.executions import read
log = read(sys.argv[1])
answers = log.answers()
cells = log.scan().group_by("regime", "model", "context", "item").len().collect(engine="streaming")
status = open("/proc/self/status").read()  # of this program; ru_maxrss would count the process that started it
print(log.counts.valid, cells["len"].sum(), int(status.split("VmHWM:")[1].split()[0]) // 1024)
"""


def peak_of(path: pathlib.Path, blocks: int) -> int:
    """MB at the peak of a program that reads a log of so many blocks of rows and counts its cells."""
    block = "".join(
        f"{'evaluation' if n % 3 == 0 else 'deployment'},m{n % 4},i{n % 500},{n % 2},{n % 5},{'x' * ROW_BYTES},{n}\n"
        for n in range(BLOCK_ROWS)
    )
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b"regime,model,item,score,engine,prompt,place,trial\n")
        for trial in range(blocks):
            file.write(block.replace("\n", f",{trial}\n").encode())
    done = subprocess.run([sys.executable, "-c", READER, str(path)], capture_output=True, text=True, check=True)
    valid, collapsed, peak = map(int, done.stdout.split())
    assert valid == collapsed == blocks * BLOCK_ROWS
    return peak


@pytest.mark.skipif(not pathlib.Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_a_log_larger_than_the_memory_it_may_take_is_read_and_collapsed(tmp_path):
    # The buffers of the interpreter and of Polars grow with the machine's cores, not with the log: both peaks hold
    # them, so only the difference is judged. Had the rows been held, it would be the text that was added or more.
    few, many = 13, 40
    added = (many - few) * BLOCK_ROWS * ROW_BYTES // 2**20
    assert peak_of(tmp_path / "many.csv.gz", many) - peak_of(tmp_path / "few.csv.gz", few) < added / 3
