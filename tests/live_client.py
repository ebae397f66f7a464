"""A client of ``WS /live/{call_id}/audio`` that keeps to the published protocol and insists that the server does.

``LiveClient`` is told what the server says and gives what to send; ``play`` drives one over any ``Line``.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jsonschema import Draft202012Validator
from numpy.typing import NDArray

SCHEMA_FILE = Path(__file__).parent.parent / "docs" / "schemas" / "live.schema.json"
FRAME_MS = 20


class Line(Protocol):
    """A connection, once open."""

    def send(self, message: str | bytes) -> None:
        """Text as str, binary as bytes. raises ConnectionError if the other side is gone"""

    def receive(self, timeout_s: float) -> str | None:
        """The next text message, None if none came in time. raises ConnectionError if the other side is gone"""


class RefusedError(Exception):
    """The server does not take the call."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class ProtocolError(Exception):
    """The server says what it should not."""


@cache
def _validator(group: str) -> Draft202012Validator:
    schema = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    return Draft202012Validator({**schema["$defs"][group], "$defs": schema["$defs"]})


def check(group: str, message: Mapping[str, Any]) -> None:
    """raises ProtocolError unless ``message`` is what ``group`` (audio_in, audio_out, event, overlay_in) allows"""
    for fault in _validator(group).iter_errors(dict(message)):
        raise ProtocolError(f"{group}: {message.get('type')}: {fault.message}")


@dataclass
class LiveClient:
    """One call's audio and how far the server has it. No clock, no socket: ``hello``, ``frames``, ``end`` are what to
    send, ``receive`` is told what came.

    sound    int16 at ``rate``, shape (n, len(channels))
    encoded  the bytes of some samples in ``encoding``; linear PCM if not given
    """

    sound: NDArray[np.int16] = field(repr=False)
    rate: int = 8_000
    channels: Sequence[str] = ("agent", "customer")
    token: str = "secret"
    direction: str = "inbound"
    encoding: str = "pcm_s16le"
    timed: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)
    encoded: Callable[[NDArray[np.int16]], bytes] = lambda samples: samples.astype("<i2").tobytes()
    resume_from_ms: int | None = None
    acked_ms: int = 0

    @property
    def duration_ms(self) -> int:
        return len(self.sound) * 1000 // self.rate

    def hello(self) -> str:
        self.resume_from_ms = None
        return _text(
            {
                "type": "hello",
                "schema": "analyzer.live/1",
                "token": self.token,
                "direction": self.direction,
                "encoding": self.encoding,
                "sample_rate": self.rate,
                "channels": list(self.channels),
                "framing": "timed" if self.timed else "raw",
                "metadata": dict(self.metadata),
            }
        )

    def frames(self, frame_ms: int = FRAME_MS) -> Iterator[tuple[int, bytes]]:
        """From where the server wants it: call time at which each frame is complete, and its bytes."""
        if self.resume_from_ms is None:
            raise ProtocolError("no audio before ready")
        size = self.rate * frame_ms // 1000
        for start in range(self.resume_from_ms * self.rate // 1000, len(self.sound), size):
            samples = self.sound[start : start + size]
            position = struct.pack("<Q", start) if self.timed else b""
            yield (start + len(samples)) * 1000 // self.rate, position + self.encoded(samples)

    def end(self, metadata: Mapping[str, Any] | None = None) -> str:
        return _text({"type": "end", "metadata": dict(metadata or {})})

    def receive(self, text: str) -> None:
        """raises RefusedError; ProtocolError if the server breaks the protocol"""
        message = json.loads(text)
        check("audio_out", message)
        match message["type"]:
            case "ready":
                if self.resume_from_ms is not None:
                    raise ProtocolError("a second ready")
                self.resume_from_ms = self.acked_ms = message["resume_from_ms"]
            case "ack":
                if self.resume_from_ms is None:
                    raise ProtocolError("ack before ready")
                if not self.acked_ms <= message["ms"] <= self.duration_ms:
                    raise ProtocolError(f"ack of {message['ms']} ms after {self.acked_ms} of {self.duration_ms} ms")
                self.acked_ms = message["ms"]
            case "refused":
                raise RefusedError(message["code"], message["message"])


def _text(message: dict[str, Any]) -> str:
    check("audio_in", message)
    return json.dumps(message, ensure_ascii=False)


def play(
    client: LiveClient,
    line: Line,
    *,
    frame_ms: int = FRAME_MS,
    pace: Callable[[int], None] = lambda _: None,
    cut_after_ms: int | None = None,
    end: Mapping[str, Any] | None = None,
) -> None:
    """Send a call, or what is left of it; call again with a new line to come back.

    pace          waits until this moment of the call; by default the call is sent as fast as it goes
    cut_after_ms  stop there without a word, as a sender does that loses its line
    end           metadata of ``end``
    raises RefusedError, ProtocolError; ConnectionError from the line
    """
    line.send(client.hello())
    while client.resume_from_ms is None:
        if (text := line.receive(10.0)) is None:
            raise ProtocolError("no answer to hello within 10 s")
        client.receive(text)
    for at_ms, frame in client.frames(frame_ms):
        if cut_after_ms is not None and at_ms > cut_after_ms:
            return
        pace(at_ms)
        line.send(frame)
        while (text := line.receive(0.0)) is not None:
            client.receive(text)
    line.send(client.end(end))
    while (text := line.receive(0.0)) is not None:
        client.receive(text)
