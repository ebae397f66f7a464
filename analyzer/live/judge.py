"""One call's speech in, its events out: the rule engine, the coach and the report. One thread at a time, no clock.

Text reaches the engine as it is recognised; verdicts do not depend on that (``analyzer.engine``). Where finals come
late because windows of 30 s are being filled, the engine is fed what each segment says alone, and the report is made
from the windows at the end, as ``analyzer score`` would make it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from analyzer.asr import Window
from analyzer.audio import silence_warnings
from analyzer.engine import CallAnalyzer, FindingEvent
from analyzer.live.agreement import Agreement
from analyzer.live.coach import Coach
from analyzer.live.ear import Hearing, begun_ms
from analyzer.live.journal import EventLog
from analyzer.live.messages import (
    CallEvent,
    InterimEvent,
    ScorecardEvent,
    UtteranceEvent,
)
from analyzer.live.messages import (
    FindingEvent as FindingMessage,
)
from analyzer.report import build_report, doubting_sides, judged
from analyzer.rules import Finding, Pack
from analyzer.rules.said import Place
from analyzer.types import Direction, Role, Span, Transcript, Utterance
from analyzer.vad import Segment

NEARLY_MS = 1_000  # interim text knows its time less well than final text
SETTLE_EVERY_MS = 480  # of call time: the engine need not be told of every 128 ms


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a call when it begins."""

    call_id: str
    direction: Direction
    roles: tuple[Role, ...]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    recogniser: Mapping[str, Any] = field(default_factory=dict)
    starts_late: bool = False


@dataclass(slots=True)
class _Side:
    """How far one role is known to the engine."""

    detected_ms: int = 0  # every segment that begins earlier was given to the recogniser
    told_ms: int = 0  # the engine was told
    waiting: dict[int, int] = field(default_factory=dict)  # starts and ends of segments it has not been told of
    early: set[int] = field(default_factory=set)  # of those it was told of before their window
    windows: int = 0  # being recognised
    seen_ms: int = -1  # start of the segment whose interim text came last
    agreement: Agreement = field(default_factory=Agreement)
    is_open: bool = False  # an interim is shown

    @property
    def settled_ms(self) -> int:
        return min([self.detected_ms, *self.waiting])


class Judge:
    """Follows one call."""

    def __init__(self, facts: Facts, pack: Pack, log: EventLog, *, rejudge: bool) -> None:
        """rejudge  the windows of the report are not those the engine hears during the call"""
        self.facts, self.log = facts, log
        self._pack = pack
        self._rejudge = rejudge
        self._engine = CallAnalyzer(
            pack,
            direction=facts.direction,
            metadata=facts.metadata,
            roles=set(facts.roles) | {Role.AGENT, Role.CUSTOMER},
            starts_late=facts.starts_late,
        )
        for role in {Role.AGENT, Role.CUSTOMER} - set(facts.roles):
            self._engine.settled(role, 1 << 40)  # nothing will ever come of it
        self._coach = Coach(pack, facts.direction, facts.roles, log)
        self._sides = {role: _Side() for role in facts.roles}
        self._utterances: list[Utterance] = []  # of the report
        self._heard: list[Utterance] = []  # by the engine, in the order in which they came
        self._turns: dict[int, int] = {}
        self._activity: dict[Role, list[Span]] = {}
        self._early: dict[Role, dict[str, Finding]] = {}  # found in interim text, by the id they are known under
        self._names: dict[str, str] = {}  # the engine's id -> the one known outside
        self._standing: dict[str, tuple[Finding, str]] = {}  # by the id known outside: the last reading and its status
        self._unrecognised = 0
        self.at_ms = 0

    # ---- what comes in

    def start(self, notice: str | None) -> None:
        self.log.add(CallEvent, 0, state="started", direction=self.facts.direction.value,
                     channels=[role.value for role in self.facts.roles], notice=notice)  # fmt: skip
        self._coach.checklist(self._engine, 0)

    def hear(self, hearing: Hearing) -> None:
        """What the ear made of a piece of audio; before any result of its windows."""
        self.at_ms = max(self.at_ms, hearing.heard_ms)
        for role, span in hearing.activity:
            self._activity.setdefault(role, []).append(span)
            self._engine.activity(role, span)
        for window in hearing.windows:
            self._sides[window.segments[0].role].windows += 1
        for segment in (*hearing.segments, *(one for window in hearing.windows for one in window.segments)):
            side = self._sides[segment.role]
            if not segment.gated and segment.span.start_ms not in side.early:
                side.waiting[segment.span.start_ms] = segment.span.end_ms
        if hearing.activity:
            spans = [[role.value, span.start_ms, span.end_ms] for role, span in hearing.activity]
            self.log.note_heard(at_ms=self.at_ms, activity=spans)
        for role, ms in hearing.settled.items():
            self._sides[role].detected_ms = ms
        self._settle()
        self._coach.hear(hearing.activity, hearing.voiced, self.at_ms)

    def recognised(self, window: Window, utterances: Sequence[Utterance | None], error: Exception | None) -> None:
        """A final result."""
        side = self._sides[window.segments[0].role]
        side.windows -= 1
        self._unrecognised += error is not None
        self._utterances += [utterance for utterance in utterances if utterance is not None]
        told = side.early.intersection(segment.span.start_ms for segment in window.segments)
        for segment, utterance in zip_longest(window.segments, utterances):
            side.waiting.pop(segment.span.start_ms, None)
            if segment.span.start_ms in told:
                continue
            if utterance is not None:
                self._feed(utterance)
            else:
                self._nothing_said(segment)
        side.early -= told
        self._settle(at_once=True)

    def glimpsed(self, segment: Segment, utterance: Utterance | None, *, complete: bool) -> None:
        """Interim text; ``complete`` speech counts as final for the engine where windows come late."""
        side = self._sides[segment.role]
        if complete:
            if segment.span.start_ms in side.waiting:
                del side.waiting[segment.span.start_ms]
                side.early.add(segment.span.start_ms)
                self._rejudge = True  # its window may say it otherwise, or fail
                if utterance is not None:
                    self._feed(utterance)
                else:
                    self._nothing_said(segment)
                self._settle(at_once=True)
            return
        begun = begun_ms(segment)
        if utterance is None or begun < side.settled_ms - 1:
            return  # its final is here already
        if side.seen_ms != begun:
            side.seen_ms, side.agreement = begun, Agreement()
        utterance, agreed = side.agreement.hear(utterance, is_whole=segment.span.start_ms == begun)
        side.is_open = True
        self.log.add(InterimEvent, self.at_ms, role=segment.role, start_ms=utterance.span.start_ms,
                     end_ms=utterance.span.end_ms, text=utterance.text, agreed=agreed)  # fmt: skip
        found = self._preview(utterance, agreed)
        self._show_early(segment.role, found)
        self._coach.glimpse(segment.role, found, self.at_ms)

    def agreed_ms(self, role: Role) -> int:
        """Up to where it is known what this role's speech that goes on says; of the last one that was heard."""
        return self._sides[role].agreement.until_ms

    def tick(self, at_ms: int, blind: Collection[Role] = ()) -> None:
        """The clock: reminders, timers, gauges.

        at_ms  of the call, which may run ahead of its audio
        blind  sides that deliver no audio at present
        """
        self.at_ms = max(self.at_ms, at_ms)
        self._coach.blind(blind)
        unrecognised = frozenset(role for role, side in self._sides.items() if side.waiting)
        self._coach.tick(self._engine, self.at_ms, self._behind_ms(), unrecognised)

    def dismiss(self, nudge: str) -> None:
        self._coach.dismiss(nudge, self.at_ms)

    # ---- the end

    @property
    def is_waiting(self) -> bool:
        """Something is still being recognised."""
        return any(side.windows for side in self._sides.values())

    def finish(
        self,
        duration_ms: int,
        peaks: Mapping[Role, int],
        *,
        metadata: Mapping[str, Any] | None = None,
        truncated: bool = False,
        warnings: Sequence[str] = (),
    ) -> dict[str, Any]:
        """All has been recognised: the report. Events of the end are added, the scorecard last."""
        facts = self.facts
        if self._unrecognised:
            truncated = True
            warnings = (*warnings, f"有 {self._unrecognised} 段语音未能识别，相关内容未计入")
        transcript = doubting_sides(
            Transcript(
                call_id=facts.call_id,
                utterances=tuple(sorted(self._utterances, key=lambda utterance: (utterance.span, utterance.role))),
                direction=facts.direction,
                duration_ms=duration_ms,
                metadata={**facts.metadata, **(metadata or {})},
                activity={role: tuple(spans) for role, spans in self._activity.items()},
                truncated=truncated,
                recogniser=dict(facts.recogniser),
                warnings=tuple(dict.fromkeys((*warnings, *silence_warnings(peaks)))),
            )
        )
        result = self._engine.finish(duration_ms, truncated=truncated, metadata=metadata)
        self._coach.finish(self._engine, self.at_ms)
        if self._rejudge:
            result = judged(transcript, self._pack)
            self._agree_with([one for judgement in result.judgements.values() for one in judgement.findings])
        else:
            self._tell(result.events)
            for role, early in self._early.items():
                self._withdraw_early(role, dict(early))
        report = build_report(transcript, self._pack, result)
        self.log.add(ScorecardEvent, duration_ms, report=report)
        return report

    # ---- inside

    def _feed(self, utterance: Utterance) -> None:
        turn = len(self._heard)
        self._heard.append(utterance)
        self._turns[id(utterance)] = turn
        chars = [(span.start_ms, span.end_ms) for span in utterance.characters] if utterance.characters else None
        self.log.add(UtteranceEvent, self.at_ms, turn=turn, role=utterance.role, start_ms=utterance.span.start_ms,
                     end_ms=utterance.span.end_ms, text=utterance.text, confidence=utterance.confidence,
                     chars=chars)  # fmt: skip
        self._clear_interim(utterance.role, utterance.span)
        self._coach.said(utterance, self.at_ms)
        self._tell(self._engine.feed(utterance))
        self._withdraw_early(utterance.role, self._early_before(utterance.role, utterance.span.end_ms))
        self._coach.checklist(self._engine, self.at_ms)

    def _nothing_said(self, segment: Segment) -> None:
        """Speech of which no text came: what its interim text was, and broke, is not so."""
        role = segment.role
        if self._sides[role].seen_ms < segment.span.end_ms:
            self._clear_interim(role, segment.span)
        if gone := self._early_before(role, segment.span.end_ms):
            self._withdraw_early(role, gone)
            self._coach.glimpse(role, list(self._early[role].values()), self.at_ms)

    def _clear_interim(self, role: Role, span: Span) -> None:
        side = self._sides[role]
        if side.is_open:
            side.is_open = False
            self.log.add(InterimEvent, self.at_ms, role=role, start_ms=span.start_ms, end_ms=span.end_ms, text="")

    def _agree_with(self, reported: Sequence[Finding]) -> None:
        """The report rests on other windows than what was shown: what it lacks goes, what it has besides comes up."""
        left = list(reported)
        for name, (shown, status) in list(self._standing.items()):
            like = [one for one in left if _same(shown, one)]
            if not like:
                self._publish(shown, name, "withdrawn")
                continue
            nearest = min(like, key=lambda one: abs(one.span.start_ms - shown.span.start_ms))
            left = [one for one in left if one is not nearest]
            if status != "confirmed":
                self._publish(nearest, name, "confirmed")
        for finding in left:
            self._publish(finding, finding.id, "confirmed")

    # ---- findings in speech that goes on

    def _preview(self, utterance: Utterance, agreed: int) -> list[Finding]:
        """What the part that two passes agree on would break."""
        if not agreed:
            return []
        times = utterance.characters
        span = Span(utterance.span.start_ms, times[agreed - 1].end_ms) if times else utterance.span
        return self._engine.preview(utterance.role, utterance.text[:agreed], span, utterance.confidence)

    def _show_early(self, role: Role, found: Sequence[Finding]) -> None:
        """Findings in interim text are provisional like others; one that the next pass lacks is withdrawn."""
        early = self._early.setdefault(role, {})
        gone = {name: finding for name, finding in early.items() if not any(_same(finding, one) for one in found)}
        self._withdraw_early(role, gone)
        for finding in found:
            if not any(_same(finding, known) for known in early.values()):
                early[finding.id] = finding
                self._publish(finding, finding.id, "provisional")

    def _early_before(self, role: Role, end_ms: int) -> dict[str, Finding]:
        return {name: one for name, one in self._early.get(role, {}).items() if one.span.start_ms < end_ms}

    def _withdraw_early(self, role: Role, gone: Mapping[str, Finding]) -> None:
        for name, finding in gone.items():
            del self._early[role][name]
            self._publish(finding, name, "withdrawn")

    def _public_id(self, finding: Finding) -> str:
        """The id under which a finding is known outside: that of its interim, if it came up there first."""
        if finding.id not in self._names and finding.role is not None:
            early = self._early.get(finding.role, {})
            name = next((name for name, known in early.items() if _same(finding, known)), finding.id)
            early.pop(name, None)
            self._names[finding.id] = name
        return self._names.get(finding.id, finding.id)

    def _settle(self, *, at_once: bool = False) -> None:
        """Tell the engine how far each side is known."""
        for role, side in self._sides.items():
            ms = side.settled_ms
            if ms > side.told_ms and (at_once or ms - side.told_ms >= SETTLE_EVERY_MS):
                side.told_ms = ms
                self._tell(self._engine.settled(role, ms))

    def _tell(self, events: Sequence[FindingEvent]) -> None:
        for event in events:
            self._publish(event.finding, self._public_id(event.finding), event.status.value)
        if events:
            self._coach.findings(events, self.at_ms)

    def _publish(self, finding: Finding, name: str, status: str) -> None:
        self.log.add(FindingMessage, self.at_ms, **self._fields(finding), id=name, status=status)
        if status == "withdrawn":
            self._standing.pop(name, None)
        else:
            self._standing[name] = finding, status

    def _fields(self, finding: Finding) -> dict[str, Any]:
        spans = [
            {"turn": turn, "char_start": place.char_start, "char_end": place.char_end}
            for place in finding.places
            if (turn := self._turn(place)) is not None
        ]
        first = spans[0] if spans else {"turn": None, "char_start": None, "char_end": None}
        turn = self._turns.get(id(finding.turn)) if finding.turn is not None else first["turn"]
        return {
            "rule": finding.rule,
            "title": self._titles[finding.rule],
            "category": finding.category,
            "severity": finding.severity,
            "role": finding.role,
            "turn": turn,
            "spans": spans,
            "start_ms": finding.span.start_ms,
            "end_ms": finding.span.end_ms,
            "quote": finding.quote,
            "char_start": first["char_start"],
            "char_end": first["char_end"],
            "match": finding.match,
            "confidence": finding.confidence,
            "message": finding.message,
            "suggestion": finding.suggestion,
            "clauses": list(finding.clauses),
        }

    @property
    def _titles(self) -> Mapping[str, str]:
        return {rule.id: rule.title for rule in self._pack.rules}

    def _turn(self, place: Place) -> int | None:
        return self._turns.get(id(place.utterance))

    def _behind_ms(self) -> int:
        """How long the oldest finished speech has been waiting to become text."""
        waiting = [end_ms for side in self._sides.values() for end_ms in side.waiting.values()]
        return max(0, self.at_ms - min(waiting)) if waiting else 0


def _same(one: Finding, other: Finding) -> bool:
    """Two readings of the same words: the rule is the same and they were said at the same time, or nearly."""
    return (
        one.rule == other.rule
        and one.span.start_ms < other.span.end_ms + NEARLY_MS
        and (other.span.start_ms < one.span.end_ms + NEARLY_MS)
    )
