"""``loudness``: a side's level against its own running median, in dB. It says louder or fainter, never what was felt.

Theory of operation. Call time is a grid of seconds; a second in whose middle a side speaks carries the level of what
it says then. The *usual* level at some moment is the median of that side's seconds before it, known once there are
``usual_from_s`` of them. Without a cue every utterance is compared with the usual level; with a cue (the customer asks
to speak up) the next ``utterances`` are compared with the level before the cue. Where no audio was seen there is
nothing to judge.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Any, Literal

from pydantic import Field

from analyzer.rules.anchor import Cue, Point
from analyzer.rules.call import Call, is_by
from analyzer.rules.checks import Check, Watch
from analyzer.rules.findings import Finding, Judgement, Wording
from analyzer.rules.said import Said
from analyzer.rules.spec import Builder, CueSpec, RuleSpec
from analyzer.rules.truth import Truth
from analyzer.types import Match, Role, Span

UNIT = "dB"
_SECOND_MS = 1000


@dataclass(frozen=True, slots=True)
class Loudness(Check):
    """``low_db`` and ``high_db`` bound the difference from the usual level; ``utterances`` counts those after a cue."""

    wording: Wording
    speaker: Role = Role.AGENT
    low_db: float | None = None
    high_db: float | None = None
    usual_from_s: int = 10
    at_least_s: int = 1
    cue: Cue | None = None
    utterances: int = 2

    def watch(self, call: Call) -> Watch:
        return _LoudnessWatch(self, call)

    def holds(self, difference_db: float) -> bool:
        if self.low_db is not None and difference_db < self.low_db:
            return False
        return self.high_db is None or difference_db <= self.high_db


@dataclass(frozen=True, slots=True)
class _Compared:
    """A stretch of speech and how much louder than usual it was. ``point``: the cue's words it follows."""

    said: tuple[Said, ...]
    difference_db: float
    point: Point | None = None

    @property
    def is_sure(self) -> bool:
        return self.point is None or self.point.sure


@dataclass(slots=True)
class _Waiting:
    """A cue and the utterances after it."""

    point: Point
    usual_db: float
    said: list[Said] = field(default_factory=list)
    levels: list[float] = field(default_factory=list)


class _LoudnessWatch(Watch):
    def __init__(self, check: Loudness, call: Call) -> None:
        self.check, self.call = check, call
        self.levels: list[float] = []  # of the speaker's seconds so far, in order of loudness
        self.waiting: list[_Waiting] = []
        self.compared: list[_Compared] = []

    # --- while the call goes on ---

    def hear(self, said: Said) -> None:
        usual = self._usual_db()
        if is_by(said, self.check.speaker):
            levels = levels_of(said)
            if len(levels) >= self.check.at_least_s:
                self._compare(said, levels, usual)
            for level in levels:
                self.levels.insert(bisect_left(self.levels, level), level)
        points = self.check.cue.points(said) if self.check.cue else ()
        if points and usual is not None:
            self.waiting.append(_Waiting(points[0], usual))

    def _usual_db(self) -> float | None:
        return median(self.levels) if len(self.levels) >= self.check.usual_from_s else None

    def _compare(self, said: Said, levels: Sequence[float], usual: float | None) -> None:
        if self.check.cue is None:
            if usual is not None:
                self.compared.append(_Compared((said,), round(fmean(levels) - usual, 1)))
            return
        for waiting in self.waiting:
            waiting.said.append(said)
            waiting.levels += levels
        for waiting in [w for w in self.waiting if len(w.said) == self.check.utterances]:
            self._close(waiting)

    def _close(self, waiting: _Waiting) -> None:
        self.waiting.remove(waiting)
        difference = round(fmean(waiting.levels) - waiting.usual_db, 1)
        self.compared.append(_Compared(tuple(waiting.said), difference, waiting.point))

    def findings_so_far(self) -> Sequence[tuple[Finding, bool]]:
        cue = self.check.cue
        is_final = cue is None or not cue.window.needs_end
        found = (one for one in self._wrong(self.compared) if one.is_sure and self._counts(one))
        return [(self._finding(one), is_final) for one in found]

    # --- at the end ---

    def judge(self, others: Mapping[str, Judgement]) -> Judgement:
        for waiting in [w for w in self.waiting if w.said]:
            self._close(waiting)
        compared = [one for one in self.compared if self._counts(one)]
        if not compared:
            return Judgement(Truth.NOT_APPLICABLE)
        wrong = list(self._wrong(compared))
        sure = [one for one in wrong if one.is_sure]
        findings = tuple(self._finding(one) for one in sure)
        return Judgement(self._truth(bool(sure), bool(wrong)), findings, measured=self._measured(compared))

    def _counts(self, one: _Compared) -> bool:
        """Whether the cue lies in its window."""
        cue = self.check.cue
        return cue is None or one.point is None or cue.counts(one.point, self.call)

    def _wrong(self, compared: Sequence[_Compared]) -> Iterator[_Compared]:
        return (one for one in compared if not self.check.holds(one.difference_db))

    def _truth(self, violated: bool, suspected: bool) -> Truth:
        if violated:
            return Truth.VIOLATED
        return Truth.UNSURE if suspected or self.call.truncated else Truth.MET

    def _measured(self, compared: Sequence[_Compared]) -> dict[str, Any]:
        """The largest difference on the side that is bounded."""
        differences = [one.difference_db for one in compared]
        value = min(differences) if self.check.high_db is None else max(differences)
        return {"value": value, "unit": UNIT, "low": self.check.low_db, "high": self.check.high_db}

    def _finding(self, one: _Compared) -> Finding:
        said, wording = one.said[0], self.check.wording
        quote, places = said.quote(0, len(said.text)), said.places(0, len(said.text))
        return Finding(
            rule=wording.rule,
            severity=wording.severity,
            span=Span(said.span.start_ms, max(s.span.end_ms for s in one.said)),
            match=Match.EXACT,
            message=wording.say(quote=quote, value=abs(one.difference_db), low=self.check.low_db,
                                high=self.check.high_db),
            role=said.role,
            places=places,
            quote=quote,
            suggestion=wording.suggestion,
        )  # fmt: skip


def levels_of(said: Said) -> list[float]:
    """The level in each second of the call's grid in whose middle the utterance is being said; none without audio."""
    half = _SECOND_MS // 2
    first = (said.span.start_ms + half - 1) // _SECOND_MS * _SECOND_MS + half
    levels = []
    for middle in range(first, said.span.end_ms, _SECOND_MS):
        stretch = max((s for s in said.stretches if s.span.start_ms <= middle), key=lambda s: s.span.start_ms)
        if stretch.utterance.level_db is not None:
            levels.append(stretch.utterance.level_db)
    return levels


class LoudnessSpec(RuleSpec):
    kind: Literal["loudness"]
    speaker: Literal["agent", "customer"] = "agent"
    low_db: float | None = None
    high_db: float | None = None
    usual_from_s: int = Field(default=10, ge=1)
    at_least_s: int = Field(default=1, ge=1)
    cue: CueSpec | None = None
    utterances: int = Field(default=2, ge=1)

    def build_check(self, builder: Builder) -> Loudness:
        if self.low_db is None and self.high_db is None:
            builder.fault((), "'loudness' needs low_db or high_db")
        return Loudness(
            self.wording,
            Role(self.speaker),
            self.low_db,
            self.high_db,
            self.usual_from_s,
            self.at_least_s,
            self.cue.cue(builder, ("cue",)) if self.cue else None,
            self.utterances,
        )
