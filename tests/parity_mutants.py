"""Engines and a check that are wrong in ways that only show in how a call arrives. The parity test must catch each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from analyzer.engine import CallAnalyzer, FindingEvent, FindingStatus
from analyzer.rules import Call, Finding, Judgement, Owed, Pack, Truth
from analyzer.rules.checks import Check, Watch
from analyzer.rules.said import Said, Stretch
from analyzer.types import Role, Span, Utterance


class JudgesByTheClock(CallAnalyzer):
    """What the clock has passed is judged as it stands, whatever is still to come."""

    def now(self, ms: int) -> list[Any]:
        for watch in self._watches.values():
            watch.reach(ms)
        return super().now(ms)


class SettlesByTheClock(CallAnalyzer):
    """Speech counts as closed once the clock says so."""

    def now(self, ms: int) -> list[Any]:
        settled = {role: channel.settled_ms for role, channel in self._channels.items()}
        for channel in self._channels.values():
            channel.settled_ms = max(channel.settled_ms, ms)
        self._release()
        for role, channel in self._channels.items():
            channel.settled_ms = settled[role]
        return super().now(ms)


class HearsInOrderOfArrival(CallAnalyzer):
    """Rules hear a closed utterance at once, though an earlier one of the other side may come yet."""

    def settled(self, role: Role, ms: int) -> list[FindingEvent]:
        channel = self._channels[role]
        channel.settled_ms = max(channel.settled_ms, ms)
        while channel.stretches and channel.is_closed(said := channel.utterances()[0]):
            channel.release(said)
            self._hear(said)
        return super().settled(role, ms)


class HearsUnmergedStretches(CallAnalyzer):
    """Rules hear every piece of text by itself, wherever the recogniser cut it."""

    def _hear(self, said: Said) -> None:
        for stretch in said.stretches:
            super()._hear(Said(said.role, [stretch]))


class HearsPreviews(CallAnalyzer):
    """Interim text is taken for text."""

    def preview(
        self, role: Role, text: str, span: Span | None = None, confidence: float | None = None
    ) -> list[Finding]:
        span = span or Span(0, 0)
        self._hear(Said(role, [Stretch(Utterance(role, span, text), 0, len(text), span)]))
        return super().preview(role, text, span, confidence)


class ConfirmsWhatIsOpen(CallAnalyzer):
    """A finding counts as soon as it comes up, though words to come may excuse it."""

    def _show(self, current: dict[str, FindingEvent]) -> list[FindingEvent]:
        confirmed = {key: replace(event, status=FindingStatus.CONFIRMED) for key, event in current.items()}
        return super()._show(confirmed)


MUTANTS = (
    JudgesByTheClock,
    SettlesByTheClock,
    HearsInOrderOfArrival,
    HearsUnmergedStretches,
    HearsPreviews,
    ConfirmsWhatIsOpen,
)


@dataclass(frozen=True, slots=True)
class ClockedCheck(Check):
    """What is still owed when somebody looks at the clock is missing for good."""

    check: Check

    @property
    def reminds(self) -> bool:
        return self.check.reminds

    def watch(self, call: Call) -> Watch:
        return _ClockedWatch(self.check.watch(call))


class _ClockedWatch(Watch):
    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.is_late = False

    def hear(self, said: Said) -> None:
        self.watch.hear(said)

    def owed(self, unsettled: Sequence[Said]) -> Sequence[Owed]:
        owed = self.watch.owed(unsettled)
        self.is_late = self.is_late or bool(owed)
        return owed

    def judge(self, others: Mapping[str, Judgement]) -> Judgement:
        judgement = self.watch.judge(others)
        return replace(judgement, truth=Truth.VIOLATED) if self.is_late else judgement


def with_clocked_check(pack: Pack) -> Pack:
    """The pack with a rule ``opening`` that is judged by the clock."""
    rules = (replace(rule, check=ClockedCheck(rule.check)) if rule.id == "opening" else rule for rule in pack.rules)
    return replace(pack, rules=tuple(rules))
