from hypothesis import given
from hypothesis import strategies as st

from divergence.report.names import LINE, middle, short, spoken, wrap

LAB = [
    "engine=llama.cpp|kv_cache_dtype=f16|concurrency=1|sampler=greedy|chat_template=built in",
    "engine=llama.cpp|kv_cache_dtype=q4_0|concurrency=1|sampler=greedy|chat_template=built in",
    "engine=llama.cpp|kv_cache_dtype=f16|concurrency=8|sampler=greedy|chat_template=built in",
    "engine=llama.cpp|kv_cache_dtype=f16|concurrency=1|sampler=server default|chat_template=none",
]


def test_a_context_is_told_by_what_sets_it_apart():
    assert list(short(LAB).values()) == [
        "the usual settings",
        "KV cache q4_0",
        "concurrency 8",
        "sampler server default · template none",
    ]


def test_few_short_factors_keep_all_that_differs():
    labels = ["engine=a|concurrency=1", "engine=a|concurrency=8"]
    assert short(labels) == {labels[0]: "concurrency 1", labels[1]: "concurrency 8"}


def test_a_long_name_loses_its_middle_between_words():
    assert middle("Maple-135M-Instruct-Q4_1", 17) == "Maple-135M…Q4_1"
    assert middle("a" * 40, 11) == "aaaaa…aaaaa"
    assert middle("short", 11) == "short"


def test_an_owner_is_dropped_only_where_the_rest_is_distinct():
    assert short(["orchard/Pear-270M", "grove/Plum-135M"], 12) == {
        "orchard/Pear-270M": "Pear-270M",
        "grove/Plum-135M": "Plum-135M",
    }
    both = short(["orchard/Pear-270M", "grove/Pear-270M"], 12)
    assert len(set(both.values())) == 2


@given(st.lists(st.text("ab=|/- ", min_size=1, max_size=60), unique=True, max_size=8), st.integers(9, 50))
def test_no_two_names_become_the_same_and_none_is_long(labels, width):
    for names in (short(labels, width), spoken(labels)):
        assert len(set(names.values())) == len(labels)
    assert all(len(name) <= width + len("the usual settings") for name in short(labels, width).values())


def test_lines_are_short():
    assert all(len(line) <= LINE for line in wrap("sampler server default · template none").split("\n"))


def test_names_that_differ_only_in_their_middle_keep_what_differs():
    many = [f"maker-{k % 7}/a-rather-long-model-name-{k:03d}-instruct-2031" for k in range(300)]
    names = short(many, 24)
    assert all(f"{k:03d}" in names[label] and len(names[label]) <= 24 for k, label in enumerate(many))
    pair = short(
        ["one_very_long_prefix_of_names_alpha_and_the_rest_of_it", "one_very_long_prefix_of_names_beta_and_the_rest_of_it"],
        20,
    )
    assert [next(w for w in ("alpha", "beta") if w in name) for name in pair.values()] == ["alpha", "beta"]
    inside = short(["x" * 30 + "1" + "x" * 30, "x" * 30 + "2" + "x" * 30], 20)  # nothing to cut at: numbered
    assert len(set(inside.values())) == 2
