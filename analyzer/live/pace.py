"""Speech rate of both sides while a call goes on: the gauge, and whether the agent is to be told. No clock.

Counted as the report counts it (``analyzer.rules.rate``): syllables over the time from the first to the last of an
utterance, back-channel, very short utterances and read-back numbers left out. The window is the last 30 s of a side's
*own* speech, so that a gauge does not fall while the other side talks.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal

from analyzer.engine import MERGE_GAP_MS
from analyzer.live.messages import Pace as Gauge
from analyzer.rules import Pack, Rule, Said
from analyzer.rules.rate import Pace, Rate, pace
from analyzer.rules.said import stretches_of
from analyzer.types import Role, Utterance

WINDOW_MS = 30_000
EVERY_MS = 10_000  # between two looks at whether the agent's rate is right
SUSTAINED = 2  # looks in a row that must agree before anything is said
UNMATCHED_MS = 60_000  # of the agent's speech: so long the customer's rate is waited for, where the two may match
FAR_OFF = 1.5  # times the upper limit: worth more than one hint a call

Off = Literal["fast", "slow"]


@dataclass(slots=True)
class _Side:
    """What one side has said: its pieces in order, each with the pause before it if that is part of the utterance."""

    pieces: list[Pace] = field(default_factory=list)
    total: Pace = field(default_factory=Pace)
    reached_ms: int | None = None

    def add(self, piece: Pace, start_ms: int, end_ms: int) -> None:
        gap_ms = None if self.reached_ms is None else start_ms - self.reached_ms
        if gap_ms is not None and 0 < gap_ms < MERGE_GAP_MS:
            piece = Pace(piece.syllables, piece.ms + gap_ms)
        self.reached_ms = end_ms
        self.pieces.append(piece)
        self.total += piece

    def recent(self) -> Pace:
        recent = Pace()
        for piece in reversed(self.pieces):
            if recent.ms >= WINDOW_MS:
                break
            recent += piece
        return recent


class Pacer:
    """Both sides of one call. Without a rule for the agent's rate that counts there is a gauge, and never a hint."""

    def __init__(self, pack: Pack, roles: Collection[Role]) -> None:
        self.rule = _rule_of(pack)
        self._check = self.rule.check if self.rule and isinstance(self.rule.check, Rate) else None
        self._least = self._check.utterance_min if self._check else 5
        self._enough = self._check.min_syllables if self._check else 30
        self._pack = pack
        self._sides = {role: _Side() for role in roles}
        self._looked_ms = 0
        self._n_seen = 0  # pieces of the agent at the last look
        self._streak: tuple[Off | None, int] = None, 0

    def said(self, utterance: Utterance) -> None:
        """Final text."""
        side = self._sides.get(utterance.role)
        for stretch in stretches_of(utterance, MERGE_GAP_MS) if side else ():
            said = Said(utterance.role, [stretch])
            counted = pace(said, without_read_back=True)
            if side and counted.syllables >= self._least and not self._pack.is_back_channel(said):
                side.add(counted, said.span.start_ms, said.span.end_ms)

    def gauges(self) -> dict[str, Gauge]:
        """字/分钟 by role; the band stands with the side that the rule is about."""
        return {role.value: self._gauge(role, side) for role, side in self._sides.items()}

    def _gauge(self, role: Role, side: _Side) -> Gauge:
        check = self._check if self._check and role is self._check.speaker else None
        return Gauge(
            now=self._rate(side.recent()),
            call=self._rate(side.total),
            low=check.low if check else None,
            high=check.high if check else None,
        )

    def _rate(self, counted: Pace) -> int | None:
        return counted.per_minute if counted.syllables >= self._enough else None

    # --- hints ---

    def off(self, at_ms: int) -> Off | None:
        """Whether the agent has been too fast or too slow, for the customer's own rate too, in every look of late. A
        look needs something new to have been said."""
        own = self._sides.get(Role.AGENT)
        if self._check is None or own is None:
            return None
        if at_ms - self._looked_ms >= EVERY_MS and len(own.pieces) > self._n_seen:
            self._looked_ms, self._n_seen = at_ms, len(own.pieces)
            now, (before, times) = self._look(own), self._streak
            self._streak = now, times + 1 if now == before else 1
        off, times = self._streak
        return off if times >= SUSTAINED else None

    def message(self, off: Off) -> str:
        """What the rule has to say of it; empty: nothing."""
        return getattr(self._check, f"nudge_{off}", "")

    @property
    def is_far_off(self) -> bool:
        """Much faster than the band."""
        own = self._sides.get(Role.AGENT, _Side())
        return self._check is not None and own.recent().per_minute > FAR_OFF * self._check.high

    def _look(self, own: _Side) -> Off | None:
        check, recent = self._check, own.recent()
        if check is None or not check.is_enough(recent):
            return None
        other = self._sides.get(check.other, _Side()).total
        may_match = check.match_tolerance is not None and check.other in self._sides
        if may_match and not check.is_enough(other) and own.total.ms < UNMATCHED_MS:
            return None  # it may be just the customer's own rate
        bands = check.bands(other.per_minute if check.is_enough(other) else None)
        if recent.per_minute > max(band.high for band in bands):
            return "fast"
        return "slow" if recent.per_minute < min(band.low for band in bands) else None


def _rule_of(pack: Pack) -> Rule | None:
    """The agent's rate rule that counts."""
    rules = (rule for rule in pack.rules if isinstance(rule.check, Rate) and rule.check.speaker is Role.AGENT)
    return next((rule for rule in rules if pack.profile.weight(rule).max_points > 0), None)
