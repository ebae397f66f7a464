"""The append-only audit log: who did what to which object, when. Ids, counts and states; never words.

Entry n holds a hash over itself and the hash of entry n - 1, so a changed, removed or inserted entry breaks the chain
from there on. Entries cut off at the end are found by comparing with a head that was noted elsewhere: ``head``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, select, text
from sqlalchemy.orm import Session

from analyzer.store.tables import AuditEntry

NOTHING_BEFORE = "0" * 64
_LOCK = 0x61756469  # PostgreSQL's advisory lock of this log: "audi"
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Head:
    """The newest entry. ``str`` of it is what to note elsewhere: ``SEQ:HASH``."""

    seq: int
    hash: str

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash}"


@dataclass(frozen=True, slots=True)
class Verified:
    """What checking the chain found. ``broken`` is the number of the first entry that does not fit, ``why`` how."""

    entries: int
    head: Head | None
    broken: int | None = None
    why: str | None = None


def append(
    session: Session,
    actor: str,
    action: str,
    object: str,
    details: Mapping[str, Any] | None = None,
    *,
    at: datetime | None = None,
) -> AuditEntry:
    """Add an entry in the transaction of what it tells of.

    actor    ``user:7``, ``service``, ``cli`` or ``system``
    action   a verb of the past: ``call.viewed``, ``finding.decided``, ``login.failed``
    object   ``call:12``, ``finding:99``, ``user:3``
    details  ids, counts and states, as JSON; no number but whole ones (a database may give others back differently)
    at       now, if not given

    Entries are numbered without gaps, so writers wait for each other from here to the end of the transaction: do it
    last, after every other change (what is pending is flushed first, so that row locks are always taken before).
    """
    session.flush()
    _wait_for_the_others(session)
    last = head(session)
    entry = AuditEntry(
        seq=last.seq + 1 if last else 1,
        at=_iso(at or datetime.now(UTC)),
        actor=actor,
        action=action,
        object=object,
        details=_checked(dict(details or {})),
        previous=last.hash if last else NOTHING_BEFORE,
    )
    entry.hash = hash_of(entry)
    session.add(entry)
    session.flush()
    return entry


def head(session: Session) -> Head | None:
    row = session.execute(select(AuditEntry.seq, AuditEntry.hash).order_by(AuditEntry.seq.desc()).limit(1)).first()
    return Head(*row) if row else None


def list_entries(
    session: Session,
    *,
    actor: str = "",
    action: str = "",
    object: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
    before: int | None = None,
    limit: int = 50,
) -> Sequence[AuditEntry]:
    """Newest first.

    action, object  also what begins so: ``call.`` and ``call:``
    until           not included
    before          a number: only entries before it
    """
    found = select(AuditEntry).order_by(AuditEntry.seq.desc()).limit(limit)
    if actor:
        found = found.where(AuditEntry.actor == actor)
    for column, given in ((AuditEntry.action, action), (AuditEntry.object, object)):
        if given:
            found = found.where(column.startswith(given, autoescape=True) if given[-1] in ".:" else column == given)
    if since:
        found = found.where(AuditEntry.at >= _iso(since))
    if until:
        found = found.where(AuditEntry.at < _iso(until))
    if before is not None:
        found = found.where(AuditEntry.seq < before)
    return session.scalars(found).all()


def hash_of(entry: AuditEntry) -> str:
    """SHA-256 over the entry's canonical JSON (keys sorted, no blanks, ASCII), the hash before it included."""
    fields = ("seq", "at", "actor", "action", "object", "details", "previous")
    told = json.dumps({name: getattr(entry, name) for name in fields}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(told.encode()).hexdigest()


def verify(session: Session, known: Sequence[Head] = ()) -> Verified:
    """Check the whole chain.

    known  heads that were noted earlier: each must still be in it
    """
    noted = {one.seq: one.hash for one in known}
    last: Head | None = None
    for entry in _all(session):
        fault = _fault(entry, last, noted)
        if fault:
            return Verified(last.seq if last else 0, last, entry.seq, fault)
        last = Head(entry.seq, entry.hash)
    count = last.seq if last else 0
    missing = min((seq for seq in noted if seq > count), default=None)
    if missing is not None:
        return Verified(count, last, count + 1, f"the log ends at {count}, but entry {missing} was noted earlier")
    return Verified(count, last)


def _fault(entry: AuditEntry, last: Head | None, noted: Mapping[int, str]) -> str | None:
    expected = last.seq + 1 if last else 1
    if entry.seq != expected:
        return f"entry {expected} is missing"
    if entry.previous != (last.hash if last else NOTHING_BEFORE):
        return "it does not follow the entry before it"
    if entry.hash != hash_of(entry):
        return "it was changed after it was written"
    if noted.get(entry.seq, entry.hash) != entry.hash:
        return "it is not the entry that was noted earlier"
    return None


def _all(session: Session) -> Iterator[AuditEntry]:
    after = 0
    while True:
        page = session.scalars(select(AuditEntry).where(AuditEntry.seq > after).order_by(AuditEntry.seq).limit(_PAGE))
        entries = page.all()
        if not entries:
            return
        yield from entries
        after = entries[-1].seq
        session.expunge_all()


# ---- the table


_REFUSAL = "the audit log is only ever added to"
_PROTECTION = {
    "sqlite": (
        f"CREATE TRIGGER audit_unchanged BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END",
        f"CREATE TRIGGER audit_undeleted BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END",
    ),
    "postgresql": (
        "CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{_REFUSAL}'; END $$",
        "CREATE TRIGGER audit_unchanged BEFORE UPDATE OR DELETE OR TRUNCATE ON audit "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change()",
    ),
}
_UNPROTECTION = {
    "sqlite": ("DROP TRIGGER audit_unchanged", "DROP TRIGGER audit_undeleted"),
    "postgresql": ("DROP TRIGGER audit_unchanged ON audit", "DROP FUNCTION refuse_audit_change"),
}


def protect(connection: Connection) -> None:
    """The database refuses to change or delete an entry. Who owns it can undo that; the chain then tells."""
    for statement in _PROTECTION[connection.dialect.name]:
        connection.execute(text(statement))


def unprotect(connection: Connection) -> None:
    for statement in _UNPROTECTION[connection.dialect.name]:
        connection.execute(text(statement))


# ---- inside


def _wait_for_the_others(session: Session) -> None:
    """SQLite's write transactions exclude each other already (Store.writing)."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})


def _checked(details: Any) -> Any:
    """raises TypeError for what a database would not give back as it was"""
    if isinstance(details, dict):
        return {str(key): _checked(value) for key, value in details.items()}
    if isinstance(details, list | tuple):
        return [_checked(value) for value in details]
    if details is None or isinstance(details, str | bool | int):
        return details
    raise TypeError(f"the audit log takes strings, whole numbers and booleans, not {type(details).__name__}")


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
