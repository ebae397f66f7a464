"""数据管理: how much is kept, deleting what is too old, and copies of the database. For admins only."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import Annotated

from fastapi import Depends, FastAPI
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, Field
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session
from starlette.requests import Request

from analyzer.desk import upkeep
from analyzer.desk.access import Principal, allow
from analyzer.desk.pages import page
from analyzer.desk.problems import Problem, conflict, errors
from analyzer.desk.review_desk import ReviewDesk
from analyzer.desk.sent import Sent
from analyzer.errors import AnalyzerError
from analyzer.media import MediaFolder
from analyzer.store import Store, retention
from analyzer.store.backup import back_up
from analyzer.store.tables import Call, Finding, Turn

MOST_DAYS = 36_500
MOST_KEPT_SHOWN = 200

Admin = Annotated[Principal, Depends(allow("admin"))]


class Backup(BaseModel):
    name: str
    bytes: int


class RetentionView(BaseModel):
    """What is deleted by itself. ``due_calls``: how many would go now; ``next_at``: when it runs, ``last_at`` when it
    ran."""

    days: int
    recordings_only: bool
    final_too: bool
    reports_too: bool
    next_at: datetime
    last_at: str | None
    last_calls: int | None
    due_calls: int
    kept_calls: int


class Sizes(BaseModel):
    """What is kept. ``oldest``: the day on which the oldest call began; ``free_bytes``: of the media folder's disk."""

    calls: int
    findings: int
    turns: int
    oldest: str | None
    database_bytes: int
    media_files: int
    media_bytes: int
    free_bytes: int
    backups: list[Backup]
    retention: RetentionView | None


class PurgeOrder(Sent):
    """``dry_run`` only counts. To delete, send the number of calls that the dry run named as ``calls``: where it is
    another by now, nothing is deleted."""

    older_than_days: Annotated[int, Field(ge=1, le=MOST_DAYS)]
    recordings_only: bool = False
    final_too: bool = False
    dry_run: bool = True
    calls: Annotated[int, Field(ge=0)] | None = None


class Kept(BaseModel):
    call: int
    why: str


class PurgeAnswer(BaseModel):
    """``rows`` by table; ``kept``: calls that had to stay, the first 200 of ``kept_total``."""

    dry_run: bool
    calls: int
    rows: dict[str, int]
    files: int
    bytes: int
    kept: list[Kept]
    kept_total: int


def add_routes(app: FastAPI, desk: ReviewDesk) -> None:
    one_at_a_time = Lock()

    @app.get("/admin/data", tags=["pages"], response_class=HTMLResponse)
    def data_page(request: Request, who: Admin) -> HTMLResponse:
        """Sizes, purge, back-up."""
        return page(request, "admin_data", who, settings=desk.settings)

    @app.get("/api/desk/data", tags=["data"], responses=errors(401, 403))
    def sizes(who: Admin) -> Sizes:
        """How much is kept."""
        return _sizes(desk)

    @app.post("/api/desk/data/purge", tags=["data"], responses=errors(401, 403, 409, 422, 500))
    def purge(who: Admin, order: PurgeOrder) -> PurgeAnswer:
        """Delete what is older than it may be kept, or say what that would be."""
        now, media = desk.clock(), MediaFolder(desk.media)
        wanted = retention.Retention(
            now - timedelta(days=order.older_than_days), order.recordings_only, order.final_too
        )
        if order.dry_run:
            return _answer(order, retention.foresee(desk.store, media, wanted))
        with _only_one(one_at_a_time):
            if order.calls != retention.foresee(desk.store, media, wanted).calls:
                raise conflict("数量与试算时不同，请重新试算后再删除")
            return _answer(order, retention.purge(desk.store, media, wanted, actor=who.actor, now=now))

    @app.post("/api/desk/data/backup", tags=["data"], status_code=201, responses=errors(401, 403, 409, 500))
    def backup(who: Admin) -> Backup:
        """Copy the database, as it is now, into the folder ``backups``; it never leaves the server this way."""
        folder = _backups(desk)
        with _only_one(one_at_a_time):
            try:
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                done = back_up(desk.store, _free_name(desk, folder), actor=who.actor)
            except (AnalyzerError, OSError):
                raise Problem(500, "备份失败；请检查磁盘空间，并查看服务器日志") from None
        return Backup(name=done.path.name, bytes=done.bytes)


class _only_one:  # noqa: N801 - used like a function
    """raises Problem 409 while another purge or back-up runs"""

    def __init__(self, lock: Lock) -> None:
        self._lock = lock

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            raise conflict("另一项清理或备份正在进行，请稍后再试")

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def _backups(desk: ReviewDesk) -> Path:
    return desk.media.parent / "backups"


def _free_name(desk: ReviewDesk, folder: Path) -> Path:
    """After the moment; numbered where there is one of this second already."""
    stem, ending = f"desk-{desk.clock():%Y%m%d-%H%M%S}", "db" if desk.store.is_sqlite else "dump"
    names = (f"{stem}.{ending}", *(f"{stem}-{number}.{ending}" for number in range(2, 1000)))
    return next(path for name in names if not (path := folder / name).exists())


def _sizes(desk: ReviewDesk) -> Sizes:
    media_files, media_bytes = MediaFolder(desk.media).size()
    with desk.store.reading() as session:
        calls, findings, turns = (session.scalar(select(func.count(table.id))) or 0 for table in (Call, Finding, Turn))
        oldest = session.scalar(select(func.min(func.coalesce(Call.started_at, Call.imported_at))))
        database_bytes = _database_bytes(desk.store, session)
    return Sizes(
        calls=calls, findings=findings, turns=turns, oldest=None if oldest is None else str(oldest)[:10],
        database_bytes=database_bytes, media_files=media_files, media_bytes=media_bytes,
        free_bytes=shutil.disk_usage(_existing(desk.media)).free, backups=list(_listed(_backups(desk))),
        retention=_retention(desk),
    )  # fmt: skip


def _retention(desk: ReviewDesk) -> RetentionView | None:
    given, now = desk.settings.retention, desk.clock()
    wanted, next_at, last = upkeep.wanted_at(desk, now), upkeep.next_run(desk, now), upkeep.last_run(desk)
    if given.days is None or wanted is None or next_at is None:
        return None
    due = retention.foresee(desk.store, MediaFolder(desk.media), wanted)
    return RetentionView(
        days=given.days, recordings_only=given.recordings_only, final_too=given.final_too,
        reports_too=given.reports_too, next_at=max(next_at, now), last_at=last.at if last else None,
        last_calls=last.details["calls"] if last else None, due_calls=due.calls, kept_calls=len(due.kept),
    )  # fmt: skip


def _listed(folder: Path) -> Iterable[Backup]:
    for path in sorted(folder.glob("desk-*"), reverse=True):
        if path.suffix != ".part":
            yield Backup(name=path.name, bytes=path.stat().st_size)


def _database_bytes(store: Store, session: Session) -> int:
    if store.is_sqlite:
        path = Path(store.engine.url.database or "")
        return sum(one.stat().st_size for one in path.parent.glob(path.name + "*") if one.suffix != ".part")
    return session.scalar(text("SELECT pg_database_size(current_database())")) or 0


def _existing(folder: Path) -> Path:
    return folder if folder.exists() else _existing(folder.parent)


def _answer(order: PurgeOrder, found: retention.Purged) -> PurgeAnswer:
    kept = [Kept(call=call_pk, why=why) for call_pk, why in found.kept[:MOST_KEPT_SHOWN]]
    return PurgeAnswer(
        dry_run=order.dry_run, calls=found.calls, rows=dict(found.rows), files=found.files, bytes=found.bytes,
        kept=kept, kept_total=len(found.kept),
    )  # fmt: skip
