"""用户管理: who may use the desk, as what. For admins; leads may look, to give out work."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from fastapi import Depends, FastAPI, Path, Query
from pydantic import BaseModel, Field, model_validator
from sqlalchemy.exc import IntegrityError
from starlette.requests import Request
from starlette.responses import Response

from analyzer.desk.access import Principal, allow
from analyzer.desk.pages import page
from analyzer.desk.passwords import hash_password
from analyzer.desk.problems import Problem, conflict, errors, invalid, not_found
from analyzer.desk.review_desk import ReviewDesk
from analyzer.desk.sent import Sent
from analyzer.store import audit, users
from analyzer.store.tables import User

MOST_ID = 2**31 - 1
LAST_ADMIN = "至少要保留一位在用的管理员"
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # none that look alike

Admin = Annotated[Principal, Depends(allow("admin"))]
Chief = Annotated[Principal, Depends(allow("lead", "admin"))]
UserNumber = Annotated[int, Path(ge=1, le=MOST_ID)]
RoleName = Literal["agent", "reviewer", "lead", "admin"]
Short = Annotated[str, Field(max_length=80)]
Long = Annotated[str, Field(max_length=120)]


class UserRow(BaseModel):
    """``last_seen``: of the logins that are not over."""

    id: int
    name: str
    display_name: str
    role: RoleName
    agent_id: str | None
    team: str | None
    may_unmask: bool
    must_change: bool
    is_active: bool
    created_at: datetime
    last_seen: datetime | None = None


class UserList(BaseModel):
    users: list[UserRow]
    next: str | None = None


class NewUser(Sent):
    name: Short
    role: RoleName
    display_name: Short = ""
    agent_id: Long | None = None
    team: Long | None = None
    may_unmask: bool = False

    @model_validator(mode="after")
    def _is_somebody(self) -> Self:
        fault = users.name_fault(self.name)
        if fault is None and self.role == "agent" and not (self.agent_id or "").strip():
            fault = "坐席必须填写工号：按工号确定哪些通话是本人的"
        if fault:
            raise ValueError(fault)
        return self


class UserChanges(Sent):
    """What is not named stays."""

    role: RoleName | None = None
    display_name: Short | None = None
    agent_id: Long | None = None
    team: Long | None = None
    may_unmask: bool | None = None
    is_active: bool | None = None


class InitialPassword(BaseModel):
    """Shown this once; the user has to choose another at the first login."""

    user: UserRow
    password: str


def add_routes(app: FastAPI, desk: ReviewDesk) -> None:
    @app.get("/admin/users", tags=["pages"])
    def users_page(request: Request, who: Admin, q: Short = "", after: Short = "") -> Response:
        with desk.store.reading() as session:
            found = users.list_users(session, after=after, q=q.strip())
            rows = [_row(user, seen) for user, seen in found.users]
        return page(request, "admin_users", who, users=rows, next=found.next, q=q)

    @app.get("/api/desk/users", tags=["users"])
    def list_users(
        who: Chief,
        q: Short = "",
        role: RoleName | None = None,
        cursor: Short = "",
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> UserList:
        with desk.store.reading() as session:
            found = users.list_users(session, after=cursor, role=role or "", q=q, limit=limit)
            return UserList(users=[_row(user, seen) for user, seen in found.users], next=found.next)

    @app.post("/api/desk/users", tags=["users"], status_code=201, responses=errors(409))
    def add_user(new: NewUser, who: Admin) -> InitialPassword:
        password = new_password()
        password_hash = hash_password(password)
        fields = _cleaned(new.model_dump())
        try:
            with desk.store.writing() as session:
                user = users.add_user(session, password_hash=password_hash, must_change=True, at=desk.clock(), **fields)
                audit.append(session, who.actor, "user.added", f"user:{user.id}", {"role": user.role}, at=desk.clock())
                return InitialPassword(user=_row(user), password=password)
        except IntegrityError:
            raise conflict("已经有这个用户名，请换一个") from None

    @app.patch("/api/desk/users/{user_id}", tags=["users"], responses=errors(404, 409))
    def change_user(user_id: UserNumber, asked: UserChanges, who: Admin) -> UserRow:
        """Other rights than before end the user's logins."""
        changes = _cleaned(asked.model_dump(exclude_unset=True))
        if user_id == who.user_id and {"role", "is_active"} & changes.keys():
            raise Problem(409, "不能改自己的角色，也不能停用自己；请另一位管理员来做")
        with desk.store.writing() as session:
            try:
                found = users.change_user(session, user_id, changes)
            except users.LastAdminError:
                raise conflict(LAST_ADMIN) from None
            if found is None:
                raise not_found("没有这个用户")
            user, changed = found
            if user.role == "agent" and not user.agent_id:
                raise invalid("坐席必须填写工号")
            if changed:
                audit.append(
                    session, who.actor, "user.changed", f"user:{user_id}", _told(user, changed), at=desk.clock()
                )  # fmt: skip
            return _row(user)

    @app.post("/api/desk/users/{user_id}/password", tags=["users"], responses=errors(404))
    def reset_password(user_id: UserNumber, who: Admin) -> InitialPassword:
        """Ends the user's logins."""
        password = new_password()
        password_hash = hash_password(password)
        with desk.store.writing() as session:
            user = session.get(User, user_id)
            if user is None:
                raise not_found("没有这个用户")
            users.set_password(session, user, password_hash, must_change=True)
            audit.append(session, who.actor, "password.reset", f"user:{user_id}", at=desk.clock())
            return InitialPassword(user=_row(user), password=password)


def new_password() -> str:
    """Three groups of four that can be read out."""
    return "-".join("".join(secrets.choice(_LETTERS) for _ in range(4)) for _ in range(3))


def _cleaned(fields: dict[str, Any]) -> dict[str, Any]:
    """Without blanks at the ends; an empty agent id or team is none. A display name, role or flag cannot be nothing."""
    cleaned = {name: value.strip() if isinstance(value, str) else value for name, value in fields.items()}
    for name in ("agent_id", "team"):
        if name in cleaned:
            cleaned[name] = cleaned[name] or None
    return {name: value for name, value in cleaned.items() if value is not None or name in ("agent_id", "team")}


def _told(user: User, changed: list[str]) -> dict[str, Any]:
    """For the audit log: which columns, and the rights as they are now."""
    rights = {name: getattr(user, name) for name in changed if name in users.RIGHTS}
    return {"changed": sorted(changed), **rights}


def _row(user: User, last_seen: datetime | None = None) -> UserRow:
    fields = {name: getattr(user, name) for name in UserRow.model_fields if name != "last_seen"}
    return UserRow(**fields, last_seen=last_seen)
