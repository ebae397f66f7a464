"""Each protocol's bytes become the same few events, and whatever else comes is refused by name, never a crash."""

from __future__ import annotations

import base64
import json
import struct
import uuid
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from analyzer.live.intake import Chunk, Intake
from analyzer.live.messages import ErrorCode
from analyzer.live.refusal import Refusal
from analyzer.live.wire import (
    Answer,
    AudioSocketStream,
    End,
    Event,
    FreeSwitchStream,
    NativeStream,
    Start,
    TwilioStream,
)
from analyzer.live.wire.audiosocket import ERRORS, RATES
from analyzer.types import Direction, Role
from tests.live_client import LiveClient, RefusedError, check, play

AGENT, CUSTOMER, UNKNOWN = Role.AGENT, Role.CUSTOMER, Role.UNKNOWN
BOTH = (AGENT, CUSTOMER)
PCM = np.arange(-480, 480, dtype="<i2").reshape(-1, 2)


def refused(code: ErrorCode, receive: Callable[[Any], object], *messages: Any, about: str = "") -> None:
    """The last message is refused, with the cure after a semicolon."""
    for message in messages[:-1]:
        receive(message)
    with pytest.raises(Refusal) as refusal:
        receive(messages[-1])
    assert refusal.value.code == code
    assert "; " in refusal.value.message, "no cure"
    assert about in refusal.value.message
    assert len(refusal.value.message) < 500


def chunks(events: Sequence[Event]) -> list[Chunk]:
    return [event for event in events if isinstance(event, Chunk)]


def joined(events: Sequence[Event]) -> NDArray[np.int16]:
    return np.concatenate([chunk.samples for chunk in chunks(events)])


# ---- our own


def hello(**change: Any) -> str:
    message = {"type": "hello", "schema": "analyzer.live/1", "token": "t", **change}
    return json.dumps({key: value for key, value in message.items() if value is not ...})


def test_hello_audio_and_end() -> None:
    stream = NativeStream()
    text = hello(direction="inbound", channels=["customer", "agent"], sample_rate=16_000, metadata={"agent_id": "3017"})
    assert stream.receive(text) == [
        Start(None, Direction.INBOUND, (CUSTOMER, AGENT), 16_000, {"agent_id": "3017"}, "t")
    ]
    (chunk,) = chunks(stream.receive(PCM.tobytes()))
    assert chunk.roles == (CUSTOMER, AGENT)
    assert chunk.position is None
    assert np.array_equal(chunk.samples, PCM)
    assert stream.receive(b"") == []
    assert stream.closed() == []
    assert stream.receive('{"type": "end", "metadata": {"hung_up_by": "customer"}}') == [
        End({"hung_up_by": "customer"})
    ]


@pytest.mark.parametrize(
    ("encoding", "payload", "sample"), [("mulaw", b"\x00\xff", -32_124), ("alaw", b"\x2a\x55", -32_256)]
)
def test_a_timed_frame_says_where_it_belongs(encoding: str, payload: bytes, sample: int) -> None:
    stream = NativeStream()
    stream.receive(hello(framing="timed", encoding=encoding, channels=["agent", "customer"]))
    (chunk,) = chunks(stream.receive(struct.pack("<Q", 1 << 63) + payload))
    assert chunk.position == 1 << 63
    assert chunk.samples.shape == (1, 2)
    assert chunk.samples[0, 0] == sample


@pytest.mark.parametrize(
    ("code", "change", "about"),
    [
        ("unauthorised", {"token": ...}, "token"),
        ("unauthorised", {"token": ""}, "token"),
        ("unsupported_encoding", {"encoding": "opus"}, "'pcm_s16le', 'mulaw' or 'alaw'"),
        ("unsupported_rate", {"sample_rate": 44_100}, "8000, 16000 or 48000"),
        ("bad_channels", {"channels": []}, "channels"),
        ("bad_channels", {"channels": ["agent", "agent"]}, "once"),
        ("bad_channels", {"channels": ["agent", "customer", "unknown"]}, "channels"),
        ("bad_channels", {"channels": ["agent", "boss"]}, "'agent', 'customer'"),
        ("bad_message", {"schema": "analyzer.live/2"}, "analyzer.live/1"),
        ("bad_message", {"type": "hallo"}, "'hello', 'end'"),
        ("bad_message", {"direction": "sideways"}, "'inbound', 'outbound'"),
        ("bad_message", {"framing": "boxed"}, "'raw' or 'timed'"),
        ("bad_message", {"metadata": [1]}, "metadata"),
    ],
)
def test_a_hello_that_cannot_be_served_is_refused_by_name(code: ErrorCode, change: dict[str, Any], about: str) -> None:
    refused(code, NativeStream().receive, hello(**change), about=about)


def test_what_comes_at_the_wrong_time_is_refused() -> None:
    refused("bad_message", NativeStream().receive, b"\0\0", about="before hello")
    refused("bad_message", NativeStream().receive, '{"type": "end"}', about="before hello")
    refused("bad_message", NativeStream().receive, hello(), hello(), about="second hello")
    refused("call_ended", NativeStream().receive, hello(), '{"type": "end"}', b"\0\0", about="end")


def test_a_frame_that_is_no_frame_is_refused() -> None:
    refused("bad_frame", NativeStream().receive, hello(), b"\0\0\0", about="multiple of 4 bytes")
    refused("bad_frame", NativeStream().receive, hello(framing="timed"), b"\0" * 7, about="8 bytes of position")
    refused("bad_frame", NativeStream().receive, hello(), bytes(4 * 8_000 * 11), about="at most 10 s")


@pytest.mark.parametrize(
    "text", ["", "{", "null", "[1]", "NaN", "[" * 100_000, '{"type":"' + "x" * 9_000 + '"}', "\ud800"]
)
def test_text_that_is_no_message_is_refused(text: str) -> None:
    refused("bad_message", NativeStream().receive, text)
    refused("bad_message", TwilioStream("t").receive, text)


def test_ready_ack_and_refusal_follow_the_schema() -> None:
    stream = NativeStream()
    answer = stream.refusal("overloaded", "太忙" * 100)
    for text in (stream.ready(0), stream.ack(20), *answer.frames):
        check("audio_out", json.loads(text))
    assert answer.close_code == 1013
    assert answer.reason.startswith("overloaded: 太忙太")
    assert len(answer.reason.encode()) <= 123


# ---- a client of ours against this side of the protocol


class Loopback:
    """A server of one call without a socket: what it does with a line is what every server does."""

    def __init__(self) -> None:
        self.intake: Intake | None = None
        self.heard: dict[Role, list[NDArray[np.int16]]] = {AGENT: [], CUSTOMER: []}
        self.metadata: Any = None
        self.now_ms = 0

    def connect(self) -> LoopbackLine:
        return LoopbackLine(self)

    def act(self, stream: NativeStream, event: Event) -> str | None:
        match event:
            case Start():
                if event.token != "secret":
                    raise Refusal("unauthorised", "wrong token; ask the server's owner")
                if self.intake is None:
                    self.intake = Intake(event.rate, event.roles)
                self.intake.resume(self.intake.roles, self.now_ms)
                return stream.ready(self.intake.acked_ms)
            case Chunk():
                assert self.intake is not None
                for role, samples in self.intake.add(event, self.now_ms).items():
                    self.heard[role].append(samples)
                return stream.ack(self.intake.acked_ms)
            case End():
                assert self.intake is not None
                for role, samples in self.intake.finish().items():
                    self.heard[role].append(samples)
                self.metadata = event.metadata
                return None


class LoopbackLine:
    def __init__(self, server: Loopback) -> None:
        self.server = server
        self.stream = NativeStream()
        self.answers: list[str] = []

    def send(self, message: str | bytes) -> None:
        try:
            for event in self.stream.receive(message):
                if (answer := self.server.act(self.stream, event)) is not None:
                    self.answers.append(answer)
        except Refusal as refusal:
            answer = self.stream.refusal(refusal.code, refusal.message)
            self.answers += [str(frame) for frame in answer.frames]

    def receive(self, timeout_s: float) -> str | None:
        return self.answers.pop(0) if self.answers else None


@pytest.mark.parametrize("timed", [False, True])
def test_a_client_that_is_cut_off_comes_back_and_nothing_is_missing(timed: bool) -> None:
    sound = np.random.default_rng(1).integers(-9_000, 9_000, (16_000, 2)).astype(np.int16)
    server = Loopback()
    client = LiveClient(sound, rate=16_000, timed=timed)
    play(client, server.connect(), cut_after_ms=300)
    assert client.acked_ms == 300
    server.now_ms = 20_000
    play(client, server.connect(), frame_ms=50, end={"hung_up_by": "agent"})
    assert client.acked_ms == 1_000
    assert server.metadata == {"hung_up_by": "agent"}
    assert np.array_equal(np.stack([np.concatenate(server.heard[role]) for role in BOTH], axis=1), sound)
    assert server.intake is not None
    assert server.intake.losses == {"gaps": {}, "lost": {}}


def test_a_paced_client_waits_for_each_moment() -> None:
    waited: list[int] = []
    client = LiveClient(np.zeros((8_000, 2), dtype=np.int16))
    play(client, Loopback().connect(), pace=waited.append)
    assert waited == list(range(20, 1_001, 20))


def test_a_client_is_told_why_it_is_refused() -> None:
    with pytest.raises(RefusedError, match="wrong token") as error:
        play(LiveClient(np.zeros((80, 2), dtype=np.int16), token="guess"), Loopback().connect())
    assert error.value.code == "unauthorised"


# ---- Twilio


def twilio_start(tracks: Sequence[str] = ("inbound", "outbound"), **parameters: str) -> str:
    body = {
        "accountSid": "AC1", "streamSid": "MZ1", "callSid": "CA1", "tracks": list(tracks),
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        "customParameters": {"token": "t", **parameters},
    }  # fmt: skip
    return json.dumps({"event": "start", "sequenceNumber": "1", "start": body, "streamSid": "MZ1"})


def twilio_media(timestamp_ms: int, payload: bytes = b"\xff" * 160, track: str = "inbound") -> str:
    media = {
        "track": track,
        "chunk": "7",
        "timestamp": str(timestamp_ms),
        "payload": base64.b64encode(payload).decode(),
    }
    return json.dumps({"event": "media", "sequenceNumber": "4", "media": media, "streamSid": "MZ1"})


CONNECTED = '{"event": "connected", "protocol": "Call", "version": "1.0.0"}'
STOP = '{"event": "stop", "sequenceNumber": "9", "stop": {"accountSid": "AC1", "callSid": "CA1"}, "streamSid": "MZ1"}'


def test_a_twilio_stream() -> None:
    stream = TwilioStream()
    assert stream.receive(CONNECTED) == []
    started = stream.receive(twilio_start(direction="inbound", agent_id="3017"))
    assert started == [Start("CA1", Direction.INBOUND, (CUSTOMER, AGENT), 8_000, {"agent_id": "3017"}, "t")]
    (line,) = chunks(stream.receive(twilio_media(0, b"\x80" * 160)))
    assert line.roles == (CUSTOMER,)
    assert line.position == 0
    assert line.samples.shape == (160, 1)
    assert (line.samples == 32_124).all()
    (ours,) = chunks(stream.receive(twilio_media(20, track="outbound")))
    assert ours.roles == (AGENT,)
    assert (
        stream.receive('{"event": "dtmf", "streamSid": "MZ1", "dtmf": {"track": "inbound_track", "digit": "1"}}') == []
    )
    assert stream.receive('{"event": "mark", "mark": {"name": "m"}}') == []
    assert stream.receive(STOP) == [End()]
    assert stream.closed() == []


@pytest.mark.parametrize(
    ("tracks", "parameters", "roles"),
    [
        (["inbound", "outbound"], {"inbound_role": "agent"}, (AGENT, CUSTOMER)),
        (["outbound", "inbound"], {}, (AGENT, CUSTOMER)),
        (["outbound"], {}, (AGENT,)),
        (["inbound"], {"inbound_role": "unknown"}, (UNKNOWN,)),
    ],
)
def test_who_is_on_which_track_can_be_said(
    tracks: list[str], parameters: dict[str, str], roles: tuple[Role, ...]
) -> None:
    (start,) = TwilioStream().receive(twilio_start(tracks, call_id="mine", **parameters))
    assert isinstance(start, Start)
    assert (start.roles, start.call_id, start.metadata) == (roles, "mine", {})


def test_a_token_may_come_from_the_transport() -> None:
    (start,) = TwilioStream("from a header").receive(twilio_start(token=""))
    assert isinstance(start, Start)
    assert start.token == "from a header"


def placed(*timestamps_ms: int) -> list[int | None]:
    stream = TwilioStream()
    stream.receive(twilio_start())
    return [chunk.position for at_ms in timestamps_ms for chunk in chunks(stream.receive(twilio_media(at_ms)))]


def test_packets_stand_on_a_grid_whatever_their_timestamps_jitter() -> None:
    assert placed(0, 23, 36, 61, 80) == [0, 160, 320, 480, 640]
    assert placed(0, 20, 80, 100, 41, 60) == [0, 160, 640, 800, 320, 480], "lost, reordered"
    assert placed(0, 20, 20) == [0, 160, 160], "twice"


@given(jitter=st.lists(st.integers(-9, 9), min_size=2, max_size=50))
def test_jitter_below_half_a_packet_loses_nothing(jitter: list[int]) -> None:
    steady = placed(*(1_000 * 60 + 20 * index + off for index, off in enumerate([0, *jitter])))
    assert all(after - before == 160 for before, after in pairwise(at for at in steady if at is not None))


def test_a_track_is_silent_before_its_first_packet() -> None:
    stream = TwilioStream()
    stream.receive(twilio_start())
    (first,) = chunks(stream.receive(twilio_media(65, b"\x80" * 160)))
    assert first.position == 0
    assert len(first.samples) == 520 + 160
    assert not first.samples[:520].any()
    (second,) = chunks(stream.receive(twilio_media(85)))
    assert second.position == 680
    (later,) = chunks(stream.receive(twilio_media(4_000, track="outbound")))
    assert later.position == 32_000, "so late it is no lead-in"


def test_what_twilio_should_not_send_is_refused() -> None:
    receive = TwilioStream().receive
    refused("bad_message", receive, b"\0", about="binary")
    refused("bad_message", receive, twilio_media(0), about="no start")
    refused("bad_message", receive, STOP, about="before start")
    refused("unauthorised", receive, twilio_start(token=""), about="Parameter")
    refused("bad_channels", receive, twilio_start(["inbound", "inbound"]), about="once")
    refused("bad_channels", receive, twilio_start(["both"]), about="tracks")
    refused("bad_channels", receive, twilio_start(inbound_role="unknown"), about="inbound_role")
    refused("bad_message", receive, twilio_start(direction="up"), about="direction")
    refused("unsupported_encoding", receive, twilio_start().replace("x-mulaw", "x-l16"), about="audio/x-mulaw")
    refused("unsupported_rate", receive, twilio_start().replace("8000", "16000"), about="8000")
    refused("bad_message", receive, '{"event": "start"}', about="start")
    refused("bad_message", receive, twilio_start(), twilio_start(), about="second start")
    refused("bad_message", receive, twilio_media(-1), about="timestamp")
    refused("bad_frame", receive, twilio_media(0).replace("/", "?"), about="base64")
    refused("bad_frame", receive, twilio_media(0, bytes(90_000)), about="at most 10 s")
    other = twilio_media(0, track="outbound")
    refused("bad_message", TwilioStream().receive, twilio_start(["inbound"]), other, about="outbound track")
    refused("call_ended", TwilioStream().receive, twilio_start(), STOP, twilio_media(0), about="stop")


def test_twilio_is_told_by_the_close_of_the_connection() -> None:
    assert TwilioStream().refusal("unauthorised", "no token") == Answer((), 1008, "unauthorised: no token")


# ---- FreeSWITCH


def test_a_freeswitch_stream_in_stereo_with_metadata() -> None:
    query = {"token": "t", "rate": "16k", "channels": "customer,agent", "direction": "outbound"}
    stream = FreeSwitchStream(query, "call-7")
    assert stream.receive('{"agent_id": "3017"}') == [
        Start("call-7", Direction.OUTBOUND, (CUSTOMER, AGENT), 16_000, {"agent_id": "3017"}, "t")
    ]
    (chunk,) = chunks(stream.receive(PCM.tobytes()))
    assert chunk.roles == (CUSTOMER, AGENT)
    assert np.array_equal(chunk.samples, PCM)
    assert stream.receive('{"hung_up_by": "customer"}') == []
    assert stream.closed() == [End({"hung_up_by": "customer"})]


def test_a_freeswitch_stream_in_mono_needs_no_metadata() -> None:
    stream = FreeSwitchStream({"channels": "agent"}, token="from a header")
    start, chunk = stream.receive(b"\1\0\2\0")
    assert start == Start(None, Direction.UNKNOWN, (AGENT,), 8_000, {}, "from a header")
    assert isinstance(chunk, Chunk)
    assert chunk.samples.tolist() == [[1], [2]]
    assert chunk.position is None


def test_freeswitch_that_closes_before_it_began_ends_nothing() -> None:
    assert FreeSwitchStream({"token": "t"}).closed() == []


@pytest.mark.parametrize(
    ("code", "query"),
    [
        ("unauthorised", {}),
        ("unsupported_rate", {"token": "t", "rate": "22050"}),
        ("unsupported_rate", {"token": "t", "rate": ""}),
        ("bad_channels", {"token": "t", "channels": "agent,agent"}),
        ("bad_channels", {"token": "t", "channels": "left,right"}),
        ("bad_channels", {"token": "t", "channels": ""}),
        ("bad_message", {"token": "t", "direction": "x"}),
    ],
)
def test_an_address_that_does_not_say_enough_is_refused(code: ErrorCode, query: dict[str, str]) -> None:
    refused(code, FreeSwitchStream, query)


def test_what_freeswitch_should_not_send_is_refused() -> None:
    receive = FreeSwitchStream({"token": "t"}).receive
    refused("bad_message", receive, "hello", about="JSON object")
    refused("bad_message", receive, "[]", about="JSON object")
    refused("bad_frame", receive, b"\0\0\0", about="multiple of 4 bytes")
    refused("bad_frame", receive, bytes(4 * 8_000 * 11), about="at most 10 s")


def test_freeswitch_is_told_in_text() -> None:
    answer = FreeSwitchStream({"token": "t"}).refusal("call_busy", "twice; once is enough")
    assert json.loads(answer.frames[0]) == {"type": "refused", "code": "call_busy", "message": "twice; once is enough"}


# ---- AudioSocket

CALL = uuid.UUID("40325ec2-5efd-4bd3-805f-53576e581d13")


def packet(kind: int, payload: bytes = b"") -> bytes:
    return struct.pack(">BH", kind, len(payload)) + payload


IDENTITY = packet(0x01, CALL.bytes)
SPOKEN = (
    IDENTITY
    + packet(0x10, PCM[:160].tobytes())
    + packet(0x03, b"5")
    + packet(0x02)
    + packet(0x10, PCM[160:].tobytes())
    + packet(0x00)
)


def audiosocket(pieces: Sequence[bytes]) -> list[Event]:
    stream = AudioSocketStream(CUSTOMER, Direction.INBOUND)
    return [event for piece in pieces for event in stream.receive(piece)]


@given(cuts=st.lists(st.integers(0, len(SPOKEN)), max_size=30).map(sorted))
@example(cuts=list(range(len(SPOKEN))))
def test_audiosocket_packets_may_be_cut_anywhere(cuts: list[int]) -> None:
    events = audiosocket([SPOKEN[start:end] for start, end in pairwise([0, *cuts, len(SPOKEN)])])
    assert events[0] == Start(str(CALL), Direction.INBOUND, (CUSTOMER,), 8_000)
    assert np.array_equal(joined(events)[:, 0], PCM.reshape(-1))
    assert events[-1] == End()


@pytest.mark.parametrize(("kind", "rate"), RATES.items())
def test_the_kind_of_a_packet_is_its_rate(kind: int, rate: int) -> None:
    start, _ = audiosocket([IDENTITY, packet(kind, b"\0\0")])
    assert isinstance(start, Start)
    assert start.rate == rate


def test_a_rate_that_changes_is_refused() -> None:
    refused("unsupported_rate", AudioSocketStream().receive, IDENTITY + packet(0x10, b"\0\0"), packet(0x12, b"\0\0"))


def test_a_closed_connection_hangs_up_and_twice_is_once() -> None:
    stream = AudioSocketStream()
    assert stream.closed() == []
    stream = AudioSocketStream()
    stream.receive(IDENTITY + packet(0x10, b"\0\0"))
    assert stream.closed() == [End()]
    assert stream.closed() == []
    assert stream.receive(b"whatever follows") == []


def test_an_error_of_asterisks_drops_the_call() -> None:
    assert audiosocket([IDENTITY + packet(0x10, b"\0\0"), packet(0xFF, b"\x01")])[-1] == End({"ended_by": "dropped"})


def test_what_asterisk_should_not_send_is_refused() -> None:
    refused("bad_frame", AudioSocketStream().receive, b"GET / HTTP/1.1\r\n", about="kind 0x47")
    refused("bad_message", AudioSocketStream().receive, packet(0x10, b"\0\0"), about="UUID")
    refused("bad_message", AudioSocketStream().receive, packet(0x01, b"short"), about="5 bytes")
    refused("bad_message", AudioSocketStream().receive, IDENTITY, IDENTITY, about="second UUID")
    refused("bad_frame", AudioSocketStream().receive, IDENTITY, packet(0x10, b"\0"), about="multiple of 2 bytes")


def test_asterisk_is_told_by_an_error_packet_and_a_hang_up() -> None:
    assert len(set(ERRORS.values())) == len(ERRORS)
    for code in ERRORS:
        assert AudioSocketStream().refusal(code, "…").frames == (packet(0xFF, bytes([ERRORS[code]])) + packet(0x00),)


# ---- rubbish

RUBBISH = st.one_of(
    st.binary(max_size=200),
    st.text(max_size=200),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    ).map(json.dumps),
    st.sampled_from([hello(), hello(framing="timed"), '{"type": "end"}', twilio_start(), twilio_media(0), STOP]),
    st.builds(
        lambda text, at, character: text[:at] + character + text[at + 1 :],
        st.sampled_from([hello(), twilio_start(), twilio_media(1 << 70)]),
        st.integers(0, 300),
        st.characters(),
    ),
)


@settings(max_examples=200)
@given(messages=st.lists(RUBBISH, min_size=1, max_size=8))
def test_rubbish_is_refused_and_never_breaks_anything(messages: list[str | bytes]) -> None:
    for stream in (NativeStream(), TwilioStream("t"), FreeSwitchStream({"token": "t"})):
        for message in messages:
            receive(stream.receive, message)
        stream.closed()


@settings(max_examples=200)
@given(pieces=st.lists(st.one_of(st.binary(max_size=300), st.just(IDENTITY), st.just(SPOKEN)), max_size=6))
def test_rubbish_over_tcp_is_refused_and_never_breaks_anything(pieces: list[bytes]) -> None:
    stream = AudioSocketStream()
    for piece in pieces:
        receive(stream.receive, piece)
    stream.closed()


def receive(stream: Callable[[Any], list[Event]], message: str | bytes) -> None:
    """What comes through is usable: an intake takes it."""
    try:
        events = stream(message)
    except Refusal:
        return
    for chunk in chunks(events):
        Intake(8_000, chunk.roles).add(chunk, 0)
