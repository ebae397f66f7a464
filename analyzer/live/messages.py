"""What travels on the live streams: one model per message, from which the published JSON Schemas are made.

Times are integer milliseconds of call time. Every event carries ``seq``, counted from 1 without a gap per call, so that
a client which comes back asks for what it missed. Models forbid unknown fields on the way out; on the way in unknown
fields are ignored, so that a newer client may talk to an older server.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from analyzer.types import Match, Role, Severity

SCHEMA = "analyzer.live/1"

Encoding = Literal["pcm_s16le", "mulaw", "alaw"]
SampleRate = Literal[8000, 16000, 48000]
Speaker = Literal["agent", "customer", "unknown"]
ErrorCode = Literal[
    "bad_message",  # not JSON, not a hello, a field missing or of a wrong type
    "unauthorised",  # token missing or wrong
    "unsupported_encoding",
    "unsupported_rate",
    "bad_channels",  # roles missing, repeated or unknown
    "call_ended",  # this call_id has its report already
    "call_busy",  # another connection is sending this call
    "overloaded",  # admission: finals already wait too long
    "shutting_down",
    "bad_frame",  # a binary frame that is no whole number of samples, or of the wrong framing
]


class _In(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Out(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_serialization_defaults_required=True)


# ---- audio stream: WS /live/{call_id}/audio


class Hello(_In):
    """First message of a client. ``framing``: raw frames follow one another; a timed frame begins with the position of
    its first sample (per channel, since the start of the call) as unsigned 64 bit little endian."""

    type: Literal["hello"]
    schema_: Annotated[Literal["analyzer.live/1"], Field(alias="schema")]
    token: str
    direction: Literal["inbound", "outbound", "unknown"] = "unknown"
    encoding: Encoding = "pcm_s16le"
    sample_rate: SampleRate = 8000
    channels: Annotated[list[Speaker], Field(min_length=1, max_length=2)] = ["agent", "customer"]
    framing: Literal["raw", "timed"] = "raw"
    metadata: dict[str, Any] = {}


class End(_In):
    """The call is over. ``metadata``: what only the end tells (hung_up_by, ended_by, …)."""

    type: Literal["end"]
    metadata: dict[str, Any] = {}


class Ready(_Out):
    """Send audio from this moment of the call on."""

    type: Literal["ready"] = "ready"
    resume_from_ms: int


class Refused(_Out):
    """Nothing more is read. ``message`` says what is wrong and the cure."""

    type: Literal["refused"] = "refused"
    code: ErrorCode
    message: str


class Ack(_Out):
    """Audio up to here has its place; a client that comes back within 30 s goes on from here."""

    type: Literal["ack"] = "ack"
    ms: int


# ---- events: WS /live/{call_id}/events?after=SEQ


class _Event(_Out):
    schema_: Annotated[Literal["analyzer.live/1"], Field(alias="schema")] = "analyzer.live/1"
    call_id: str
    seq: Annotated[int, Field(ge=1)]
    at_ms: Annotated[int, Field(ge=0)]


class CallEvent(_Event):
    """What happens to the call itself. ``gaps``: audio that never came, [start_ms, end_ms] per role, silence instead;
    in ``lost`` the counts of packets that came late, twice or not at all."""

    type: Literal["call"] = "call"
    state: Literal["started", "disconnected", "resumed", "ending", "ended", "interrupted"]
    direction: Literal["inbound", "outbound", "unknown"] = "unknown"
    channels: list[Speaker] = []
    notice: str | None = None  # of the recogniser, e.g. demo (synthetic voices only)
    gaps: dict[str, list[tuple[int, int]]] = {}
    lost: dict[str, int] = {}


class UtteranceEvent(_Event):
    """Final text. ``turn``: its number in the order in which finals came; the scorecard numbers by time."""

    type: Literal["utterance"] = "utterance"
    turn: int
    role: Role
    start_ms: int
    end_ms: int
    text: str
    confidence: float | None = None
    chars: list[tuple[int, int]] | None = None


class InterimEvent(_Event):
    """Text that may still change; empty when a final took its place. ``agreed``: characters of it that two passes
    agree on."""

    type: Literal["interim"] = "interim"
    role: Role
    start_ms: int
    end_ms: int
    text: str
    agreed: int = 0


class TurnSpan(_Out):
    turn: int
    char_start: int
    char_end: int


class FindingEvent(_Event):
    """A finding of the report, as it comes up, is confirmed, or turns out to be none; ``id`` ties the three together.
    ``turn`` and ``spans`` count turns as ``utterance`` events do."""

    type: Literal["finding"] = "finding"
    id: str
    status: Literal["provisional", "confirmed", "withdrawn"]
    rule: str
    title: str
    category: str | None = None
    severity: Severity
    role: Role | None = None
    turn: int | None = None
    spans: list[TurnSpan] = []
    start_ms: int
    end_ms: int
    quote: str | None = None
    char_start: int | None = None
    char_end: int | None = None
    match: Match
    confidence: float | None = None
    message: str
    suggestion: str | None = None
    clauses: list[str] = []


class OwedEvent(_Event):
    """An item of the checklist. ``cleared``: not owed any more, though never said (its occasion passed)."""

    type: Literal["owed"] = "owed"
    rule: str
    element: str
    title: str
    state: Literal["pending", "done", "missed", "cleared"]
    due_ms: int | None = None


class NudgeEvent(_Event):
    """One hint for the agent's eyes. Withdrawn when it turned out wrong or was done. ``shown`` again under the same
    ``id``: it is certain now; its time on the screen goes on."""

    type: Literal["nudge"] = "nudge"
    id: str
    state: Literal["shown", "withdrawn"]
    kind: Literal["forbidden", "owed", "respond", "rate", "hold", "silence"]
    priority: Literal["critical", "high", "normal"]
    rule: str
    element: str | None = None
    finding: str | None = None  # id of the finding it is about
    provisional: bool = False
    message: str
    suggestion: str | None = None
    show_ms: int = 6000  # how long to show it


class Pace(_Out):
    """字/分钟: of the last 30 s of own speech, and of all of it; None below 30 字."""

    now: int | None = None
    call: int | None = None
    low: int | None = None
    high: int | None = None


class Timer(_Out):
    """Something that runs since ``since_ms``. ``limit_ms``: the next limit it will pass, after so long; the last one
    if it has passed all."""

    since_ms: int
    limit_ms: int | None = None


class GaugeEvent(_Event):
    """How things stand, about once a second and on change. ``behind_ms``: how old the newest recognised moment is while
    somebody speaks; ``blind``: sides nothing can be heard of."""

    type: Literal["gauge"] = "gauge"
    rate: dict[str, Pace] = {}
    talk_ratio: float | None = None
    hold: Timer | None = None
    silence: Timer | None = None
    behind_ms: int = 0
    blind: list[Speaker] = []
    score: float | None = None  # of the rules judged so far, if anything was


class WhisperEvent(_Event):
    """A supervisor's line to this agent's overlay."""

    type: Literal["whisper"] = "whisper"
    id: str
    text: str
    sender: str
    state: Literal["sent", "delivered", "seen"]


class DismissEvent(_Event):
    """The agent put a hint away."""

    type: Literal["dismiss"] = "dismiss"
    nudge: str
    rule: str


class ScorecardEvent(_Event):
    """The call is judged: the very report the run folder holds."""

    type: Literal["scorecard"] = "scorecard"
    report: dict[str, Any]


Event = Annotated[
    CallEvent
    | UtteranceEvent
    | InterimEvent
    | FindingEvent
    | OwedEvent
    | NudgeEvent
    | GaugeEvent
    | WhisperEvent
    | DismissEvent
    | ScorecardEvent,
    Field(discriminator="type"),
]


# ---- what an overlay sends on the events stream


class Dismiss(_In):
    type: Literal["dismiss"]
    nudge: str


class Seen(_In):
    """The whisper is on the agent's screen and was looked at."""

    type: Literal["seen"]
    whisper: str


FromAgent = Annotated[Dismiss | Seen, Field(discriminator="type")]
FromAudio = Annotated[Hello | End, Field(discriminator="type")]
ToAudio = Annotated[Ready | Refused | Ack, Field(discriminator="type")]

EVENT: TypeAdapter[Any] = TypeAdapter(Event)
FROM_AGENT: TypeAdapter[Any] = TypeAdapter(FromAgent)
FROM_AUDIO: TypeAdapter[Any] = TypeAdapter(FromAudio)
TO_AUDIO: TypeAdapter[Any] = TypeAdapter(ToAudio)


def as_json(message: BaseModel) -> str:
    """One line of JSON; what is not known is null."""
    return message.model_dump_json(by_alias=True)


def live_schema() -> Mapping[str, Any]:
    """Every message of the live streams as JSON Schema: what is sent to us may leave out what has a default, what we
    send never does."""
    groups: dict[str, tuple[TypeAdapter[Any], Literal["validation", "serialization"]]] = {
        "audio_in": (FROM_AUDIO, "validation"),
        "audio_out": (TO_AUDIO, "serialization"),
        "event": (EVENT, "serialization"),
        "overlay_in": (FROM_AGENT, "validation"),
    }
    definitions: dict[str, Any] = {}
    forms: dict[str, Any] = {}
    for name, (adapter, mode) in groups.items():
        form = adapter.json_schema(by_alias=True, ref_template="#/$defs/{model}", mode=mode)
        definitions |= form.pop("$defs", {})
        forms[name] = form
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA,
        "title": "Live streams",
        "description": "audio_in, audio_out: WS /live/{call_id}/audio; event, overlay_in: WS /live/{call_id}/events",
        "anyOf": [{"$ref": f"#/$defs/{name}"} for name in groups],
        "$defs": {**dict(sorted(definitions.items())), **forms},
    }


def schema_text() -> str:
    """The schema as docs/schemas/live.schema.json holds it."""
    return json.dumps(live_schema(), ensure_ascii=False, indent=1) + "\n"


if __name__ == "__main__":
    print(schema_text(), end="")
