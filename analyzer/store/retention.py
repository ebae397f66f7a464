"""Deleting what is older than it may be kept: calls with everything on them, recordings and what was made of them.

Kept, and listed: calls with an appeal that is not settled, calls somebody is to review or calibrate, and, unless asked
otherwise, calls whose review is final. The audit log holds ids only and stays whole. A purged report is remembered by
its digest, so that importing its run folder again does not bring it back. What lies outside the media folder (the
telephone system's own recordings) is not ours to delete.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, cast

from sqlalchemy import (
    ColumnElement,
    CursorResult,
    Select,
    Table,
    case,
    delete,
    exists,
    func,
    null,
    select,
    text,
    update,
)
from sqlalchemy.orm import Session

from analyzer.export import TABLES
from analyzer.media import MediaFolder
from analyzer.runs import events_path, report_path
from analyzer.store import audit
from analyzer.store.database import Store
from analyzer.store.tables import Appeal, Assignment, Base, Call, PurgedReport, Run

BATCH = 100  # calls per transaction: others get the write lock in between
_SETTLED = timedelta(hours=1)  # younger files may belong to something that is just being copied or made
_WHY = {"appealed": "申诉未结", "assigned": "复核中", "locked": "已终审"}


@dataclass(frozen=True, slots=True)
class Retention:
    """What is to go.

    before           calls that began (or, if that is not known, were imported) before this moment
    recordings_only  only recordings and what was made of them; calls, findings and reviews stay
    locked_too       also calls whose review is final
    reports_too      also their reports in the run folders
    """

    before: datetime
    recordings_only: bool = False
    locked_too: bool = False
    reports_too: bool = False


@dataclass(slots=True)
class Purged:
    """What went, or would go: rows by table, files and their bytes. ``kept``: (call, why) of those that had to stay."""

    calls: int = 0
    rows: Counter[str] = field(default_factory=Counter)
    files: int = 0
    bytes: int = 0
    kept: list[tuple[int, str]] = field(default_factory=list)

    def add_file(self, path: Path) -> None:
        self.files += 1
        self.bytes += path.stat().st_size


def foresee(store: Store, media: MediaFolder, wanted: Retention) -> Purged:
    """What ``purge`` would do now."""
    result = Purged()
    with store.reading() as session:
        due = _due(session, _statement(wanted))
        result.calls, result.kept = len(due), _kept(session, wanted)
        if not wanted.recordings_only:
            ids = _statement(wanted).with_only_columns(Call.id).order_by(None)
            for table in _tables():
                result.rows[table.name] = (
                    session.scalar(select(func.count()).select_from(table).where(_of_calls(table, ids))) or 0
                )
        still = _keys_in_use(session, without=[one.call_pk for one in due])
    for key in _keys(due) - still:
        for path in media.files(key):
            result.add_file(path)
    for path in _reports(due) if wanted.reports_too else ():
        if path.exists():
            result.add_file(path)
    return result


def purge(store: Store, media: MediaFolder, wanted: Retention, *, actor: str, now: datetime) -> Purged:
    """Delete it, a batch of calls per transaction: rows first, then files, so that nothing points to what is gone.

    Interrupted, it goes on when it is run again; files that were left over are found then.
    """
    result = Purged()
    while batch := _purge_batch(store, wanted, result, actor=actor, now=now):
        with store.reading() as session:
            still = _keys_in_use(session)
        for key in _keys(batch) - still:
            _forget(media, key, result)
        for path in _reports(batch) if wanted.reports_too else ():
            if path.exists():
                result.add_file(path)
                path.unlink()
    with store.reading() as session:
        result.kept = _kept(session, wanted)
        _sweep(media, _keys_in_use(session), now, result)
    _forget_words(store)
    return result


# ---- which


class _Due(NamedTuple):
    call_pk: int
    call_id: str
    report_digest: str
    media_id: str | None
    run: str


def _is_old(wanted: Retention) -> ColumnElement[bool]:
    old = func.coalesce(Call.started_at, Call.imported_at) < wanted.before
    return old & Call.recording.is_not(None) if wanted.recordings_only else old


def _why_kept(wanted: Retention) -> ColumnElement[str | None]:
    appealed = exists().where(Appeal.call_pk == Call.id, Appeal.state == "open")
    assigned = exists().where(Assignment.call_pk == Call.id, Assignment.state == "open")
    locked = Call.locked_at.is_not(None) if not wanted.locked_too else null().is_not(None)
    return case((appealed, "appealed"), (assigned, "assigned"), (locked, "locked"), else_=None)


def _statement(wanted: Retention) -> Select[Any, Any, Any, Any, Any]:
    columns = (Call.id, Call.call_id, Call.report_digest, Call.media_id, Run.path)
    statement = select(*columns).join(Run, Call.run_id == Run.id)
    return statement.where(_is_old(wanted), _why_kept(wanted).is_(None)).order_by(Call.id)


def _due(session: Session, statement: Select[Any, Any, Any, Any, Any]) -> list[_Due]:
    return [_Due(*row) for row in session.execute(statement)]


def _kept(session: Session, wanted: Retention) -> list[tuple[int, str]]:
    why = _why_kept(wanted)
    found = session.execute(select(Call.id, why).where(_is_old(wanted), why.is_not(None)).order_by(Call.id))
    return [(call_pk, _WHY[str(reason)]) for call_pk, reason in found]


def _tables() -> list[Table]:
    """Everything that goes with a call, what points to others before what it points to."""
    with_call = [table for table in reversed(Base.metadata.sorted_tables) if _call_column(table) is not None]
    return [*with_call, Base.metadata.tables["calls"]]


def _call_column(table: Table) -> ColumnElement[int] | None:
    """The column that says to which call a row belongs, if it goes with the call."""
    column = table.columns.get("call_pk")
    if column is None:
        return None
    return column if any(key.ondelete == "CASCADE" for key in column.foreign_keys) else None


def _of_calls(table: Table, ids: Any) -> ColumnElement[bool]:
    column = _call_column(table)
    return (table.c.id if column is None else column).in_(ids)


# ---- deleting


def _purge_batch(store: Store, wanted: Retention, result: Purged, *, actor: str, now: datetime) -> list[_Due]:
    with store.writing() as session:
        if store.is_sqlite:
            session.execute(text("PRAGMA secure_delete = ON"))  # what was said is overwritten, not only unlinked
        batch = _due(session, _statement(wanted).limit(BATCH).with_for_update(of=Call, skip_locked=True))
        if not batch:
            return []
        ids = [one.call_pk for one in batch]
        if wanted.recordings_only:
            calls = Base.metadata.tables["calls"]
            session.execute(update(calls).where(calls.c.id.in_(ids)).values(recording=null(), media_id=None))
        else:
            _delete_calls(session, ids, result)
            _remember(session, {one.report_digest for one in batch}, now)
        action = "recordings.purged" if wanted.recordings_only else "calls.purged"
        audit.append(session, actor, action, f"calls:{ids[0]}-{ids[-1]}", {"count": len(ids), "ids": ids}, at=now)
    result.calls += len(batch)
    return batch


def _delete_calls(session: Session, ids: Sequence[int], result: Purged) -> None:
    for table in _tables():
        deleted = cast(CursorResult[Any], session.execute(delete(table).where(_of_calls(table, ids))))
        result.rows[table.name] += deleted.rowcount


def _remember(session: Session, digests: set[str], now: datetime) -> None:
    known = session.scalars(select(PurgedReport.digest).where(PurgedReport.digest.in_(digests)))
    session.add_all(PurgedReport(digest=digest, at=now) for digest in sorted(digests - set(known)))


def _keys(calls: Iterable[_Due]) -> set[str]:
    return {one.media_id for one in calls if one.media_id}


def _keys_in_use(session: Session, without: Iterable[int] = ()) -> set[str]:
    """The media of all other calls: a recording may have been judged twice."""
    gone = set(without)
    found = session.execute(select(Call.id, Call.media_id).where(Call.media_id.is_not(None)))
    return {str(key) for call_pk, key in found if call_pk not in gone}


def _reports(calls: Iterable[_Due]) -> Iterator[Path]:
    """What holds the calls' words in run folders. The tables quote all calls of a run; `score` writes them anew."""
    runs: dict[Path, None] = {}
    for one in calls:
        run = Path(one.run)
        runs[run] = None
        yield report_path(run, one.call_id)
        yield events_path(run, one.call_id)  # of a live call: all its words too
    for run in runs:
        yield from (run / name for name in TABLES)


def _forget(media: MediaFolder, key: str, result: Purged) -> None:
    for path in media.files(key):
        result.add_file(path)
    media.forget(key)


def _sweep(media: MediaFolder, in_use: set[str], now: datetime, result: Purged) -> None:
    """Files of calls that are gone: an earlier purge was interrupted between rows and files."""
    for key, changed_at in media.kept_keys():
        if key not in in_use and changed_at < now - _SETTLED:
            _forget(media, key, result)


def _forget_words(store: Store) -> None:
    """SQLite's search index keeps deleted words until it is merged, its journal until the next checkpoint."""
    if not store.is_sqlite:
        return
    with store.writing() as session:
        session.execute(text("INSERT INTO turn_search (turn_search) VALUES ('optimize')"))
    with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
