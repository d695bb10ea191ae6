"""One case of `geometry.py` in a process of its own: prints CPU seconds, peak memory and the value as JSON.

python benchmarks/geometry_one.py CASE ROWS DIMENSIONS
"""

import json
import resource
import sys
import time
import warnings

import numpy as np

CHUNK = 8192  # rows of a stream at a time
SESSION = 20  # rows of one session
WARM = 200  # rows of a call before the one that is measured


def arrays(n: int, d: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(x, y, sessions) in float32: y is x, turned, with noise and a shift."""
    generator = np.random.default_rng(0)
    turn = np.linalg.qr(generator.standard_normal((d, d)))[0].astype(np.float32)
    x = generator.standard_normal((n, d), dtype=np.float32) * np.geomspace(3, 0.3, d, dtype=np.float32)
    y = x @ turn + 0.5 * generator.standard_normal((n, d), dtype=np.float32) + np.float32(0.1)
    return x, y, np.arange(n) // SESSION


def chunks(n: int, d: int):
    """The same kind of rows as a stream that is never held whole."""
    generator = np.random.default_rng(0)
    for start in range(0, n, CHUNK):
        rows = min(CHUNK, n - start)
        x = generator.standard_normal((rows, d), dtype=np.float32)
        y = x + generator.standard_normal((rows, d), dtype=np.float32)
        yield x, y, start // SESSION + np.arange(rows) // SESSION


def ours_cka(x, y, cluster):
    from divergence.geometry import cka, paired_moments

    return lambda: cka(paired_moments(x, y, cluster=cluster)).to_frame()["mean"][1]


def netrep_cka(x, y, _):
    from netrep.metrics import LinearCKA

    return lambda: np.cos(LinearCKA().score(x, y))


def double_cka(x, y, _):
    """The biased value in float64: what float32 products should come to."""

    def value():
        u, v = (rows - rows.mean(0) for rows in (x.astype(float), y.astype(float)))
        xy, xx, yy = (((a.T @ b) ** 2).sum() for a, b in ((u, v), (u, u), (v, v)))
        return xy / np.sqrt(xx * yy)

    return value


def rsatoolbox_cka(x, y, _):
    from rsatoolbox.data import Dataset
    from rsatoolbox.rdm import calc_rdm, compare

    return lambda: compare(*(calc_rdm(Dataset(rows), method="euclidean") for rows in (x, y)), method="cosine")[0, 0]


def ours_mmd(x, y, cluster):
    from divergence.geometry import mmd

    return lambda: mmd(x, y, cluster=(cluster, cluster), permutations=2000, features=1024).to_frame()["mean"][0]


def ours_mmd_every_pair(x, y, cluster):
    from divergence.geometry import mmd

    return lambda: mmd(x, y, cluster=(cluster, cluster), permutations=200, features=0).to_frame()["mean"][0]


def hyppo_mmd(x, y, _):
    from hyppo.ksample import MMD

    return lambda: MMD().test(x, y, reps=200, auto=False, random_state=0)[0]


def ours_bures(x, y, cluster):
    from divergence.geometry import bures, moments

    states = [lambda rows=rows: moments(rows, cluster=cluster) for rows in (x, y)]
    return lambda: bures(*(state() for state in states)).where(statistic="plain").to_frame()["mean"][0]


def pot_bures(x, y, _):
    import ot

    return lambda: float(ot.gaussian.empirical_bures_wasserstein_distance(x.astype(float), y.astype(float))) ** 2


def ours_stream(n, d):
    from divergence.geometry import cka, moments_of_chunks

    return lambda: cka(moments_of_chunks(chunks(n, d), clustered=True)).to_frame()["mean"][0]


def generation(n, d):
    return lambda: float(sum(x[0, 0] + y[0, 0] + keys[0] for x, y, keys in chunks(n, d)))


def main() -> None:
    """Run the case and say what it took."""
    warnings.simplefilter("ignore")
    case, n, d = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    function = globals()[case]
    if case in ("ours_stream", "generation"):
        call = function(n, d)
    else:
        given = arrays(n, d)
        function(*(part[:WARM] for part in given))()  # compiles what compiles
        call = function(*given)
    begin = time.process_time()
    value = call()
    spent = time.process_time() - begin
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"cpu_s": spent + children.ru_utime + children.ru_stime, "peak_mib": peak, "value": float(value)}))


if __name__ == "__main__":
    main()
