"""The server over real sockets: rubbish, clients that die, a stop that finishes, a kill that loses nothing said."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from analyzer.live.messages import ErrorCode
from analyzer.live.wire.audiosocket import ERROR, ERRORS, HANG_UP, UUID
from analyzer.serve.app import create_app
from analyzer.serve.audiosocket import listen_for_asterisk
from analyzer.serve.desk import Leg, Legs
from analyzer.serve.events import Log
from analyzer.serve.run import is_loopback
from analyzer.types import Direction, Role
from tests.fake_speech import FakeRecogniser
from tests.serving import BEARER, HELLO, TOKEN, a_hub, a_server, frames, in_a_loop, speech, text, until

ROOT = Path(__file__).parent.parent


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    with a_hub(tmp_path) as hub, a_server(hub) as port:
        yield port


def audio(port: int, call_id: str) -> ClientConnection:
    return connect(f"ws://127.0.0.1:{port}/live/{call_id}/audio", proxy=None)


def events(port: int, call_id: str, query: str = "") -> ClientConnection:
    return connect(f"ws://127.0.0.1:{port}/live/{call_id}/events{query}", additional_headers=BEARER, proxy=None)


def say(message: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(message)
    return result


def get(port: int, path: str) -> Any:
    return json.loads(get_text(port, path))


def get_text(port: int, path: str) -> str:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=BEARER)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return str(answer.read(), "utf-8")


def test_a_client_that_is_killed_and_back_goes_on_from_what_was_acknowledged(port: int) -> None:
    sound = speech(4)
    with audio(port, "c1") as client:
        client.send(text(HELLO))
        assert say(client.recv(20))["resume_from_ms"] == 0
        for frame in frames(sound[: len(sound) // 2]):
            client.send(frame)
        while say(client.recv(20))["ms"] < 2000:
            pass
        client.socket.shutdown(socket.SHUT_RDWR)  # no closing handshake
    until(lambda: _states(port, "c1")[-1] == "disconnected")
    with audio(port, "c1") as client:
        client.send(text(HELLO))
        at_ms = say(client.recv(20))["resume_from_ms"]
        assert at_ms == 2000
        for frame in frames(sound[at_ms * 8 * 4 :]):
            client.send(frame)
        client.send(text({"type": "end"}))
        assert drained(client)[1] == 1000
    until(lambda: _states(port, "c1")[-1] == "ended")
    assert _states(port, "c1") == ["started", "disconnected", "resumed", "ending", "ended"]
    report = get(port, "/api/calls/c1")["report"]
    assert (report["duration_ms"], report["truncated"]) == (4000, False)


def drained(client: ClientConnection) -> tuple[list[dict[str, Any]], int]:
    """What comes until the server closes, and the code it closes with."""
    messages = []
    try:
        while True:
            messages.append(say(client.recv(30)))
    except ConnectionClosed as closed:
        return messages, closed.rcvd.code if closed.rcvd else 1006


def _kinds(port: int, call_id: str) -> set[str]:
    return {event["type"] for event in get(port, f"/api/calls/{call_id}/events?limit=1000")["events"]}


def _states(port: int, call_id: str) -> list[str]:
    found = get(port, f"/api/calls/{call_id}/events?limit=1000")["events"]
    return [event["state"] for event in found if event["type"] == "call"]


def test_a_sender_whose_network_died_gives_way_to_its_new_connection(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analyzer.serve.senders.STALE_S", 1.0)
    with audio(port, "c1") as old:
        old.send(text(HELLO))
        old.recv(20)
        with audio(port, "c1") as other:
            other.send(text(HELLO))
            assert say(other.recv(20))["code"] == "call_busy"
        time.sleep(1.1)
        with audio(port, "c1") as new:
            new.send(text(HELLO))
            assert say(new.recv(20))["type"] == "ready"


def test_an_overlay_that_reads_nothing_costs_the_call_nothing(port: int) -> None:
    with ExitStack() as stack:
        sender = stack.enter_context(audio(port, "c1"))
        _began(sender)
        for _ in range(5):
            stack.enter_context(events(port, "c1"))
        for frame in frames(speech(8)):
            sender.send(frame)
        sender.send(text({"type": "end"}))
        eager = stack.enter_context(events(port, "c1"))
        seen, code = drained(eager)
    assert code == 1000
    assert seen[-1]["state"] == "ended"


# ---- rubbish


async def _rubbish(port: int, number: int) -> str:
    """One of a few kinds of nonsense; returns how it ended."""
    kinds = [text({**HELLO, "token": "wrong"}), "{" * 60_000, b"\xff" * 1000, text({"type": "end"}), "x" * 70_000]
    async with connect_async(
        f"ws://127.0.0.1:{port}/live/r{number}/audio", proxy=None, open_timeout=60, max_size=None
    ) as client:
        try:
            await client.send(kinds[number % len(kinds)])
            async with asyncio.timeout(60):
                answer = say(str(await client.recv()))
                await client.wait_closed()
            return str(answer["code"])
        except ConnectionClosed as closed:
            return f"closed {closed.rcvd.code if closed.rcvd else 'at once'}"


def _throw_rubbish(port: int, count: int) -> list[str]:
    async def all_of_it() -> list[str]:
        return await asyncio.gather(*(_rubbish(port, number) for number in range(count)))

    return in_a_loop(all_of_it())


def _upgrade(path: str) -> str:
    lines = (
        f"GET {path} HTTP/1.1", "Host: x", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", f"Authorization: Bearer {TOKEN}",
    )  # fmt: skip
    return "\r\n".join((*lines, "", ""))


def test_a_client_that_is_gone_is_written_to_no_more(
    port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    is_reading, is_gone = threading.Event(), threading.Event()

    async def a_page_once_it_is_gone(_log: Log, seq: int) -> list[tuple[int, str]]:
        is_reading.set()
        assert is_gone.wait(20)  # the loop waits too: it cannot have noticed
        return [(seq + n, "{}") for n in range(1, 200)]

    monkeypatch.setattr("analyzer.serve.events.read_after", a_page_once_it_is_gone)
    with audio(port, "c1") as sender:
        _began(sender)
        client = socket.create_connection(("127.0.0.1", port))
        client.sendall(_upgrade("/live/c1/events").encode())
        assert is_reading.wait(20)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # its close is a reset
        client.close()
        is_gone.set()
        until(lambda: "analyzer_event_clients 0.0" in get_text(port, "/metrics"))
    assert "socket.send() raised exception" not in caplog.text


def test_rubbish_is_refused_and_a_call_beside_it_goes_on(port: int) -> None:
    with audio(port, "c1") as sender:
        sender.send(text(HELLO))
        sender.recv(20)
        ends = _throw_rubbish(port, 20)
        sender.send(next(frames(speech(1))))
        sender.send(text({"type": "end"}))
        assert say(sender.recv(20)) == {"type": "ack", "ms": 20}
    assert set(ends) == {"unauthorised", "bad_message", "closed 1009"}
    assert [call["call_id"] for call in get(port, "/api/calls")["calls"]] == ["c1"]


def test_lines_that_are_no_http_are_closed(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        line.sendall(os.urandom(2000) + b"\r\n\r\n")
        assert b"400" in line.recv(1000) or line.recv(1000) == b""


def test_a_stream_without_the_token_is_not_even_accepted(port: int) -> None:
    with pytest.raises(InvalidStatus) as refused:
        connect(f"ws://127.0.0.1:{port}/live/calls", proxy=None)
    assert refused.value.response.status_code == 403


def test_a_connection_that_says_nothing_is_dropped(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analyzer.serve.senders.FIRST_WITHIN_S", 0.2)
    with audio(port, "c1") as silent, pytest.raises(ConnectionClosed) as closed:
        silent.recv(20)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4408


@pytest.mark.system
def test_two_hundred_connections_of_rubbish_cost_a_refusal_each(port: int) -> None:
    threads = threading.active_count()
    ends = _throw_rubbish(port, 200)
    assert len(ends) == 200
    assert set(ends) == {"unauthorised", "bad_message", "closed 1009"}
    assert get(port, "/api/calls")["calls"] == []
    assert threading.active_count() <= threads


# ---- AudioSocket


def test_two_legs_of_asterisk_become_one_call(tmp_path: Path) -> None:
    async def run() -> None:
        app = create_app(hub, token=TOKEN)
        desk = app.state.desk
        server = await listen_for_asterisk(desk, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        legs = {role: uuid.uuid4() for role in (Role.AGENT, Role.CUSTOMER)}
        for role, name in legs.items():
            desk.legs.announce(Leg(str(name), "a1", role, Direction.INBOUND, {"agent_id": "3017"}))
        lines = [await asyncio.open_connection("127.0.0.1", port) for _ in legs]
        for name, (_, writer) in zip(legs.values(), lines, strict=True):
            writer.write(bytes([UUID, 0, 16]) + name.bytes)
            await writer.drain()
        for _ in range(50):
            for _, writer in lines:
                writer.write(bytes([0x10]) + (320).to_bytes(2) + bytes(320))
        while (session := hub.session("a1")) is None or session.n_senders < 2:
            await asyncio.sleep(0.02)
        for _, writer in lines:
            writer.write(bytes([HANG_UP, 0, 0]))
            await writer.drain()
        for reader, writer in lines:
            assert await reader.read() == b""
            writer.close()
        server.close()

    with a_hub(tmp_path) as hub:
        in_a_loop(run())
        session = hub.session("a1")
        assert session is not None
        until(lambda: session.is_over)
        assert session.report is not None
        assert (session.report["duration_ms"], session.report["metadata"]) == (1000, {"agent_id": "3017"})


def test_a_leg_nobody_announced_is_hung_up_on(tmp_path: Path) -> None:
    async def run() -> bytes:
        desk = create_app(hub, token=TOKEN).state.desk
        server = await listen_for_asterisk(desk, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        writer.write(bytes([UUID, 0, 16]) + uuid.uuid4().bytes)
        answer = await reader.read()
        writer.close()
        server.close()
        return answer

    with a_hub(tmp_path) as hub:
        assert in_a_loop(run()).endswith(bytes([HANG_UP, 0, 0]))
        assert hub.live == []


def test_a_leg_has_one_connection_at_a_time_and_that_may_come_back(tmp_path: Path) -> None:
    now = 0.0

    async def run() -> None:
        nonlocal now
        desk = create_app(hub, token=TOKEN).state.desk
        desk.legs = Legs(lambda: now)
        server = await listen_for_asterisk(desk, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        first, second = uuid.uuid4(), uuid.uuid4()
        for name in (first, second):
            desk.legs.announce(Leg(str(name), "a1", Role.AGENT, Direction.INBOUND))

        async def comes(name: uuid.UUID) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(bytes([UUID, 0, 16]) + name.bytes + bytes([0x10]) + (320).to_bytes(2) + bytes(320))
            await writer.drain()
            return reader, writer

        async def is_refused(name: uuid.UUID, code: ErrorCode) -> bool:
            reader, writer = await comes(name)
            answer = await reader.read()
            writer.close()
            return answer == bytes([ERROR, 0, 1, ERRORS[code], HANG_UP, 0, 0])

        async def is_sent() -> None:
            while (session := hub.session("a1")) is None or not session.has_sender:
                await asyncio.sleep(0.01)

        async def breaks_off(writer: asyncio.StreamWriter) -> None:
            reset = struct.pack("ii", 1, 0)  # linger for no time: no orderly close, which would end the call
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
            writer.transport.abort()
            while hub.live[0].has_sender:
                await asyncio.sleep(0.01)

        _, sending = await comes(first)
        await is_sent()
        assert await is_refused(first, "call_busy")
        assert await is_refused(second, "call_busy")
        now = 3_600.0  # an hour into the call
        await breaks_off(sending)
        _, sending = await comes(first)
        await is_sent()
        assert await is_refused(first, "call_busy")
        await breaks_off(sending)
        now += 31
        assert await is_refused(first, "unauthorised")
        server.close()

    with a_hub(tmp_path) as hub:
        in_a_loop(run())


# ---- the end


@pytest.mark.system
def test_a_stop_finishes_what_was_heard_and_tells_every_stream(tmp_path: Path) -> None:
    with _process(tmp_path) as (process, port, _):
        with ExitStack() as stack:
            sender = stack.enter_context(audio(port, "c1"))
            _began(sender)
            overlay = stack.enter_context(events(port, "c1"))
            for frame in frames(speech(8)):
                sender.send(frame)
            while say(sender.recv(20)).get("ms", 0) < 7500:
                pass
            process.send_signal(signal.SIGTERM)
            seen, _ = drained(overlay)
        assert process.wait(60) == 0
    assert [event["type"] for event in seen[-2:]] == ["scorecard", "call"]
    report = json.loads((tmp_path / "run" / "reports" / "c1.json").read_text(encoding="utf-8"))
    assert seen[-2]["report"] == report
    assert report["duration_ms"] == 8000
    assert report["turns"]


@pytest.mark.system
def test_a_killed_server_s_calls_are_reported_as_interrupted_by_the_next(tmp_path: Path) -> None:
    with _process(tmp_path) as (process, port, _), audio(port, "c1") as sender:
        _began(sender)
        for frame in frames(speech(20)):
            sender.send(frame)
        until(lambda: "utterance" in _kinds(port, "c1"))
        time.sleep(1.2)  # journals are durable once a second
        process.kill()
        process.wait(20)
    with _process(tmp_path) as (process, port, recovered):
        assert recovered == ["c1"]
        call = get(port, "/api/calls/c1")
        assert call["state"] == "interrupted"
        assert call["report"]["truncated"]
        assert call["report"]["turns"]
        assert _states(port, "c1")[-1] == "interrupted"
        with events(port, "c1") as overlay:
            assert drained(overlay)[1] == 1000
        with audio(port, "c1") as sender:
            sender.send(text(HELLO))
            assert say(sender.recv(20))["code"] == "call_ended"


def _began(sender: ClientConnection) -> bool:
    sender.send(text(HELLO))
    return bool(say(sender.recv(20))["type"] == "ready")


@contextmanager
def _process(folder: Path) -> Iterator[tuple[subprocess.Popen[str], int, list[str]]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.serve_fake", str(folder)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        port, *recovered = process.stdout.readline().split()
        yield process, int(port), recovered
    finally:
        process.terminate()
        process.wait(60)
        process.stdout.close()


def test_what_is_only_this_machine() -> None:
    assert [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "127.8.9.1")] == [True] * 4
    assert [is_loopback(host) for host in ("0.0.0.0", "::", "192.168.1.4", "example.com", "")] == [False] * 5


def test_overload_refuses_new_calls_and_keeps_the_old(tmp_path: Path) -> None:
    slow = FakeRecogniser(delay_s=1.0)
    with a_hub(tmp_path, slow, refuse_ms=-1.0) as hub, a_server(hub) as port, audio(port, "c1") as sender:
        sender.send(text(HELLO))
        assert say(sender.recv(20))["code"] == "overloaded"
