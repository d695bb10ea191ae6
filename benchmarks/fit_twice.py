"""What do effective draws cost, method by method? Fits one log twice in one process and prints a JSON object.

The first fit compiles, the second (another seed) does not, as far as the method lets compilations be reused. Effective
draws are the gate of each method: `1 / sum w^2` of the importance weights; for NUTS the least over all coordinates of
bulk and tail effective sample size. CPU seconds are of the whole fit: arm levels, mode, draws. NUTS runs with shorter
chains than its default (2 x 200 transitions, not 4 x 1000): its rate is what is asked for, not its gates.

    python benchmarks/fit_twice.py LOG importance|nuts
"""

import json
import sys
import time

import divergence as dv

METHODS = {"importance": dv.Importance(), "nuts": dv.NUTS(chains=2, warmup=100, draws=100)}


def main(log: str, method: str) -> dict:
    """CPU seconds of both fits, effective draws and scales of the second."""
    cells = dv.collapse(dv.read(log))
    seconds = []
    for seed in (0, 1):
        begin = time.process_time()
        posterior = dv.fit(cells, method=METHODS[method], seed=seed)
        seconds.append(time.process_time() - begin)
    gates = {d.name: float(d.value) for d in posterior.diagnostics}
    scales = {name: [float(draws.mean()), float(draws.std())] for name, draws in posterior[None].scales.items()}
    return {
        "first_cpu_s": seconds[0],
        "second_cpu_s": seconds[1],
        "effective_draws": gates["effective draws"],
        "scales": scales,
    }


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
