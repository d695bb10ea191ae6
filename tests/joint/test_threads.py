"""The numbers of the main job do not depend on how many threads multiply matrices."""

import hashlib
import os
import subprocess
import sys

import divergence as dv
from divergence.simulate import simulate, world

JOB = """
import sys, divergence as dv
from divergence.results import write_report
log = dv.read(sys.argv[1])
write_report(dv.fit(dv.collapse(log), seed=4), sys.argv[2], log=log)
"""


def test_any_number_of_threads_writes_the_same_bytes(tmp_path):
    log, _ = simulate(world("baseline", n_models=3, n_contexts=3, n_items=60), 8)
    log.write_parquet(tmp_path / "log.parquet")
    found = set()
    for threads in ("1", "2", "5"):
        out = tmp_path / threads
        names = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), threads)
        where = {"PYTHONPATH": os.path.dirname(os.path.dirname(dv.__file__))}
        job = [sys.executable, "-c", JOB, str(tmp_path / "log.parquet"), str(out)]
        subprocess.run(job, check=True, env=os.environ | names | where)
        found.add(hashlib.sha256((out / "estimates.parquet").read_bytes()).hexdigest())
    assert len(found) == 1
