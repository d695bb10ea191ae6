"""The schema is complete, in the order of the contract, and turns into a page and a dataframely schema."""

import polars as pl
from row_schema import row_schema

from divergence.executions import schema

CONTRACT = (
    "engine engine_version quantization kv_cache_dtype attention batch_policy concurrency prefix_cache spec_decode "
    "parallelism hardware region router provider scaffold prompt_version chat_template tool_set sampler"
)


def test_serving_factors_are_those_of_the_contract_in_its_order():
    assert " ".join(schema.SERVING_FACTORS) == CONTRACT


def test_names_are_unique_and_every_column_says_what_it_means():
    for columns in schema.TABLES.values():
        names = [column.name for column in columns]
        assert len(set(names)) == len(names)
        assert all(column.meaning for column in columns)


def test_the_page_has_a_line_for_every_column_of_every_table():
    page = schema.markdown()
    for table, columns in schema.TABLES.items():
        section = page.split(f"## `{table}`")[1].split("\n## ")[0]
        assert section.count("\n| `") == len(columns)
        assert all(f"| `{column.name}` |" in section for column in columns)


def test_dataframely_validates_the_canonical_table():
    row = {"regime": "evaluation", "model": "m", "item": "i", "score": 0.5}
    rows = pl.DataFrame([row], schema=schema.polars_schema())
    assert row_schema().validate(rows).height == 1
    assert row_schema().column_names() == [column.name for column in schema.EXECUTIONS]
