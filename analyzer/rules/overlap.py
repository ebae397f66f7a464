"""``overlap``: the agent does not start to speak into what the customer is saying (插话、抢话).

The agent *starts* where they have been quiet for as long as it takes to make two utterances; who goes on after a
breath while the customer talks into it has not started. An interruption is a start while a customer's span has been
running for ``after_ms`` and goes on for more than ``rest_ms``. What is nothing but back-channel (嗯, 好的) interrupts
nobody.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import Field

from analyzer.rules.call import Call, is_mostly_faint
from analyzer.rules.checks import Check, Watch
from analyzer.rules.findings import Finding, Judgement, Wording
from analyzer.rules.said import Said
from analyzer.rules.spans import VOICE_GAP_MS, joined, seconds, talk
from analyzer.rules.spec import Builder, RuleSpec
from analyzer.rules.truth import Truth
from analyzer.types import Match, Role, Span

_BREATH_MS = 700  # as the engine joins speech into utterances
_SIDES = (Role.AGENT, Role.CUSTOMER)


@dataclass(frozen=True, slots=True)
class Overlap(Check):
    """Times in ms: how long the customer had been speaking, how long they still go on. ``at_most``: interruptions that
    pass."""

    wording: Wording
    after_ms: int = 1000
    rest_ms: int = 1000
    at_most: int = 0
    min_confidence: float = 0.5

    def watch(self, call: Call) -> Watch:
        return _OverlapWatch(self, call)

    def interrupted(self, start_ms: int, spans: Sequence[Span]) -> Span | None:
        """The span of ``spans`` that a start at ``start_ms`` breaks into."""
        return next(
            (
                span
                for span in spans
                if start_ms - span.start_ms >= self.after_ms and span.end_ms - start_ms > self.rest_ms
            ),
            None,
        )


@dataclass(frozen=True, slots=True)
class _Start:
    """The agent breaks in: ``span`` is spoken by both at once. ``said`` is None where no words were recognised.
    ``over_ms``: nothing that starts from then on makes it longer."""

    span: Span
    said: Said | None
    over_ms: int


class _OverlapWatch(Watch):
    def __init__(self, check: Overlap, call: Call) -> None:
        self.check, self.call = check, call
        self.customer_until_ms = 0
        self.reached_ms = 0
        self.suspected: list[Said] = []  # of the agent, said into the customer's words
        self.certain: list[Finding] = []

    def hear(self, said: Said) -> None:
        """Both have been heard once the agent's words are: the customer's began earlier."""
        if said.role is Role.CUSTOMER:
            self.customer_until_ms = max(self.customer_until_ms, said.span.end_ms)
        elif said.role is Role.AGENT and said.span.start_ms < self.customer_until_ms and not said.back_channel:
            self.suspected.append(said)

    def reach(self, ms: int) -> None:
        self.reached_ms = ms

    def findings_so_far(self) -> Sequence[tuple[Finding, bool]]:
        """An interruption is certain once both have stopped."""
        starts = [start for start in self._suspected() if self._is_sure(start)]
        over = [start for start in starts if start.over_ms <= self.reached_ms]
        self.certain += map(self._finding, over)
        told = [start.said for start in over]
        self.suspected = [said for said in self.suspected if said not in told and not self._is_past(said)]
        found = [(finding, True) for finding in self.certain]
        found += [(self._finding(start), False) for start in starts if start not in over]
        return found if len(found) > self.check.at_most else ()

    def _is_past(self, said: Said) -> bool:
        return self.reached_ms > max(said.span.end_ms, self.customer_until_ms) + _BREATH_MS

    def _suspected(self) -> list[_Start]:
        if not self.suspected:
            return []
        starts = self._starts(talk(self.call, Role.CUSTOMER))
        return [start for start in starts if any(start.said is said for said in self.suspected)]

    def judge(self, others: Mapping[str, Judgement]) -> Judgement:
        customer = talk(self.call, Role.CUSTOMER)
        if not any(said.role is Role.AGENT for said in self.call.said):
            return Judgement(Truth.UNSURE if self._has_unknown_speech() else Truth.NOT_APPLICABLE)
        starts = list(self._starts(customer))
        sure = [start for start in starts if self._is_sure(start)]
        check = self.check
        measured = {"value": len(sure), "unit": "次", "low": None, "high": check.at_most}
        if len(sure) > check.at_most:
            return Judgement(Truth.VIOLATED, tuple(map(self._finding, sure)), measured=measured)
        is_open = len(starts) > check.at_most or self.call.truncated or self._has_unknown_speech() or self._is_shared()
        return Judgement(Truth.UNSURE if is_open else Truth.MET, measured=measured)

    def _has_unknown_speech(self) -> bool:
        return any(said.role is Role.UNKNOWN for said in self.call.said)

    def _is_shared(self) -> bool:
        """Whether both sides were heard on one channel: who talks into whose words is not to be told there."""
        stretches = (stretch for said in self.call.said for stretch in said.stretches)
        return any(stretch.utterance.role_confidence is not None for stretch in stretches)

    def _starts(self, customer: Sequence[Span]) -> Iterator[_Start]:
        own = [said for said in self.call.said if said.role is Role.AGENT and said.text]
        for run in joined(talk(self.call, Role.AGENT), _BREATH_MS):
            broken = self.check.interrupted(run.start_ms, customer)
            if broken is None:
                continue
            words = [said for said in own if said.span.overlap_ms(run)]
            if words and all(said.back_channel for said in words):
                continue
            said = next((said for said in words if not said.back_channel), None)
            over_ms = max(run.end_ms + _BREATH_MS, broken.end_ms + VOICE_GAP_MS)
            yield _Start(Span(run.start_ms, min(run.end_ms, broken.end_ms)), said, over_ms)

    def _is_sure(self, start: _Start) -> bool:
        return start.said is not None and not is_mostly_faint([start.said], self.check.min_confidence)

    def _finding(self, start: _Start) -> Finding:
        said = start.said
        assert said is not None
        quote, places = said.quote(0, len(said.text)), said.places(0, len(said.text))
        names = {"quote": quote, "value": seconds(start.span.duration_ms)}
        finding = self.check.wording.of_absence(start.span, Role.AGENT, names)
        return replace(finding, match=Match.EXACT, places=places, quote=quote, turn=places[0].utterance, grows=True)


class OverlapSpec(RuleSpec):
    kind: Literal["overlap"]
    speaker: Literal["agent"] = "agent"
    after_ms: int = Field(default=1000, ge=0)
    rest_ms: int = Field(default=1000, ge=0)
    at_most: int = Field(default=0, ge=0)

    def build_check(self, builder: Builder) -> Overlap:
        return Overlap(self.wording, self.after_ms, self.rest_ms, self.at_most, min_confidence=self.min_confidence)
