"""The paths of a mapping walked once a record give what walking each of them gives."""

from hypothesis import given
from hypothesis import strategies as st

from divergence.executions.importers.field_plan import FieldPlan, from_alias
from divergence.executions.importers.mapping import Draft, Field, Place, dig

PATHS = ("a", "a.b", "a.b.c", "d.b", "d", "a.b.d.e", "e.e")
NAMES = st.sampled_from("abcde")
RECORDS = st.recursive(
    st.one_of(st.none(), st.integers(0, 3), st.just("x"), st.lists(st.integers(), max_size=1)),
    lambda below: st.dictionaries(NAMES, below, max_size=4),
    max_leaves=12,
)
FIELDS = [Field(f"column{place}", path, lambda value: value, aliases=PATHS[place + 1 :]) for place, path in enumerate(PATHS)]


@given(st.dictionaries(NAMES, RECORDS))
def test_values_are_those_at_the_paths(record):
    plan = FieldPlan(FIELDS)
    holders = plan.holders(record)
    for line, field in zip(plan.lines, FIELDS, strict=True):
        plain = next((value for path in (field.path, *field.aliases) if (value := dig(record, path)) is not None), None)
        assert from_alias(((line.holder, line.leaf), *line.aliases), holders) == plain


@given(st.dictionaries(NAMES, RECORDS))
def test_a_draft_reads_them(record):
    fields = [Field("execution_id", "id", str), Field("answer", "a.b", repr, aliases=("d",)), Field("answer", "e.e", repr)]
    draft = Draft(fields, (), {})
    assert draft.add({"id": "1", **record}, [], Place("f", 1))
    draft.settle()
    found = next((value for path in ("a.b", "d", "e.e") if (value := dig(record, path)) is not None), None)
    kept = draft.rows.frames()[0].collect()
    assert (kept["answer"].null_count() == 0) == (found is not None)


def test_what_is_not_mapped_is_said_once_its_value_says_something():
    draft = Draft([Field("model", "part.known.name", str), Field("item", "part.whole", str)], ("part.many.*.x",), {})
    draft.watch("part", {"known": {"name": "a", "other": None}, "whole": {"any": 1}, "odd": "", "many": {"m": {"x": 1}}})
    assert draft.unmapped == set()
    draft.watch("part", {"known": {"other": 1}, "odd": "x", "many": {"n": {"y": 1}}, "api_key": "x"})
    assert draft.unmapped == {"part.known.other", "part.odd", "part.many.*.y"}
    draft.watch("part", {"known": "no object"})
    assert "part.known" in draft.unmapped
    assert any("part.api_key" in sentence for sentence in draft.sentences())
