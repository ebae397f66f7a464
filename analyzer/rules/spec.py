"""Rule files as data: what may stand in one, and how it becomes a ``Rule``. The reference is docs/rule-files.md.

Pydantic checks names and types; what needs the pack's words (lists, slots, categories) is checked while building. All
faults of a file are collected and raised as one ``RuleFaults``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from analyzer.rules.call import Window
from analyzer.rules.checks import Check
from analyzer.rules.conditions import Condition, Every, InOrder, MetadataIs, Some, WasSaid
from analyzer.rules.faults import Fault, Place, RuleFaults, did_you_mean
from analyzer.rules.findings import Wording
from analyzer.rules.forbid import Exemption, Forbid
from analyzer.rules.patterns import Pattern, PatternError, Slots
from analyzer.rules.phrases import Phrase, PhraseSet, read_phrase
from analyzer.rules.quota import Per, Quota
from analyzer.rules.rate import Denominator, Rate, around
from analyzer.rules.require import ElementSpec, Level, Plan, Require
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
    """What rules may refer to: word lists and slots by name, and phrases that mask hits of every ``forbid`` rule."""

    lists: Mapping[str, WordList] = field(default_factory=dict)
    slots: Slots = field(default_factory=dict)
    allow: tuple[Pattern, ...] = ()


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


def parse_rule(fields: Mapping[str, Any], words: Words) -> Rule:
    """Read the fields of a rule file. Raises RuleFaults with everything wrong in it."""
    kind = str(fields.get("kind"))
    if kind not in KINDS:
        raise RuleFaults([_unknown_kind(kind, "kind" in fields)])
    try:
        spec = KINDS[kind].model_validate(fields)
    except ValidationError as error:
        raise RuleFaults([_fault(problem, KINDS[kind]) for problem in error.errors()]) from None
    builder = Builder(words)
    rule = spec.build_rule(builder)
    if builder.faults:
        raise RuleFaults(builder.faults)
    return rule


def _unknown_kind(kind: str, given: bool) -> Fault:
    if not given:
        return Fault((), f"key 'kind' is missing; it is one of {', '.join(KINDS)}")
    return Fault(("kind",), f"unknown kind {kind!r}{did_you_mean(kind, KINDS) or '; known: ' + ', '.join(KINDS)}")


def _fault(problem: Any, spec: type[BaseModel]) -> Fault:
    """A pydantic error in our words."""
    place: Place = tuple(part for part in problem["loc"] if part not in ("[key]",))
    name = place[-1] if place else ""
    match problem["type"]:
        case "extra_forbidden":
            return Fault(place, f"unknown key {name!r}{did_you_mean(str(name), _known_keys(spec, place[:-1]))}")
        case "missing":
            return Fault(place[:-1], f"key {name!r} is missing")
        case "enum" | "literal_error":
            expected = problem["ctx"]["expected"]
            guess = did_you_mean(str(problem["input"]), expected.replace("'", "").replace(" or ", ", ").split(", "))
            return Fault(place, f"{name}: {problem['input']!r} is not one of {expected}{guess}")
        case "value_error":
            return Fault(place, str(problem["ctx"]["error"]))
    return Fault(place, f"{name}: {problem['msg'][0].lower()}{problem['msg'][1:]}, got {problem['input']!r}")


def _known_keys(spec: type[BaseModel], place: Place) -> list[str]:
    """Keys that may stand at ``place``: every key of every nested model is near enough to guess from."""
    if not place:
        return list(_keys_of(spec))
    return sorted({key for model in (*_NESTED, spec) for key in _keys_of(model)})


def _keys_of(model: type[BaseModel]) -> Iterable[str]:
    return (info.alias or name for name, info in model.model_fields.items())


# --- building ---------------------------------------------------------------------------------------------------------


class Builder:
    """Turns phrases and names into compiled ones and collects what is wrong with them."""

    def __init__(self, words: Words) -> None:
        self.words = words
        self.faults: list[Fault] = []

    def fault(self, place: Place, message: str) -> None:
        self.faults.append(Fault(place, message))

    def phrases(self, any_of: Sequence[str], any_in: Sequence[str], place: Place = ()) -> list[Phrase]:
        listed = [phrase for words in self.lists(any_in, (*place, "any_in")) for phrase in words.phrases]
        return [*listed, *self.inline(any_of, (*place, "any_of"))]

    def inline(self, texts: Sequence[str], place: Place) -> list[Phrase]:
        phrases = []
        for index, text in enumerate(texts):
            try:
                phrases.append(read_phrase({"phrase": text}, self.words.slots))
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
        return WasSaid(phrases, _role(self.speaker), self.window.build(), self.min_confidence)


class ConditionSpec(Spec):
    metadata: dict[str, Any] | None = None
    said: SaidSpec | None = None
    all: list[ConditionSpec] | None = None
    any: list[ConditionSpec] | None = None
    in_order: list[ConditionSpec] | None = None

    @model_validator(mode="after")
    def _one_form(self) -> ConditionSpec:
        if len(self.model_fields_set) != 1:
            raise ValueError("a condition is exactly one of metadata, said, all, any, in_order")
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
        return Every(members) if name == "all" else Some(members)


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
    min_confidence: float = Field(default=0.5, ge=0, le=1)
    message: str = Field(min_length=1)
    suggestion: str | None = None
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
            check=self.build_check(builder),
            directions=tuple(self.directions),
            not_applicable_when=tuple(conditions),
            cases=tuple(self.cases),
            why=self.why,
        )

    def build_check(self, builder: Builder) -> Check:
        raise NotImplementedError

    @property
    def wording(self) -> Wording:
        return Wording(self.id, self.severity, self.message, self.suggestion)


class ExemptionSpec(Spec):
    every: bool = False
    quotes: bool = False
    before: Texts = []
    before_not: Texts = []
    after: Texts = []
    after_not: Texts = []
    reach: int = Field(default=0, ge=0, le=100)
    need: Literal["any", "all"] = "any"
    utterance: Texts = []
    utterance_in: Texts = []
    next_within_ms: int | None = Field(default=None, ge=1)

    def build(self, builder: Builder, place: Place) -> Exemption:
        said = [
            *(
                phrase
                for words in builder.lists(self.utterance_in, (*place, "utterance_in"))
                for phrase in words.phrases
            ),
            *builder.inline(self.utterance, (*place, "utterance")),
        ]
        if self.next_within_ms is not None and not said:
            builder.fault((*place, "next_within_ms"), "next_within_ms needs utterance or utterance_in")
        return Exemption(
            every=self.every,
            quotes=self.quotes,
            before=builder.patterns(self.before, (*place, "before")),
            before_not=builder.patterns(self.before_not, (*place, "before_not")),
            after=builder.patterns(self.after, (*place, "after")),
            after_not=builder.patterns(self.after_not, (*place, "after_not")),
            reach=self.reach,
            need_both=self.need == "all",
            utterance=PhraseSet(said),
            next_within_ms=self.next_within_ms,
        )


class ForbidSpec(RuleSpec):
    kind: Literal["forbid"]
    any_of: Texts = []
    any_in: Texts = []
    allow: Texts = []
    allow_in: Texts = []
    categories: Texts = []
    exemptions: dict[str, ExemptionSpec] = {}

    def build_check(self, builder: Builder) -> Forbid:
        phrases = builder.phrases(self.any_of, self.any_in)
        if not phrases and not builder.faults:
            builder.fault((), "'forbid' needs any_of or any_in")
        self._check_names(phrases, builder)
        allow = (
            *builder.words.allow,
            *builder.patterns(self.allow, ("allow",)),
            *builder.patterns_of(self.allow_in, ("allow_in",)),
        )
        return Forbid(
            PhraseSet(phrases, allow),
            self.wording,
            speaker=_role(self.speaker),
            window=self.window.build(),
            min_confidence=self.min_confidence,
            categories=tuple(self.categories),
            exemptions={name: e.build(builder, ("exemptions", name)) for name, e in self.exemptions.items()},
        )

    def _check_names(self, phrases: Sequence[Phrase], builder: Builder) -> None:
        for phrase in phrases:
            where = f"{phrase.place}: " if phrase.place else ""
            if self.categories and phrase.category not in self.categories:
                guess = did_you_mean(phrase.category or "", self.categories)
                builder.fault(("categories",), f"{where}category {phrase.category!r} is not among categories{guess}")
            for name in sorted(phrase.exempt - set(self.exemptions)):
                guess = did_you_mean(name, self.exemptions)
                builder.fault(("exemptions",), f"{where}unknown exemption {name!r}{guess}")


class ElementFields(Spec):
    title: str = Field(min_length=1)
    core: bool = False
    any_of: Texts = []
    any_in: Texts = []
    allow: Texts = []
    allow_in: Texts = []
    metadata: str | None = None
    suggestion: str | None = None
    nudge: str | None = None
    clauses: Texts = []

    def build(self, name: str, builder: Builder, place: Place) -> ElementSpec:
        phrases = builder.phrases(self.any_of, self.any_in, place)
        if not phrases and not self.metadata and not builder.faults:
            builder.fault(place, f"element {name!r} needs any_of, any_in or metadata")
        allow = (
            *builder.patterns(self.allow, (*place, "allow")),
            *builder.patterns_of(self.allow_in, (*place, "allow_in")),
        )
        return ElementSpec(
            name, self.title, PhraseSet(phrases, allow), self.core, self.metadata, self.suggestion, self.nudge
        )


class LevelSpec(Spec):
    core: Literal["all"] | int = 0
    supporting: int = Field(default=0, ge=0)
    elements: int = Field(default=0, ge=0)

    def build(self) -> Level:
        return Level(None if self.core == "all" else self.core, self.supporting, self.elements)


class LevelsSpec(Spec):
    passing: LevelSpec = Field(alias="pass")
    partial: LevelSpec | None = None


class PlanSpec(Spec):
    window: WindowSpec | None = None
    elements: dict[str, ElementFields] | None = None
    levels: LevelsSpec | None = None
    order: bool | None = None
    within_ms: int | None = Field(default=None, ge=1)
    nudge_ms: int | None = Field(default=None, ge=1)


class RequireSpec(RuleSpec):
    kind: Literal["require"]
    elements: dict[str, ElementFields] = {}
    levels: LevelsSpec | None = None
    capped_by: Texts = []
    order: bool = False
    within_ms: int | None = Field(default=None, ge=1)
    nudge_ms: int | None = Field(default=None, ge=1)
    by_direction: dict[Literal["inbound", "outbound"], PlanSpec] = {}

    def build_check(self, builder: Builder) -> Require:
        plans: dict[Direction | None, Plan] = {
            Direction(name): self._plan(plan, builder, ("by_direction", name))
            for name, plan in self.by_direction.items()
        }
        if not plans:
            plans[None] = self._plan(PlanSpec(), builder, ())
        return Require(plans, self.wording, _role(self.speaker), self.min_confidence, tuple(self.capped_by))

    def _plan(self, own: PlanSpec, builder: Builder, place: Place) -> Plan:
        elements, place = (own.elements, place) if own.elements else (self.elements, ())
        if not elements:
            builder.fault(place, "'require' needs elements")
        built = tuple(fields.build(name, builder, (*place, "elements", name)) for name, fields in elements.items())
        levels = own.levels or self.levels
        return Plan(
            built,
            window=(own.window or self.window).build(),
            passing=levels.passing.build() if levels else Level(core=None, elements=len(built)),
            partial=levels.partial.build() if levels and levels.partial else None,
            order=self.order if own.order is None else own.order,
            within_ms=own.within_ms or self.within_ms,
            nudge_ms=own.nudge_ms or self.nudge_ms,
        )


class QuotaSpec(RuleSpec):
    kind: Literal["quota"]
    any_of: Texts = []
    any_in: Texts = []
    allow: Texts = []
    per: Annotated[Per, Enum] = Per.CALL
    min: float | None = Field(default=None, ge=0)
    max: float | None = Field(default=None, ge=0)
    unsure_from: float | None = Field(default=None, ge=0)
    unit: str = "次"

    def build_check(self, builder: Builder) -> Quota:
        phrases = builder.phrases(self.any_of, self.any_in)
        if not phrases and not builder.faults:
            builder.fault((), "'quota' needs any_of or any_in")
        if self.min is None and self.max is None:
            builder.fault((), "'quota' needs min or max")
        return Quota(
            PhraseSet(phrases, builder.patterns(self.allow, ("allow",))),
            self.wording,
            speaker=_role(self.speaker),
            window=self.window.build(),
            min_confidence=self.min_confidence,
            per=self.per,
            low=self.min,
            high=self.max,
            unsure_from=self.unsure_from,
            unit=self.unit,
        )


class RateSpec(RuleSpec):
    kind: Literal["rate"]
    speaker: Literal["agent", "customer"] = "agent"
    denominator: Annotated[Denominator, Enum] = Denominator.TURN
    target: float | None = Field(default=None, gt=0)
    tolerance: float = Field(default=0.2, ge=0, lt=1)
    low: int | None = Field(default=None, ge=0)
    high: int | None = Field(default=None, ge=1)
    customer_tolerance: float | None = Field(default=None, ge=0, lt=1)
    utterance_min: int = Field(default=5, ge=0)
    min_syllables: int = Field(default=30, ge=0)
    min_speech_ms: int = Field(default=10_000, ge=0)

    def build_check(self, builder: Builder) -> Rate:
        if (self.low is None) != (self.high is None) or (self.target is None and self.low is None):
            builder.fault((), "'rate' needs target, or low and high")
        low, high = (self.low, self.high) if self.low is not None else around(self.target or 0, self.tolerance)
        return Rate(
            self.wording,
            low=low,
            high=high or 0,
            speaker=Role(self.speaker),
            match_tolerance=self.customer_tolerance,
            denominator=self.denominator,
            utterance_min=self.utterance_min,
            min_syllables=self.min_syllables,
            min_speech_ms=self.min_speech_ms,
            min_confidence=self.min_confidence,
        )


KINDS: Mapping[str, type[RuleSpec]] = {
    "forbid": ForbidSpec,
    "require": RequireSpec,
    "quota": QuotaSpec,
    "rate": RateSpec,
}
_NESTED = (WindowSpec, SaidSpec, ConditionSpec, ExpectSpec, CaseSpec, ExemptionSpec, ElementFields, LevelSpec, PlanSpec)


def _role(speaker: str) -> Role | None:
    return None if speaker == "any" else Role(speaker)
