"""A stage for the pages of live coaching: the real files, and calls that say what a test tells them to.

Events are made with the models of the live streams, so a page that works here understands what the server sends.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from analyzer.live.messages import (
    EVENT,
    FROM_AGENT,
    CallEvent,
    DismissEvent,
    FindingEvent,
    GaugeEvent,
    InterimEvent,
    NudgeEvent,
    OwedEvent,
    ScorecardEvent,
    TurnSpan,
    UtteranceEvent,
    WhisperEvent,
    as_json,
)
from analyzer.types import Match, Role, Severity
from analyzer.web import CONTENT_SECURITY_POLICY, STATIC, page

LOOK_S = 0.01


@dataclass
class Call:
    """A scripted call. ``at_ms`` is its clock, which the script moves."""

    call_id: str
    summary: dict[str, Any] = field(default_factory=dict)
    at_ms: int = 0
    lines: list[str] = field(default_factory=list)
    sent: list[dict[str, Any]] = field(default_factory=list)  # what overlays sent
    asked_after: list[int] = field(default_factory=list)  # of each connection
    swallow: set[int] = field(default_factory=set)  # seqs that get lost on the way, once
    is_over: bool = False

    def add(self, event: type[BaseModel], **fields: Any) -> None:
        line = as_json(event(call_id=self.call_id, seq=len(self.lines) + 1, at_ms=self.at_ms, **fields))
        EVENT.validate_json(line)
        self.lines.append(line)

    def start(self, **fields: Any) -> None:
        self.add(CallEvent, state="started", direction="inbound", channels=["agent", "customer"], **fields)

    def say(self, role: str, turn: int, text: str, start_ms: int, end_ms: int) -> None:
        self.add(UtteranceEvent, turn=turn, role=Role(role), start_ms=start_ms, end_ms=end_ms, text=text)

    def interim(self, role: str, text: str) -> None:
        self.add(InterimEvent, role=Role(role), start_ms=self.at_ms, end_ms=self.at_ms, text=text)

    def find(self, name: str, status: str, *, turn: int | None = None, at: tuple[int, int] | None = None,
             severity: str = "critical", quote: str | None = None, rule: str = "banned_phrase",
             title: str = "服务禁语", **fields: Any) -> None:  # fmt: skip
        spans = [TurnSpan(turn=turn, char_start=at[0], char_end=at[1])] if at and turn is not None else []
        start, end = at or (None, None)
        given = {"message": f"坐席说了“{quote}”", "start_ms": self.at_ms, "end_ms": self.at_ms, **fields}
        self.add(FindingEvent, id=name, status=status, rule=rule, title=title, severity=Severity(severity),
                 role=Role.AGENT, turn=turn, spans=spans, quote=quote, char_start=start, char_end=end,
                 match=Match.EXACT if at else Match.ABSENT, **given)  # fmt: skip

    def owe(
        self, element: str, title: str, state: str = "pending", rule: str = "opening", due_ms: int | None = None
    ) -> None:
        self.add(OwedEvent, rule=rule, element=element, title=title, state=state, due_ms=due_ms)

    def nudge(self, name: str, message: str, *, state: str = "shown", kind: str = "forbidden",
              rule: str = "banned_phrase", priority: str = "critical", **fields: Any) -> None:  # fmt: skip
        self.add(NudgeEvent, id=name, state=state, kind=kind, priority=priority, rule=rule, message=message, **fields)

    def gauge(self, **fields: Any) -> None:
        self.add(GaugeEvent, **fields)

    def whisper(self, name: str, text: str, state: str = "sent", sender: str = "李主管") -> None:
        self.add(WhisperEvent, id=name, text=text, sender=sender, state=state)

    def end(self, score: float | None = 86.5, verdict: str = "pass") -> None:
        self.add(CallEvent, state="ending")
        self.add(ScorecardEvent, report={"score": score, "verdict": verdict, "rules": []})
        self.add(CallEvent, state="ended")
        self.is_over = True

    def seen(self) -> dict[str, Any]:
        """As ``/api/calls`` shows it."""
        blank = {
            "call_id": self.call_id, "direction": "inbound", "state": "ended" if self.is_over else "live",
            "started_at": "2026-01-05T09:00:00Z", "duration_ms": self.at_ms, "agent_id": "3017", "metadata": {},
            "behind_ms": 0, "blind": [], "rate": {}, "talk_ratio": None, "hold": None, "silence": None,
            "findings": {"critical": 0, "major": 0, "minor": 0}, "last_finding": None, "score": None,
        }  # fmt: skip
        return {**blank, **self.summary, "last_seq": len(self.lines)}


class Stage:
    """The server. ``is_refusing``: nobody gets a line; ``token``: what the pages ask for, if anything."""

    def __init__(self) -> None:
        self.calls: dict[str, Call] = {}
        self.is_refusing = False
        self.token: str | None = None
        self.origin = ""
        self._sockets: set[WebSocket] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    def call(self, call_id: str, **summary: Any) -> Call:
        return self.calls.setdefault(call_id, Call(call_id, summary))

    def drop(self) -> None:
        """Every line breaks."""
        assert self._loop is not None
        for connection in list(self._sockets):
            with suppress(WebSocketDisconnect):  # its page was closed just now
                asyncio.run_coroutine_threadsafe(connection.close(1012), self._loop).result(5)

    def reset(self) -> None:
        self.is_refusing, self.token = False, None
        self.calls.clear()
        self.drop()

    # ---- pages

    def app(self) -> ASGIApp:
        routes = [
            Route("/token", self._enter, methods=["POST"]),
            *(Route(path, self._page(name)) for path, name in PAGES.items()),
            Mount("/static", StaticFiles(directory=STATIC)),
            Route("/api/calls", self._list),
            Route("/api/calls/{call_id}", self._one),
            Route("/api/calls/{call_id}/whisper", self._whisper, methods=["POST"]),
            WebSocketRoute("/live/calls", self._watch_all),
            WebSocketRoute("/live/{call_id}/events", self._watch),
        ]
        return _Strict(Starlette(routes=routes))

    def _page(self, name: str) -> Any:
        async def answer(request: Request) -> Response:
            if self.token is not None and request.cookies.get("analyzer_token") != self.token:
                return FileResponse(page("token"), status_code=401)
            return FileResponse(page(name))

        return answer

    async def _enter(self, request: Request) -> Response:
        if (await request.body()).decode() != f"token={self.token}":
            return FileResponse(page("token"), status_code=401)
        answer = Response(status_code=204)
        answer.set_cookie("analyzer_token", self.token or "", httponly=True, samesite="strict")
        return answer

    # ---- HTTP

    async def _list(self, request: Request) -> Response:
        agent, state = request.query_params.get("agent_id"), request.query_params.get("state")
        seen = [call.seen() for call in list(self.calls.values())]
        wanted = [one for one in seen if agent in {None, one["agent_id"]} and state in {None, one["state"]}]
        return JSONResponse({"calls": wanted, "next": None})

    async def _one(self, request: Request) -> Response:
        call = self.calls.get(request.path_params["call_id"])
        if call is None:
            return JSONResponse({"code": "not_found", "message": "没有这通通话"}, 404)
        return JSONResponse(call.seen())

    async def _whisper(self, request: Request) -> Response:
        call = self.calls[request.path_params["call_id"]]
        if call.is_over:
            return JSONResponse({"code": "call_ended", "message": "通话已结束"}, 409)
        sent = await request.json()
        call.whisper("w-new", sent["text"], sender=sent["sender"])
        return JSONResponse({"id": "w-new"}, 201)

    # ---- streams

    async def _watch_all(self, line: WebSocket) -> None:
        if self.is_refusing:
            await line.close(1013)
            return
        await line.accept()
        self._sockets.add(line)
        with suppress(WebSocketDisconnect, RuntimeError):
            while line in self._sockets:
                await line.send_json({"calls": [call.seen() for call in list(self.calls.values())]})
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(line.receive(), 0.2)
        self._sockets.discard(line)

    async def _watch(self, line: WebSocket) -> None:
        call = self.calls.get(line.path_params["call_id"])
        if self.is_refusing:
            await line.close(1013)
            return
        await line.accept()
        if call is None:
            await line.close(4404)
            return
        self._sockets.add(line)
        listening = asyncio.create_task(self._listen(line, call))
        with suppress(WebSocketDisconnect, RuntimeError):
            await self._play(line, call, int(line.query_params["after"]))
        self._sockets.discard(line)
        listening.cancel()

    async def _play(self, line: WebSocket, call: Call, after: int) -> None:
        call.asked_after.append(after)
        place = after
        while line in self._sockets and line.client_state.name == "CONNECTED":
            while place < len(call.lines):
                place += 1
                if place in call.swallow:
                    call.swallow.discard(place)
                else:
                    await line.send_text(call.lines[place - 1])
            if call.is_over:
                await line.close(1000)
                return
            await asyncio.sleep(LOOK_S)

    async def _listen(self, line: WebSocket, call: Call) -> None:
        with suppress(WebSocketDisconnect, RuntimeError):
            while True:
                message = FROM_AGENT.validate_json(await line.receive_text())
                call.sent.append(message.model_dump())
                if message.type == "dismiss":
                    call.add(DismissEvent, nudge=message.nudge, rule="any")
                else:
                    told = next(json.loads(one) for one in call.lines if f'"{message.whisper}"' in one)
                    call.whisper(message.whisper, told["text"], "seen", told["sender"])
        self._sockets.discard(line)


PAGES: Mapping[str, str] = {
    "/overlay": "overlay",
    "/overlay/{call_id}": "overlay",
    "/supervisor": "supervisor",
    "/supervisor/{call_id}": "call",
}


class _Strict:
    """Adds the policy that the server's pages carry."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_strictly(message: Message) -> None:
            if message["type"] == "http.response.start":
                policy = (b"content-security-policy", CONTENT_SECURITY_POLICY.encode())
                message["headers"] = [*message["headers"], policy]
            await send(message)

        await self._app(scope, receive, send_strictly)


@contextmanager
def open_stage() -> Iterator[Stage]:
    """A stage on a free port of this machine."""
    stage = Stage()
    config = uvicorn.Config(stage.app(), log_level="warning", lifespan="off", ws="websockets-sansio",
                            timeout_graceful_shutdown=1)  # fmt: skip
    server = uvicorn.Server(config)

    async def serve() -> None:
        stage._loop = asyncio.get_running_loop()
        await server.serve([door])

    with socket.create_server(("127.0.0.1", 0)) as door:
        stage.origin = f"http://127.0.0.1:{door.getsockname()[1]}"
        thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
        thread.start()
        while not server.started:
            time.sleep(LOOK_S)
        try:
            yield stage
        finally:
            server.should_exit = True
            thread.join(10)
