"""The same words and tables as Markdown, LaTeX and JSON: complete, well formed, names as they are."""

import dataclasses
import json
import re
import shutil
import subprocess

import polars as pl
import pytest

import divergence as dv
from divergence.estimate import table
from divergence.report import write_formats
from divergence.report.formats import Sheet, columns, escaped, known, latex, markdown, sheets
from divergence.report.words import capital, question_name

NASTY = "a_b & 50% {x} \\cite #1 $y$ ~^ <i>|</i>"


def test_every_answer_has_its_table(content):
    titles = [sheet.title for sheet in sheets(content)]
    assert len(titles) == len(set(titles))
    for estimate in content.estimates.values():
        assert capital(question_name(estimate)) in titles
    assert "Serving effect (latency_s)" in titles
    assert titles[-2:] == ["What this log cannot tell", "Diagnostics"]


def test_markdown_tables_are_whole(content):
    text = markdown(content)
    assert text.startswith("# ")
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        lines = block.splitlines()
        columns = [len(re.findall(r"(?<!\\)\|", line)) for line in lines]
        assert len(set(columns)) == 1 and set(lines[1]) <= set("| -:")
    assert text.count("\n## ") == len(sheets(content))


def test_latex_is_balanced_and_escaped(content):
    text = latex(dataclasses.replace(content, title=NASTY))
    for mark in ("begin{longtable}", "end{longtable}", "toprule", "bottomrule"):
        assert text.count(f"\\{mark}") == len(sheets(content))
    assert all(known(letter) for letter in text)
    assert escaped(NASTY) in text and NASTY not in text
    body = text[text.index("\\begin{document}") :]
    assert not re.search(r"(?<!\\)[_#]", body)


def test_every_table_of_numbers_has_its_note(content):
    people = "new items of 100% other_sources"
    tables_of_paper = latex(content, people).split("\\end{longtable}")[1:]
    for sheet, after in zip(sheets(content), tables_of_paper, strict=True):
        note = after.split("\\subsection*")[0]
        assert ("\\emph{Note.}" in note) == bool(sheet.caption)
        assert escaped(sheet.caption) in note
        assert (escaped(people) in note) == sheet.estimated
    assert sum(sheet.estimated for sheet in sheets(content)) >= len(content.estimates)
    assert "The numbers are about" not in latex(content)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no TeX on this machine")
def test_latex_compiles(content, tmp_path):
    (tmp_path / "report.tex").write_text(latex(dataclasses.replace(content, title=NASTY)))
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "report.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        errors="replace",
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "report.pdf").stat().st_size > 10_000
    too_wide = [float(w) for w in re.findall(r"Overfull \\hbox \(([\d.]+)pt too wide\) in alignment", done.stdout)]
    assert max(too_wide, default=0.0) < 5.0  # a word that cannot be broken


def test_columns_break_their_lines_only_where_a_table_is_wider_than_the_paper():
    texts = pl.DataFrame({"model": ["a" * 20], "level": ["60.3"], "why": ["word " * 60], "also": ["word " * 50]})
    sheet = Sheet("", "", texts.select("model", "level"), {"model": "model", "level": "level"}, ("level",))
    assert columns(sheet) == "lr"
    wide = columns(dataclasses.replace(sheet, texts=texts, labels={c: c for c in texts.columns}))
    ragged = r">{\raggedright\arraybackslash}"
    assert re.fullmatch(rf"lr{re.escape(ragged)}p\{{(\d+)mm\}}{re.escape(ragged)}p\{{\1mm\}}", wide)


def test_what_is_to_be_typed_is_typed_as_it_stands():
    assert escaped("say `--map a_b=c` now") == r"say \texttt{-{}-map a\_b=c} now"


def test_failed_diagnostics_are_in_every_format(content):
    broken = dataclasses.replace(content, checks=(dataclasses.replace(content.checks[0], passed=False),))
    assert "Not reliable: the diagnostic" in markdown(broken) and "Not reliable: the diagnostic" in latex(broken)


def test_the_machine_reads_the_rows_and_the_run(content, tmp_path):
    rows = table(list(content.estimates.values()))
    write_formats(content, tmp_path, rows, {"seed": 3}, ("html", "json"))
    read = json.loads((tmp_path / "report.json").read_text(), parse_constant=pytest.fail)
    assert pl.DataFrame(read["rows"], schema=rows.schema).equals(rows)
    assert read["run"] == {"seed": 3} and read["decision"].endswith(".")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.json"]


def test_a_format_of_an_earlier_run_does_not_stay(waves_posterior, tmp_path):
    dv.write_report(waves_posterior, tmp_path / "out", formats=("md", "tex"))
    assert {"report.html", "report.md", "report.tex"} <= {p.name for p in (tmp_path / "out").iterdir()}
    dv.write_report(waves_posterior, tmp_path / "out", formats=("tex",))
    names = {p.name for p in (tmp_path / "out").iterdir()}
    assert "report.tex" in names and "report.md" not in names


@pytest.mark.parametrize("name", ["run.json", "report.json", "estimates.parquet"])
def test_a_log_in_the_folder_is_not_written_over(waves_world, waves_posterior, tmp_path, name):
    log = waves_world[0]
    log.write_parquet(tmp_path / name) if name.endswith(".parquet") else (tmp_path / name).write_text(log.write_json())
    content = (tmp_path / name).read_bytes()
    with pytest.raises(dv.InputError, match="is one of the logs that are read"):
        dv.write_report(waves_posterior, tmp_path, log=dv.read(tmp_path / name), formats=("json",))
    assert (tmp_path / name).read_bytes() == content and len(list(tmp_path.iterdir())) == 1
