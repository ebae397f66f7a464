"""Four measures of a call that must lie in a range: ``talk_ratio``, ``duration``, ``response_time``, ``monologue``.

Each is a number read off who spoke when. Below ``low`` or above ``high`` violates; the number is reported either way.
Long answers and monologues point at the place; the others concern the whole call.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Literal

from pydantic import Field, model_validator

from analyzer.rules.call import Call, total_ms
from analyzer.rules.checks import Check, Watch
from analyzer.rules.findings import Finding, Judgement, Wording
from analyzer.rules.phrases import PhraseSet
from analyzer.rules.said import Said
from analyzer.rules.spans import seconds, talk
from analyzer.rules.spec import Builder, RuleSpec, Texts
from analyzer.rules.truth import Truth
from analyzer.types import Role, Span

_SIDES = (Role.AGENT, Role.CUSTOMER)


class Measure(StrEnum):
    TALK_RATIO = "talk_ratio"
    DURATION = "duration"
    RESPONSE_TIME = "response_time"
    MONOLOGUE = "monologue"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value was taken: from ``after`` (None: the whole call) over ``span``."""

    value: float
    span: Span
    said: Said | None = None


@dataclass(frozen=True, slots=True)
class Measured(Check):
    """``least_ms``: speech of both sides below which a share says nothing. ``pause_ms``: a silence that ends a
    monologue. ``excused``: words of the agent (a wait announced) or the customer (looking something up) after which a
    late answer is none. Ratios are shares (0..1), all else seconds."""

    measure: Measure
    wording: Wording
    low: float | None = None
    high: float | None = None
    speaker: Role = Role.AGENT
    least_ms: int = 20_000
    pause_ms: int = 3000
    excused: PhraseSet = field(default_factory=lambda: PhraseSet(()))

    @property
    def unit(self) -> str:
        return "" if self.measure is Measure.TALK_RATIO else "秒"

    @property
    def listens_for(self) -> tuple[()]:
        return ()  # everything is decided at the end

    def watch(self, call: Call) -> Watch:
        return _MeasureWatch(self, call)

    def holds(self, value: float) -> bool:
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)


class _MeasureWatch(Watch):
    def __init__(self, check: Measured, call: Call) -> None:
        self.check, self.call = check, call

    def hear(self, said: Said) -> None:
        return

    def judge(self, others: Mapping[str, Judgement]) -> Judgement:
        places = list(_TAKES[self.check.measure](self.check, self.call))
        if not places:
            is_unknown = any(said.role is Role.UNKNOWN for said in self.call.said)
            return Judgement(Truth.UNSURE if is_unknown else Truth.NOT_APPLICABLE)
        wrong = [place for place in places if not self.check.holds(place.value)]
        truth = self._truth(wrong)
        findings = tuple(map(self._finding, wrong)) if truth is Truth.VIOLATED else ()
        return Judgement(truth, findings, measured=self._measured(places))

    def _truth(self, wrong: Sequence[Place]) -> Truth:
        """A recording that breaks off, and speech of an unknown side, leave a number open; but what took too long
        already has."""
        check, call = self.check, self.call
        has_unknown = any(said.role is Role.UNKNOWN for said in call.said)
        is_open = call.truncated or (has_unknown and check.measure is not Measure.DURATION)
        took_too_long = check.high is not None and any(place.value > check.high for place in wrong)
        if wrong and (not is_open or (took_too_long and check.measure is not Measure.TALK_RATIO)):
            return Truth.VIOLATED
        return Truth.UNSURE if is_open else Truth.MET

    def _measured(self, places: Sequence[Place]) -> dict[str, Any]:
        """The value furthest on the side that is bounded."""
        values = [place.value for place in places]
        value = min(values) if self.check.high is None else max(values)
        return {"value": value, "unit": self.check.unit, "low": self.check.low, "high": self.check.high}

    def _finding(self, place: Place) -> Finding:
        names = {"value": place.value, "low": self.check.low, "high": self.check.high}
        finding = self.check.wording.of_absence(place.span, self.check.speaker, names)
        return replace(finding, turn=place.said.stretches[0].utterance) if place.said else finding


# --- taking the measure -----------------------------------------------------------------------------------------------


def _talk_ratio(check: Measured, call: Call) -> Iterator[Place]:
    """The speaker's share of the time that both sides speak."""
    by_role = {role: total_ms(talk(call, role)) for role in _SIDES}
    whole = sum(by_role.values())
    if all(by_role.values()) and whole >= check.least_ms:
        yield Place(round(by_role[check.speaker] / whole, 2), Span(0, call.end_ms))


def _duration(check: Measured, call: Call) -> Iterator[Place]:
    """Seconds from the answer to the end."""
    if call.end_ms:
        yield Place(seconds(call.end_ms), Span(0, call.end_ms))


def _response_time(check: Measured, call: Call) -> Iterator[Place]:
    """Seconds from the end of the other side's words to the speaker's next ones, each time they answer."""
    before: Said | None = None  # the last words that were not back-channel
    own: Said | None = None
    for said in call.said:
        if said.role is Role.SYSTEM or said.role is Role.UNKNOWN:
            before = None  # waits and announcements, or an answer that may have come already
        if said.back_channel and said.role is not check.speaker:
            continue
        if said.role is check.speaker and before is not None and before.role is not check.speaker:
            is_excused = check.excused.any(before) or (own is not None and check.excused.any(own))
            waited = max(0, said.span.start_ms - before.span.end_ms)
            if not is_excused:
                yield Place(seconds(waited), Span(before.span.end_ms, before.span.end_ms + waited), said)
        if said.role in _SIDES:
            before = said
        if said.role is check.speaker:
            own = said


def _monologue(check: Measured, call: Call) -> Iterator[Place]:
    """Seconds a side goes on without the other saying more than back-channel, and without falling silent itself."""
    run: list[Said] = []
    for said in call.said:
        if said.back_channel and said.role is not check.speaker:
            continue
        goes_on = run and said.span.start_ms - max(s.span.end_ms for s in run) <= check.pause_ms
        if said.role is check.speaker and goes_on:
            run.append(said)
            continue
        yield from _speech(run)
        run = [said] if said.role is check.speaker else []
    yield from _speech(run)


def _speech(run: Sequence[Said]) -> Iterator[Place]:
    if run:
        span = Span(run[0].span.start_ms, max(said.span.end_ms for said in run))
        yield Place(seconds(span.duration_ms), span, run[0])


_TAKES = {
    Measure.TALK_RATIO: _talk_ratio,
    Measure.DURATION: _duration,
    Measure.RESPONSE_TIME: _response_time,
    Measure.MONOLOGUE: _monologue,
}


class MeasureSpec(RuleSpec):
    kind: Literal["talk_ratio", "duration", "response_time", "monologue"]
    speaker: Literal["agent", "customer"] = "agent"
    low: float | None = Field(default=None, ge=0)
    high: float | None = Field(default=None, ge=0)
    least_ms: int = Field(default=20_000, ge=0)
    pause_ms: int = Field(default=3000, ge=1)
    excused_in: Texts = []

    @model_validator(mode="after")
    def _has_bounds(self) -> MeasureSpec:
        if self.low is None and self.high is None:
            raise ValueError(f"{self.kind!r} needs low or high")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low {self.low:g} is more than high {self.high:g}")
        return self

    def build_check(self, builder: Builder) -> Measured:
        return Measured(
            Measure(self.kind),
            self.wording,
            self.low,
            self.high,
            Role(self.speaker),
            self.least_ms,
            self.pause_ms,
            builder.phrase_set(self.excused_in, "excused_in"),
        )
