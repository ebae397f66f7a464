"""Event streams: of one call, and of how all calls stand.

Nothing is kept per client: each stream reads the call's log after the number it has sent, as fast as its client takes
it, and a client that takes nothing for half a minute is dropped. ``viewer=overlay`` in the address says that this
client is the agent's screen: what it was sent counts as delivered.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Protocol

from fastapi import FastAPI
from pydantic import ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from analyzer.desk.access import Principal
from analyzer.live.hub import Session
from analyzer.live.journal import KEPT, read_numbered
from analyzer.live.messages import FROM_AGENT, Dismiss
from analyzer.serve.desk import Desk
from analyzer.serve.gate import int_or
from analyzer.serve.rights import Known, Supervisor, is_theirs
from analyzer.serve.whispers import note_whisper

log = logging.getLogger(__name__)

PAGE = 200
TAKE_WITHIN_S = 30.0
MESSAGES_PER_S, BURST = 5.0, 50.0
BAD_MESSAGE, UNKNOWN_CALL, TOO_MANY = 4400, 4404, 4429
CALLS_EVERY_S = 1.0


class Log(Protocol):
    """What a stream reads: ``EventLog``, or what an earlier process left."""

    seq: int
    is_closed: bool

    def after(self, seq: int, most: int = PAGE) -> list[tuple[int, str]]: ...

    def watch(self, tell: Callable[[], None]) -> Callable[[], None]: ...


class StoredLog:
    """The events of a call that this process does not know any more, from its file."""

    is_closed = True

    def __init__(self, path: Path) -> None:
        self._path = path
        self._marks: list[int] = []
        self.seq = 0
        at = 0
        with path.open("rb") as file:
            for line in file:
                if b'"seq":' in line[:1000] and line.endswith(b"\n"):
                    self.seq = json.loads(line).get("seq", self.seq)
                    if self.seq % 256 == 1:
                        self._marks.append(at)
                at += len(line)

    def after(self, seq: int, most: int = PAGE) -> list[tuple[int, str]]:
        return read_numbered(self._path, seq, most, self._marks) if seq < self.seq else []

    def watch(self, tell: Callable[[], None]) -> Callable[[], None]:
        return lambda: None


async def find_log(desk: Desk, call_id: str, who: Principal) -> Log | None:
    """The events of a call, live or over, of this process or an earlier one; None if there are none for them."""
    if session := desk.hub.session(call_id):
        return session.events if is_theirs(who, session.facts.metadata.get("agent_id")) else None
    if who.role == "agent":
        report = await asyncio.to_thread(desk.hub.report, call_id)
        if report is None or not is_theirs(who, report.get("metadata", {}).get("agent_id")):
            return None
    path = await asyncio.to_thread(desk.hub.journal, call_id)
    return None if path is None else await asyncio.to_thread(StoredLog, path)


async def read_after(log: Log, seq: int, most: int = PAGE) -> list[tuple[int, str]]:
    """What is in memory at once; what must be read from the disk beside the event loop."""
    if log.is_closed or log.seq - seq > KEPT:
        return await asyncio.to_thread(log.after, seq, most)
    return log.after(seq, most)


def add_event_routes(app: FastAPI, desk: Desk) -> None:
    @app.websocket("/live/calls")
    async def calls(socket: WebSocket, who: Supervisor) -> None:
        await socket.accept()
        await _both(_send_calls(socket, desk), _ignore(socket), desk)

    @app.websocket("/live/{call_id:path}/events")
    async def events(socket: WebSocket, call_id: str, who: Known) -> None:
        await socket.accept()
        source = await find_log(desk, call_id, who)
        if source is None:
            await socket.close(UNKNOWN_CALL, "no such call")
            return
        after = max(0, int_or(socket.query_params.get("after"), 0))
        session = desk.hub.session(call_id)
        is_overlay = socket.query_params.get("viewer") == "overlay" and who.role in ("agent", "service")
        agent = _Agent(desk, session if is_overlay else None)
        desk.streams += 1
        try:
            hearing = _hear_agent(socket, desk, session) if is_overlay else _ignore(socket)  # who watches cannot act
            await _both(_send_events(socket, source, after, agent), hearing, desk)
        finally:
            desk.streams -= 1


async def _both(sending: Coroutine[Any, Any, None], hearing: Coroutine[Any, Any, None], desk: Desk) -> None:
    """Until one of the two ends: all is sent, or the client went."""
    with desk.metrics.event_clients.track_inprogress():
        tasks = [asyncio.create_task(sending), asyncio.create_task(hearing)]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)  # not gather, which would hide from a cancelled caller who cancelled it
        for task in tasks:
            gone = (WebSocketDisconnect, TimeoutError, RuntimeError)
            fault = None if task.cancelled() else task.exception()
            if fault is not None and not isinstance(fault, gone):
                raise fault


# ---- to the client


async def _send_events(socket: WebSocket, source: Log, seq: int, agent: _Agent) -> None:
    loop = asyncio.get_running_loop()
    changed = asyncio.Event()

    def tell() -> None:
        with contextlib.suppress(RuntimeError):  # the loop ended before the call did
            loop.call_soon_threadsafe(changed.set)

    stop = source.watch(tell)
    try:
        while True:
            changed.clear()
            is_last = source.is_closed
            for number, line in await read_after(source, seq):
                await _send(socket, line)
                seq = number
                await agent.was_sent(line)
                is_last = False  # there may be more than a page
            if is_last:
                await socket.close(1000)
                return
            if seq >= source.seq and not source.is_closed:
                await changed.wait()
    finally:
        stop()


async def _send_calls(socket: WebSocket, desk: Desk) -> None:
    while True:
        await _send(socket, desk.board.text)
        await desk.board.change(CALLS_EVERY_S)


async def _send(socket: WebSocket, text: str) -> None:
    """Sending gives the loop no turn while the client takes all, and without one nobody learns that it is gone: a
    page would be written into the void."""
    async with asyncio.timeout(TAKE_WITHIN_S):
        await socket.send_text(text)
    await asyncio.sleep(0)


# ---- from the client


async def _hear_agent(socket: WebSocket, desk: Desk, session: Session | None) -> None:
    """Hints put away and whispers seen. Of a call that is over nothing matters any more."""
    allowance, at = BURST, asyncio.get_running_loop().time()
    while True:
        text = await socket.receive_text()
        now = asyncio.get_running_loop().time()
        allowance, at = min(BURST, allowance + (now - at) * MESSAGES_PER_S) - 1, now
        if allowance < 0:
            await socket.close(TOO_MANY, "too many messages")
            return
        try:
            message = FROM_AGENT.validate_json(text)
        except (ValidationError, UnicodeEncodeError):
            await socket.close(BAD_MESSAGE, 'send {"type":"dismiss","nudge":…} or {"type":"seen","whisper":…}')
            return
        if session is None:
            continue
        if isinstance(message, Dismiss):
            session.dismiss(message.nudge)
        else:
            await asyncio.shield(note_whisper(desk, session, message.whisper, "seen"))


async def _ignore(socket: WebSocket) -> None:
    while True:
        await socket.receive_text()


class _Agent:
    """The agent's screen, if the client is one: what it was sent is delivered."""

    def __init__(self, desk: Desk, session: Session | None) -> None:
        self._desk, self._session = desk, session

    async def was_sent(self, line: str) -> None:
        if self._session is None or '"type":"whisper"' not in line:
            return
        event = json.loads(line)
        if event["type"] == "whisper" and event["state"] == "sent":
            await asyncio.shield(note_whisper(self._desk, self._session, event["id"], "delivered"))
