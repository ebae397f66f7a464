"""How each call stands, kept up to date from its events: what ``/api/calls`` and the supervisors' page show."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from analyzer.live.hub import Hub, Session
from analyzer.live.messages import Pace, Speaker, Timer
from analyzer.serve.metrics import Metrics

log = logging.getLogger(__name__)

FOLLOW_S = 0.25
PAGE = 500  # events read at once
MOST_ENDED = 200  # calls that ended lately

State = Literal["live", "ending", "ended", "interrupted"]
_TYPE = re.compile(r'"type":"(\w+)"')  # of an event; quotes inside its texts are escaped
_FOLLOWED = frozenset({"call", "gauge", "finding", "scorecard"})


class _Shown(BaseModel):
    model_config = ConfigDict(extra="forbid")


class FindingCounts(_Shown):
    """Of findings that were not withdrawn, by severity."""

    critical: int = 0
    major: int = 0
    minor: int = 0


class LastFinding(_Shown):
    title: str
    quote: str | None
    at_ms: int


class CallState(_Shown):
    """A call as the supervisor sees it. Times in ms of call time, but ``started_at``, which is the clock's (UTC)."""

    call_id: str
    direction: Literal["inbound", "outbound", "unknown"]
    state: State
    started_at: str | None
    duration_ms: int
    agent_id: str | None = None
    metadata: dict[str, Any] = {}
    behind_ms: int = 0
    blind: list[Speaker] = []
    rate: dict[str, Pace] = {}
    talk_ratio: float | None = None
    hold: Timer | None = None
    silence: Timer | None = None
    findings: FindingCounts = FindingCounts()
    last_finding: LastFinding | None = None
    score: float | None = None
    last_seq: int = 0


class Calls(_Shown):
    """``next``: where the list goes on; null, as it is never longer."""

    calls: list[CallState]
    next: str | None = None


class _Follower:
    """One call's state, by reading what was added to its log."""

    def __init__(self, session: Session, metrics: Metrics) -> None:
        self.session = session
        self._metrics = metrics
        self._seq = 0
        self._was = ""
        self._gauge: dict[str, Any] = {}
        self._severities: dict[str, str] = {}  # of findings that stand
        self._last: LastFinding | None = None
        self._score: float | None = None
        self._duration_ms = 0
        self._is_interrupted = False
        self._lost: Counter[str] = Counter()
        self.is_done = False

    def follow(self) -> None:
        is_over = self.session.is_over  # before reading: what comes with it is read now
        while page := self.session.events.after(self._seq, PAGE):
            for seq, line in page:
                self._seq = seq
                kind = _TYPE.search(line)
                if kind is not None and kind[1] in _FOLLOWED:
                    getattr(self, f"_on_{kind[1]}")(json.loads(line))
        if (
            not self.session.is_ending
        ):  # from then on the scorecard, which may have been read already, says how long it was
            self._duration_ms = max(self._duration_ms, self.session.clock_ms)
        if is_over and not self.is_done:
            self.is_done = True
            self._metrics.ended.labels("interrupted" if self._is_interrupted else "ended").inc()

    def _on_call(self, event: dict[str, Any]) -> None:
        self._was = event["state"]
        self._is_interrupted |= event["state"] == "interrupted"
        for kind, count in event["lost"].items():
            self._metrics.lost.labels(kind).inc(max(0, count - self._lost[kind]))
            self._lost[kind] = count

    def _on_gauge(self, event: dict[str, Any]) -> None:
        self._gauge = {key: event[key] for key in ("rate", "talk_ratio", "hold", "silence", "behind_ms", "blind")}
        self._score = event["score"]

    def _on_finding(self, event: dict[str, Any]) -> None:
        if event["status"] == "withdrawn":
            self._severities.pop(event["id"], None)
            return
        if event["id"] not in self._severities:
            self._last = LastFinding(title=event["title"], quote=event["quote"], at_ms=event["at_ms"])
        self._severities[event["id"]] = event["severity"]

    def _on_scorecard(self, event: dict[str, Any]) -> None:
        self._score = event["report"]["score"]
        self._duration_ms = event["report"]["duration_ms"]

    @property
    def state(self) -> State:
        if self.session.is_over:
            return "interrupted" if self._is_interrupted else "ended"
        return "ending" if self.session.is_ending else "live"

    def shown(self) -> CallState:
        facts, counts = self.session.facts, Counter(self._severities.values())
        began = datetime.fromtimestamp(self.session.started_at, UTC).isoformat(timespec="milliseconds")
        agent_id = facts.metadata.get("agent_id")
        return CallState(
            call_id=facts.call_id,
            direction=facts.direction.value,
            state=self.state,
            started_at=began,
            duration_ms=self._duration_ms,
            agent_id=None if agent_id is None else str(agent_id),
            metadata=dict(facts.metadata),
            findings=FindingCounts(critical=counts["critical"], major=counts["major"], minor=counts["minor"]),
            last_finding=self._last,
            score=self._score,
            last_seq=self._seq,
            **(self._gauge if not self.session.is_ending else {}),
        )


class Board:
    """Call ``follow`` from one task, everything else from the event loop."""

    def __init__(self, hub: Hub, metrics: Metrics) -> None:
        self._hub, self._metrics = hub, metrics
        self._followers: dict[str, _Follower] = {}
        self._interrupted = [_recovered(hub, call_id) for call_id in hub.recovered[-MOST_ENDED:]]
        self.calls: list[CallState] = list(self._interrupted)
        self.text = self._text()
        self._reading = asyncio.Lock()
        self._changed = asyncio.Event()

    async def follow(self) -> None:
        """Keep up for ever. Reading and counting happen beside the event loop."""
        while True:
            try:
                await self.refresh()
            except Exception:  # one call that cannot be read does not stop the others for ever
                log.exception("how the calls stand could not be read")
            await asyncio.sleep(FOLLOW_S)

    async def refresh(self) -> None:
        """Read what was added since; tell the streams if it changes anything."""
        async with self._reading:  # the followers are for one thread at a time
            before = self.text
            self.calls, self.text = await asyncio.to_thread(self._read)
            if self.text != before:
                self._changed.set()
                self._changed = asyncio.Event()

    async def change(self, within_s: float) -> None:
        """Until there is something new to show, or so long."""
        changed = self._changed
        try:
            async with asyncio.timeout(within_s):
                await changed.wait()
        except TimeoutError:
            return

    def call(self, call_id: str) -> CallState | None:
        return next((call for call in self.calls if call.call_id == call_id), None)

    def _read(self) -> tuple[list[CallState], str]:
        sessions = self._hub.sessions
        known = {session.call_id for session in sessions}
        for call_id in self._followers.keys() - known:
            self._followers.pop(call_id, None)
        for session in sessions:
            follower = self._followers.setdefault(session.call_id, _Follower(session, self._metrics))
            if not follower.is_done:
                follower.follow()
        self.calls = self._listed()
        return self.calls, self._text()

    def _listed(self) -> list[CallState]:
        """Live calls first, then those that ended, latest first."""
        followers = list(self._followers.values())
        live = [follower.shown() for follower in followers if not follower.is_done]
        ended = [follower.shown() for follower in reversed(followers) if follower.is_done]
        return [*live, *(ended + self._interrupted)[:MOST_ENDED]]

    def _text(self) -> str:
        return Calls(calls=self.calls).model_dump_json()


def earlier_call(hub: Hub, call_id: str) -> CallState | None:
    """A call that an earlier process ended, by its report. Reads the disk."""
    report = hub.report(call_id)
    return None if report is None else _from_report(call_id, report, "ended")


def _recovered(hub: Hub, call_id: str) -> CallState:
    """A call that an earlier process left behind, perhaps with nothing missing but its report's last step."""
    report = hub.report(call_id) or {}
    return _from_report(call_id, report, "interrupted" if report.get("truncated", True) else "ended")


def _from_report(call_id: str, report: Mapping[str, Any], state: State) -> CallState:
    findings = Counter(one["severity"] for rule in report.get("rules", ()) for one in rule["findings"])
    metadata = report.get("metadata", {})
    return CallState(
        call_id=call_id,
        direction=report.get("direction", "unknown"),
        state=state,
        started_at=None,
        duration_ms=report.get("duration_ms", 0),
        agent_id=metadata.get("agent_id"),
        metadata=metadata,
        findings=FindingCounts(critical=findings["critical"], major=findings["major"], minor=findings["minor"]),
        score=report.get("score"),
    )
