"""A night as JUnit XML, which every CI service shows: a test case for each unit.

REGRESSED is a failure and INVALID an error. INCONCLUSIVE is a failure, or skipped where the policy
lets it pass.
"""

from __future__ import annotations

import datetime
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence

from llmeval.reports.regress.night import ModelNight, Night
from llmeval.reports.regress.verdicts import Judged, Outcome
from llmeval.reports.regress.words import (
    TRIAGE_HEAD,
    explain,
    explain_control,
    find_triage,
    list_causes,
    list_examples,
    list_notes,
)

# What XML 1.0 may hold (section 2.2); models may say anything.
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render_junit(night: Night, *, when: datetime.datetime | None = None) -> str:
    """Return a night as a JUnit document.

    Valid by the schema of Jenkins, and by that of Ant, which asks for more attributes.
    """
    when = when or datetime.datetime.now(datetime.UTC)
    root = ET.Element("testsuites")
    for number, model in enumerate(night.models):
        root.append(_suite(night, model, number, when))
    ET.indent(root)
    body = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{body}\n'


def _suite(night: Night, model: ModelNight, number: int, when: datetime.datetime) -> ET.Element:
    counts = _counts(night, model.units)
    suite = ET.Element(
        "testsuite",
        _text(
            {
                "name": model.side.label,
                "id": str(number),
                "package": "llmeval",
                "hostname": "localhost",
                "timestamp": when.strftime("%Y-%m-%dT%H:%M:%S"),
                **counts,
                "skipped": str(sum(_is_skipped(night, unit) for unit in model.units)),
            }
        ),
    )
    properties = ET.SubElement(suite, "properties")
    told = {"night": night.night, "verdict": model.outcome.value}
    if model.side.tonight is not None:
        told["record"] = str(model.side.tonight.path)
    for key, value in told.items():
        ET.SubElement(properties, "property", _text({"name": key, "value": value}))
    for unit in model.units:
        suite.append(_case(night, model, unit))
    warnings = [  # a case that passes holds no text
        f"{unit.pairs.name}: warning: {doubt}"
        for unit in model.units
        for doubt in unit.pairs.warnings
    ]
    ET.SubElement(suite, "system-out").text = _legal(
        "\n".join([*explain_control(night), *warnings])
    )
    ET.SubElement(suite, "system-err")
    return suite


def _case(night: Night, model: ModelNight, unit: Judged) -> ET.Element:
    name = unit.pairs.name
    case = ET.Element(
        "testcase",
        _text({"name": str(name), "classname": f"llmeval.{model.side.label}", "time": "0"}),
    )
    why, details = explain(night, unit), _details(night, model, unit)
    if unit.outcome is Outcome.PASS:
        return case
    if _is_skipped(night, unit):
        ET.SubElement(case, "skipped", _text({"message": f"INCONCLUSIVE: {why}"}))
        return case
    kind = "error" if unit.outcome is Outcome.INVALID else "failure"
    said = ET.SubElement(
        case, kind, _text({"type": unit.outcome.value, "message": f"{unit.outcome}: {why}"})
    )
    said.text = _legal("\n".join([why, *details]))
    return case


def _details(night: Night, model: ModelNight, unit: Judged) -> list[str]:
    lines = list_notes(night, model, unit)
    if found := find_triage(model, unit):
        rows = [TRIAGE_HEAD, *list_causes(found)]
        lines += ["", *("\t".join(row) for row in rows), "", *list_examples(found)]
    return lines


def _is_skipped(night: Night, unit: Judged) -> bool:
    return unit.outcome is Outcome.INCONCLUSIVE and night.settings.inconclusive == "pass"


def _counts(night: Night, units: Sequence[Judged]) -> dict[str, str]:
    errors = sum(unit.outcome is Outcome.INVALID for unit in units)
    fine = sum(unit.outcome is Outcome.PASS or _is_skipped(night, unit) for unit in units)
    return {
        "tests": str(len(units)),
        "failures": str(len(units) - errors - fine),
        "errors": str(errors),
        "time": f"{night.took.get('seconds', 0.0):.3f}",
    }


def _text(attributes: dict[str, str]) -> dict[str, str]:
    return {key: " ".join(_legal(value).split()) for key, value in attributes.items()}


def _legal(text: str) -> str:
    return _ILLEGAL.sub("\ufffd", text)
