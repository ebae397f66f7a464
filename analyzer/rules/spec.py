"""Rule files as data: what may stand in one, and how it becomes a ``Rule``. The reference is docs/rule-files.md.

Pydantic checks names and types; what needs the pack's words (lists, slots, categories) is checked while building. All
faults of a file are collected and raised as one ``RuleFaults``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from analyzer.rules.anchor import Anchor, Anchored, Cue, Reach, Where, Which
from analyzer.rules.call import Window
from analyzer.rules.checks import Check
from analyzer.rules.conditions import Condition, Every, InOrder, MetadataIs, Neither, Some, WasSaid
from analyzer.rules.faults import Fault, Place, RuleFaults, did_you_mean
from analyzer.rules.findings import Wording, misspelt_placeholders
from analyzer.rules.patterns import Pattern, PatternError, Slots
from analyzer.rules.phrases import Boundary, Phrase, PhraseSet, read_phrase
from analyzer.types import Direction, Role, Severity


class Status(StrEnum):
    """Life of a rule: only trial and stable ones run, only stable ones count."""

    DRAFT = "draft"
    TRIAL = "trial"
    STABLE = "stable"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class WordList:
    """A ``words/*.tsv`` file."""

    name: str
    title: str
    source: str
    licence: str
    phrases: tuple[Phrase, ...]


@dataclass(frozen=True, slots=True)
class Words:
    """What rules may refer to: word lists, slots and likeness models by name, and phrases that mask hits of every
    ``forbid`` rule."""

    lists: Mapping[str, WordList] = field(default_factory=dict)
    slots: Slots = field(default_factory=dict)
    allow: tuple[Pattern, ...] = ()
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    sets: dict[tuple[str, ...], PhraseSet] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Rule:
    """A norm: a check with its name, weight of a breach, grounds, and the cases that prove it."""

    id: str
    title: str
    status: Status
    severity: Severity
    clauses: tuple[str, ...]
    kind: str
    check: Check
    directions: tuple[Direction, ...] = ()
    not_applicable_when: tuple[Condition, ...] = ()
    cases: tuple[CaseSpec, ...] = field(default=(), repr=False)
    why: str = ""

    @property
    def needs(self) -> tuple[str, ...]:
        return self.check.needs


# --- building ---------------------------------------------------------------------------------------------------------


class Builder:
    """Turns phrases and names into compiled ones and collects what is wrong with them. ``read_spec`` reads the fields
    of a rule of any kind, for rules that hold others; it raises RuleFaults."""

    def __init__(self, words: Words, read_spec: Callable[[Mapping[str, Any]], RuleSpec]) -> None:
        self.words = words
        self.read_spec = read_spec
        self.boundary: Boundary | None = None  # of the rule's inline phrases; None: as in word lists
        self.faults: list[Fault] = []

    def fault(self, place: Place, message: str) -> None:
        self.faults.append(Fault(place, message))

    def phrases(self, any_of: Sequence[str], any_in: Sequence[str], place: Place = ()) -> list[Phrase]:
        listed = [phrase for words in self.lists(any_in, (*place, "any_in")) for phrase in words.phrases]
        return [*listed, *self.inline(any_of, (*place, "any_of"))]

    def inline(self, texts: Sequence[str], place: Place) -> list[Phrase]:
        phrases = []
        given = {"boundary": self.boundary.value} if self.boundary else {}
        for index, text in enumerate(texts):
            try:
                phrases.append(read_phrase({"phrase": text, **given}, self.words.slots))
            except RuleFaults as error:
                self.faults += [Fault((*place, index), fault.message) for fault in error.faults]
        return phrases

    def patterns(self, texts: Sequence[str], place: Place) -> tuple[Pattern, ...]:
        patterns = []
        for index, text in enumerate(texts):
            try:
                patterns.append(Pattern(text, self.words.slots))
            except PatternError as error:
                self.fault((*place, index), str(error))
        return tuple(patterns)

    def lists(self, names: Sequence[str], place: Place) -> list[WordList]:
        found = []
        for index, name in enumerate(names):
            if name in self.words.lists:
                found.append(self.words.lists[name])
            else:
                self.fault((*place, index), f"unknown word list {name!r}{did_you_mean(name, self.words.lists)}")
        return found

    def phrase_set(self, names: Sequence[str], key: str) -> PhraseSet:
        """The phrases of the lists that stand under ``key`` of the rule. Rules that name the same lists share one set,
        and with it what was found in an utterance."""
        phrases = [phrase for words in self.lists(names, (key,)) for phrase in words.phrases]
        return self.words.sets.setdefault(tuple(names), PhraseSet(phrases))

    def patterns_of(self, names: Sequence[str], place: Place) -> tuple[Pattern, ...]:
        return tuple(phrase.pattern for words in self.lists(names, place) for phrase in words.phrases)


class Spec(BaseModel):
    """A mapping in a rule file: unknown keys are faults, numbers are not text."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


Enum = Field(strict=False)  # values of an enumeration are written as text
Texts = list[Annotated[str, Field(min_length=1)]]


class WindowSpec(Spec):
    first_turns: int | None = Field(default=None, ge=1)
    last_turns: int | None = Field(default=None, ge=1)
    first_ms: int | None = Field(default=None, ge=1)
    last_ms: int | None = Field(default=None, ge=1)
    from_ms: int | None = Field(default=None, ge=0)
    to_ms: int | None = Field(default=None, ge=1)
    from_percent: float | None = Field(default=None, ge=0, le=100)
    to_percent: float | None = Field(default=None, ge=0, le=100)

    @model_validator(mode="after")
    def _one_measure(self) -> WindowSpec:
        measures = {
            name.partition("_")[2] if name.startswith(("from", "to")) else name for name in self.model_fields_set
        }
        if len(measures) > 1:
            raise ValueError(f"a window has one measure, this one mixes {', '.join(sorted(self.model_fields_set))}")
        return self

    def build(self) -> Window:
        return Window(
            first_turns=self.first_turns,
            last_turns=self.last_turns,
            from_ms=self.from_ms,
            to_ms=self.first_ms if self.first_ms is not None else self.to_ms,
            last_ms=self.last_ms,
            from_percent=self.from_percent,
            to_percent=self.to_percent,
        )


class SaidSpec(Spec):
    speaker: Literal["agent", "customer", "any"] = "agent"
    any_of: Texts = []
    any_in: Texts = []
    window: WindowSpec = WindowSpec()
    min_confidence: float = Field(default=0.5, ge=0, le=1)

    def build(self, builder: Builder, place: Place) -> WasSaid:
        phrases = PhraseSet(builder.phrases(self.any_of, self.any_in, place))
        if not phrases:
            builder.fault(place, "'said' needs any_of or any_in")
        return WasSaid(phrases, role_of(self.speaker), self.window.build(), self.min_confidence)


class ConditionSpec(Spec):
    metadata: dict[str, Any] | None = None
    said: SaidSpec | None = None
    all: list[ConditionSpec] | None = None
    any: list[ConditionSpec] | None = None
    none: list[ConditionSpec] | None = None
    in_order: list[ConditionSpec] | None = None

    @model_validator(mode="after")
    def _one_form(self) -> ConditionSpec:
        if len(self.model_fields_set) != 1:
            raise ValueError("a condition is exactly one of metadata, said, all, any, none, in_order")
        return self

    def build(self, builder: Builder, place: Place) -> Condition:
        if self.metadata is not None:
            return MetadataIs(
                {key: value if isinstance(value, list) else [value] for key, value in self.metadata.items()}
            )
        if self.said is not None:
            return self.said.build(builder, (*place, "said"))
        name = next(iter(self.model_fields_set))
        members = [m.build(builder, (*place, name, i)) for i, m in enumerate(getattr(self, name) or ())]
        if name == "in_order":
            said = [member for member in members if isinstance(member, WasSaid)]
            if len(said) < len(members):
                builder.fault((*place, name), "'in_order' takes 'said' conditions only")
            return InOrder(said)
        if name == "all":
            return Every(members)
        return Some(members) if name == "any" else Neither(members)


class CueSpec(SaidSpec):
    """Words that a norm hangs on: those of a ``said`` condition, less what ``allow`` or ``unless`` takes back."""

    allow: Texts = []
    allow_in: Texts = []
    unless: Texts = []
    unless_in: Texts = []

    def cue(self, builder: Builder, place: Place) -> Cue:
        phrases = builder.phrases(self.any_of, self.any_in, place)
        if not phrases and not builder.faults:
            builder.fault(place, "a cue needs any_of or any_in")
        unless = [
            *(p for words in builder.lists(self.unless_in, (*place, "unless_in")) for p in words.phrases),
            *builder.inline(self.unless, (*place, "unless")),
        ]
        allow = (
            *builder.patterns(self.allow, (*place, "allow")),
            *builder.patterns_of(self.allow_in, (*place, "allow_in")),
        )
        return Cue(
            PhraseSet(phrases, allow),
            role_of(self.speaker),
            self.window.build(),
            self.min_confidence,
            PhraseSet(unless),
        )


class AnchorSpec(Spec):
    said: CueSpec | None = None
    rule: str | None = None
    where: Annotated[Where, Enum] = Where.AFTER
    which: Literal["each", "any"] | Annotated[int, Field(ge=1)] = "each"
    within_turns: int | None = Field(default=None, ge=1)
    within_ms: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _one_source(self) -> AnchorSpec:
        if (self.said is None) == (self.rule is None):
            raise ValueError("an anchor is either words that are said, or a rule")
        return self

    def build(self, builder: Builder, place: Place) -> Anchor:
        return Anchor(
            self.said.cue(builder, (*place, "said")) if self.said else None,
            self.rule,
            Reach(self.where, self.within_turns, self.within_ms),
            self.which if isinstance(self.which, int) else Which(self.which),
        )


class ExpectSpec(Spec):
    outcome: Literal["pass", "violation", "unsure", "not_applicable"] | None = None
    level: Literal["pass", "partial", "fail"] | None = None
    elements: dict[str, bool] = {}
    categories: Texts | None = None
    severities: Texts | None = None
    value: float | None = None


class CaseSpec(Spec):
    """A call and what the rule must say of it."""

    name: str = Field(min_length=1)
    call: str
    clauses: Texts = []
    direction: Annotated[Direction, Enum] = Direction.INBOUND
    metadata: dict[str, Any] = {}
    duration_ms: int | None = None
    truncated: bool = False
    expect: ExpectSpec = ExpectSpec()


class RuleSpec(Spec):
    """The keys every rule has."""

    id: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    title: str = Field(min_length=1)
    status: Annotated[Status, Enum] = Status.DRAFT
    severity: Annotated[Severity, Enum]
    clauses: Texts = []
    why: str = ""
    kind: str
    speaker: Literal["agent", "customer", "any"] = "agent"
    directions: list[Annotated[Direction, Enum]] = []
    window: WindowSpec = WindowSpec()
    boundary: Annotated[Boundary | None, Enum] = None
    min_confidence: float = Field(default=0.5, ge=0, le=1)
    message: str = Field(min_length=1)
    suggestion: str | None = None
    anchor: AnchorSpec | None = None
    not_applicable_when: list[ConditionSpec] = []
    cases: list[CaseSpec] = []

    def build_rule(self, builder: Builder) -> Rule:
        conditions = [c.build(builder, ("not_applicable_when", i)) for i, c in enumerate(self.not_applicable_when)]
        return Rule(
            id=self.id,
            title=self.title,
            status=self.status,
            severity=self.severity,
            clauses=tuple(self.clauses),
            kind=self.kind,
            check=self.anchored_check(builder),
            directions=tuple(self.directions),
            not_applicable_when=tuple(conditions),
            cases=tuple(self.cases),
            why=self.why,
        )

    def anchored_check(self, builder: Builder) -> Check:
        """The check, inside the ranges of the anchor if there is one."""
        builder.boundary = self.boundary
        for fault in misspelt_placeholders(self.message):
            builder.fault(("message",), fault)
        check = self.build_check(builder)
        if self.anchor is None:
            return check
        return Anchored(check, self.anchor.build(builder, ("anchor",)), role_of(self.speaker))

    def build_check(self, builder: Builder) -> Check:
        raise NotImplementedError

    @property
    def wording(self) -> Wording:
        return Wording(self.id, self.severity, self.message, self.suggestion)


def role_of(speaker: str) -> Role | None:
    return None if speaker == "any" else Role(speaker)
