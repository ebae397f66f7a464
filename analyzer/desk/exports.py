"""Figures as a file to take away, for leads and admins. A PDF of a large centre takes half a minute, so files are made
beside the server, one at a time, kept for a day in the media folder, and offered to whoever asked for them."""

from __future__ import annotations

import itertools
import logging
import os
import threading
from collections import OrderedDict
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path as FilePath
from typing import Annotated, Literal

from fastapi import Depends, FastAPI, Path
from pydantic import BaseModel, Field
from starlette.responses import FileResponse

from analyzer.desk.access import Principal, allow
from analyzer.desk.insight import WorthPeriod, collect_all, floor_of
from analyzer.desk.jobs import Line
from analyzer.desk.problems import conflict, errors, invalid, not_found
from analyzer.desk.review_desk import ReviewDesk
from analyzer.errors import ConfigError
from analyzer.review.trends import Figures
from analyzer.store import audit
from analyzer.web.booklet import WRITERS, lacks

log = logging.getLogger(__name__)

KEPT = timedelta(hours=24)
MOST_KEPT, MOST_WAITING = 50, 10
FAILED = "生成失败；请稍后再试，或查看服务器日志"

Lead = Annotated[Principal, Depends(allow("lead", "admin"))]
Format = Literal["csv", "xlsx", "html", "pdf"]
State = Literal["waiting", "running", "done", "failed"]
_TYPES = {
    "csv": "text/csv; charset=utf-8", "html": "text/html; charset=utf-8", "pdf": "application/pdf",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}  # fmt: skip


class ExportSent(WorthPeriod):
    """What to export: the query of ``/trends`` and ``/worth``, and the file's ``format``."""

    format_: Format = Field("xlsx", alias="format")


class ExportView(BaseModel):
    """``state``: waiting | running | done | failed (``error`` says why). Done ones have ``name``, ``bytes``, and are
    there ``until``."""

    id: int
    format: Format
    state: State
    asked_at: datetime
    until: datetime | None = None
    name: str | None = None
    bytes: int | None = None
    calls: int | None = None
    error: str | None = None


class ExportList(BaseModel):
    exports: list[ExportView]
    next: None = None


def add_routes(app: FastAPI, desk: ReviewDesk) -> None:
    exports = Exports(desk)

    @app.post("/api/desk/exports", tags=["insight"], status_code=202, responses=errors(401, 403, 409, 422))
    def begin(who: Lead, sent: ExportSent) -> ExportView:
        """Have trends and what the rules are worth made into a file. It holds sums, and nothing that was said. Asked
        for again while it is being made it is one file."""
        if missing := lacks(sent.format_):
            raise invalid(missing)
        return exports.begin(who, sent)

    @app.get("/api/desk/exports", tags=["insight"], responses=errors(401, 403))
    def list_exports(who: Lead) -> ExportList:
        """One's own of the last day, newest first."""
        return ExportList(exports=exports.of(who))

    @app.get("/api/desk/exports/{export_id}", tags=["insight"], responses=errors(401, 403, 404))
    def one_export(who: Lead, export_id: Annotated[int, Path(ge=1, le=2**31 - 1)]) -> ExportView:
        """How far it is."""
        return exports.find(who, export_id)

    @app.get(
        "/api/desk/exports/{export_id}/file",
        tags=["insight"],
        response_class=FileResponse,
        responses={
            200: {"content": {kind.partition(";")[0]: {} for kind in _TYPES.values()}},
            **errors(401, 403, 404, 409),
        },
    )
    def export_file(who: Lead, export_id: Annotated[int, Path(ge=1, le=2**31 - 1)]) -> FileResponse:
        """The file. 409 while it is being made."""
        found = exports.find(who, export_id)
        path = exports.path_of(export_id, found.format)
        if found.state != "done" or found.name is None:
            raise conflict(found.error or "文件正在生成，请稍候")
        if not path.exists():
            raise not_found("文件已清理，请重新导出")
        with desk.store.writing() as session:
            details = {"format": found.format, "export": export_id}
            audit.append(session, who.actor, "figures.downloaded", "figures:trends", details, at=desk.clock())
        return FileResponse(path, media_type=_TYPES[found.format], filename=found.name)


class Exports:
    """Files that were asked for in this process. Thread-safe."""

    def __init__(self, desk: ReviewDesk) -> None:
        self._desk = desk
        self._folder = desk.media / "exports"
        self._line = Line("exports")
        self._all: OrderedDict[int, tuple[Principal, ExportSent, ExportView]] = OrderedDict()
        self._ids = itertools.count(1)
        self._lock = threading.Lock()

    def begin(self, who: Principal, sent: ExportSent) -> ExportView:
        """raises Problem 409 where too many wait"""
        now = self._desk.clock()
        with self._lock:
            self._forget_old(now)
            coming = [one for one in self._all.values() if one[2].state in ("waiting", "running")]
            for asker, asked, view in coming:
                if (asker.user_id, asked) == (who.user_id, sent):
                    return view
            if len(coming) >= MOST_WAITING:
                raise conflict("正在生成的文件太多，请稍后再试")
            view = ExportView(id=next(self._ids), format=sent.format_, state="waiting", asked_at=now)
            self._all[view.id] = (who, sent, view)
        self._line.add(partial(self._make, who, sent, view.id))
        return view

    def of(self, who: Principal) -> list[ExportView]:
        now = self._desk.clock()
        with self._lock:
            self._forget_old(now)
            return [view for asker, _, view in reversed(self._all.values()) if asker.user_id == who.user_id]

    def find(self, who: Principal, export_id: int) -> ExportView:
        """raises Problem 404, also for another one's"""
        found = next((view for view in self.of(who) if view.id == export_id), None)
        if found is None:
            raise not_found("没有这个导出文件；文件保留一天，服务器重启后需重新导出")
        return found

    def path_of(self, export_id: int, format_: str) -> FilePath:
        return self._folder / f"{os.getpid()}-{export_id}.{format_}"

    # ---- making, in the line's thread

    def _make(self, who: Principal, sent: ExportSent, export_id: int) -> None:
        self._update(export_id, state="running")
        path = self.path_of(export_id, sent.format_)
        try:
            found = collect_all(self._desk, who, sent, floor_of(self._desk, sent))
            at = self._desk.clock()
            made = f"{at.astimezone():%Y-%m-%d %H:%M} 由 {who.display_name} 导出"
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._desk.apart(write_file, found, sent.format_, made, path)
            with self._desk.store.writing() as session:
                details = {"format": sent.format_, "calls": found.total.calls, "export": export_id}
                audit.append(session, who.actor, "figures.exported", "figures:trends", details, at=at)
        except Exception as error:
            log.exception("export %s was not made", export_id)
            self._update(export_id, state="failed", error=str(error) if isinstance(error, ConfigError) else FAILED)
            return
        self._update(
            export_id, state="done", name=f"analyzer-{at.astimezone():%Y%m%d-%H%M}.{sent.format_}",
            bytes=path.stat().st_size, calls=found.total.calls, until=at + KEPT,
        )  # fmt: skip

    def _update(self, export_id: int, **changes: object) -> None:
        with self._lock:
            if export_id in self._all:
                who, sent, view = self._all[export_id]
                self._all[export_id] = (who, sent, view.model_copy(update=changes))

    def _forget_old(self, now: datetime) -> None:
        """Also files that an earlier process left."""
        ended = [number for number, (_, _, view) in self._all.items() if view.state in ("done", "failed")]
        spare = max(0, len(self._all) - MOST_KEPT)
        for place, number in enumerate(ended):
            view = self._all[number][2]
            if place < spare or view.asked_at < now - KEPT:
                del self._all[number]
                self.path_of(number, view.format).unlink(missing_ok=True)
        for path in self._folder.glob("*-*.*") if self._folder.is_dir() else ():
            is_ours = path.name.startswith(f"{os.getpid()}-")
            if not is_ours and path.stat().st_mtime < now.timestamp() - KEPT.total_seconds():
                path.unlink(missing_ok=True)


def write_file(figures: Figures, format_: Format, made: str, path: FilePath) -> None:
    """The file whole or not at all, readable by its owner only. raises ConfigError"""
    body = WRITERS[format_](figures, made)
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        file.write(body)
    part.replace(path)
