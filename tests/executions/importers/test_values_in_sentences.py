"""What an error of reading says where it may repeat a value: a prompt or a key may be that value."""

import pytest

from divergence.executions.importers import convert


def test_an_error_that_repeats_a_value_is_told_by_its_kind():
    for broken in (lambda: int("secret"), lambda: float("secret"), lambda: "\ud83d".encode()):
        with pytest.raises(ValueError) as caught:
            broken()
        assert "secret" not in convert.reason(caught.value) and "\ud83d" not in convert.reason(caught.value)
    assert "get" in convert.reason(AttributeError("'str' object has no attribute 'get'"))
