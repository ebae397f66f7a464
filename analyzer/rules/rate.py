"""``rate``: how fast a side speaks, in 字/分钟, where a 字 is a syllable a listener hears."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from analyzer.rules.call import Call, is_mostly_faint, total_ms
from analyzer.rules.checks import Check, Watch
from analyzer.rules.findings import Judgement, Wording
from analyzer.rules.said import Said
from analyzer.rules.spans import talk
from analyzer.rules.spec import Builder, Enum, RuleSpec
from analyzer.rules.truth import Truth
from analyzer.types import Role, Span

UNIT = "字/分钟"
_MINUTE_MS = 60_000
_READ_BACK = re.compile(
    r"[0-9零〇一二三四五六七八九幺两]{6,}"
)  # phone, order and card numbers; a staff number is shorter


class Denominator(StrEnum):
    """The time that syllables are counted over."""

    TURN = "turn"  # first to last syllable of each utterance
    ARTICULATION = "articulation"  # voiced time only
    GROSS = "gross"  # the whole call


@dataclass(frozen=True, slots=True)
class Pace:
    """Syllables and the time they took."""

    syllables: int = 0
    ms: int = 0

    def __add__(self, other: Pace) -> Pace:
        return Pace(self.syllables + other.syllables, self.ms + other.ms)

    @property
    def per_minute(self) -> int:
        return rate(self.syllables, self.ms)


def rate(syllables: int, ms: int) -> int:
    """Syllables per minute; 0 where there are none, or no time."""
    return round(syllables * _MINUTE_MS / ms) if ms else 0


def pace(said: Said, without_read_back: bool = False) -> Pace:
    """Syllables of an utterance and the time from its first to its last one."""
    left_out = _read_back(said) if without_read_back else []
    silent = {index for start, end in left_out for index in range(start, end)}
    counted = [i for i, heard in enumerate(said.syllables) if heard and i not in silent]
    if not counted:
        return Pace()
    start, end = said.times[counted[0]].start_ms, said.times[counted[-1]].end_ms
    skipped = sum(
        max(0, said.times[last - 1].end_ms - said.times[first].start_ms)
        for first, last in left_out
        if counted[0] < first < counted[-1]
    )
    return Pace(sum(said.syllables[i] for i in counted), max(0, end - start - skipped))


def _read_back(said: Said) -> list[tuple[int, int]]:
    """Ranges of ``said.raw`` in which a long number is read out."""
    return [said.folded.raw_range(*found.span()) for found in _READ_BACK.finditer(said.text)]


def voiced_ms(call: Call, role: Role) -> int:
    """Voiced time of a side: what VAD saw, else the turns as given."""
    return total_ms(talk(call, role))


def rates(call: Call, role: Role) -> dict[str, int]:
    """字/分钟 of one side over all its speech, by every denominator."""
    total = _sum(pace(said) for said in call.said if said.role is role)
    return {
        Denominator.TURN.value: total.per_minute,
        Denominator.ARTICULATION.value: rate(total.syllables, voiced_ms(call, role)),
        Denominator.GROSS.value: rate(total.syllables, call.end_ms),
    }


def syllable_count(call: Call, role: Role) -> int:
    return sum(sum(said.syllables) for said in call.said if said.role is role)


def _sum(paces: Iterable[Pace]) -> Pace:
    return sum(paces, Pace())


@dataclass(frozen=True, slots=True)
class Band:
    name: str
    low: int
    high: int

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class Rate(Check):
    """Violated outside every band: the fixed one, and one around the other side's rate (``match_tolerance``).

    nudge_fast, nudge_slow   reminders while the call goes on; empty: none
    """

    wording: Wording
    low: int
    high: int
    speaker: Role = Role.AGENT
    match_tolerance: float | None = None
    denominator: Denominator = Denominator.TURN
    utterance_min: int = 5
    min_syllables: int = 30
    min_speech_ms: int = 10_000
    min_confidence: float = 0.5
    nudge_fast: str = ""
    nudge_slow: str = ""

    def watch(self, call: Call) -> Watch:
        return _RateWatch(self, call)

    def is_enough(self, total: Pace) -> bool:
        """Whether so much speech can be judged."""
        return total.syllables >= self.min_syllables and total.ms >= self.min_speech_ms

    @property
    def other(self) -> Role:
        return Role.CUSTOMER if self.speaker is Role.AGENT else Role.AGENT

    def bands(self, theirs: int | None) -> Sequence[Band]:
        """What the speaker's rate may lie in, given that of the other side (None: not known)."""
        bands = [Band("absolute", self.low, self.high)]
        if self.match_tolerance is not None and theirs is not None:
            bands.append(Band(self.other.value, *around(theirs, self.match_tolerance)))
        return bands


class _RateWatch(Watch):
    def __init__(self, check: Rate, call: Call) -> None:
        self.check, self.call = check, call
        self.heard: dict[Role, list[tuple[Said, Pace]]] = {role: [] for role in Role}

    def hear(self, said: Said) -> None:
        if said.back_channel:
            return
        measured = pace(said, without_read_back=True)
        if measured.syllables >= self.check.utterance_min:
            self.heard[said.role].append((said, measured))

    def judge(self, others: Mapping[str, Judgement]) -> Judgement:
        check = self.check
        own = self._total(check.speaker)
        if not check.is_enough(own):
            unknown = self._total(Role.UNKNOWN)
            may_be_enough = unknown.ms > 0 and check.is_enough(own + unknown)
            return Judgement(Truth.UNSURE if may_be_enough else Truth.NOT_APPLICABLE)
        value = self._rate(check.speaker)
        bands = self._bands()
        measured: dict[str, Any] = {
            "value": value,
            "unit": UNIT,
            "low": check.low,
            "high": check.high,
            "bands": [{"name": b.name, "low": b.low, "high": b.high, "inside": b.holds(value)} for b in bands],
        }
        if self._is_reckoned():
            return Judgement(Truth.UNSURE, measured=measured)
        if any(band.holds(value) for band in bands):
            return Judgement(Truth.MET, measured=measured)
        if is_mostly_faint((said for said, _ in self.heard[check.speaker]), check.min_confidence):
            return Judgement(Truth.UNSURE, measured=measured)
        finding = check.wording.of_absence(Span(0, self.call.end_ms), check.speaker, measured)
        return Judgement(Truth.VIOLATED, (finding,), measured=measured)

    def _is_reckoned(self) -> bool:
        """Whether most of the time was taken from the words themselves, as of a transcript without times."""
        own = self.heard[self.check.speaker]
        reckoned = _sum(measured for said, measured in own if any(s.utterance.estimated for s in said.stretches))
        return 2 * reckoned.syllables > self._total(self.check.speaker).syllables

    def _bands(self) -> Sequence[Band]:
        other = self.check.other
        return self.check.bands(self._rate(other) if self.check.is_enough(self._total(other)) else None)

    def _rate(self, role: Role) -> int:
        total = self._total(role)
        match self.check.denominator:
            case Denominator.TURN:
                return total.per_minute
            case Denominator.ARTICULATION:
                return rate(syllable_count(self.call, role), voiced_ms(self.call, role))
            case Denominator.GROSS:
                return rate(syllable_count(self.call, role), self.call.end_ms)

    def _total(self, role: Role) -> Pace:
        return _sum(measured for _, measured in self.heard[role])


def around(target: float, tolerance: float) -> tuple[int, int]:
    """The band of ``tolerance`` (0.2 = 20 %) around a rate.

    >>> around(120, 0.2)
    (96, 144)
    """
    return round(target * (1 - tolerance)), round(target * (1 + tolerance))


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
    nudge_fast: str = ""
    nudge_slow: str = ""

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
            nudge_fast=self.nudge_fast,
            nudge_slow=self.nudge_slow,
        )
