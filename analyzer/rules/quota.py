"""``quota``: how often something is said lies within limits (礼貌用语 次数)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from analyzer.rules.call import WHOLE_CALL, Call, Window, is_by, may_be_by
from analyzer.rules.checks import Check, Watch
from analyzer.rules.findings import Judgement, Wording
from analyzer.rules.patterns import HESITATION
from analyzer.rules.phrases import Hit, PhraseSet, keep_longest
from analyzer.rules.said import Said
from analyzer.rules.spec import Builder, Enum, RuleSpec, Texts, role_of
from analyzer.rules.truth import Truth
from analyzer.types import Role

_MINUTE_MS = 60_000


class Per(StrEnum):
    CALL = "call"
    MINUTE = "minute"
    UTTERANCE = "utterance"


@dataclass(frozen=True, slots=True)
class Quota(Check):
    """``low`` and ``high`` bound the number of uses ``per`` unit; from ``unsure_from`` on, too few is only unsure."""

    phrases: PhraseSet
    wording: Wording
    speaker: Role | None = Role.AGENT
    window: Window = WHOLE_CALL
    min_confidence: float = 0.5
    per: Per = Per.CALL
    low: float | None = None
    high: float | None = None
    unsure_from: float | None = None
    unit: str = "次"

    @property
    def listens_for(self) -> Collection[PhraseSet] | None:
        return (self.phrases,)

    def watch(self, call: Call) -> Watch:
        return _QuotaWatch(self, call)

    def uses_in(self, said: Said) -> list[Hit]:
        """Uses in one utterance. The same term again in one breath, with nothing but hesitation between, is one use."""
        uses: list[Hit] = []
        for hit in keep_longest(self.phrases.find(said)):
            if not (uses and _repeats(uses[-1], hit)):
                uses.append(hit)
            else:
                uses[-1] = Hit(hit.phrase, said, uses[-1].start, hit.end, hit.match, hit.confidence, hit.order)
        return uses


def _repeats(before: Hit, hit: Hit) -> bool:
    between = hit.said.text[before.end : hit.start]
    return before.phrase.term == hit.phrase.term and HESITATION.issuperset(between)


class _QuotaWatch(Watch):
    def __init__(self, check: Quota, call: Call) -> None:
        self.check, self.call = check, call
        self.uses: list[Hit] = []

    def hear(self, said: Said) -> None:
        if may_be_by(said, self.check.speaker):
            self.uses += self.check.uses_in(said)

    def judge(self, others: Mapping[str, Judgement]) -> Judgement:
        check, call = self.check, self.call
        uses = [use for use in self.uses if check.window.holds(use.said, use.span, call)]
        sure = [use for use in uses if use.confidence >= check.min_confidence and is_by(use.said, check.speaker)]
        value, possible = self._value(len(sure)), self._value(len(uses))
        measured = {"value": value, "unit": check.unit, "low": check.low, "high": check.high}
        truth = self._truth(value, possible)
        if truth is not Truth.VIOLATED:
            return Judgement(truth, measured=measured)
        names = {"value": value, "count": len(sure), "low": check.low, "high": check.high}
        if check.high is not None and value > check.high:
            return Judgement(truth, tuple(check.wording.of_hit(use, **names) for use in sure), measured=measured)
        window = check.window.span(check.speaker, call)
        return Judgement(truth, (check.wording.of_absence(window, check.speaker, names),), measured=measured)

    def _value(self, count: int) -> float:
        match self.check.per:
            case Per.CALL:
                return count
            case Per.MINUTE:
                units = self.call.end_ms / _MINUTE_MS
            case Per.UTTERANCE:
                units = len(self._own())
        return round(count / units, 2) if units else 0

    def _own(self) -> Sequence[Said]:
        return [s for s in self.call.by(self.check.speaker) if self.check.window.holds(s, s.span, self.call)]

    def _truth(self, value: float, possible: float) -> Truth:
        check, call = self.check, self.call
        if not any(may_be_by(said, check.speaker) for said in call.said):
            return Truth.NOT_APPLICABLE
        if check.high is not None and value > check.high:
            return Truth.VIOLATED
        if check.low is None or value >= check.low:
            is_open = check.high is not None and (possible > check.high or call.truncated)
            return Truth.UNSURE if is_open else Truth.MET
        if check.unsure_from is not None and value >= check.unsure_from:
            return Truth.UNSURE
        may_be_more = possible >= (check.low if check.unsure_from is None else check.unsure_from)
        if may_be_more or call.truncated or call.is_doubtful(check.speaker, check.window, check.min_confidence):
            return Truth.UNSURE
        return Truth.VIOLATED


class QuotaSpec(RuleSpec):
    kind: Literal["quota"]
    any_of: Texts = []
    any_in: Texts = []
    allow: Texts = []
    per: Annotated[Per, Enum] = Per.CALL
    min: float | None = Field(default=None, ge=0)
    max: float | None = Field(default=None, ge=0)
    unsure_from: float | None = Field(default=None, ge=0)
    unit: str = "次"

    def build_check(self, builder: Builder) -> Quota:
        phrases = builder.phrases(self.any_of, self.any_in)
        if not phrases and not builder.faults:
            builder.fault((), "'quota' needs any_of or any_in")
        if self.min is None and self.max is None:
            builder.fault((), "'quota' needs min or max")
        return Quota(
            PhraseSet(phrases, builder.patterns(self.allow, ("allow",))),
            self.wording,
            speaker=role_of(self.speaker),
            window=self.window.build(),
            min_confidence=self.min_confidence,
            per=self.per,
            low=self.min,
            high=self.max,
            unsure_from=self.unsure_from,
            unit=self.unit,
        )
