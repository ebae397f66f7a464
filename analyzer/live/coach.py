"""What the agent is told, and when: the checklist, hints, gauges and timers. No thread, no clock."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from analyzer.engine import CallAnalyzer, FindingEvent
from analyzer.live.journal import EventLog
from analyzer.rules import Finding, Pack
from analyzer.types import Direction, Role, Span, Utterance


class Coach:
    """Follows one call beside the engine and adds ``owed``, ``nudge``, ``gauge`` and ``dismiss`` events to its log."""

    def __init__(self, pack: Pack, direction: Direction, roles: Collection[Role], log: EventLog) -> None:
        self._log = log

    def hear(self, activity: Sequence[tuple[Role, Span]], voiced: Collection[Role], at_ms: int) -> None:
        """Voiced time, and who is speaking now."""

    def said(self, utterance: Utterance, at_ms: int) -> None:
        """Final text."""

    def glimpse(self, role: Role, findings: Sequence[Finding], at_ms: int) -> None:
        """What the agreed part of interim text would break; nothing any more if empty."""

    def findings(self, events: Sequence[FindingEvent], at_ms: int) -> None:
        """Findings came up, were confirmed or withdrawn."""

    def checklist(self, engine: CallAnalyzer, at_ms: int) -> None:
        """Something was said, or the call began: bring the checklist up to date."""

    def tick(self, engine: CallAnalyzer, at_ms: int, behind_ms: int) -> None:
        """Four times a second: what is due."""

    def dismiss(self, nudge: str, at_ms: int) -> None:
        """The agent put a hint away."""

    def finish(self, engine: CallAnalyzer, at_ms: int) -> None:
        """The call is over: what was never said is missed, what is shown goes."""
