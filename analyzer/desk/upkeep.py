"""What is deleted by itself: once a day, where the settings say after how many days. Noted in the audit log, which also
tells whether today's run has been."""

from __future__ import annotations

from datetime import datetime, timedelta

from analyzer.desk.review_desk import ReviewDesk
from analyzer.media import MediaFolder
from analyzer.store import audit, retention
from analyzer.store.retention import Purged
from analyzer.store.tables import AuditEntry

ACTION = "retention.run"


def wanted_at(desk: ReviewDesk, now: datetime) -> retention.Retention | None:
    """What the settings say is to go at this moment; None where nothing is deleted by itself."""
    given = desk.settings.retention
    if given.days is None:
        return None
    return retention.Retention(
        now - timedelta(days=given.days), given.recordings_only, given.final_too, given.reports_too
    )


def last_run(desk: ReviewDesk) -> AuditEntry | None:
    with desk.store.reading() as session:
        return next(iter(audit.list_entries(session, action=ACTION, limit=1)), None)


def next_run(desk: ReviewDesk, now: datetime) -> datetime | None:
    """When it runs next, in this machine's time; a moment that is past where today's run is due."""
    if desk.settings.retention.days is None:
        return None
    today = now.astimezone().replace(hour=desk.settings.retention.hour, minute=0, second=0, microsecond=0)
    last = last_run(desk)
    has_been = last is not None and datetime.fromisoformat(last.at) >= today
    return today + timedelta(days=1) if has_been else today


def run_retention(desk: ReviewDesk) -> Purged | None:
    """Delete what is due, if today's run is; also when the server was down at its hour. None if nothing was to do."""
    now = desk.clock()
    wanted, due = wanted_at(desk, now), next_run(desk, now)
    if wanted is None or due is None or now < due:
        return None
    done = retention.purge(desk.store, MediaFolder(desk.media), wanted, actor="system", now=now)
    details = {"days": desk.settings.retention.days, "calls": done.calls, "files": done.files, "kept": len(done.kept)}
    with desk.store.writing() as session:
        audit.append(session, "system", ACTION, f"calls:{done.calls}", details, at=now)
    return done
