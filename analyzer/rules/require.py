"""``require``: the listed elements are said in the window."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass, replace
from dataclasses import fields as fields_of
from functools import lru_cache
from typing import Any, Literal

from pydantic import Field

from analyzer.normalize import fold
from analyzer.rules.anchor import Cue
from analyzer.rules.call import WHOLE_CALL, Call, Window, is_by, may_be_by
from analyzer.rules.checks import Check, Watch
from analyzer.rules.faults import Place
from analyzer.rules.findings import Element, Finding, Item, ItemState, Judgement, Owed, Wording
from analyzer.rules.patterns import Pattern, PatternError
from analyzer.rules.phrases import Hit, Phrase, PhraseSet
from analyzer.rules.said import Said
from analyzer.rules.spec import Builder, CueSpec, RuleSpec, Spec, Texts, WindowSpec, role_of
from analyzer.rules.truth import Truth
from analyzer.types import Direction, Role, Span

PASS, PARTIAL, FAIL = "pass", "partial", "fail"
_RANK = {FAIL: 0, PARTIAL: 1, PASS: 2}


@dataclass(frozen=True, slots=True)
class ElementSpec:
    """An owed element. ``metadata``: also said when this call attribute's value is."""

    name: str
    title: str
    phrases: PhraseSet
    core: bool = False
    metadata: str | None = None
    suggestion: str | None = None
    nudge: str | None = None

    def find(self, said: Said, call: Call) -> list[Hit]:
        hits = self.phrases.find(said)
        if attribute := self._attribute(call):
            hits += attribute.find(said)
        return hits

    def _attribute(self, call: Call) -> PhraseSet | None:
        value = call.metadata.get(self.metadata) if self.metadata else None
        return _spoken(str(value)) if value is not None else None


_DIGITS = dict(zip("0123456789", ("零洞", "一幺", "二两", "三", "四", "五", "六", "七拐", "八", "九"), strict=True))
_SPOKEN_DIGITS = 3  # a number shorter than that, spoken, is an everyday word


@lru_cache(maxsize=1024)
def _spoken(value: str) -> PhraseSet | None:
    """The words of an attribute's value; the digits of a number of three and more may be spoken (6021, 六零二幺)."""
    pattern = fold(value).text
    if sum(letter in _DIGITS for letter in pattern) >= _SPOKEN_DIGITS:
        pattern = "".join(f"[{letter}{_DIGITS[letter]}]" if letter in _DIGITS else letter for letter in pattern)
    try:
        return PhraseSet([Phrase(Pattern(pattern))]) if pattern else None
    except PatternError:  # a value without a single letter or digit is never said
        return None


@dataclass(frozen=True, slots=True)
class Level:
    """How much must be present: core elements (None: all of them), supporting ones, and elements in all."""

    core: int | None = 0
    supporting: int = 0
    elements: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """What is owed where, for calls of one direction.

    nudge_ms   when the agent is reminded: call time, or time since ``ending``
    ending     what tells that the window at the end of the call has begun
    """

    elements: tuple[ElementSpec, ...]
    window: Window = WHOLE_CALL
    passing: Level = Level()
    partial: Level | None = None
    order: bool = False
    within_ms: int | None = None
    nudge_ms: int | None = None
    ending: Cue | None = None

    def level(self, present: Iterable[str]) -> str:
        names = set(present)
        if self._reaches(self.passing, names):
            return PASS
        return PARTIAL if self.partial and self._reaches(self.partial, names) else FAIL

    def lacking(self, present: Iterable[str]) -> list[ElementSpec]:
        """Elements that would help to pass: core ones, and the others where too few of them are present."""
        names = set(present)
        if self.level(names) == PASS:
            return []
        cores = [element for element in self.elements if element.core and element.name not in names]
        if self.level({*names, *(element.name for element in cores)}) == PASS:
            return cores
        return [element for element in self.elements if element.name not in names]

    def _reaches(self, level: Level, names: set[str]) -> bool:
        cores = [element.name for element in self.elements if element.core]
        core = sum(name in names for name in cores)
        wanted = len(cores) if level.core is None else level.core
        return core >= wanted and len(names) - core >= level.supporting and len(names) >= level.elements


def element_titles(part: Any) -> Iterator[tuple[str, str]]:
    """What the elements of a check are called, those of its members too."""
    if isinstance(part, ElementSpec):
        yield part.name, part.title
    elif isinstance(part, Check | Plan) and is_dataclass(part):
        for field in fields_of(part):
            yield from element_titles(getattr(part, field.name))
    elif isinstance(part, Mapping | tuple):
        for one in part.values() if isinstance(part, Mapping) else part:
            yield from element_titles(one)


@dataclass(frozen=True, slots=True)
class Require(Check):
    """``plans`` by direction; the key None serves calls of any."""

    plans: Mapping[Direction | None, Plan]
    wording: Wording
    speaker: Role | None = Role.AGENT
    min_confidence: float = 0.5
    capped_by: tuple[str, ...] = ()

    @property
    def needs(self) -> tuple[str, ...]:
        return self.capped_by

    @property
    def listens_for(self) -> Collection[PhraseSet] | None:
        elements = [element for plan in self.plans.values() for element in plan.elements]
        if any(element.metadata for element in elements):
            return None  # what the call's attributes say is in no list
        endings = [plan.ending.phrases for plan in self.plans.values() if plan.ending]
        return [*(element.phrases for element in elements), *endings]

    @property
    def reminds(self) -> bool:
        return any(plan.nudge_ms is not None for plan in self.plans.values())

    def watch(self, call: Call) -> Watch:
        plan = self.plans.get(call.direction) or self.plans.get(None)
        if plan is None:
            truth = Truth.UNSURE if call.direction is Direction.UNKNOWN else Truth.NOT_APPLICABLE
            return _Undecided(truth)
        return _RequireWatch(self, plan, call)


@dataclass(frozen=True, slots=True)
class _Undecided(Watch):
    """A rule for calls of a direction that this call has not, or may not have."""

    truth: Truth

    def hear(self, said: Said) -> None:
        return

    def judge(self, others: Mapping[str, Judgement]) -> Judgement:
        return Judgement(self.truth)


Found = Mapping[str, Sequence[Hit]]


class _RequireWatch(Watch):
    def __init__(self, check: Require, plan: Plan, call: Call) -> None:
        self.check, self.plan, self.call = check, plan, call
        self.hits: dict[str, list[Hit]] = {element.name: [] for element in plan.elements}
        self.ending: tuple[int, int] | None = None  # when the end announced itself, and the speaker's turns till then

    def hear(self, said: Said) -> None:
        if self._announces_end(said):
            self.ending = said.span.end_ms, self.call.turns.get(self.check.speaker or Role.AGENT, 0)
        if may_be_by(said, self.check.speaker) and not self.plan.window.is_past(said):
            for element in self.plan.elements:
                self.hits[element.name] += element.find(said, self.call)

    # --- while the call goes on ---

    def owed(self, unsettled: Sequence[Said]) -> Sequence[Owed]:
        if self.plan.nudge_ms is None or self.plan.window.is_closed(self.check.speaker, self.call):
            return ()
        began_ms = self._begins_ms(unsettled)
        if began_ms is None:
            return ()
        rule, at_ms = self.check.wording.rule, began_ms + self.plan.nudge_ms
        return [
            Owed(rule, element.name, element.nudge or f"还没说：{element.title}", at_ms, suggestion=element.suggestion)
            for element in self._asked_for(self._so_far(unsettled))
        ]

    def _asked_for(self, present: set[str]) -> list[ElementSpec]:
        """Unless enough was said: what lacks. Of supporting elements those with a reminder of their own go first."""
        lacking = {element.name for element in self.plan.lacking(present)}
        absent = [element for element in self.plan.elements if element.name not in present] if lacking else []
        named = [element for element in absent if element.core or element.nudge]
        would_do = self.plan.level({*present, *(element.name for element in named)}) == PASS
        return named if would_do else [element for element in absent if element in named or element.name in lacking]

    def checklist(self, unsettled: Sequence[Said], ms: int) -> Sequence[Item]:
        plan = self.plan
        if plan.nudge_ms is None:
            return ()
        present = self._so_far(unsettled)
        lacking = {element.name for element in plan.lacking(present)}
        is_late = plan.within_ms is not None and ms >= plan.within_ms
        is_over = self.call.end_ms > 0 or is_late or plan.window.is_closed(self.check.speaker, self.call)
        open_state = ItemState.MISSED if is_over else ItemState.PENDING

        def state(name: str) -> ItemState:
            if name in present:
                return ItemState.DONE
            return open_state if name in lacking else ItemState.CLEARED

        rule, at_end = self.check.wording.rule, plan.window.needs_end
        return [Item(rule, e.name, e.title, state(e.name), plan.within_ms, at_end) for e in plan.elements]

    def _so_far(self, unsettled: Sequence[Said]) -> set[str]:
        """Elements said in the window, were the call to end now. What closes a call counts once it draws to its end:
        a thank-you along the way is none."""
        if not self.call.end_ms and self.plan.window.needs_end and self._begins_ms(unsettled) is None:
            return set()
        is_closed = self.plan.window.is_closed(self.check.speaker, self.call)
        own = [] if is_closed else [said for said in unsettled if is_by(said, self.check.speaker)]
        return {
            element.name
            for element in self.plan.elements
            if any(self._is_inside(hit) for hit in self.hits[element.name])
            or any(element.find(said, self.call) for said in own)
        }

    def _begins_ms(self, unsettled: Sequence[Said]) -> int | None:
        """The moment from which the window counts as begun: the call's start, or what announced its end."""
        if self.plan.ending is None:
            return 0
        announced = [said.span.end_ms for said in unsettled if self._announces_end(said)]
        if self.ending is not None:
            end_ms, turns = self.ending
            since = self.call.turns.get(self.check.speaker or Role.AGENT, 0) - turns
            announced += [end_ms] if since < (self.plan.window.last_turns or 1) else []
        return min(announced, default=None)

    def _announces_end(self, said: Said) -> bool:
        return self.plan.ending is not None and any(point.sure for point in self.plan.ending.points(said))

    # --- at the end ---

    def judge(self, others: Mapping[str, Judgement]) -> Judgement:
        inside = {name: [hit for hit in hits if self._is_inside(hit)] for name, hits in self.hits.items()}
        sure = {name: [hit for hit in hits if self._is_sure(hit)] for name, hits in inside.items()}
        chosen = {name: self._choose(hits) for name, hits in sure.items() if hits}
        level, blemishes = self._capped(self._level(sure), chosen.values(), others, Truth.VIOLATED)
        truth = self._truth(level, inside, chosen, others)
        findings: tuple[Finding, ...] = ()
        if truth is Truth.VIOLATED:
            findings = (*self._missing(chosen), *(self._blemish(finding) for finding in blemishes))
        evidence = tuple(self.check.wording.of_hit(hit) for hit in chosen.values())
        return Judgement(truth, findings, level, self._elements(chosen), evidence=evidence)

    # --- what counts ---

    def _is_inside(self, hit: Hit) -> bool:
        span, plan = hit.span, self.plan
        if plan.within_ms is not None and span.midpoint_ms >= plan.within_ms:
            return False
        if plan.window.by_turns and hit.said.turn_of_talk is None:
            return True
        return plan.window.holds(hit.said, span, self.call)

    def _is_sure(self, hit: Hit) -> bool:
        return hit.confidence >= self.check.min_confidence and is_by(hit.said, self.check.speaker)

    def _choose(self, hits: Sequence[Hit]) -> Hit:
        """The hit that stands for an element: the first one, of a window at the end of the call the last one; the
        longest of those that start together."""
        at_end = self.plan.window.last_turns is not None or self.plan.window.last_ms is not None
        sign = -1 if at_end else 1
        return min(hits, key=lambda hit: (sign * hit.span.start_ms, sign * hit.start, -hit.end))

    # --- levels ---

    def _level(self, found: Found) -> str:
        level = self.plan.level(name for name, hits in found.items() if hits)
        if level == PASS and self.plan.order and not _in_order([found[e.name] for e in self.plan.elements]):
            return PARTIAL
        return level

    def _capped(
        self, level: str, chosen: Iterable[Hit], others: Mapping[str, Judgement], truth: Truth
    ) -> tuple[str, list[Finding]]:
        """A forbidden phrase inside caps a pass at partial."""
        if level != PASS:
            return level, []
        extent = self._extent(list(chosen))
        blemishes = [
            finding
            for rule in self.check.capped_by
            if rule in others and others[rule].truth is truth
            for finding in others[rule].findings
            if finding.places and extent.start_ms <= finding.span.midpoint_ms <= extent.end_ms
        ]
        return (PARTIAL if blemishes else PASS), blemishes

    def _extent(self, chosen: Sequence[Hit]) -> Span:
        """From the first to the last utterance that holds an element, and on to the near end of the call."""
        start = min(hit.said.span.start_ms for hit in chosen)
        end = max(hit.said.span.end_ms for hit in chosen)
        window = self.plan.window
        return Span(0 if window.first_turns else start, max(end, self.call.end_ms) if window.last_turns else end)

    def _truth(self, level: str, inside: Found, chosen: Mapping[str, Hit], others: Mapping[str, Judgement]) -> Truth:
        if not any(may_be_by(said, self.check.speaker) for said in self.call.said):
            return Truth.NOT_APPLICABLE
        if level == PASS:
            suspect = self._capped(level, chosen.values(), others, Truth.UNSURE)[1]
            return Truth.UNSURE if suspect else Truth.MET
        if self._may_have_been_missed(inside):
            return Truth.UNSURE
        return Truth.VIOLATED

    def _may_have_been_missed(self, inside: Found) -> bool:
        """Whether more may have been said than was surely heard, where that would help."""
        call, plan = self.call, self.plan
        sure = {name: [hit for hit in hits if self._is_sure(hit)] for name, hits in inside.items()}
        if _RANK[self._level(inside)] > _RANK[self._level(sure)]:
            return True
        if plan.level(name for name, hits in sure.items() if hits) == PASS:
            return False  # everything was said; the level fell for another reason
        if call.starts_late and plan.window.first_turns:
            return True
        if call.truncated and not plan.window.is_closed(self.check.speaker, call):
            return True
        if call.truncated and plan.window.first_turns and not any(inside.values()):
            return True  # it may be the start that is missing
        return call.is_doubtful(self.check.speaker, plan.window, self.check.min_confidence)

    # --- evidence ---

    def _elements(self, chosen: Mapping[str, Hit]) -> dict[str, Element]:
        return {
            element.name: Element(True, chosen[element.name].span.start_ms, chosen[element.name].quote)
            if element.name in chosen
            else Element(False)
            for element in self.plan.elements
        }

    def _missing(self, chosen: Mapping[str, Hit]) -> list[Finding]:
        absent = [element for element in self.plan.elements if element.name not in chosen]
        owed = [element for element in absent if element.core]
        supporting = [element for element in absent if not element.core]
        said = sum(not element.core and element.name in chosen for element in self.plan.elements)
        findings = [self._absence([element], element.name) for element in owed]
        if supporting and said < self.plan.passing.supporting:
            findings.append(self._absence(supporting, None))
        if not findings and absent and self.plan.level(chosen) != PASS:
            findings.append(self._absence(absent, None))
        if not findings and self.plan.level(chosen) == PASS and self.plan.order:
            names = {"element": "顺序", "missing": "顺序"}
            findings.append(self.check.wording.of_absence(self._window(), self.check.speaker, names))
        return findings

    def _absence(self, elements: Sequence[ElementSpec], category: str | None) -> Finding:
        titles = "或".join(element.title for element in elements)
        suggestion = next((element.suggestion for element in elements if element.suggestion), None)
        names = {"element": titles, "missing": titles, "suggestion": suggestion}
        return self.check.wording.of_absence(self._window(), self.check.speaker, names, category)

    def _window(self) -> Span:
        window = self.plan.window.span(self.check.speaker, self.call)
        if self.plan.within_ms is None:
            return window
        return Span(window.start_ms, max(window.start_ms, min(window.end_ms, self.plan.within_ms)))

    def _blemish(self, finding: Finding) -> Finding:
        return replace(finding, rule=self.check.wording.rule, severity=self.check.wording.severity)


def _in_order(found: Sequence[Sequence[Hit]]) -> bool:
    """Whether the elements that were said can be picked in rising order of time."""
    reached = -1
    for hits in found:
        if hits:
            later = [hit.span.start_ms for hit in hits if hit.span.start_ms > reached]
            if not later:
                return False
            reached = min(later)
    return True


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
    ending: CueSpec | None = None


class RequireSpec(RuleSpec):
    kind: Literal["require"]
    elements: dict[str, ElementFields] = {}
    levels: LevelsSpec | None = None
    capped_by: Texts = []
    order: bool = False
    within_ms: int | None = Field(default=None, ge=1)
    nudge_ms: int | None = Field(default=None, ge=1)
    ending: CueSpec | None = None
    by_direction: dict[Literal["inbound", "outbound"], PlanSpec] = {}

    def build_check(self, builder: Builder) -> Require:
        plans: dict[Direction | None, Plan] = {
            Direction(name): self._plan(plan, builder, ("by_direction", name))
            for name, plan in self.by_direction.items()
        }
        if not plans:
            plans[None] = self._plan(PlanSpec(), builder, ())
        return Require(plans, self.wording, role_of(self.speaker), self.min_confidence, tuple(self.capped_by))

    def _plan(self, own: PlanSpec, builder: Builder, place: Place) -> Plan:
        elements, place = (own.elements, place) if own.elements else (self.elements, ())
        if not elements:
            builder.fault(place, "'require' needs elements")
        built = tuple(fields.build(name, builder, (*place, "elements", name)) for name, fields in elements.items())
        levels = own.levels or self.levels
        ending = own.ending or self.ending
        return Plan(
            built,
            window=(own.window or self.window).build(),
            passing=levels.passing.build() if levels else Level(core=None, elements=len(built)),
            partial=levels.partial.build() if levels and levels.partial else None,
            order=self.order if own.order is None else own.order,
            within_ms=own.within_ms or self.within_ms,
            nudge_ms=own.nudge_ms or self.nudge_ms,
            ending=ending.cue(builder, ("ending",)) if ending else None,
        )
