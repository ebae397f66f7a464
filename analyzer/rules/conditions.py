"""Conditions under which a rule does not apply: facts of the call, and things said in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from analyzer.rules.call import Call, Window, may_be_by
from analyzer.rules.phrases import PhraseSet
from analyzer.rules.truth import Truth, every, negation, some
from analyzer.types import Role


class Condition(Protocol):
    def truth(self, call: Call) -> Truth:
        """MET, VIOLATED or UNSURE, once the call is over."""


@dataclass(frozen=True, slots=True)
class MetadataIs:
    """Every named call attribute has one of the values; an unknown attribute fulfils nothing."""

    wanted: Mapping[str, Sequence[Any]]

    def truth(self, call: Call) -> Truth:
        holds = all(call.metadata.get(key) in values for key, values in self.wanted.items())
        return Truth.MET if holds else Truth.VIOLATED


@dataclass(frozen=True, slots=True)
class WasSaid:
    phrases: PhraseSet
    speaker: Role | None
    window: Window
    min_confidence: float

    def truth(self, call: Call) -> Truth:
        first = self.first(call, after_ms=-1)
        return first[1] if first else Truth.VIOLATED

    def first(self, call: Call, after_ms: int) -> tuple[int, Truth] | None:
        """Start of the first hit that starts after ``after_ms``, a sure one if there is any, and MET or UNSURE."""
        doubtful = None
        for said in call.said:
            if not may_be_by(said, self.speaker):
                continue
            for hit in self.phrases.find(said):
                start = hit.span.start_ms
                if start <= after_ms or not (self.window.holds(said, hit.span, call) or said.turn_of_talk is None):
                    continue
                if hit.confidence >= self.min_confidence and (self.speaker is None or said.role is self.speaker):
                    return start, Truth.MET
                doubtful = doubtful or (start, Truth.UNSURE)
        return doubtful


@dataclass(frozen=True, slots=True)
class Every:
    members: Sequence[Condition]

    def truth(self, call: Call) -> Truth:
        return every(member.truth(call) for member in self.members)


@dataclass(frozen=True, slots=True)
class Some:
    members: Sequence[Condition]

    def truth(self, call: Call) -> Truth:
        return some(member.truth(call) for member in self.members)


@dataclass(frozen=True, slots=True)
class Neither:
    """None of the members holds."""

    members: Sequence[Condition]

    def truth(self, call: Call) -> Truth:
        return negation(some(member.truth(call) for member in self.members))


@dataclass(frozen=True, slots=True)
class InOrder:
    """Each thing is said after the one before."""

    members: Sequence[WasSaid]

    def truth(self, call: Call) -> Truth:
        after, truths = -1, []
        for member in self.members:
            first = member.first(call, after)
            if first is None:
                return Truth.VIOLATED
            after = first[0]
            truths.append(first[1])
        return every(truths)
