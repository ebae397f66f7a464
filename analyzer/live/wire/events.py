"""What every protocol comes down to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from pydantic import TypeAdapter, ValidationError

from analyzer.live.intake import Chunk
from analyzer.live.messages import ErrorCode
from analyzer.live.refusal import Refusal
from analyzer.types import Direction, Role

LONGEST_FRAME_MS = 10_000  # of one frame or packet: no sender of live audio needs more


@dataclass(frozen=True, slots=True)
class Start:
    """A call begins, or its sender is back.

    call_id  None where the protocol leaves it to the address
    rate     Hz of the chunks that follow
    token    not checked here; None where the protocol has no place for one
    """

    call_id: str | None
    direction: Direction
    roles: tuple[Role, ...]
    rate: int
    metadata: Mapping[str, Any] = field(default_factory=dict, repr=False)
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class End:
    """The call is over. ``metadata``: what only the end tells."""

    metadata: Mapping[str, Any] = field(default_factory=dict, repr=False)


Event = Start | Chunk | End


@dataclass(frozen=True, slots=True)
class Answer:
    """What to send before hanging up, and how: ``close_code`` and ``reason`` of a WebSocket, None for TCP."""

    frames: tuple[str | bytes, ...]
    close_code: int | None = None
    reason: str = ""


class Wire(Protocol):
    """One connection."""

    def receive(self, data: Any, /) -> list[Event]:
        """What a message (WebSocket: text as str, binary as bytes) or some bytes (TCP) say. raises Refusal"""

    def closed(self) -> list[Event]:
        """The other side closed the connection in order: what that says in this protocol."""

    def refusal(self, code: ErrorCode, message: str) -> Answer: ...


# RFC 6455 §7.4.1: 1003 data of a kind that cannot be accepted, 1008 policy, 1012 restart, 1013 try again later
_CLOSE_CODES: Mapping[ErrorCode, int] = {
    "unsupported_encoding": 1003,
    "unsupported_rate": 1003,
    "bad_channels": 1003,
    "overloaded": 1013,
    "shutting_down": 1012,
}
_REASON_BYTES = 123  # what fits a close frame


def websocket_answer(code: ErrorCode, message: str, *frames: str | bytes) -> Answer:
    """``frames``, then a close frame that names code and message as far as they fit."""
    reason = f"{code}: {message}".encode()[:_REASON_BYTES].decode(errors="ignore")
    return Answer(frames, _CLOSE_CODES.get(code, 1008), reason)


# ---- reading, alike in all protocols

T = TypeVar("T")

_PLACE_CHARACTERS, _FAULT_CHARACTERS = 60, 200  # both may hold what the sender made up


def read_json(adapter: TypeAdapter[T], text: str, *, expected: str, codes: Mapping[str, ErrorCode] | None = None) -> T:
    """A JSON message as its model.

    codes  by field, what a fault in it is called; any other fault is a ``bad_message``
    raises Refusal naming the field and what was expected
    """
    try:
        return adapter.validate_json(text)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
    except UnicodeEncodeError:
        raise Refusal("bad_message", f"text that is not UTF-8; send {expected}") from None
    fields = [str(part) for part in fault["loc"]]
    code: ErrorCode = next((codes[name] for name in fields if name in codes), "bad_message") if codes else "bad_message"
    place = ".".join(fields)[:_PLACE_CHARACTERS] or "message"
    raise Refusal(code, f"{place}: {fault['msg'][:_FAULT_CHARACTERS]}; send {expected}")


def read_roles(names: Sequence[str]) -> tuple[Role, ...]:
    """Who speaks on each channel. raises Refusal"""
    known = (Role.AGENT, Role.CUSTOMER, Role.UNKNOWN)
    strangers = [name for name in names if name not in known]
    if strangers or not 1 <= len(names) <= 2 or len(set(names)) < len(names):
        raise Refusal(
            "bad_channels",
            "channels name each speaker once: agent,customer or customer,agent; agent, customer or unknown for mono",
        )
    return tuple(Role(name) for name in names)


def read_direction(name: str) -> Direction:
    """raises Refusal"""
    if name not in tuple(Direction):
        raise Refusal("bad_message", "direction must be inbound, outbound or unknown")
    return Direction(name)


def check_length(n_samples: int, rate: int) -> None:
    """raises Refusal if one frame holds more than any live sender's would"""
    if n_samples * 1000 > LONGEST_FRAME_MS * rate:
        raise Refusal("bad_frame", f"a frame of {n_samples} samples; send at most {LONGEST_FRAME_MS // 1000} s at once")
