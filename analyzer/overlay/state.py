"""How a call stands for its agent: reduced from its events one by one. Pure; times are ms of call time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import singledispatch
from typing import Any

from analyzer.live.messages import (
    CallEvent,
    DismissEvent,
    FindingEvent,
    GaugeEvent,
    InterimEvent,
    NudgeEvent,
    OwedEvent,
    ScorecardEvent,
    UtteranceEvent,
    WhisperEvent,
)

KEPT_SENTENCES = 80
WITHDRAWN_FOR_MS = 4_000  # a hint that turned out wrong stays so long, marked as such
WHISPER_FOR_MS = 30_000
_RANKS = {"critical": 0, "high": 1, "normal": 2}


@dataclass(frozen=True, slots=True)
class Hint:
    """A nudge on the screen, or taken back a moment ago."""

    nudge: NudgeEvent = field(repr=False)
    is_provisional: bool
    withdrawn_ms: int | None = None

    def is_visible(self, at_ms: int) -> bool:
        if self.withdrawn_ms is not None:
            return at_ms < self.withdrawn_ms + WITHDRAWN_FOR_MS
        return at_ms < self.nudge.at_ms + self.nudge.show_ms


@dataclass(frozen=True, slots=True)
class State:
    """What the overlay shows. Mappings keep the order in which things came up.

    deaf      sides whose device is gone, told by the sender
    is_cut    nobody sends audio at the moment
    gaps_ms   audio that never came, per role
    findings  by id, withdrawn ones left out
    """

    call_id: str = ""
    direction: str = "unknown"
    notice: str | None = None
    at_ms: int = 0
    seq: int = 0
    phase: str = "started"
    is_cut: bool = False
    deaf: frozenset[str] = frozenset()
    gaps_ms: Mapping[str, int] = field(default_factory=dict)
    lost: Mapping[str, int] = field(default_factory=dict)
    hints: Mapping[str, Hint] = field(default_factory=dict, repr=False)
    checklist: Mapping[tuple[str, str], OwedEvent] = field(default_factory=dict)
    gauge: GaugeEvent | None = None
    sentences: tuple[UtteranceEvent, ...] = field(default=(), repr=False)
    interim: Mapping[str, InterimEvent] = field(default_factory=dict, repr=False)
    findings: Mapping[str, FindingEvent] = field(default_factory=dict, repr=False)
    whisper: WhisperEvent | None = field(default=None, repr=False)
    report: Mapping[str, Any] | None = field(default=None, repr=False)

    @property
    def blind(self) -> frozenset[str]:
        """Sides that cannot be heard."""
        return self.deaf.union(self.gauge.blind if self.gauge else ())

    def visible_hints(self, at_ms: int) -> list[Hint]:
        """The most urgent first, of equals the newest; what was taken back last."""
        visible = [hint for hint in self.hints.values() if hint.is_visible(at_ms)]
        return sorted(
            visible,
            key=lambda hint: (hint.withdrawn_ms is not None, _RANKS[hint.nudge.priority], -hint.nudge.at_ms),
        )

    def hint_to_dismiss(self, at_ms: int) -> str | None:
        """The nudge that the agent would put away now."""
        standing = [hint.nudge.id for hint in self.visible_hints(at_ms) if hint.withdrawn_ms is None]
        return standing[0] if standing else None

    def visible_whisper(self, at_ms: int) -> WhisperEvent | None:
        whisper = self.whisper
        return whisper if whisper is not None and at_ms < whisper.at_ms + WHISPER_FOR_MS else None


def reduce(state: State, event: Any) -> State:
    """The state after one more event of ``analyzer.live.messages``; an event that was seen already changes nothing."""
    if event.seq <= state.seq:
        return state
    state = replace(state, call_id=event.call_id, seq=event.seq, at_ms=max(state.at_ms, event.at_ms))
    return _reduce(event, state)


@singledispatch
def _reduce(event: Any, state: State) -> State:
    return state


@_reduce.register
def _call(event: CallEvent, state: State) -> State:
    gaps = {role: sum(end - start for start, end in spans) for role, spans in event.gaps.items()} or state.gaps_ms
    state = replace(state, phase=event.state, gaps_ms=gaps, lost=event.lost or state.lost)
    match event.state:
        case "started":
            return replace(state, direction=event.direction, notice=event.notice)
        case "disconnected" if event.channels:
            return replace(state, deaf=state.deaf.union(event.channels))
        case "resumed" if event.channels:
            return replace(state, deaf=state.deaf.difference(event.channels))
        case _:
            return replace(state, is_cut=event.state == "disconnected")


@_reduce.register
def _utterance(event: UtteranceEvent, state: State) -> State:
    interim = {role: text for role, text in state.interim.items() if role != event.role}
    return replace(state, sentences=(*state.sentences, event)[-KEPT_SENTENCES:], interim=interim)


@_reduce.register
def _interim(event: InterimEvent, state: State) -> State:
    others = {role: text for role, text in state.interim.items() if role != event.role}
    return replace(state, interim={**others, str(event.role): event} if event.text else others)


@_reduce.register
def _finding(event: FindingEvent, state: State) -> State:
    """Hints about it follow: what is confirmed is no guess any more, what fell away is taken back."""
    findings = {key: finding for key, finding in state.findings.items() if key != event.id}
    if event.status != "withdrawn":
        findings[event.id] = event
    hints = dict(state.hints)
    for key, hint in state.hints.items():
        if hint.nudge.finding != event.id or hint.withdrawn_ms is not None:
            continue
        if event.status == "withdrawn":
            hints[key] = replace(hint, withdrawn_ms=event.at_ms)
        else:
            hints[key] = replace(hint, is_provisional=event.status == "provisional")
    return replace(state, findings=findings, hints=hints)


@_reduce.register
def _owed(event: OwedEvent, state: State) -> State:
    return replace(state, checklist={**state.checklist, (event.rule, event.element): event})


@_reduce.register
def _nudge(event: NudgeEvent, state: State) -> State:
    """What is over leaves with the next hint, so a long call does not pile them up."""
    hints = {key: hint for key, hint in state.hints.items() if hint.is_visible(event.at_ms)}
    if event.state == "shown":
        finding = state.findings.get(event.finding) if event.finding else None
        is_provisional = event.provisional and (finding is None or finding.status == "provisional")
        hints[event.id] = Hint(event, is_provisional)
    elif event.id in hints and hints[event.id].withdrawn_ms is None:
        hint = hints[event.id]
        if hint.nudge.kind == "forbidden":
            hints[event.id] = replace(hint, withdrawn_ms=event.at_ms)
        else:  # a reminder that was followed: nothing was wrong, it just goes
            del hints[event.id]
    return replace(state, hints=hints)


@_reduce.register
def _dismiss(event: DismissEvent, state: State) -> State:
    return replace(state, hints={key: hint for key, hint in state.hints.items() if key != event.nudge})


@_reduce.register
def _gauge(event: GaugeEvent, state: State) -> State:
    return replace(state, gauge=event)


@_reduce.register
def _whisper(event: WhisperEvent, state: State) -> State:
    if event.state == "sent" or state.whisper is None or state.whisper.id != event.id:
        return replace(state, whisper=None if event.state == "seen" else event)
    return replace(state, whisper=None) if event.state == "seen" else state


@_reduce.register
def _scorecard(event: ScorecardEvent, state: State) -> State:
    return replace(state, report=event.report)
