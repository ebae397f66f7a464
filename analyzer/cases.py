"""Cases of rules: does a rule say of its own examples what they state?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from analyzer.report import analyze, rule_entry
from analyzer.rules import Pack, Rule
from analyzer.rules.spec import CaseSpec
from analyzer.transcripts import MarkedCall, read_case

Range = tuple[int, int, int]


def run_case(pack: Pack, rule: Rule, case: CaseSpec) -> list[str]:
    """What the rule got wrong, a sentence each; empty when the case holds.

    raises InputError where the case's call does not follow the notation
    """
    marked = read_case(
        case.call,
        direction=case.direction,
        metadata=case.metadata or None,
        duration_ms=case.duration_ms,
        truncated=case.truncated or None,
    )
    entry = rule_entry(analyze(marked.transcript, pack), rule.id)
    return [*_wrong_outcome(entry, case, marked), *_wrong_marks(entry, marked), *_wrong_details(entry, case)]


def _wrong_outcome(entry: Mapping[str, Any], case: CaseSpec, marked: MarkedCall) -> Iterator[str]:
    wanted = case.expect.outcome or ("violation" if marked.marks else "pass")
    if entry["outcome"] != wanted:
        yield f"outcome is {entry['outcome']}, not {wanted}"


def _wrong_marks(entry: Mapping[str, Any], marked: MarkedCall) -> Iterator[str]:
    """Every marked range is found, and nothing else that was said."""
    found = {_range(finding) for finding in entry["findings"] if finding["quote"] is not None}
    wanted = set(marked.marks)
    turns = marked.transcript.utterances
    for turn, start, end in sorted(wanted - found):
        yield f"not found: turn {turn}, {turns[turn].text[start:end]!r}"
    for turn, start, end in sorted(found - wanted):
        yield f"found though not marked: turn {turn}, {turns[turn].text[start:end]!r}"


def _range(finding: Mapping[str, Any]) -> Range:
    return finding["turn"], finding["char_start"], finding["char_end"]


def _wrong_details(entry: Mapping[str, Any], case: CaseSpec) -> Iterator[str]:
    expect = case.expect
    said = [finding for finding in entry["findings"] if finding["quote"] is not None]
    if expect.level and entry.get("level") != expect.level:
        yield f"level is {entry.get('level')}, not {expect.level}"
    for name, present in expect.elements.items():
        element = (entry.get("elements") or {}).get(name)
        if element is None or element["present"] is not present:
            yield f"element {name} is {element}, not {'present' if present else 'missing'}"
    for key, wanted in (("category", expect.categories), ("severity", expect.severities)):
        got = [finding[key] for finding in said]
        if wanted is not None and sorted(map(str, got)) != sorted(wanted):
            yield f"{key}: {got}, not {wanted}"
    if expect.value is not None and (entry.get("measured") or {}).get("value") != expect.value:
        yield f"measured value is {(entry.get('measured') or {}).get('value')}, not {expect.value}"
