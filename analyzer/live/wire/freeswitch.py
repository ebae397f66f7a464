"""FreeSWITCH mod_audio_stream: binary L16 (PCM16, little endian), mono or stereo.

    uuid_audio_stream <uuid> start wss://…?token=…&channels=customer,agent&rate=16000&direction=inbound stereo 16k {…}

What the audio is, only the address can say: ``rate`` must be the sampling rate of the command, ``channels`` who is
heard, in the order of the channels: the channel's own party first (``stereo``), that one alone (``mono``), or
``unknown`` (``mixed``). The text of ``start`` comes before any audio and is the call's metadata, a JSON object; that of
``stop`` is what only the end tells. Closing the connection ends the call.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from analyzer.live.codecs import decode
from analyzer.live.intake import Chunk
from analyzer.live.messages import ErrorCode, Refused, as_json
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

RATES = {"8000": 8_000, "8k": 8_000, "16000": 16_000, "16k": 16_000, "48000": 48_000, "48k": 48_000}  # Hz

_METADATA: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Any])


class FreeSwitchStream:
    """One connection of mod_audio_stream.

    query    of the address, as text: token, rate (8000), channels (customer,agent), direction
    call_id  of the address
    token    where the transport found one already (a header)
    raises Refusal if the query does not say what is needed
    """

    def __init__(self, query: Mapping[str, str], call_id: str | None = None, token: str | None = None) -> None:
        token = query.get("token") or token
        if not token:
            raise Refusal("unauthorised", "no token; add ?token=… to the address")
        rate = query.get("rate", "8000")
        if rate not in RATES:
            raise Refusal("unsupported_rate", "rate must be 8000, 16000 or 48000, as in uuid_audio_stream … start")
        roles = read_roles(query.get("channels", "customer,agent").split(","))
        self._opening = Start(
            call_id, read_direction(query.get("direction", "unknown")), roles, RATES[rate], token=token
        )
        self._has_started = False
        self._at_end: dict[str, Any] = {}

    def receive(self, data: str | bytes) -> list[Event]:
        """A text or binary message. raises Refusal"""
        return self._text(data) if isinstance(data, str) else self._frame(data)

    def closed(self) -> list[Event]:
        """``stop``, or the call hung up."""
        return [End(self._at_end)] if self._has_started else []

    def refusal(self, code: ErrorCode, message: str) -> Answer:
        """Text, which FreeSWITCH passes on as the event ``mod_audio_stream::json``."""
        return websocket_answer(code, message, as_json(Refused(code=code, message=message)))

    def _text(self, text: str) -> list[Event]:
        metadata = read_json(_METADATA, text, expected="metadata as a JSON object, or none")
        if self._has_started:
            self._at_end |= metadata
            return []
        return [self._start(metadata)]

    def _frame(self, frame: bytes) -> list[Event]:
        opening = self._opening
        samples = decode(frame, "pcm_s16le", len(opening.roles))
        check_length(len(samples), opening.rate)
        before: list[Event] = [] if self._has_started else [self._start({})]
        return [*before, Chunk(opening.roles, samples)] if len(samples) else before

    def _start(self, metadata: Mapping[str, Any]) -> Start:
        self._has_started = True
        opening = self._opening
        return Start(opening.call_id, opening.direction, opening.roles, opening.rate, metadata, opening.token)
