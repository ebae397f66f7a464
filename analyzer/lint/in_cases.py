"""Checks of the cases that stand in rule files."""

from __future__ import annotations

from collections.abc import Iterator

from analyzer.cases import fires, is_silent
from analyzer.errors import InputError
from analyzer.lint.problems import Problem, Subject
from analyzer.transcripts import read_case

_ENOUGH = 2  # firing, and as many silent: one may fire, or stay silent, for another reason than meant


def few_cases(subject: Subject) -> Iterator[Problem]:
    """Two cases at least in which the rule is broken, and two in which it is not."""
    for rule in subject.live_rules:
        firing = sum(fires(rule, case) for case in rule.cases)
        silent = sum(is_silent(case) for case in rule.cases)
        if firing < _ENOUGH or silent < _ENOUGH:
            message = f"{firing} firing and {silent} silent cases; there must be {_ENOUGH} of each at least"
            yield subject.problem("few-cases", rule, ("cases",), message)


def without_clauses(subject: Subject) -> Iterator[Problem]:
    """A case says which clauses it is written from."""
    for rule in subject.live_rules:
        for index, case in enumerate(rule.cases):
            if not case.clauses:
                place = ("cases", index)
                yield subject.problem("case-without-clauses", rule, place, f"case {case.name!r} names no clause")


def unreadable(subject: Subject) -> Iterator[Problem]:
    """The call of a case follows the notation."""
    for rule in subject.files.rules:
        for index, case in enumerate(rule.cases):
            try:
                read_case(case.call)
            except InputError as error:
                message = f"case {case.name!r}: {error}"
                yield subject.problem("unreadable-case", rule, ("cases", index, "call"), message)


def twice(subject: Subject) -> Iterator[Problem]:
    """Two cases of a rule have neither one name nor one call."""
    for rule in subject.files.rules:
        seen: dict[str, str] = {}
        for index, case in enumerate(rule.cases):
            facts = f"{case.call} {case.direction} {case.metadata} {case.duration_ms} {case.truncated}"
            for key, what in ((case.name, "name"), (facts, "call")):
                if key in seen:
                    place = ("cases", index)
                    message = f"case {case.name!r} has the {what} of case {seen[key]!r}"
                    yield subject.problem("case-twice", rule, place, message)
            seen |= {case.name: case.name, facts: case.name}
