"""A call told as a timeline, played to the engine and the coach as the judge does: voice first, text a little later."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from analyzer.catalog import load_pack
from analyzer.engine import CallAnalyzer, FindingEvent
from analyzer.live.coach import Coach
from analyzer.rules import Pack
from analyzer.types import Direction, Role, Span, Utterance

AGENT, CUSTOMER = Role.AGENT, Role.CUSTOMER
TICK_MS = 250
HANGOVER_MS = 500  # after the last voice until a segment is complete
LAG_MS = 900  # after the last voice until its text is there
CHARACTER_MS = 250

Line = tuple[Role, int, str]


@cache
def standard_pack() -> Pack:
    return load_pack("standard", "standard")


def utterance(role: Role, start_ms: int, text: str, character_ms: int = CHARACTER_MS) -> Utterance:
    times = tuple(Span(start_ms + i * character_ms, start_ms + (i + 1) * character_ms) for i in range(len(text)))
    return Utterance(role, Span(start_ms, times[-1].end_ms), text, characters=times)


def spans_of(utterances: Iterable[Utterance]) -> dict[Role, list[Span]]:
    spans: dict[Role, list[Span]] = {AGENT: [], CUSTOMER: []}
    for said in utterances:
        spans[said.role].append(said.span)
    return spans


class Kept:
    """A log in memory."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def add(self, kind: type[BaseModel], at_ms: int, /, **fields: Any) -> None:
        event = kind(call_id="call", seq=len(self.events) + 1, at_ms=at_ms, **fields)
        self.events.append(event.model_dump(mode="json"))


class Played:
    """A call being played. ``hooks``: what somebody does at a moment (dismisses a hint, sees interim text)."""

    def __init__(
        self,
        utterances: Sequence[Utterance],
        *,
        pack: Pack | None = None,
        direction: Direction = Direction.INBOUND,
        metadata: Mapping[str, Any] | None = None,
        activity: Mapping[Role, Sequence[Span]] | None = None,
        lag_ms: int = LAG_MS,
    ) -> None:
        pack = pack or standard_pack()
        self.engine = CallAnalyzer(pack, direction=direction, metadata=metadata or {})
        self.log = Kept()
        self.coach = Coach(pack, direction, (AGENT, CUSTOMER), self.log)  # type: ignore[arg-type]
        self.coming = sorted(utterances, key=lambda said: said.span.end_ms)
        self.unheard = {role: list(spans) for role, spans in (activity or spans_of(utterances)).items()}
        self.spans = {role: tuple(spans) for role, spans in self.unheard.items()}
        self.lag_ms = lag_ms
        self.at_ms = 0
        self.coach.checklist(self.engine, 0)

    def play(self, until_ms: int, hooks: Mapping[int, Callable[[], None]] | None = None) -> Played:
        left = sorted((hooks or {}).items())
        while self.at_ms < until_ms:
            self.at_ms += TICK_MS
            while left and left[0][0] <= self.at_ms:
                left.pop(0)[1]()
            self._hear()
            while self.coming and self.coming[0].span.end_ms + self.lag_ms <= self.at_ms:
                self._feed(self.coming.pop(0))
            self._settle()
            finished = [said for said in self.coming if said.span.end_ms + HANGOVER_MS <= self.at_ms]
            self.coach.tick(self.engine, self.at_ms, 0, {said.role for said in finished})
        return self

    def end(self) -> Played:
        self.engine.finish(self.at_ms)
        self.coach.finish(self.engine, self.at_ms)
        return self

    def _hear(self) -> None:
        at_ms, heard = self.at_ms, []
        for role, spans in self.unheard.items():
            while spans and spans[0].end_ms + HANGOVER_MS <= at_ms:
                heard.append((role, spans.pop(0)))
        for role, span in heard:
            self.engine.activity(role, span)
        voiced = {
            role
            for role, spans in self.spans.items()
            if any(span.start_ms <= at_ms < span.end_ms + HANGOVER_MS for span in spans)
        }
        self.coach.hear(heard, voiced, at_ms)

    def _feed(self, said: Utterance) -> None:
        self.coach.said(said, self.at_ms)
        self._tell(self.engine.feed(said))
        self.coach.checklist(self.engine, self.at_ms)

    def _settle(self) -> None:
        for role in (AGENT, CUSTOMER):
            begun = [said.span.start_ms for said in self.coming if said.role is role]
            self._tell(self.engine.settled(role, max(0, min([self.at_ms - HANGOVER_MS, *begun]))))

    def _tell(self, events: Sequence[FindingEvent]) -> None:
        if events:
            self.coach.findings(events, self.at_ms)

    # ---- what came of it

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.log.events if event["type"] == kind]

    @property
    def nudges(self) -> list[dict[str, Any]]:
        """Each hint as it was first shown."""
        seen: dict[str, dict[str, Any]] = {}
        for event in self.events("nudge"):
            seen.setdefault(event["id"], event)
        return list(seen.values())

    def states(self, rule: str, element: str) -> list[str]:
        """How an item of the checklist went."""
        return [e["state"] for e in self.events("owed") if (e["rule"], e["element"]) == (rule, element)]


def played(lines: Sequence[Line], until_ms: int, **options: Any) -> Played:
    """A call of lines (who, when, what), spoken at 240 字/分钟."""
    return Played([utterance(*line) for line in lines], **options).play(until_ms)


def sample(recorded: Path, **options: Any) -> Played:
    """A sample call as its stored report has it: text, times, voice."""
    report = json.loads((recorded / "expected.json").read_text(encoding="utf-8"))
    turns = [
        Utterance(
            Role(turn["role"]),
            Span(turn["start_ms"], turn["end_ms"]),
            turn["text"],
            turn.get("confidence"),
            tuple(Span(*times) for times in turn["chars"]) if turn.get("chars") else None,
        )
        for turn in report["turns"]
    ]
    activity = {Role(role): [Span(*span) for span in spans] for role, spans in report["activity"].items()}
    call = Played(
        turns,
        direction=Direction(report["direction"]),
        metadata=report["metadata"],
        activity={AGENT: [], CUSTOMER: [], **activity},
        **options,
    )
    return call.play(report["duration_ms"]).end()
