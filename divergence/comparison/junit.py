"""A comparison as JUnit XML, which every CI system shows: one case for the whole, one for every model and task.

`worse` is a failure; `not settled` is skipped with its sentence, since nothing was found to be wrong. Groups are judged by
the limits that hold for all of them at once, so that many groups do not fail by chance.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

from divergence.comparison import verdicts, words
from divergence.comparison.comparison import Comparison

FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold."""


def junit(found: Comparison) -> bytes:
    """The bytes of `junit.xml`."""
    cases = [("all items", found.verdict, words.first_line(found))]
    for g in found.groups:
        told = words.interval(g.simultaneous or g.difference, found.unit)
        sentence = f"{g.verdict_simultaneous}: {told} on {g.items.shared} items; {words.flipped(g, found.unit)}"
        cases.append((words.group_name(g.model, g.task, False), g.verdict_simultaneous, sentence))
    suite = ElementTree.Element(
        "testsuite",
        name="divergence compare",
        tests=str(len(cases)),
        failures=str(sum(verdict == verdicts.WORSE for _, verdict, _ in cases)),
        skipped=str(sum(verdict == verdicts.NOT_SETTLED for _, verdict, _ in cases)),
        errors="0",
    )
    for name, verdict, sentence in cases:
        case = ElementTree.SubElement(suite, "testcase", classname="compare", name=_clean(name))
        kind = {verdicts.WORSE: "failure", verdicts.NOT_SETTLED: "skipped"}.get(verdict)
        if kind:
            ElementTree.SubElement(case, kind, message=_clean(sentence))
        else:
            ElementTree.SubElement(case, "system-out").text = _clean(sentence)
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)


def _clean(text: str) -> str:
    return FORBIDDEN.sub("?", text)
