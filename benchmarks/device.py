"""Log densities a second of the structured model, on the host and on devices that JAX has. Writes `benchmarks/device.md`.

    python benchmarks/device.py [--models 50 800 3200] [--minutes 10]

Simulated logs of 3 contexts, 100 items, one trial an item. A stack of proposals is evaluated as the importance method does:
its points go in as a NumPy array and the densities come back as one, so that what is sent and brought back is counted. The
first call on a device, which compiles (or finds what an earlier run compiled) and puts the matrices there, has a column of
its own. The page says which devices were at hand; the largest difference between both paths is measured on the same points.
"""

import argparse
import os
import pathlib
import time

import numpy as np
from growth import rows

import divergence as dv
from divergence.cells.telling_items import prepared
from divergence.joint import arms as measuring
from divergence.joint.arms import measure_arms, prior_centre
from divergence.joint.block_device import DeviceHierarchy
from divergence.joint.block_hierarchy import BlockHierarchy
from divergence.joint.design import make_design
from divergence.joint.linearisation import linearisation
from divergence.joint.problem import target_data
from divergence.joint.spec import Spec
from divergence.numerics import one_blas_thread

PAGE = pathlib.Path(__file__).parent / "device.md"
PROPOSALS = 1000  # of one round of `Importance`
REPEATS = 3
DENSITIES = 5000  # of a fit: three rounds of adaptation and the last
HEADER = (
    "| models | arms | columns shared | host, a second | host, a CPU-second | devices, a second | devices, a CPU-second | "
    "first call, s | 5,000 densities of one fit: host, s | devices, s | largest relative difference |\n" + "|---" * 11 + "|"
)


def target(models: int) -> BlockHierarchy:
    """The density of a log of so many models, in blocks however few they are."""
    cells, spec = prepared(dv.collapse(dv.read(rows(models, 3, 100, 0, 0)))), Spec()
    measuring.kept_dense = lambda _: False
    arms = measure_arms(cells)
    found = linearisation(make_design(cells, arms, spec), arms, spec)
    made = target_data(found.design, found.response, found.telling, prior_centre(arms))
    assert isinstance(made, BlockHierarchy)
    return made


def timed(density, x: np.ndarray) -> tuple[float, float]:
    """Seconds and CPU seconds of one stack, the quickest of some."""
    found = []
    for _ in range(REPEATS):
        wall, cpu = time.perf_counter(), time.process_time()
        density(x)
        found.append((time.perf_counter() - wall, time.process_time() - cpu))
    return min(w for w, _ in found), min(c for _, c in found)


def row(models: int) -> str:
    """A line of the table."""
    host = target(models)
    x = np.random.default_rng(0).standard_normal((PROPOSALS, host.dims))
    with one_blas_thread():
        wall, cpu = timed(host.density, x)
        begin = time.perf_counter()
        device = DeviceHierarchy.of(host)
        there = device.density(x)
        first = time.perf_counter() - begin
        wall_there, cpu_there = timed(device.density, x)
        here = host.density(x)
    gap = np.abs(there - here) / np.maximum(np.abs(here), 1)
    rates = [f"{PROPOSALS / seconds:,.0f}" for seconds in (wall, cpu, wall_there, cpu_there)]
    whole = [DENSITIES / PROPOSALS * wall, first + (DENSITIES / PROPOSALS - 1) * wall_there]
    cells = [
        f"{models:,}",
        f"{len(host.value):,}",
        f"{len(host.shared.variance)}",
        *rates,
        f"{first:.1f}",
        *(f"{seconds:.2f}" for seconds in whole),
        f"{gap.max():.0e}",
    ]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Every size that the time allows; the page."""
    import jax

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, nargs="+", default=[50, 800, 3200])
    parser.add_argument("--minutes", type=float, default=10.0)
    given = parser.parse_args()
    begin, lines, left = time.monotonic(), [], []
    for models in given.models:
        if time.monotonic() - begin > 60 * given.minutes:
            left.append(f"{models:,}")
            continue
        lines.append(row(models))
        print(lines[-1], flush=True)
    devices = jax.devices()
    kind = f"{len(devices)} x {devices[0].device_kind} ({devices[0].platform})"
    none = devices[0].platform == "cpu"
    PAGE.write_text(
        "# The density on devices\n\nMade by `benchmarks/device.py`: stacks of 1,000 proposals, 3 contexts, what is sent "
        f"and brought back counted. Devices: {kind}"
        + ("; no accelerator was at hand, so that the columns of devices are JAX on the host's own cores" if none else "")
        + f", JAX {jax.__version__}. Load of the machine at the end: {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores "
        "(where that is more than one a core, read the columns of CPU-seconds).\n\n"
        + f"{HEADER}\n"
        + "\n".join(lines)
        + "\n"
        + (f"\nNot reached in {given.minutes:g} minutes: {', '.join(left)} models.\n" if left else "")
        + RULE
    )


RULE = """
## Which path is taken

The host's, unless `dv.Importance(device="jax")` asks for the other (`divergence.joint.block_device.on_device`): compare the
two columns of one fit. The mode and the curvature there are found on the host in both cases; draws are the same to 1e-6
(`tests/joint/test_block_device.py`). Logs of at most 128 arms, which keep their matrices whole, always take the host. A path
chosen by the clock would give other bytes from run to run.
"""


if __name__ == "__main__":
    main()
