"""What a saved risk model must hold: each damaged part is one error of one sentence."""

import numpy as np
import pytest

from divergence.risk.saved_table import NUMBERS, check_table, check_words

WORDS = {"levels": {"model": ["a"], "context": ["c"]}, "reasons": ["as usual"]}
TABLE = {**{name: np.zeros(4) for name in NUMBERS}, "known": np.ones(4, bool), "reason": np.zeros(4, np.int32)}


def test_a_whole_table_passes_and_each_damage_is_named():
    check_table(WORDS, TABLE, np.zeros((50, 4), np.float32))
    check_table(WORDS, TABLE, None)
    for damaged, words in (
        ({"risk": np.zeros(3)}, "its levels need 4 rows"),
        ({"known": np.ones(4)}, "its levels need 4 rows"),
        ({"more": np.ones(4)}, "its levels need 4 rows"),
        ({"reason": np.full(4, 1, np.int32)}, "a reason has no text"),
    ):
        with pytest.raises(ValueError, match=words):
            check_table(WORDS, TABLE | damaged, None)
    with pytest.raises(ValueError, match="its draws have shape"):
        check_table(WORDS, TABLE, np.zeros((50, 3)))
    with pytest.raises(ValueError, match="words has no outcome"):
        check_words(WORDS)
