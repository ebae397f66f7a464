"""Asterisk AudioSocket: packets of a kind, a length and a payload, over TCP.

    kind (1 byte)   length (2 bytes, big endian)   payload
    0x00  hang up                     0x10 … 0x18  audio: 16 bit linear, little endian, mono, at the rate of its kind
    0x01  call's UUID (16 bytes)      0xff         an error of Asterisk's
    0x03  DTMF (1 byte)

One connection carries one party's voice and cannot say whose: that, like the direction, is the server's setting. The
protocol has no place for a token either: who may connect is for the server to decide by address and UUID.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping

from analyzer.live.codecs import decode
from analyzer.live.intake import Chunk
from analyzer.live.messages import ErrorCode
from analyzer.live.refusal import Refusal
from analyzer.live.wire.events import Answer, End, Event, Start
from analyzer.types import Direction, Role

HANG_UP, UUID, SILENCE, DTMF, ERROR = 0x00, 0x01, 0x02, 0x03, 0xFF  # SILENCE: Asterisk 16, never sent since
RATES: Mapping[int, int] = {  # Hz
    0x10: 8_000,
    0x11: 12_000,
    0x12: 16_000,
    0x13: 24_000,
    0x14: 32_000,
    0x15: 44_100,
    0x16: 48_000,
    0x17: 96_000,
    0x18: 192_000,
}
KINDS = frozenset({HANG_UP, UUID, SILENCE, DTMF, ERROR, *RATES})

HEADER_BYTES = 3

# payload of our 0xff packet; Asterisk's own are 0x00, 0x01, 0x02 and 0x04
ERRORS: Mapping[ErrorCode, int] = {
    "bad_message": 0x80,
    "unauthorised": 0x81,
    "unsupported_encoding": 0x82,
    "unsupported_rate": 0x83,
    "bad_channels": 0x84,
    "call_ended": 0x85,
    "call_busy": 0x86,
    "overloaded": 0x87,
    "shutting_down": 0x88,
    "bad_frame": 0x89,
}


class AudioSocketStream:
    """One connection of Asterisk's. Memory: one packet, at most 64 KiB."""

    def __init__(self, role: Role = Role.UNKNOWN, direction: Direction = Direction.UNKNOWN) -> None:
        """role  whose voice it is"""
        self._role, self._direction = role, direction
        self._bytes = bytearray()
        self._call_id: str | None = None
        self._rate: int | None = None  # known at the first audio
        self._has_ended = False

    def receive(self, data: bytes) -> list[Event]:
        """Bytes as TCP brings them, cut anywhere. raises Refusal"""
        self._bytes += data
        events: list[Event] = []
        for kind, payload in self._packets():
            events += self._packet(kind, payload)
        return events

    def closed(self) -> list[Event]:
        """Asterisk may hang up by closing the connection."""
        return self._end()

    def refusal(self, code: ErrorCode, message: str) -> Answer:
        """An error packet, then a hang-up; there is no room for ``message``, which belongs into the log."""
        return Answer((bytes([ERROR, 0, 1, ERRORS[code]]) + bytes([HANG_UP, 0, 0]),))

    def _packets(self) -> Iterator[tuple[int, bytes]]:
        """Those that are whole. A kind that does not exist is refused at once: what follows would be guesswork."""
        while self._bytes and not self._has_ended:
            kind = self._bytes[0]
            if kind not in KINDS:
                raise Refusal("bad_frame", f"packet of kind 0x{kind:02x}; send AudioSocket packets (0x01 first)")
            end = HEADER_BYTES + int.from_bytes(self._bytes[1:HEADER_BYTES])
            if len(self._bytes) < max(end, HEADER_BYTES):
                return
            payload = bytes(self._bytes[HEADER_BYTES:end])
            del self._bytes[:end]
            yield kind, payload

    def _packet(self, kind: int, payload: bytes) -> list[Event]:
        if kind == UUID:
            self._identify(payload)
            return []
        if kind in RATES:
            return self._audio(RATES[kind], payload)
        if kind == HANG_UP:
            return self._end()
        if kind == ERROR:
            return self._end({"ended_by": "dropped"})
        return []

    def _identify(self, payload: bytes) -> None:
        if self._call_id is not None:
            raise Refusal("bad_message", "a second UUID; one connection sends one call")
        if len(payload) != 16:
            raise Refusal("bad_message", f"a UUID of {len(payload)} bytes; send its 16 bytes")
        self._call_id = str(uuid.UUID(bytes=payload))

    def _audio(self, rate: int, payload: bytes) -> list[Event]:
        if self._call_id is None:
            raise Refusal("bad_message", "audio before the call's UUID; send 0x01 with its 16 bytes first")
        if self._rate not in (None, rate):
            raise Refusal("unsupported_rate", f"audio at {rate} Hz after {self._rate} Hz; keep to one rate per call")
        samples = decode(payload, "pcm_s16le")
        events: list[Event] = []
        if self._rate is None:
            self._rate = rate
            events.append(Start(self._call_id, self._direction, (self._role,), rate))
        return [*events, Chunk((self._role,), samples)] if len(samples) else events

    def _end(self, metadata: Mapping[str, str] | None = None) -> list[Event]:
        if self._has_ended:
            return []
        self._has_ended = True
        return [End(metadata or {})] if self._rate is not None else []
