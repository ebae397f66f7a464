"""Cases of rules: does a rule say of its own examples what they state?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from analyzer.report import analyze, rule_entry
from analyzer.rules import Pack, Rule, Status
from analyzer.rules.spec import CaseSpec
from analyzer.transcripts import MarkedCall, read_case

Range = tuple[int, int, int]


def wanted_outcome(case: CaseSpec) -> str:
    """What the case says its rule must say of the call."""
    return case.expect.outcome or ("violation" if "[[" in case.call else "pass")


def fires(rule: Rule, case: CaseSpec) -> bool:
    """Whether the rule is broken in the case; a trial rule says ``unsure`` then."""
    wanted = wanted_outcome(case)
    return wanted == "violation" or (rule.status is Status.TRIAL and wanted == "unsure")


def is_silent(case: CaseSpec) -> bool:
    """Whether the rule leaves the case alone."""
    return wanted_outcome(case) in ("pass", "not_applicable")


def alone(pack: Pack, rule: Rule, without: str = "") -> Pack:
    """The pack with this rule and those it needs: its verdict is the same as among all, and sooner known.

    without   id of a rule that is switched off
    """
    wanted, waiting = set[str](), [rule.id]
    while waiting:
        one = waiting.pop()
        if one not in wanted and one != without:
            wanted.add(one)
            waiting += [needed for other in pack.rules if other.id == one for needed in other.needs]
    return replace(pack, rules=tuple(other for other in pack.rules if other.id in wanted))


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
    return [*_wrong_outcome(entry, case), *_wrong_marks(entry, marked), *_wrong_details(entry, case)]


def _wrong_outcome(entry: Mapping[str, Any], case: CaseSpec) -> Iterator[str]:
    wanted = wanted_outcome(case)
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
