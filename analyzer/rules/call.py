"""What is known of the call a rule is judged on, and windows into it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from analyzer.rules.said import Said
from analyzer.types import Direction, Role, Span

_SYSTEM, _UNKNOWN = Role.SYSTEM, Role.UNKNOWN
_NOT_OVER_MS = 1 << 53  # the end of a call that goes on
_MOSTLY = 0.5  # share of a speaker's characters below the wanted confidence from which absence proves nothing


@dataclass(slots=True)
class Call:
    """Facts of one call, filled in while it goes on.

    said       closed utterances in order of call time
    activity   voiced spans per role as VAD gave them (empty where no audio was seen)
    end_ms     length of the call; 0 until it is over
    """

    direction: Direction = Direction.UNKNOWN
    metadata: Mapping[str, Any] = field(default_factory=dict, repr=False)
    truncated: bool = False
    starts_late: bool = False
    said: list[Said] = field(default_factory=list)
    turns: dict[Role, int] = field(default_factory=dict)
    activity: dict[Role, list[Span]] = field(default_factory=dict)
    end_ms: int = 0
    _doubts: dict[Any, bool] = field(default_factory=dict, repr=False)

    def by(self, speaker: Role | None) -> list[Said]:
        """What ``speaker`` said (None: anyone but the system)."""
        return [said for said in self.said if is_by(said, speaker)]

    def is_doubtful(self, speaker: Role | None, window: Window, min_confidence: float) -> bool:
        """Whether something the speaker said in the window may have been missed: its speaker is unknown, or most of it
        was recognised with less than ``min_confidence``."""
        key = speaker, window, min_confidence
        if not self.end_ms:
            return self._is_doubtful(*key)
        if key not in self._doubts:  # many rules ask the same at the end
            self._doubts[key] = self._is_doubtful(*key)
        return self._doubts[key]

    def _is_doubtful(self, speaker: Role | None, window: Window, min_confidence: float) -> bool:
        inside = [s for s in self.said if window.may_hold(s, self)]
        if speaker and any(s.role is Role.UNKNOWN for s in inside):
            return True
        return is_mostly_faint([s for s in inside if is_by(s, speaker)], min_confidence)


def is_by(said: Said, speaker: Role | None) -> bool:
    return said.role is speaker if speaker else said.role is not _SYSTEM


def may_be_by(said: Said, speaker: Role | None) -> bool:
    """As ``is_by``, and unknown speakers count: what they said makes a check unsure, not violated."""
    return said.role is _UNKNOWN or is_by(said, speaker)


def is_mostly_faint(said: Iterable[Said], min_confidence: float) -> bool:
    """Most of the characters were recognised with less than ``min_confidence``."""
    total = faint = 0
    for one in said:
        total += len(one.text)
        faint += len(one.text) if one.mean_confidence < min_confidence else 0
    return faint > _MOSTLY * total


@dataclass(frozen=True, slots=True)
class Window:
    """Where a check looks. Of turns of talk it is the speaker's first or last ``turns``; of time, what lies between the
    bounds, each in ms, in percent of the call, or (negative) in ms before its end. The default is the whole call."""

    first_turns: int | None = None
    last_turns: int | None = None
    from_ms: int | None = None
    to_ms: int | None = None
    last_ms: int | None = None
    from_percent: float | None = None
    to_percent: float | None = None

    @property
    def needs_end(self) -> bool:
        """Only the end of the call tells what it holds."""
        ends = (self.last_turns, self.last_ms, self.from_percent, self.to_percent)
        return any(bound is not None for bound in ends)

    @property
    def by_turns(self) -> bool:
        return self.first_turns is not None or self.last_turns is not None

    def holds(self, said: Said, span: Span, call: Call) -> bool:
        """Whether a hit of ``said`` at ``span`` lies inside: its turn of talk, or its midpoint, does."""
        if self.by_turns:
            return said.turn_of_talk is not None and self._holds_turn(said.turn_of_talk, call.turns.get(said.role, 0))
        bounds = self._bounds(call)
        return bounds.start_ms <= span.midpoint_ms < max(bounds.end_ms, bounds.start_ms + 1)

    def may_hold(self, said: Said, call: Call) -> bool:
        """As ``holds`` for the whole utterance, and an utterance without a turn of talk may stand anywhere."""
        return (self.by_turns and said.turn_of_talk is None) or self.holds(said, said.span, call)

    def is_past(self, said: Said) -> bool:
        """Whether an utterance certainly comes after it."""
        turn = said.turn_of_talk
        return self.first_turns is not None and turn is not None and turn >= self.first_turns

    def is_closed(self, speaker: Role | None, call: Call) -> bool:
        """Whether speech that follows ``call.said`` lies outside."""
        if self.first_turns is None:
            return False
        return any(s.turn_of_talk is not None and s.turn_of_talk >= self.first_turns for s in call.by(speaker))

    def span(self, speaker: Role | None, call: Call) -> Span:
        """The window in call time, once the call is over."""
        if not self.by_turns:
            return self._bounds(call)
        inside = [s.span for s in call.by(speaker) if self.holds(s, s.span, call)]
        if self.last_turns is not None:
            return Span(min((s.start_ms for s in inside), default=0), call.end_ms)
        return Span(0, max((s.end_ms for s in inside), default=call.end_ms))

    def _holds_turn(self, turn: int, turns: int) -> bool:
        if self.first_turns is not None:
            return turn < self.first_turns
        return turn >= turns - (self.last_turns or 0)

    def _bounds(self, call: Call) -> Span:
        end = call.end_ms
        first, last = 0, end or _NOT_OVER_MS
        if self.from_ms is not None:
            first = self.from_ms
        if self.to_ms is not None:
            last = min(last, self.to_ms)
        if self.last_ms is not None:
            first = max(0, end - self.last_ms)
        if self.from_percent is not None:
            first = round(end * self.from_percent / 100)
        if self.to_percent is not None:
            last = round(end * self.to_percent / 100)
        return Span(first, max(first, last))


WHOLE_CALL = Window()


def total_ms(spans: Iterable[Span]) -> int:
    """Time covered by ``spans``, which may overlap.

    >>> total_ms([Span(0, 100), Span(50, 200), Span(300, 400)])
    300
    """
    covered, reached = 0, 0
    for span in sorted(spans):
        covered += max(0, span.end_ms - max(span.start_ms, reached))
        reached = max(reached, span.end_ms)
    return covered
