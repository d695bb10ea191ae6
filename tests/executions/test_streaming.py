"""A log that is larger than the memory it may take: rows stream, only counts stay."""

import gzip
import pathlib
import subprocess
import sys

import pytest

LIMIT_MB = 290  # Python, Polars and its buffers measure 180; the text of the log alone is 312

READER = """
import sys
from divergence.executions import read
log = read(sys.argv[1])
answers = log.answers()
cells = log.scan().group_by("regime", "model", "context", "item").len().collect(engine="streaming")
status = open("/proc/self/status").read()  # of this program; ru_maxrss would count the process that started it
print(log.counts.valid, cells["len"].sum(), int(status.split("VmHWM:")[1].split()[0]) // 1024)
"""


@pytest.mark.skipif(not pathlib.Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_a_log_larger_than_the_memory_it_may_take_is_read_and_collapsed(tmp_path):
    block = "".join(
        f"{'evaluation' if n % 3 == 0 else 'deployment'},m{n % 4},i{n % 500},{n % 2},{n % 5},{'x' * 1900}\n"
        for n in range(6000)
    )
    path = tmp_path / "log.csv.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b"regime,model,item,score,engine,prompt\n")
        for _ in range(27):
            file.write(block.encode())
    done = subprocess.run([sys.executable, "-c", READER, str(path)], capture_output=True, text=True, check=True)
    valid, collapsed, peak = map(int, done.stdout.split())
    assert valid == collapsed == 27 * 6000
    assert peak < LIMIT_MB
