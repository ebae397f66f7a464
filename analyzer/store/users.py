"""People, their logins, and who is asking.

Passwords are hashed outside of transactions (``analyzer.desk.passwords``); here are only their hashes. Of a login the
database keeps the digest of its token: whoever reads the database cannot log in with it.
"""

from __future__ import annotations

import hashlib
import secrets
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from sqlalchemy import delete, func, or_, select, text, update
from sqlalchemy.orm import Session

from analyzer.store import tables
from analyzer.store.tables import LoginFailure, User

LONGEST_NAME = 80
ROLES = ("agent", "reviewer", "lead", "admin")
_ATTEMPTS_LOCK = 0x6C6F67  # PostgreSQL's advisory lock of counting logins: "log"
RIGHTS = frozenset({"role", "agent_id", "may_unmask", "is_active"})
SEEN_EVERY = timedelta(minutes=1)  # a login's last use is stored no more often


class Viewer(Protocol):
    """Whoever looks: a logged-in person (analyzer.desk.access.Principal)."""

    @property
    def user_id(self) -> int | None: ...
    @property
    def role(self) -> str: ...
    @property
    def agent_id(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking. ``role``: agent | reviewer | lead | admin, or service (whoever has the server's token).

    csrf         what requests that change something must repeat
    must_change  nothing but the password may be changed before it is
    """

    user_id: int | None
    name: str
    display_name: str
    role: str
    agent_id: str | None = None
    team: str | None = None
    may_unmask: bool = False
    csrf: str = ""
    must_change: bool = False

    @property
    def actor(self) -> str:
        """As the audit log names them."""
        return self.role if self.user_id is None else f"user:{self.user_id}"


SERVICE = Principal(None, "service", "系统接口", "service")


@dataclass(frozen=True, slots=True)
class Login:
    """A login that was just made. The token goes into the cookie and is known nowhere else."""

    token: str
    csrf: str


def plain_name(name: str) -> str:
    """A user name as it is stored: the same one however it is typed."""
    return unicodedata.normalize("NFKC", name).strip().casefold()


def name_fault(name: str) -> str | None:
    """Why nobody can have this user name, in Chinese; None for one that is fine."""
    name = plain_name(name)
    if not 0 < len(name) <= LONGEST_NAME:
        return f"用户名须为 1 至 {LONGEST_NAME} 个字符"
    if not name.isprintable() or " " in name:
        return "用户名不能有空格或不可见字符"
    return None


def count_users(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(User)) or 0


def add_user(
    session: Session,
    *,
    name: str,
    role: str,
    password_hash: str,
    at: datetime,
    display_name: str | None = None,
    **fields: Any,
) -> User:
    """A new user with an id. ``fields``: agent_id, team, must_change, may_unmask.

    raises  sqlalchemy.exc.IntegrityError where the name is taken
    """
    shown = display_name or name
    user = User(
        name=plain_name(name), display_name=shown, role=role, password_hash=password_hash, created_at=at, **fields
    )
    session.add(user)
    session.flush()
    return user


def find_user(session: Session, name: str) -> User | None:
    return None if name_fault(name) else session.scalar(select(User).where(User.name == plain_name(name)))


class LastAdminError(Exception):
    """Nobody could make another admin any more."""


def change_user(session: Session, user_id: int, changes: Mapping[str, Any]) -> tuple[User, list[str]] | None:
    """Change columns of a user; what really changed, by name. None if there is no such user.

    Other rights than before (role, agent_id, may_unmask, is_active) end the user's logins.
    raises  LastAdminError
    """
    admins = session.scalars(select(User).where(User.role == "admin", User.is_active).with_for_update()).all()
    user = session.get(User, user_id)
    if user is None:
        return None
    changed = [name for name, value in changes.items() if getattr(user, name) != value]
    for name in changed:
        setattr(user, name, changes[name])
    if admins == [user] and not (user.role == "admin" and user.is_active):
        raise LastAdminError
    if set(changed) & RIGHTS:
        end_logins(session, user.id)
    return user, changed


@dataclass(frozen=True, slots=True)
class UserPage:
    """users with when each was last seen, by name; ``next``: the name to go on after."""

    users: Sequence[tuple[User, datetime | None]]
    next: str | None


def list_users(session: Session, *, after: str = "", role: str = "", q: str = "", limit: int = 50) -> UserPage:
    """q: part of the user name, the display name or the agent id."""
    seen = select(func.max(tables.Session.seen_at)).where(tables.Session.user_id == User.id).scalar_subquery()
    found = select(User, seen).where(User.name > after).order_by(User.name).limit(limit + 1)
    if role:
        found = found.where(User.role == role)
    if q:
        found = found.where(
            or_(*(column.contains(q, autoescape=True) for column in (User.name, User.display_name, User.agent_id)))
        )
    rows = session.execute(found).all()
    return UserPage(rows[:limit], rows[limit - 1][0].name if len(rows) > limit else None)


# ---- logins


def log_in(session: Session, user: User, at: datetime, longest: timedelta) -> Login:
    """A new login of this user, good for ``longest`` at most."""
    login = Login(secrets.token_urlsafe(32), secrets.token_urlsafe(24))
    session.add(
        tables.Session(
            digest=digest(login.token), user_id=user.id, csrf=login.csrf,
            created_at=at, seen_at=at, expires_at=at + longest,
        )
    )  # fmt: skip
    session.flush()
    return login


def principal(session: Session, token: str, at: datetime, idle: timedelta) -> tuple[Principal, bool] | None:
    """Who this login is, and whether its last use should be stored; None if it is unknown or over."""
    found = session.execute(
        select(tables.Session, User).join(User).where(tables.Session.digest == digest(token), User.is_active)
    ).first()
    if found is None:
        return None
    login, user = found
    if at >= login.expires_at or at - login.seen_at >= idle:
        return None
    who = Principal(
        user_id=user.id, name=user.name, display_name=user.display_name, role=user.role, agent_id=user.agent_id,
        team=user.team, may_unmask=user.may_unmask, csrf=login.csrf, must_change=user.must_change,
    )  # fmt: skip
    return who, at - login.seen_at >= SEEN_EVERY


def set_password(session: Session, user: User, password_hash: str, *, must_change: bool = False) -> None:
    """A new password ends every login of the user."""
    user.password_hash, user.must_change = password_hash, must_change
    end_logins(session, user.id)


def touch(session: Session, token: str, at: datetime) -> None:
    session.execute(update(tables.Session).where(tables.Session.digest == digest(token)).values(seen_at=at))


def log_out(session: Session, token: str) -> None:
    session.execute(delete(tables.Session).where(tables.Session.digest == digest(token)))


def end_logins(session: Session, user_id: int) -> int:
    """End every login of a user; how many there were."""
    ended = session.scalars(
        delete(tables.Session).where(tables.Session.user_id == user_id).returning(tables.Session.digest)
    )
    return len(ended.all())


# ---- attempts


@dataclass(frozen=True, slots=True)
class Limit:
    """How many logins may fail within a time, for one user name and from one network address."""

    within: timedelta
    per_name: int
    per_address: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """A login being tried. It counts as failed from its beginning, so that many at once gain nothing."""

    subjects: tuple[str, str]
    ids: tuple[int, ...]


def begin_attempt(session: Session, name: str, address: str, at: datetime, limit: Limit) -> Attempt | timedelta:
    """Count a login that is about to be tried; or how long to wait, if there were too many.

    Names that do not exist count alike, so nothing can be learned from it.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _ATTEMPTS_LOCK})
    session.execute(delete(LoginFailure).where(LoginFailure.at <= at - limit.within))
    subjects = digest(f"name:{plain_name(name)}"), digest(f"address:{address}")
    for subject, most in zip(subjects, (limit.per_name, limit.per_address), strict=True):
        failed = session.scalars(
            select(LoginFailure.at).where(LoginFailure.subject == subject).order_by(LoginFailure.at.desc()).limit(most)
        ).all()
        if len(failed) == most:
            return failed[-1] + limit.within - at
    rows = [LoginFailure(subject=subject, at=at) for subject in subjects]
    session.add_all(rows)
    session.flush()
    return Attempt(subjects, tuple(row.id for row in rows))


def attempt_succeeded(session: Session, attempt: Attempt) -> None:
    """It was no failure; and what failed for this name before is forgotten."""
    forgotten = LoginFailure.id.in_(attempt.ids) | (LoginFailure.subject == attempt.subjects[0])
    session.execute(delete(LoginFailure).where(forgotten))


def forget_ended_logins(session: Session, at: datetime) -> None:
    session.execute(delete(tables.Session).where(tables.Session.expires_at <= at))


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
