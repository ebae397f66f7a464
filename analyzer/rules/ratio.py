"""``ratio``: uses of A over uses of B lie in the range (您 : 你, requests that end in 好吗, thanks late : early)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from analyzer.rules.call import WHOLE_CALL, Call, Window, is_by, may_be_by
from analyzer.rules.checks import Check, Watch
from analyzer.rules.findings import Finding, Judgement, Wording
from analyzer.rules.phrases import Hit, PhraseSet, keep_longest
from analyzer.rules.said import Said
from analyzer.rules.spec import Builder, RuleSpec, Spec, Texts, WindowSpec, role_of
from analyzer.rules.truth import Truth
from analyzer.types import Role


@dataclass(frozen=True, slots=True)
class Uses:
    """What is counted, and where."""

    phrases: PhraseSet
    window: Window = WHOLE_CALL

    def find(self, said: Said) -> list[Hit]:
        return keep_longest(self.phrases.find(said))


@dataclass(frozen=True, slots=True)
class Ratio(Check):
    """``part`` over ``whole``, between ``low`` and ``high``. With fewer than ``at_least`` uses of ``whole`` there is
    nothing to judge."""

    part: Uses
    whole: Uses
    wording: Wording
    speaker: Role | None = Role.AGENT
    min_confidence: float = 0.5
    low: float | None = None
    high: float | None = None
    at_least: int = 1
    unit: str = ""

    @property
    def listens_for(self) -> Collection[PhraseSet] | None:
        return self.part.phrases, self.whole.phrases

    def watch(self, call: Call) -> Watch:
        return _RatioWatch(self, call)

    def is_outside(self, value: float) -> bool:
        return (self.low is not None and value < self.low) or (self.high is not None and value > self.high)


class _RatioWatch(Watch):
    def __init__(self, check: Ratio, call: Call) -> None:
        self.check, self.call = check, call
        self.part: list[Hit] = []
        self.whole: list[Hit] = []

    def hear(self, said: Said) -> None:
        if may_be_by(said, self.check.speaker):
            self.part += self.check.part.find(said)
            self.whole += self.check.whole.find(said)

    def judge(self, others: Mapping[str, Judgement]) -> Judgement:
        check = self.check
        part, whole = self._inside(check.part, self.part), self._inside(check.whole, self.whole)
        sure_part, sure_whole = list(filter(self._is_sure, part)), list(filter(self._is_sure, whole))
        if len(whole) < check.at_least:
            return Judgement(self._truth_of_too_few())
        if len(sure_whole) < check.at_least:
            return Judgement(Truth.UNSURE)
        value = round(len(sure_part) / len(sure_whole), 2)
        measured = {"value": value, "unit": check.unit, "low": check.low, "high": check.high}
        doubtful = (part, whole) != (sure_part, sure_whole) or self.call.truncated
        if doubtful and check.is_outside(value) != check.is_outside(round(len(part) / len(whole), 2)):
            return Judgement(Truth.UNSURE, measured=measured)
        if not check.is_outside(value):
            return Judgement(Truth.MET, measured=measured)
        if self._is_doubtful():
            return Judgement(Truth.UNSURE, measured=measured)
        return Judgement(Truth.VIOLATED, self._findings(value, sure_part, sure_whole), measured=measured)

    def _inside(self, uses: Uses, hits: Sequence[Hit]) -> list[Hit]:
        return [hit for hit in hits if uses.window.holds(hit.said, hit.span, self.call)]

    def _is_sure(self, hit: Hit) -> bool:
        return hit.confidence >= self.check.min_confidence and is_by(hit.said, self.check.speaker)

    def _is_doubtful(self) -> bool:
        check, call = self.check, self.call
        windows = (check.part.window, check.whole.window)
        return any(call.is_doubtful(check.speaker, window, check.min_confidence) for window in windows)

    def _truth_of_too_few(self) -> Truth:
        return Truth.UNSURE if self.call.truncated and self.whole else Truth.NOT_APPLICABLE

    def _findings(self, value: float, part: Sequence[Hit], whole: Sequence[Hit]) -> tuple[Finding, ...]:
        """Too high: the uses of the part. Too low: the uses of the whole that are none of the part, or the lack."""
        check = self.check
        names = {"value": value, "count": len(part), "low": check.low, "high": check.high}
        blamed = list(part) if check.high is not None and value > check.high else _rest(part, whole)
        if blamed and check.part.window == check.whole.window:
            return tuple(check.wording.of_hit(hit, **names) for hit in blamed)
        window = check.part.window.span(check.speaker, self.call)
        return (check.wording.of_absence(window, check.speaker, names),)


def _rest(part: Sequence[Hit], whole: Sequence[Hit]) -> list[Hit]:
    return [hit for hit in whole if not any(hit.overlaps(other) for other in part)]


class UsesSpec(Spec):
    """What stands under ``to``."""

    any_of: Texts = []
    any_in: Texts = []
    allow: Texts = []
    window: WindowSpec | None = None


class RatioSpec(RuleSpec):
    kind: Literal["ratio"]
    any_of: Texts = []
    any_in: Texts = []
    allow: Texts = []
    to: UsesSpec
    min: float | None = Field(default=None, ge=0)
    max: float | None = Field(default=None, ge=0)
    at_least: int = Field(default=1, ge=1)
    unit: str = ""

    def build_check(self, builder: Builder) -> Ratio:
        part = PhraseSet(builder.phrases(self.any_of, self.any_in), builder.patterns(self.allow, ("allow",)))
        whole = PhraseSet(
            builder.phrases(self.to.any_of, self.to.any_in, ("to",)), builder.patterns(self.to.allow, ("to", "allow"))
        )
        if not builder.faults and not (part and whole):
            builder.fault((), "'ratio' needs any_of or any_in, and the same under 'to'")
        if self.min is None and self.max is None:
            builder.fault((), "'ratio' needs min or max")
        return Ratio(
            Uses(part, self.window.build()),
            Uses(whole, (self.to.window or self.window).build()),
            self.wording,
            speaker=role_of(self.speaker),
            min_confidence=self.min_confidence,
            low=self.min,
            high=self.max,
            at_least=self.at_least,
            unit=self.unit,
        )
