"""The page of the formats is made from the mappings, and is current."""

from pathlib import Path

from divergence.executions.importers.format import DOCUMENTED, GENUINE
from divergence.executions.importers.formats_page import page
from divergence.executions.importers.registry import declared

PAGE = Path(__file__).resolve().parents[3] / "docs" / "formats.md"


def test_the_page_is_what_the_mappings_say():
    assert PAGE.read_text(encoding="utf-8") == page(), (
        "run: python -m divergence.executions.importers.formats_page docs/formats.md"
    )


def test_every_format_is_on_it_with_what_it_rests_on():
    text = page()
    for format in declared():
        (row,) = [line for line in text.splitlines() if line.startswith(f"| [`{format.name}`]")]
        assert row.endswith(f"| {GENUINE if format.genuine else DOCUMENTED} |")
        for field in format.fields:
            assert all(f"`{path}`" in text for path in (field.path, *field.aliases))
