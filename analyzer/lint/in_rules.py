"""Checks of rule files: what they say to people, which clauses they name, and whether they can ever be broken."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from analyzer.lint.problems import Problem, Subject, parts_of, walk
from analyzer.metadata import CHOICES, COUNTS, FLAGS, KEYS
from analyzer.rules import Rule, did_you_mean
from analyzer.rules.faults import Place
from analyzer.rules.forbid import Forbid
from analyzer.rules.quota import Quota
from analyzer.rules.rate import Rate
from analyzer.rules.require import Plan

_HAN = re.compile(r"[一-鿿]")
_FOR_PEOPLE = ("title", "message", "suggestion", "nudge")


def not_chinese(subject: Subject) -> Iterator[Problem]:
    """Titles, messages and suggestions are read on the call floor: they are Chinese."""
    for rule in subject.live_rules:
        for place, value in walk(subject.file(rule).fields):
            if place and place[-1] in _FOR_PEOPLE and isinstance(value, str) and not _HAN.search(value):
                yield subject.problem("not-chinese", rule, place, f"{place[-1]} {value!r} is not Chinese")


def no_suggestion(subject: Subject) -> Iterator[Problem]:
    """Who is told off is told a better way: in the rule, or with every phrase or element."""
    for rule in subject.live_rules:
        fields = subject.file(rule).fields
        if fields.get("suggestion") or _each_has_suggestion(rule, fields):
            continue
        yield subject.problem("no-suggestion", rule, ("message",), f"{rule.id} suggests nothing better to say or do")


def _each_has_suggestion(rule: Rule, fields: Mapping[str, Any]) -> bool:
    if isinstance(rule.check, Forbid):
        return all(phrase.suggestion for phrase in rule.check.phrases.phrases)
    if plans := list(parts_of(rule.check, Plan)):
        return all(element.suggestion for plan in plans for element in plan.elements)
    owed = [value for place, value in walk(fields) if place and place[-1] == "suggestion"]
    return bool(owed)


def no_clause(subject: Subject) -> Iterator[Problem]:
    """A rule rests on the clauses it enforces."""
    for rule in subject.live_rules:
        named = any(place[-1:] == ("clauses",) and value for place, value in _fields(subject, rule))
        if not rule.clauses and not named:
            yield subject.problem("no-clause", rule, ("clauses",), f"{rule.id} names no clause")


def _fields(subject: Subject, rule: Rule) -> Iterator[tuple[Place, Any]]:
    return walk(subject.file(rule).fields)


def unknown_clause(subject: Subject) -> Iterator[Problem]:
    """Every clause id named by a rule, case or phrase stands in ``clauses/*.tsv``."""
    if not subject.ledger:
        return
    for rule in subject.files.rules:
        for place, value in _named_clauses(subject.file(rule).fields):
            if value not in subject.ledger.clauses:
                yield subject.problem("unknown-clause", rule, place, _unknown(value, subject))
    for words in subject.files.words.lists.values():
        for phrase in words.phrases:
            for clause in phrase.clauses:
                if clause not in subject.ledger.clauses:
                    line = f"{subject.files.folder.as_posix()}/{phrase.place}"
                    yield Problem(line, "unknown-clause", _unknown(clause, subject))


def _unknown(clause: str, subject: Subject) -> str:
    return f"clause {clause!r} is not in clauses/*.tsv{did_you_mean(clause, subject.ledger.clauses)}"


def _named_clauses(fields: dict[str, Any]) -> Iterator[tuple[Place, str]]:
    cases = fields.get("cases") or []
    for place, value in (*walk(fields), *walk(cases, ("cases",))):
        if len(place) > 1 and place[-2] == "clauses" and isinstance(value, str):
            yield place, value


# --- rules that cannot do what they say ---


def empty_window(subject: Subject) -> Iterator[Problem]:
    """No window or band ends before it starts."""
    bounds = (("from_ms", "to_ms"), ("from_percent", "to_percent"), ("min", "max"), ("low", "high"))
    for rule in subject.live_rules:
        for place, value in _fields(subject, rule):
            for low, high in bounds:
                if isinstance(value, dict) and _above(value.get(low), value.get(high), or_equal=low.startswith("from")):
                    message = f"{low} {value[low]} is not below {high} {value[high]}: nothing can lie between"
                    yield subject.problem("empty-window", rule, (*place, low), message)
        for rate in parts_of(rule.check, Rate):
            if rate.low > rate.high:
                message = f"the band from {rate.low} to {rate.high} is empty"
                yield subject.problem("empty-window", rule, ("low",), message)


def _above(low: Any, high: Any, *, or_equal: bool) -> bool:
    if not isinstance(low, int | float) or not isinstance(high, int | float):
        return False
    return low >= high if or_equal else low > high


def out_of_reach(subject: Subject) -> Iterator[Problem]:
    """Levels that more elements are asked for than there are, quotas that are unsure where they pass, deadlines that
    nobody is reminded of in time, rules that lean on rules that do not run."""
    running = {rule.id for rule in subject.live_rules}
    for rule in subject.live_rules:
        for plan in parts_of(rule.check, Plan):
            yield from (subject.problem("out-of-reach", rule, ("levels",), why) for why in _levels(plan))
        for quota in parts_of(rule.check, Quota):
            if quota.low is not None and quota.unsure_from is not None and quota.unsure_from >= quota.low:
                why = f"unsure_from {quota.unsure_from:g} is not below min {quota.low:g}: it changes nothing"
                yield subject.problem("out-of-reach", rule, ("unsure_from",), why)
        for needed in rule.needs:
            if needed not in running:
                why = f"leans on {needed}, which does not run (draft or retired)"
                yield subject.problem("out-of-reach", rule, (), why)


def _levels(plan: Plan) -> Iterator[str]:
    count = len(plan.elements)
    core = sum(element.core for element in plan.elements)
    for name, level in (("pass", plan.passing), ("partial", plan.partial)):
        if level is None:
            continue
        if (level.core or 0) > core:
            yield f"{name} asks for {level.core} core elements of {core}: no call reaches it"
        if level.supporting > count - core:
            yield f"{name} asks for {level.supporting} supporting elements of {count - core}: no call reaches it"
        if level.elements > count:
            yield f"{name} asks for {level.elements} elements of {count}: no call reaches it"
    if plan.within_ms and plan.nudge_ms and plan.nudge_ms >= plan.within_ms:
        yield f"nudge_ms {plan.nudge_ms} does not come before within_ms {plan.within_ms}"


def impossible_attribute(subject: Subject) -> Iterator[Problem]:
    """Conditions ask for call attributes that exist, and for values these can have."""
    for rule in subject.live_rules:
        for place, value in _fields(subject, rule):
            if place[-1:] == ("metadata",) and isinstance(value, dict):
                for key, wanted in value.items():
                    why = _impossible(key, wanted if isinstance(wanted, list) else [wanted])
                    if why:
                        yield subject.problem("impossible-attribute", rule, (*place, key), why)


def _impossible(key: str, wanted: list[Any]) -> str | None:
    if key not in KEYS:
        return f"no call has an attribute {key!r}{did_you_mean(key, KEYS)}"
    wanted = [value for value in wanted if value is not None]  # null asks whether it is unknown
    wrong: list[Any] = []
    if key in CHOICES:
        wrong = [value for value in wanted if isinstance(value, str) and value not in CHOICES[key]]
    elif key in FLAGS:
        wrong = [value for value in wanted if not isinstance(value, bool | dict)]
    elif key in COUNTS:
        wrong = [value for value in wanted if isinstance(value, str)]
    return f"{key} is never {wrong[0]!r}" if wrong else None


def idle_part(subject: Subject) -> Iterator[Problem]:
    """Exemptions and categories that no phrase of the rule refers to."""
    for rule in subject.live_rules:
        for check in parts_of(rule.check, Forbid):
            phrases = check.phrases.phrases
            for name, exemption in check.exemptions.items():
                if not exemption.every and not any(name in phrase.exempt for phrase in phrases):
                    why = f"no phrase is exempt by {name!r}"
                    yield subject.problem("idle-part", rule, ("exemptions", name), why)
            for index, category in enumerate(check.categories):
                if not any(phrase.category == category for phrase in phrases):
                    why = f"no phrase has the category {category!r}"
                    yield subject.problem("idle-part", rule, ("categories", index), why)
