"""What a check says of a call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from string import Formatter
from typing import Any

from analyzer.rules.phrases import Hit
from analyzer.rules.said import Place
from analyzer.rules.truth import Truth
from analyzer.types import Match, Role, Severity, Span, Utterance

PLACEHOLDERS = ("quote", "category", "element", "missing", "count", "value", "low", "high")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something said that should not have been, or owed and not said.

    places   the words, if any were said; empty for something missing
    turn     where something missing was due, if one utterance can be named
    span     the words' time, or the window in which they were due
    grows    its end moves on while the call does (a silence, a wait), so that its start alone names it
    """

    rule: str
    severity: Severity
    span: Span
    match: Match
    message: str
    role: Role | None = None
    category: str | None = None
    places: tuple[Place, ...] = field(default=(), repr=False)
    quote: str | None = field(default=None, repr=False)
    turn: Utterance | None = field(default=None, repr=False)
    confidence: float | None = None
    suggestion: str | None = None
    clauses: tuple[str, ...] = ()
    grows: bool = False

    @property
    def id(self) -> str:
        """Names the finding for the length of a call: the same whether provisional or confirmed."""
        end = "" if self.grows else self.span.end_ms
        return f"{self.rule}:{self.span.start_ms}-{end}:{self.category or ''}"


@dataclass(frozen=True, slots=True)
class Element:
    """One owed element: said, and then when and how, or not."""

    present: bool
    at_ms: int | None = None
    quote: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Judgement:
    """The truth of a check at the end of the call, with its evidence. ``level``, ``elements`` and ``measured`` stand
    only where the kind of check has them. ``evidence``: what was said that keeps the norm, where the check tells; other
    checks may be anchored at it."""

    truth: Truth
    findings: tuple[Finding, ...] = ()
    level: str | None = None
    elements: Mapping[str, Element] | None = None
    measured: Mapping[str, Any] | None = None
    evidence: tuple[Finding, ...] = ()


class Occasion(StrEnum):
    """What a reminder is about."""

    ELEMENT = "owed"  # an element of a norm that is always owed
    ANSWER = "respond"  # to what the customer said or went through
    WAIT = "hold"
    QUIET = "silence"


@dataclass(frozen=True, slots=True)
class Owed:
    """Something not said yet, for the agent's eyes only. ``nudge_ms``: when to remind them; with rule and element it
    names the occasion."""

    rule: str
    element: str
    message: str
    nudge_ms: int
    occasion: Occasion = Occasion.ELEMENT
    suggestion: str | None = None


class ItemState(StrEnum):
    PENDING = "pending"
    DONE = "done"
    MISSED = "missed"
    CLEARED = "cleared"  # not owed any more, though never said


@dataclass(frozen=True, slots=True)
class Item:
    """One line of the agent's checklist.

    due_ms   the deadline, where there is one
    at_end   owed where the call closes: what comes before it is listed before it
    """

    rule: str
    element: str
    title: str
    state: ItemState
    due_ms: int | None = None
    at_end: bool = False


@dataclass(frozen=True, slots=True)
class Running:
    """A wait or a silence that goes on since ``since_ms``, and after how long it breaks a norm."""

    occasion: Occasion
    since_ms: int
    limits_ms: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Wording:
    """What a rule tells people. ``message`` may hold {quote} {category} {element} {missing} {count} {value} {low}
    {high}."""

    rule: str
    severity: Severity
    message: str
    suggestion: str | None = None

    def of_hit(self, hit: Hit, **names: Any) -> Finding:
        phrase = hit.phrase
        return Finding(
            rule=self.rule,
            severity=phrase.severity or self.severity,
            span=hit.span,
            match=hit.match,
            message=self.say(quote=hit.quote, category=phrase.category or "", **names),
            role=hit.said.role,
            category=phrase.category,
            places=hit.places,
            quote=hit.quote,
            confidence=round(hit.confidence, 4),
            suggestion=phrase.suggestion or self.suggestion,
            clauses=phrase.clauses,
        )

    def of_absence(
        self, window: Span, role: Role | None, names: Mapping[str, Any], category: str | None = None
    ) -> Finding:
        """Something that was due in ``window``; ``names`` fill the message's placeholders."""
        return Finding(
            rule=self.rule,
            severity=self.severity,
            span=window,
            match=Match.ABSENT,
            message=self.say(**names),
            role=role,
            category=category,
            suggestion=names.get("suggestion") or self.suggestion,
        )

    def say(self, **names: Any) -> str:
        return self.message.format_map(_Names({name: _plain(value) for name, value in names.items()}))


def misspelt_placeholders(message: str) -> list[str]:
    """What is wrong with the placeholders of a rule's message.

    >>> misspelt_placeholders("只有{value}次"), misspelt_placeholders("用了{quot}")
    ([], ["unknown placeholder {quot}; known: {quote} {category} {element} {missing} {count} {value} {low} {high}"])
    """
    try:
        names = [name for _, name, _, _ in Formatter().parse(message) if name is not None]
    except ValueError as error:
        return [f"{error}; a brace that is to be read is written twice"]
    known = " ".join(f"{{{name}}}" for name in PLACEHOLDERS)
    return [f"unknown placeholder {{{name}}}; known: {known}" for name in names if name not in PLACEHOLDERS]


def _plain(value: Any) -> Any:
    """3 for 3.0: limits are floats, what they limit is often counted.

    >>> _plain(3.0), _plain(2.5)
    (3, 2.5)
    """
    return int(value) if isinstance(value, float) and value.is_integer() else value


class _Names(dict[str, Any]):
    """Placeholders a finding has no value for stay empty."""

    def __missing__(self, name: str) -> str:
        return ""
