"""The HTTP API: how calls stand, their events, whispers, announced legs, descriptions of it all."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, HTTPException, Query, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from analyzer.desk.access import allow, allow_anyone
from analyzer.desk.problems import Error, Problem
from analyzer.errors import InputError
from analyzer.live.messages import live_schema
from analyzer.live.refusal import Refusal
from analyzer.metadata import check_writable, read_metadata
from analyzer.schemas import SCHEMAS
from analyzer.serve.board import Calls, CallState, earlier_call
from analyzer.serve.desk import Desk, Leg
from analyzer.serve.events import find_log, read_after
from analyzer.serve.rights import Anyone, Known, Service, Supervisor, is_theirs
from analyzer.serve.whispers import AuditError, send_whisper
from analyzer.types import Direction, Role

LONGEST_WHISPER = 60  # characters: one line that an agent takes in at a glance
UNKNOWN_CALL = "没有这通电话"


class CallWithReport(CallState):
    """``report``: the run folder's, once the call is over."""

    report: dict[str, Any] | None = None


class Events(BaseModel):
    """``next``: give it as ``after`` for what follows; null when there is no more yet."""

    events: list[dict[str, Any]]
    next: int | None = None


class Whisper(BaseModel):
    """A line for the agent's overlay; the customer never hears of it."""

    text: str
    sender: str = "主管"

    @field_validator("text", "sender")
    @classmethod
    def _is_one_short_line(cls, text: str, info: ValidationInfo) -> str:
        text = text.strip()
        if not 0 < len(text) <= LONGEST_WHISPER or not text.isprintable():
            name = "提示" if info.field_name == "text" else "发送人"
            raise ValueError(f"{name}须为一行，1 至 {LONGEST_WHISPER} 字")
        return text


class WhisperSent(BaseModel):
    id: str


class AnnouncedLeg(BaseModel):
    """An AudioSocket connection that will come with this ``uuid``."""

    model_config = ConfigDict(extra="forbid")
    uuid: uuid.UUID
    call_id: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
    role: Literal["agent", "customer", "unknown"]
    direction: Literal["inbound", "outbound", "unknown"] = "unknown"
    metadata: dict[str, Any] = {}

    @field_validator("metadata")
    @classmethod
    def _is_metadata(cls, metadata: dict[str, Any]) -> dict[str, Any]:
        try:
            check_writable(metadata)
            read_metadata(metadata)
        except InputError as error:
            raise ValueError(str(error)) from None
        return metadata


class Health(BaseModel):
    """``recogniser``: name and notice of the speech model."""

    status: Literal["ok", "stopping"]
    live: int
    recogniser: str


_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": Error, "description": what}
    for status, what in (
        (401, "Token missing or wrong"),
        (404, "No such call"),
        (422, "The request is not as it must be"),
    )
}


def add_api_routes(app: FastAPI, desk: Desk, *, metrics_open: bool = False) -> None:
    """metrics_open: ``/metrics`` needs no token"""
    _add_service_routes(app, desk, metrics_open=metrics_open)

    @app.get("/api/calls", tags=["calls"], responses=_ERRORS)
    async def list_calls(
        who: Known, agent_id: str | None = None, state: Annotated[Literal["live", "ended"] | None, Query()] = None
    ) -> Calls:
        """Running calls, and those that ended lately, latest first. Agents see their own."""
        await desk.board.refresh()
        running = ("live", "ending")
        calls = [
            call
            for call in desk.board.calls
            if (agent_id is None or call.agent_id == agent_id)
            and is_theirs(who, call.agent_id)
            and (state is None or (call.state in running) == (state == "live"))
        ]
        return Calls(calls=calls)

    @app.get("/api/calls/{call_id:path}/events", tags=["calls"], responses=_ERRORS)
    async def list_events(
        call_id: str,
        who: Known,
        after: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=1000)] = 200,
    ) -> Events:
        """Events of a call after a number, oldest first."""
        log = await find_log(desk, call_id, who)
        if log is None:
            raise HTTPException(404, UNKNOWN_CALL)
        found = await read_after(log, after, limit)
        last = found[-1][0] if found else after
        return Events(events=[json.loads(line) for _, line in found], next=last if last < log.seq else None)

    @app.get("/api/calls/{call_id:path}", tags=["calls"], responses=_ERRORS)
    async def get_call(call_id: str, who: Known) -> CallWithReport:
        """One call, with its report once it is over."""
        await desk.board.refresh()
        call = desk.board.call(call_id)
        if call is None:
            call = await asyncio.to_thread(earlier_call, desk.hub, call_id)
        if call is None or not is_theirs(who, call.agent_id):
            raise HTTPException(404, UNKNOWN_CALL)
        is_over = call.state in ("ended", "interrupted")
        report = await asyncio.to_thread(desk.hub.report, call_id) if is_over else None
        return CallWithReport(**call.model_dump(), report=report)

    @app.post(
        "/api/calls/{call_id:path}/whisper",
        tags=["calls"],
        status_code=201,
        responses={
            **_ERRORS,
            409: {"model": Error, "description": "The call is over"},
            503: {"model": Error, "description": "The audit cannot be written; nothing was sent"},
        },
    )
    async def whisper(call_id: str, whisper: Whisper, who: Supervisor) -> WhisperSent:
        """Send a line to the agent's overlay. Its fate comes as ``whisper`` events: sent, delivered, seen.

        Who is logged in is the sender, whatever ``sender`` says.
        """
        session = desk.hub.session(call_id)
        if session is None:
            raise HTTPException(404, UNKNOWN_CALL)
        sender = who.display_name[:LONGEST_WHISPER] if who.user_id else whisper.sender
        try:
            name = await asyncio.shield(send_whisper(desk, session, whisper.text, sender, who))
        except AuditError:
            raise Problem(503, "审计记录写不进去，提示没有发出；请管理员检查磁盘与数据库后重试", "not_stored") from None
        except Refusal:
            raise Problem(409, "通话已结束，提示无法送达", "call_ended") from None
        return WhisperSent(id=name)

    @app.post("/api/legs", tags=["audio"], status_code=201, responses=_ERRORS)
    async def announce_leg(leg: AnnouncedLeg, who: Service) -> AnnouncedLeg:
        """Say whose voice an AudioSocket connection will bring, before it comes. Good for ten minutes."""
        desk.legs.announce(Leg(str(leg.uuid), leg.call_id, Role(leg.role), Direction(leg.direction), leg.metadata))
        return leg


def _add_service_routes(app: FastAPI, desk: Desk, *, metrics_open: bool) -> None:
    @app.get("/healthz", tags=["service"], responses={503: {"model": Health, "description": "Stopping"}})
    async def healthz(response: Response, who: Anyone) -> Health:
        """Whether new calls are taken. Needs no token."""
        if desk.is_stopping:
            response.status_code = 503
        recogniser = str(desk.hub.scheduler.recogniser.info.get("name", ""))
        return Health(status="stopping" if desk.is_stopping else "ok", live=len(desk.hub.live), recogniser=recogniser)

    who_measures = allow_anyone() if metrics_open else allow("service", "admin")

    @app.get("/metrics", tags=["service"], response_class=Response, dependencies=[Depends(who_measures)])
    async def metrics() -> Response:
        """Prometheus text."""
        return Response(await asyncio.to_thread(desk.metrics.text), media_type="text/plain; version=0.0.4")

    @app.get("/schemas/{name}.schema.json", tags=["service"], responses=_ERRORS)
    async def schema(name: str, who: Known) -> dict[str, Any]:
        """JSON Schema: live (all messages of the streams), rule, words, profile."""
        makers: dict[str, Callable[[], Mapping[str, Any]]] = {**SCHEMAS, "live": live_schema}
        if name not in makers:
            raise HTTPException(404, f"no schema {name}; there are {', '.join(sorted(makers))}")
        return dict(makers[name]())
