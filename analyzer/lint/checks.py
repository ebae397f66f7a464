"""All checks of a pack, by name, and ``lint`` which runs them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path

from analyzer.catalog import STANDARD, open_pack, profile_faults
from analyzer.clauses import read_ledger
from analyzer.lint import in_cases, in_rules, in_words
from analyzer.lint.problems import Problem, Subject

Check = Callable[[Subject], Iterable[Problem]]

CHECKS: Mapping[str, Check] = {
    "no-suggestion": in_rules.no_suggestion,
    "not-chinese": in_rules.not_chinese,
    "unknown-clause": in_rules.unknown_clause,
    "no-clause": in_rules.no_clause,
    "empty-window": in_rules.empty_window,
    "out-of-reach": in_rules.out_of_reach,
    "impossible-attribute": in_rules.impossible_attribute,
    "idle-part": in_rules.idle_part,
    "few-cases": in_cases.few_cases,
    "case-without-clauses": in_cases.without_clauses,
    "unreadable-case": in_cases.unreadable,
    "case-twice": in_cases.twice,
    "unused-list": in_words.unused_list,
    "unused-slot": in_words.unused_slot,
    "never-matches": in_words.never_matches,
    "broken-text": in_words.broken_text,
    "masked": in_words.masked,
    "duplicate-phrase": in_words.duplicate_phrase,
    "contradiction": in_words.contradiction,
    "homophone-collision": in_words.homophone_collision,
}
"""What each check looks for stands in its docstring; docs/rules-tools.md explains them to authors."""


def lint(name_or_path: str | Path = STANDARD, skip: Collection[str] = ()) -> list[Problem]:
    """Every problem of a pack, by file. What keeps it from loading comes first, of all its profiles.

    skip   names of checks to leave out

    raises ConfigError if there is no such pack
    """
    opened = open_pack(name_or_path)
    ledger = read_ledger(opened.folder)
    faults = [*opened.faults, *ledger.faults, *profile_faults(opened)]
    subject = Subject(opened, ledger)
    found = (problem for name, check in CHECKS.items() if name not in skip for problem in check(subject))
    return [*_loading(dict.fromkeys(faults)), *sorted(set(found))]


def _loading(faults: Iterable[str]) -> Iterator[Problem]:
    for fault in faults:
        place, _, message = fault.partition(": ")
        yield Problem(place, "load", message)
