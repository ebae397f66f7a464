"""Our own protocol: ``hello``, then binary frames, then ``end`` (docs/schemas/live.schema.json, ``audio_in``)."""

from __future__ import annotations

import struct

from analyzer.live.codecs import decode
from analyzer.live.intake import Chunk
from analyzer.live.messages import FROM_AUDIO, SCHEMA, Ack, ErrorCode, Hello, Ready, Refused, as_json
from analyzer.live.messages import End as EndMessage
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

_POSITION = struct.Struct("<Q")  # of a timed frame: its first sample, per channel

_EXPECTED = f'{{"type": "hello", "schema": "{SCHEMA}", "token": …}} first, {{"type": "end"}} last, see live.schema.json'
_CODES: dict[str, ErrorCode] = {
    "token": "unauthorised",
    "encoding": "unsupported_encoding",
    "sample_rate": "unsupported_rate",
    "channels": "bad_channels",
}


class NativeStream:
    """WS /live/{call_id}/audio, the server's side."""

    def __init__(self) -> None:
        self._hello: Hello | None = None
        self._roles: tuple[Role, ...] = ()
        self._has_ended = False

    def receive(self, data: str | bytes) -> list[Event]:
        """A text or binary message. raises Refusal"""
        if self._has_ended:
            raise Refusal("call_ended", "nothing follows end; begin another call")
        return [self._message(data)] if isinstance(data, str) else self._frame(data)

    def closed(self) -> list[Event]:
        """Without ``end`` the call is not over: its sender may come back."""
        return []

    def ready(self, resume_from_ms: int) -> str:
        return as_json(Ready(resume_from_ms=resume_from_ms))

    def ack(self, ms: int) -> str:
        return as_json(Ack(ms=ms))

    def refusal(self, code: ErrorCode, message: str) -> Answer:
        return websocket_answer(code, message, as_json(Refused(code=code, message=message)))

    def _message(self, text: str) -> Start | End:
        message = read_json(FROM_AUDIO, text, expected=_EXPECTED, codes=_CODES)
        if isinstance(message, EndMessage):
            if self._hello is None:
                raise Refusal("bad_message", f"end before hello; send {_EXPECTED}")
            self._has_ended = True
            return End(message.metadata)
        if self._hello is not None:
            raise Refusal("bad_message", "a second hello; one connection sends one call")
        return self._start(message)

    def _start(self, hello: Hello) -> Start:
        if not hello.token:
            raise Refusal("unauthorised", "the token is empty; send the server's")
        roles = read_roles(hello.channels)
        self._hello, self._roles = hello, roles
        return Start(None, read_direction(hello.direction), roles, hello.sample_rate, hello.metadata, hello.token)

    def _frame(self, frame: bytes) -> list[Event]:
        hello = self._hello
        if hello is None:
            raise Refusal("bad_message", f"audio before hello; send {_EXPECTED}")
        position = None
        if hello.framing == "timed":
            if len(frame) < _POSITION.size:
                raise Refusal("bad_frame", f"{len(frame)} bytes; a timed frame begins with 8 bytes of position")
            (position,) = _POSITION.unpack_from(frame)
            frame = frame[_POSITION.size :]
        samples = decode(frame, hello.encoding, len(hello.channels))
        check_length(len(samples), hello.sample_rate)
        return [Chunk(self._roles, samples, position)] if len(samples) else []
