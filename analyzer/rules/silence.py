"""``silence``: no stretch of silence that the agent owes an end to (冷场).

Theory of operation. A silence is a stretch in which no side speaks, the system (music, announcements) included. Who
owes its end is told by what was said last: after the customer's words it is the agent; after the agent's words it is
the agent too, unless they announced a wait (then it is a hold, and other rules judge it), asked the customer something,
gave them something to do, or ended the talk. A customer who looks something up, or says goodbye, owes nothing to hear.
"Hello? Are you there?" ends no silence. So what is known before a silence decides about it, and it can be told of while
it lasts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal

from pydantic import Field

from analyzer.rules.call import Call, may_be_by
from analyzer.rules.checks import Check, Watch
from analyzer.rules.findings import Finding, Judgement, Occasion, Owed, Running, Wording
from analyzer.rules.hold import LONGEST_REST
from analyzer.rules.phrases import PhraseSet
from analyzer.rules.said import Said
from analyzer.rules.spans import gaps, joined, seconds, talk
from analyzer.rules.spec import Builder, RuleSpec, Texts
from analyzer.rules.truth import Truth
from analyzer.types import Role, Span

_SAME_BREATH_MS = 5000  # agent's utterances nearer than this belong to one announcement
_UNHEARD_MS = 2000  # voice so long after the last words that they cannot tell who owes what
_TIMED_APART_MS = 1000  # more than what lies between the first character of a word and its voice as VAD sees it
_LOOK_BACK = 12  # utterances before a silence that can matter
_QUESTION_MARKS = ("?", "？")


@dataclass(frozen=True, slots=True)
class Cues:
    """What, said last, settles who owes the end of a silence. The first four are the agent's words."""

    announced: PhraseSet
    asked: PhraseSet
    given_to_do: PhraseSet
    over: PhraseSet  # either side's: the talk is at its end
    busy: PhraseSet  # the customer looks something up
    anyone_there: PhraseSet  # the customer asks into the silence

    def announces(self, said: Said) -> bool:
        """Whether the agent announces a wait, and has not brought the news in the same utterance."""
        hits = self.announced.find(said)
        return bool(hits) and len(said.text) - max(hit.end for hit in hits) <= LONGEST_REST

    def asks(self, said: Said) -> bool:
        return said.raw.rstrip().endswith(_QUESTION_MARKS) or self.asked.any(said)


@dataclass(frozen=True, slots=True)
class Silence(Check):
    """``longer_than_ms`` is what an owed silence may last; ``nudge_ms`` after its start the agent is reminded."""

    wording: Wording
    cues: Cues
    longer_than_ms: int
    nudge_ms: int | None = None
    nudge: str = ""
    min_confidence: float = 0.5

    @property
    def reminds(self) -> bool:
        return self.nudge_ms is not None

    def watch(self, call: Call) -> Watch:
        return _SilenceWatch(self, call)

    def owes(self, before: Sequence[Said], start_ms: int) -> Truth:
        """Whether the agent owes the end of a silence after ``before`` (latest first): VIOLATED, MET (not theirs) or
        UNSURE."""
        heard = [said for said in before if not self.is_asking_into_silence(said)]
        if not heard or heard[0].role is Role.SYSTEM:
            return Truth.MET
        last = next((said for said in heard if not said.back_channel), None)
        if last is None or last.role is Role.SYSTEM:
            return Truth.MET
        if self._is_excused(last, heard):
            return Truth.MET
        is_clear = last.role is not Role.UNKNOWN and last.mean_confidence >= self.min_confidence
        is_complete = max(said.span.end_ms for said in before) >= start_ms - _UNHEARD_MS
        return Truth.VIOLATED if is_clear and is_complete else Truth.UNSURE

    def is_asking_into_silence(self, said: Said) -> bool:
        return said.role is Role.CUSTOMER and self.cues.anyone_there.any(said)

    def _is_excused(self, last: Said, heard: Sequence[Said]) -> bool:
        cues = self.cues
        if cues.over.any(last) or any(map(cues.announces, _last_words_of_agent(heard))):
            return True
        if last.role is not Role.AGENT:
            return last.role is Role.CUSTOMER and cues.busy.any(last)
        if cues.given_to_do.any(last):
            return True
        is_answered = any(said.role is Role.CUSTOMER for said in heard[: heard.index(last)])
        return cues.asks(last) and not is_answered


def _last_words_of_agent(heard: Sequence[Said]) -> Iterator[Said]:
    """The agent's last utterance and what they said right before it (latest first)."""
    reached: int | None = None
    for said in heard:
        if said.role is Role.AGENT and not said.back_channel:
            if reached is not None and reached - said.span.end_ms > _SAME_BREATH_MS:
                return
            reached = said.span.start_ms
            yield said


class _SilenceWatch(Watch):
    def __init__(self, check: Silence, call: Call) -> None:
        self.check, self.call = check, call
        self.reached_ms = 0
        self.quiet_from_ms = 0
        self.past: list[Finding] = []  # of silences that are over
        self.is_over = False  # a long one is, and is not among them yet

    # --- while the call goes on ---

    def hear(self, said: Said) -> None:
        if self.check.is_asking_into_silence(said):
            return
        self.is_over = self.is_over or said.span.start_ms - self.quiet_from_ms > self.check.longer_than_ms
        self.quiet_from_ms = max(self.quiet_from_ms, said.span.end_ms)

    def reach(self, ms: int) -> None:
        self.reached_ms = ms

    def findings_so_far(self) -> Sequence[tuple[Finding, bool]]:
        """A silence that still lasts is told of as soon as it is too long."""
        findings = self.past
        if self.is_over or self.reached_ms - self.quiet_from_ms > self.check.longer_than_ms:
            findings = self._findings_until(self.reached_ms)
        if self.is_over:
            self.past, self.is_over = findings, False
        is_final = self._has_agent()  # else there may be nothing to judge at the end
        return [(finding, is_final) for finding in findings]

    def _findings_until(self, ms: int) -> list[Finding]:
        """As at the end of the call, as far as everything is known that began before ``ms``."""
        owed = self._owed_until(ms)
        return [self._finding(gap) for gap, truth in owed.items() if truth is Truth.VIOLATED]

    def owed(self, unsettled: Sequence[Said]) -> Sequence[Owed]:
        check = self.check
        if check.nudge_ms is None or (start := self._owed_since_ms(unsettled)) is None:
            return ()
        suggestion = check.wording.suggestion
        return [Owed(check.wording.rule, "silence", check.nudge, start + check.nudge_ms, Occasion.QUIET, suggestion)]

    def running(self, unsettled: Sequence[Said], ms: int) -> Running | None:
        start = self._owed_since_ms(unsettled)
        return None if start is None else Running(Occasion.QUIET, start, (self.check.longer_than_ms,))

    def _owed_since_ms(self, unsettled: Sequence[Said]) -> int | None:
        """Start of the silence that goes on, if the agent owes its end."""
        start = self._last_voice_ms(unsettled)
        return start if self._owes(Span(start, start), unsettled) is Truth.VIOLATED else None

    def _last_voice_ms(self, unsettled: Sequence[Said]) -> int:
        voiced = (span.end_ms for spans in self.call.activity.values() for span in spans[-1:])
        return max([self.quiet_from_ms, *voiced, *(said.span.end_ms for said in unsettled)])

    # --- at the end ---

    def judge(self, others: Mapping[str, Judgement]) -> Judgement:
        check = self.check
        if not self._has_agent():
            return Judgement(Truth.NOT_APPLICABLE)
        owed = self._owed_until(self.call.end_ms)
        truth = next((t for t in (Truth.VIOLATED, Truth.UNSURE) if t in owed.values()), Truth.MET)
        if truth is Truth.MET and self.call.truncated:
            return Judgement(Truth.UNSURE)
        found = [gap for gap in owed if owed[gap] is truth and truth is not Truth.MET]
        measured = {
            "value": seconds(max((gap.duration_ms for gap in found), default=0)),
            "unit": "秒",
            "low": None,
            "high": seconds(check.longer_than_ms),
        }
        return Judgement(truth, tuple(map(self._finding, found)), measured=measured if found else None)

    def _has_agent(self) -> bool:
        return any(may_be_by(said, Role.AGENT) for said in self.call.said)

    def _owed_until(self, ms: int) -> dict[Span, Truth]:
        """The silences that are too long, up to ``ms``, and whether the agent owed their end."""
        voiced = [span for span in self._voiced() if span.start_ms < ms]
        long = (gap for gap in gaps(voiced, ms) if gap.duration_ms > self.check.longer_than_ms)
        return {gap: self._owes(gap) for gap in long}

    def _voiced(self) -> list[Span]:
        """All speech of all sides, without what is nothing but the customer asking into a silence."""
        own = [said for said in self.call.said if said.role is Role.CUSTOMER]
        asking = [said.span for said in own if self.check.is_asking_into_silence(said)]
        other = [said.span for said in own if not self.check.is_asking_into_silence(said)] if asking else []
        return joined(
            span
            for role in Role
            for span in talk(self.call, role)
            if role is not Role.CUSTOMER or not any(map(span.overlap_ms, asking)) or any(map(span.overlap_ms, other))
        )

    def _owes(self, gap: Span, unsettled: Sequence[Said] = ()) -> Truth:
        """From what had begun when the silence did; voice and characters are timed apart, so a little later too."""
        begun_ms = gap.start_ms + min(_TIMED_APART_MS, self.check.longer_than_ms)
        latest = sorted(unsettled, key=lambda said: said.span, reverse=True)
        earlier = (said for said in reversed(self.call.said) if said.span.start_ms < begun_ms)
        return self.check.owes([*latest, *islice(earlier, _LOOK_BACK)], gap.start_ms)

    def _finding(self, gap: Span) -> Finding:
        names = {"value": seconds(gap.duration_ms), "high": seconds(self.check.longer_than_ms)}
        after = (said for said in self.call.said if said.span.end_ms > gap.end_ms)
        ending = next((said for said in after if not self.check.is_asking_into_silence(said)), None)
        finding = self.check.wording.of_absence(gap, Role.AGENT, names)
        return replace(finding, turn=ending.stretches[0].utterance if ending else None, grows=True)


class SilenceSpec(RuleSpec):
    kind: Literal["silence"]
    speaker: Literal["agent"] = "agent"
    longer_than_ms: int = Field(ge=1)
    nudge_ms: int | None = Field(default=None, ge=1)
    nudge: str = "客户在等您回应"
    announced_in: Texts = []
    asked_in: Texts = []
    given_to_do_in: Texts = []
    over_in: Texts = []
    busy_in: Texts = []
    anyone_there_in: Texts = []

    def build_check(self, builder: Builder) -> Silence:
        cues = Cues(
            announced=builder.phrase_set(self.announced_in, "announced_in"),
            asked=builder.phrase_set(self.asked_in, "asked_in"),
            given_to_do=builder.phrase_set(self.given_to_do_in, "given_to_do_in"),
            over=builder.phrase_set(self.over_in, "over_in"),
            busy=builder.phrase_set(self.busy_in, "busy_in"),
            anyone_there=builder.phrase_set(self.anyone_there_in, "anyone_there_in"),
        )
        return Silence(
            self.wording, cues, self.longer_than_ms, self.nudge_ms, self.nudge, min_confidence=self.min_confidence
        )
