"""Who is first, in words: named where it leads, and where nobody does, that."""

import numpy as np
import pytest

from divergence.orders import LEADS, first_of


@pytest.mark.parametrize("number", [8, 40, 1555])
def test_where_no_one_leads_that_is_said_with_the_number_and_the_probability(number):
    found, names = first_of(np.full(number, 1 / number)), [f"m{k}" for k in range(number)]
    may = int(np.ceil(0.9 * number - 1e-9))
    each = "less than 1%" if number > 100 else f"{100 / number:.0f}%"
    assert found.open
    assert found.told(names, "first") == f"no one leads ({may} may be first, none with more than {each})"
    assert found.told(names, "first", start=True).startswith("No one leads (")
    assert (
        found.led("The cheapest", names) == f"The cheapest is open ({may} may be it, none with more than {each}), such as m0"
    )


@pytest.mark.parametrize("chances", [[LEADS, 0.1] + [0.07] * 10, [0.95, 0.05], [0.5, 0.5], [1.0]])
def test_whoever_leads_is_named(chances):
    found, names = first_of(np.array(chances)), [f"m{k}" for k in range(len(chances))]
    assert not found.open and found.told(names, "first").startswith("m0 is ")
    assert found.led("The cheapest", names).startswith(f"The cheapest is {'' if found.settled else 'likeliest '}m0 (")
