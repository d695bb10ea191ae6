"""Does a comparison of so many items see the difference as often as was asked for?"""

import numpy as np
import pytest

import divergence as dv
from divergence.comparison import tango
from divergence.errors import InputError
from divergence.planning.sample_size import power_of

Z = 1.959963984540054


@pytest.mark.parametrize(("difference", "flips", "power"), [(0.02, 0.11, 0.8), (0.05, 0.05, 0.9), (0.1, 0.3, 0.5)])
def test_the_power_is_reached_by_simulation(difference, flips, power):
    """20,000 comparisons by Tango's interval; 4 standard errors of a proportion."""
    found = dv.sample_size(difference, flips, power)
    rng = np.random.default_rng(1)
    n = found.items
    down, up, _ = rng.multinomial(n, [(flips - difference) / 2, (flips + difference) / 2, 1 - flips], 20_000).T
    lower, _ = tango.limits(down, up, np.full(len(up), n), Z)
    seen = (lower >= 0) & (up > down)
    assert seen.mean() >= power - 4 * np.sqrt(power * (1 - power) / 20_000)
    assert power_of(max(1, int(0.9 * n)), difference, flips, Z) < power


def test_the_sum_is_that_of_a_loop():
    """Every pair (down, up) of 40 items, by hand."""
    from math import comb

    n, difference, flips = 40, 0.1, 0.3
    p_up, p_down = (flips + difference) / 2, (flips - difference) / 2
    total = 0.0
    for up in range(n + 1):
        for down in range(n + 1 - up):
            if up + down and (up - down) / np.sqrt(up + down) >= Z:
                ways = comb(n, up) * comb(n - up, down)
                total += ways * p_up**up * p_down**down * (1 - flips) ** (n - up - down)
    assert power_of(n, difference, flips, Z) == pytest.approx(total, rel=1e-9)


def test_large_sizes_go_on_from_small_ones():
    """The normal law takes over at 20,000 items; there the two differ by less than a percent of the power."""
    from divergence.planning import sample_size as module

    exact = power_of(module.EXACT_MAX, 0.006, 0.1, Z)
    assert power_of(module.EXACT_MAX + 1, 0.006, 0.1, Z) == pytest.approx(exact, abs=0.01)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ((0.2, 0.1), "at least as many items"),
        ((0.0, 0.1), "--difference"),
        ((0.01, 1.5), "--flips"),
        ((0.01, float("nan")), "--flips"),
        ((0.01, 0.1, 1.0), "--power"),
        ((0.01, 0.1, 0.8, 0.3), "--confidence"),
    ],
)
def test_what_cannot_be_meant_is_a_sentence(values, sentence):
    with pytest.raises(InputError, match=sentence):
        dv.sample_size(*values)


def test_a_sample_size_needs_no_jax():
    import subprocess
    import sys

    code = "import sys, divergence as dv; dv.sample_size(0.02, 0.11); print('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"
