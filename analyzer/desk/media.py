"""Hearing and seeing recordings: peaks to draw, the copy to play, the clip of a finding.

Making them takes seconds, so it is done by a few threads of its own: who waits for it holds none of the server's.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path as FilePath
from threading import Lock
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, Path, Query
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, Response

from analyzer.audio import Recording
from analyzer.desk.access import Principal, allow
from analyzer.desk.problems import errors, invalid, not_found
from analyzer.desk.review_desk import ReviewDesk
from analyzer.desk.sent import Sent
from analyzer.errors import InputError
from analyzer.labels import ROLES
from analyzer.media import MediaFolder, Peaks, content_key, recording_of
from analyzer.store import audit
from analyzer.store.calls import MOST_ID, find_call, find_finding
from analyzer.store.recordings import bleeps_of, note_media
from analyzer.store.tables import Call
from analyzer.types import Role, Span

MOST_BUCKETS = 8_192
LEAD_MS, TAIL_MS = 1_000, 2_000  # of a clip, around the finding
LONGEST_DRAWN_MS = 86_400_000
LONGEST_CLIP_MS = 90_000  # what was not said has a window of minutes
HEARD_AGAIN = timedelta(minutes=10)  # a player asks for many ranges: one playback, one entry in the audit log
MISSING = "录音文件不存在、已移走或无法读取"

Listener = Annotated[Principal, Depends(allow("agent", "reviewer", "lead", "admin"))]
Id = Annotated[int, Path(ge=1, le=MOST_ID)]
Milliseconds = Annotated[int, Field(ge=0, le=MOST_ID)]
_SOUND = {"content": {"audio/ogg": {"schema": {"type": "string", "format": "binary"}}}}
_WAV = {"content": {"audio/wav": {"schema": {"type": "string", "format": "binary"}}}}


class PeaksQuery(Sent):
    """Which part, how fine, and of which side; without ``channel`` of the louder one."""

    channel: Literal["agent", "customer", "unknown"] | None = None
    buckets: Annotated[int, Field(ge=1, le=MOST_BUCKETS)] = 1_000
    from_ms: Milliseconds = 0
    to_ms: Milliseconds | None = None


class PeaksAnswer(BaseModel):
    """``peaks``: how loud each of equal parts of ``from_ms`` to ``to_ms`` is, 0 to 1; fewer than asked for where parts
    would be under 10 ms.

    ready  whether the copy to play is there; if not, it is being made
    """

    channel: str | None
    from_ms: int
    to_ms: int
    duration_ms: int
    ready: bool
    peaks: list[float]


@dataclass(frozen=True, slots=True)
class _Sound:
    """What may be heard of a call's recording by whoever asked."""

    call_pk: int
    key: str
    recording: Recording
    bleeps: tuple[Span, ...]


def add_routes(app: FastAPI, desk: ReviewDesk) -> None:
    room = ListeningRoom(desk)

    @app.get("/api/desk/calls/{call_pk}/peaks", tags=["recordings"], responses=errors(401, 403, 404, 422))
    async def peaks(who: Listener, call_pk: Id, wanted: Annotated[PeaksQuery, Query()]) -> PeaksAnswer:
        """The outline of a call's sound, or of a part of it, to draw."""
        if wanted.to_ms is not None and not 0 < wanted.to_ms - wanted.from_ms <= LONGEST_DRAWN_MS:
            raise invalid("to_ms: 应在 from_ms 之后，且不超过一天")
        sound = await run_in_threadpool(room.find, who, call_pk)
        found = await room.peaks(sound)
        if wanted.channel is not None and Role(wanted.channel) not in found.roles:
            raise not_found(f"这段录音没有“{ROLES[Role(wanted.channel)]}”声道")
        return _answer(found, wanted, ready=room.prepare(sound))

    @app.head("/api/desk/calls/{call_pk}/audio", include_in_schema=False)
    @app.get(
        "/api/desk/calls/{call_pk}/audio",
        tags=["recordings"],
        response_class=FileResponse,
        responses={
            200: {"description": "Ogg/Opus, agent left, customer right", **_SOUND},
            206: {"description": "The part asked for with `Range`", **_SOUND},
            416: {"description": "The range lies outside"},
            **errors(401, 403, 404, 422),
        },
    )
    async def audio(who: Listener, call_pk: Id) -> Response:
        """A copy of the recording that browsers play, identifiers bleeped for who may not hear them."""
        sound = await run_in_threadpool(room.find, who, call_pk)
        path = await room.playback(sound)
        await run_in_threadpool(room.note_heard, who, "recording.played", f"call:{call_pk}", bool(sound.bleeps))
        return FileResponse(path, media_type="audio/ogg")

    @app.get(
        "/api/desk/findings/{finding_id}/clip",
        tags=["recordings"],
        response_class=Response,
        responses={200: {"description": "WAV", **_WAV}, **errors(401, 403, 404, 422)},
    )
    async def clip(who: Listener, finding_id: Id) -> Response:
        """What was said around a finding: from a second before it to two seconds after."""
        call_pk, span = await run_in_threadpool(room.place_of_finding, who, finding_id)
        sound = await run_in_threadpool(room.find, who, call_pk)
        content = await room.clip(sound, span)
        await run_in_threadpool(room.note_heard, who, "clip.played", f"finding:{finding_id}", bool(sound.bleeps))
        return Response(content, media_type="audio/wav")


def _answer(found: Peaks, wanted: PeaksQuery, *, ready: bool) -> PeaksAnswer:
    to_ms = max(found.duration_ms, wanted.from_ms + 1) if wanted.to_ms is None else wanted.to_ms
    role = Role(wanted.channel) if wanted.channel else None
    peaks = found.heights(wanted.buckets, wanted.from_ms, to_ms, role)
    return PeaksAnswer(
        channel=wanted.channel, from_ms=wanted.from_ms, to_ms=to_ms, duration_ms=found.duration_ms, ready=ready,
        peaks=peaks,
    )  # fmt: skip


class ListeningRoom:
    """Finds recordings for people, has them made playable, notes who heard what."""

    def __init__(self, desk: ReviewDesk) -> None:
        self._desk = desk
        self._media = MediaFolder(desk.media)
        self._quick = ThreadPoolExecutor(2, "peaks")  # peaks and clips do not wait for copies of long calls
        self._copies = ThreadPoolExecutor(2, "playback")
        self._running: dict[Hashable, Future[Any]] = {}
        self._heard: OrderedDict[Hashable, datetime] = OrderedDict()
        self._lock = Lock()

    # ---- finding. These block.

    def find(self, who: Principal, call_pk: int) -> _Sound:
        """raises Problem 404"""
        with self._desk.store.reading() as session:
            call = find_call(session, who, call_pk)
            if call is None:
                raise not_found()
            bleeps = () if who.may_unmask else bleeps_of(session, call.id)
        return self._sound(call, bleeps)

    def _sound(self, call: Call, bleeps: tuple[Span, ...]) -> _Sound:
        if not call.recording:
            raise not_found("这通电话没有录音")
        try:
            recording = recording_of(call.call_id, call.recording)
            key = content_key(recording)
        except InputError:
            raise not_found(MISSING) from None
        if call.media_id != key:
            note_media(self._desk.store, call.id, key)
        return _Sound(call.id, key, recording, bleeps)

    def place_of_finding(self, who: Principal, finding_id: int) -> tuple[int, Span]:
        """The call of a finding, and what of it to hear. raises Problem 404"""
        with self._desk.store.reading() as session:
            finding = find_finding(session, who, finding_id)
            if finding is None:
                raise not_found()
            start = max(0, finding.start_ms - LEAD_MS)
            return finding.call_pk, Span(start, min(finding.end_ms + TAIL_MS, start + LONGEST_CLIP_MS))

    # ---- making

    async def peaks(self, sound: _Sound) -> Peaks:
        found: Peaks = await self._made(self._quick, ("peaks", sound.key), partial(self._media.peaks, sound.recording))
        return found

    async def playback(self, sound: _Sound) -> FilePath:
        path: FilePath = await self._made(self._copies, ("copy", sound.key, sound.bleeps), self._copying(sound))
        return path

    async def clip(self, sound: _Sound, span: Span) -> bytes:
        cutting = partial(self._media.clip, sound.recording, span, sound.bleeps)
        content: bytes = await self._made(self._quick, ("clip", sound.key, sound.bleeps, span), cutting)
        return content

    def prepare(self, sound: _Sound) -> bool:
        """Have the copy made before anybody presses play; whether it is there already."""
        if self._media.has_playback(sound.recording, sound.bleeps):
            return True
        self._begin(self._copies, ("copy", sound.key, sound.bleeps), self._copying(sound))
        return False

    def _copying(self, sound: _Sound) -> Callable[[], FilePath]:
        return partial(self._media.playback, sound.recording, sound.bleeps)

    async def _made(self, pool: ThreadPoolExecutor, what: Hashable, make: Callable[[], Any]) -> Any:
        """raises Problem 404 where the recording is gone or cannot be decoded"""
        try:
            return await asyncio.shield(asyncio.wrap_future(self._begin(pool, what, make)))
        except InputError:
            raise not_found(MISSING) from None

    def _begin(self, pool: ThreadPoolExecutor, what: Hashable, make: Callable[[], Any]) -> Future[Any]:
        """One at a time of each thing: who comes later waits for the same."""
        with self._lock:
            running = self._running.get(what)
            if running is None:
                running = self._running[what] = pool.submit(make)
                running.add_done_callback(lambda _: self._running.pop(what, None))
            return running

    # ---- noting

    def note_heard(self, who: Principal, action: str, object: str, is_bleeped: bool) -> None:
        """An entry in the audit log, once in a while per person, login and sound. Blocks."""
        now = self._desk.clock()
        about = (who.user_id, who.csrf, action, object)
        with self._lock:
            while self._heard and next(iter(self._heard.values())) <= now - HEARD_AGAIN:
                self._heard.popitem(last=False)
            if about in self._heard:
                return
        with self._desk.store.writing() as session:
            audit.append(session, who.actor, action, object, {"bleeped": is_bleeped}, at=now)
        with self._lock:
            self._heard[about] = now
