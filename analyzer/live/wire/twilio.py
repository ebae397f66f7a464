"""Twilio Media Streams: one JSON message per event, one ``media`` message per track and 20 ms.

The inbound track is what Twilio hears from the phone line, whoever called whom: the customer, unless the custom
parameter ``inbound_role`` says otherwise (the line is the agent's). Custom parameters also carry ``token`` (Twilio
drops the query of a stream's address), ``direction`` and ``call_id``; the others are the call's metadata.

A ``timestamp`` counts milliseconds of the stream. Packets are set on a grid as wide as themselves, so that a timestamp
that is off by a few milliseconds neither tears a hole nor overlaps, while what is lost, late or twice keeps its place.
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from analyzer.live.codecs import Samples, decode
from analyzer.live.intake import Chunk
from analyzer.live.messages import ErrorCode
from analyzer.live.refusal import Refusal
from analyzer.live.wire.events import (
    Answer,
    End,
    Event,
    Start,
    check_length,
    read_direction,
    read_json,
    read_roles,
    websocket_answer,
)
from analyzer.types import Role

RATE = 8_000  # Hz: Twilio has no other
LEAD_IN_MS = 1_000  # a track that begins within this of the stream is silent before, nothing is lost
OTHER = {Role.AGENT: Role.CUSTOMER, Role.CUSTOMER: Role.AGENT}

Track = Literal["inbound", "outbound"]


class _Message(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Format(_Message):
    encoding: Literal["audio/x-mulaw"]
    rate: Annotated[Literal[8000], Field(alias="sampleRate")]
    channels: Literal[1] = 1


class _StartBody(_Message):
    call_sid: Annotated[str, Field(alias="callSid", min_length=1)]
    tracks: Annotated[list[Track], Field(min_length=1, max_length=2)]
    format: Annotated[_Format, Field(alias="mediaFormat")]
    parameters: Annotated[dict[str, str], Field(alias="customParameters")] = {}


class _Start(_Message):
    start: _StartBody


class _MediaBody(_Message):
    track: Track
    timestamp: Annotated[int, Field(ge=0)]  # ms; Twilio sends it as text
    payload: str


class _Media(_Message):
    media: _MediaBody


class _Any(_Message):
    event: str


_ANY, _START, _MEDIA = TypeAdapter(_Any), TypeAdapter(_Start), TypeAdapter(_Media)
_EXPECTED = "Twilio's connected, start, media … stop as they come"
_CODES: dict[str, ErrorCode] = {
    "encoding": "unsupported_encoding",
    "sampleRate": "unsupported_rate",
    "channels": "bad_channels",
    "tracks": "bad_channels",
}


class TwilioStream:
    """One connection of Twilio's.

    token  where the transport found one already (a header); None: the custom parameter must be there
    """

    def __init__(self, token: str | None = None) -> None:
        self._token = token
        self._tracks: dict[Track, _Grid] = {}
        self._has_ended = False

    def receive(self, data: str | bytes) -> list[Event]:
        """A text message. raises Refusal"""
        if isinstance(data, bytes):
            raise Refusal("bad_message", f"a binary message; send {_EXPECTED}")
        event = read_json(_ANY, data, expected=_EXPECTED).event
        if self._has_ended:
            raise Refusal("call_ended", "nothing follows stop; begin another stream")
        if event == "start":
            return [self._start(read_json(_START, data, expected=_EXPECTED, codes=_CODES).start)]
        if event == "media":
            return self._media(read_json(_MEDIA, data, expected=_EXPECTED).media)
        if event == "stop":
            return self._stop()
        return []  # connected; dtmf; mark, of audio that we do not play; what Twilio may add

    def closed(self) -> list[Event]:
        """Twilio says stop when a call ends; without it the line was cut."""
        return []

    def refusal(self, code: ErrorCode, message: str) -> Answer:
        """Twilio knows no refusal; its debugger shows code and reason of the closed connection."""
        return websocket_answer(code, message)

    def _start(self, body: _StartBody) -> Start:
        if self._tracks:
            raise Refusal("bad_message", "a second start; one connection sends one call")
        parameters = dict(body.parameters)
        token = parameters.pop("token", None) or self._token
        if not token:
            raise Refusal("unauthorised", 'no token; add <Parameter name="token" value="…"/> to <Stream>')
        roles = _roles(body.tracks, parameters.pop("inbound_role", Role.CUSTOMER))
        direction = read_direction(parameters.pop("direction", "unknown"))
        call_id = parameters.pop("call_id", "") or body.call_sid
        self._tracks = {track: _Grid(role) for track, role in zip(body.tracks, roles, strict=True)}
        return Start(call_id, direction, roles, RATE, parameters, token)

    def _media(self, body: _MediaBody) -> list[Event]:
        grid = self._tracks.get(body.track)
        if grid is None:
            raise Refusal("bad_message", f"media of the {body.track} track, which no start announced; send {_EXPECTED}")
        try:
            payload = base64.b64decode(body.payload, validate=True)
        except (binascii.Error, ValueError):
            raise Refusal("bad_frame", "a payload that is not base64; send μ-law at 8000 Hz in base64") from None
        samples = decode(payload, "mulaw")
        check_length(len(samples), RATE)
        return [grid.place(samples, body.timestamp)] if len(samples) else []

    def _stop(self) -> list[Event]:
        if not self._tracks:
            raise Refusal("bad_message", f"stop before start; send {_EXPECTED}")
        self._has_ended = True
        return [End()]


def _roles(tracks: list[Track], inbound: str) -> tuple[Role, ...]:
    if inbound not in OTHER and (inbound != Role.UNKNOWN or len(tracks) > 1):
        raise Refusal("bad_channels", "inbound_role is nobody's; say agent or customer (unknown with one track only)")
    line = Role(inbound)
    return read_roles([line if track == "inbound" else OTHER.get(line, Role.UNKNOWN) for track in tracks])


class _Grid:
    """Where the packets of a track go, from timestamps that are about right."""

    def __init__(self, role: Role) -> None:
        self._role = role
        self._end: int | None = None  # of the last packet, in samples

    def place(self, samples: Samples, timestamp_ms: int) -> Chunk:
        position, width = timestamp_ms * RATE // 1000, len(samples)
        if self._end is not None:
            position = self._end + round((position - self._end) / width) * width
        elif timestamp_ms <= LEAD_IN_MS:
            samples = np.concatenate([np.zeros((position, 1), dtype=np.int16), samples])
            position = 0
        self._end = position + len(samples)
        return Chunk((self._role,), samples, position)
