"""Logging in and out, the first admin, changing one's password, and who one is."""

from __future__ import annotations

import hmac
import math
import secrets
from datetime import timedelta
from typing import Annotated
from urllib.parse import quote, urlsplit

from fastapi import Depends, FastAPI, Form, Query
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from analyzer.desk.access import SESSION_COOKIE, Principal, allow, allow_anyone
from analyzer.desk.pages import page
from analyzer.desk.passwords import hash_password, is_outdated, is_right, weakness
from analyzer.desk.problems import errors
from analyzer.desk.review_desk import ReviewDesk
from analyzer.store import audit, users
from analyzer.store.tables import User

HOMES = {"agent": "/my", "reviewer": "/calls", "lead": "/calls", "admin": "/calls", "service": "/supervisor"}
WRONG = "用户名或密码不正确"

Person = Annotated[Principal, Depends(allow("agent", "reviewer", "lead", "admin"))]
Anyone = Annotated[Principal, Depends(allow_anyone())]
LONGEST_ADDRESS = 2000

Text = Annotated[str, Field(max_length=256)]
Next = Annotated[str, Field(alias="next", max_length=LONGEST_ADDRESS)]  # where to go on afterwards


class Me(BaseModel):
    """``csrf``: the header ``X-CSRF-Token`` of requests that change something."""

    user_id: int | None
    name: str
    display_name: str
    role: str
    agent_id: str | None
    team: str | None
    may_unmask: bool
    csrf: str


class LoginForm(BaseModel):
    name: Text = ""
    password: Text = ""
    next_: Next = ""


class PasswordForm(BaseModel):
    present: Text = ""
    password: Text = ""
    again: Text = ""
    next_: Next = ""


class SetupForm(BaseModel):
    code: Text = ""
    name: Text = ""
    display_name: Text = ""
    password: Text = ""
    again: Text = ""


def add_routes(app: FastAPI, desk: ReviewDesk) -> None:
    @app.get("/", tags=["pages"])
    def home(who: Annotated[Principal, Depends(allow(*HOMES))]) -> Response:
        """Where this person's work begins."""
        return RedirectResponse(HOMES[who.role], 303)

    @app.get("/api/desk/me", tags=["desk"], responses=errors(401))
    def me(who: Person) -> Me:
        """Who is logged in."""
        return Me(**{name: getattr(who, name) for name in Me.model_fields})

    _add_login(app, desk)
    _add_password(app, desk)
    _add_setup(app, desk)


def _add_login(app: FastAPI, desk: ReviewDesk) -> None:
    def ask(request: Request, form: LoginForm, wrong: str = "", status: int = 200) -> Response:
        return page(request, "login", None, status=status, form=form, wrong=wrong, nobody=_has_nobody(desk))

    @app.get("/login", tags=["pages"])
    def login_page(request: Request, who: Anyone, next_: Annotated[str, Query(alias="next")] = "") -> Response:
        if who.user_id:
            return RedirectResponse(_safe(next_), 303)
        return ask(request, LoginForm.model_validate({"next": next_[:LONGEST_ADDRESS]}))

    @app.post("/login", tags=["pages"])
    def log_in(request: Request, who: Anyone, form: Annotated[LoginForm, Form()]) -> Response:
        found = _try_password(desk, form.name, form.password, address_of(request))
        if isinstance(found, timedelta):
            minutes = math.ceil(found.total_seconds() / 60)
            answer = ask(request, form, f"失败次数过多，请 {minutes} 分钟后再试", 429)
            answer.headers["retry-after"] = str(math.ceil(found.total_seconds()))
            return answer
        if found is None:
            return ask(request, form, WRONG, 401)
        where = f"/password?next={quote(_safe(form.next_))}" if found.must_change else _safe(form.next_)
        return _enter(desk, request, found, where)

    @app.post("/logout", tags=["pages"], status_code=303, response_class=RedirectResponse)
    def log_out(request: Request, who: Person) -> Response:
        with desk.store.writing() as session:
            users.log_out(session, request.cookies.get(SESSION_COOKIE, ""))
            audit.append(session, who.actor, "logout", f"user:{who.user_id}", at=desk.clock())
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(SESSION_COOKIE, httponly=True, samesite="lax")
        return answer


def _has_nobody(desk: ReviewDesk) -> bool:
    """Whether the first admin has still to be made."""
    if desk.setup_code is None:
        return False
    with desk.store.reading() as session:
        return users.count_users(session) == 0


def _try_password(desk: ReviewDesk, name: str, password: str, address: str) -> User | timedelta | None:
    """The user, None if name or password are wrong, or how long to wait before the next try."""
    with desk.store.writing() as session:
        attempt = users.begin_attempt(session, name, address, desk.clock(), _limit(desk))
        user = users.find_user(session, name)
    if isinstance(attempt, timedelta):
        return attempt
    password_hash = user.password_hash if user is not None and user.is_active else None
    was_right = is_right(password_hash, password)
    rehashed = hash_password(password) if was_right and password_hash and is_outdated(password_hash) else None
    with desk.store.writing() as session:
        if not was_right or user is None:
            _note_login(session, desk, "login.failed", user, address)
            return None
        users.attempt_succeeded(session, attempt)
        if rehashed:
            session.merge(user).password_hash = rehashed
    return user


def _limit(desk: ReviewDesk) -> users.Limit:
    login = desk.settings.login
    return users.Limit(
        timedelta(minutes=login.failures_within_minutes), login.failures_per_name, login.failures_per_address
    )


def _note_login(session: Session, desk: ReviewDesk, action: str, user: User | None, address: str) -> None:
    subject = f"user:{user.id}" if user else "user:unknown"
    actor = subject if user and action == "login" else "system"
    audit.append(session, actor, action, subject, {"address": address}, at=desk.clock())


def _enter(desk: ReviewDesk, request: Request, user: User, where: str) -> Response:
    """A new login in place of the one that this browser had."""
    at = desk.clock()
    with desk.store.writing() as session:
        users.forget_ended_logins(session, at)
        users.log_out(session, request.cookies.get(SESSION_COOKIE, ""))
        login = users.log_in(session, user, at, desk.settings.login.longest)
        _note_login(session, desk, "login", user, address_of(request))
    answer = RedirectResponse(where, 303)
    answer.set_cookie(SESSION_COOKIE, login.token, httponly=True, samesite="lax", secure=request.url.scheme == "https")
    return answer


def _safe(where: str) -> str:
    """A page of ours to go on to, whatever the address asked for."""
    parts = urlsplit(where)
    is_ours = where.startswith("/") and not parts.scheme and not parts.netloc and not where.startswith(("//", "/\\"))
    is_page = not parts.path.startswith(("/login", "/logout", "/setup", "/api/"))
    return where if is_ours and is_page and where.isprintable() and "\\" not in where else "/"


def address_of(request: Request) -> str:
    return request.client.host if request.client else ""


# ---- password


def _add_password(app: FastAPI, desk: ReviewDesk) -> None:
    def ask(request: Request, who: Principal, next_: str, wrong: str = "", status: int = 200) -> Response:
        return page(request, "password", who, status=status, next=next_, wrong=wrong)

    @app.get("/password", tags=["pages"])
    def password_page(request: Request, who: Person, next_: Annotated[str, Query(alias="next")] = "") -> Response:
        return ask(request, who, next_)

    @app.post("/password", tags=["pages"])
    def change_password(request: Request, who: Person, form: Annotated[PasswordForm, Form()]) -> Response:
        """Ends every other login of this user."""
        wrong = refused(form.password, form.again, who.name, who.display_name)
        if wrong is None and form.password == form.present:
            wrong = "新密码不能与原密码相同"
        if wrong:
            return ask(request, who, form.next_, wrong, 422)
        user = _try_password(desk, who.name, form.present, address_of(request))
        if not isinstance(user, User):
            wrong = "原密码不正确" if user is None else "失败次数过多，请稍后再试"
            return ask(request, who, form.next_, wrong, 429 if user else 422)
        password_hash = hash_password(form.password)
        with desk.store.writing() as session:
            user = session.merge(user)
            users.set_password(session, user, password_hash)
            audit.append(session, who.actor, "password.changed", f"user:{who.user_id}", at=desk.clock())
        return _enter(desk, request, user, _safe(form.next_))


def refused(password: str, again: str, *names: str) -> str | None:
    """Why this new password, typed twice, is not taken."""
    return "两次输入的密码不一致" if password != again else weakness(password, *names)


# ---- the first admin


def new_setup_code() -> str:
    return secrets.token_urlsafe(18)


def _add_setup(app: FastAPI, desk: ReviewDesk) -> None:
    """Open only as long as there is nobody, and to whoever has the code that the server printed."""

    def is_open(code: str) -> bool:
        is_known = desk.setup_code is not None and hmac.compare_digest(code.encode(), desk.setup_code.encode())
        return is_known and _has_nobody(desk)

    def ask(request: Request, form: SetupForm, wrong: str = "", status: int = 200) -> Response:
        return page(request, "setup", None, status=status, form=form, wrong=wrong)

    @app.get("/setup", tags=["pages"])
    def setup_page(request: Request, who: Anyone, code: str = "") -> Response:
        return ask(request, SetupForm(code=code)) if is_open(code) else RedirectResponse("/login", 303)

    @app.post("/setup", tags=["pages"])
    def set_up(request: Request, who: Anyone, form: Annotated[SetupForm, Form()]) -> Response:
        if not is_open(form.code):
            return RedirectResponse("/login", 303)
        names = form.name.strip(), form.display_name.strip()
        if wrong := users.name_fault(form.name) or refused(form.password, form.again, *names):
            return ask(request, form, wrong, 422)
        password_hash = hash_password(form.password)
        with desk.store.writing() as session:
            if users.count_users(session) or desk.setup_code is None:
                return RedirectResponse("/login", 303)
            user = users.add_user(session, name=names[0], display_name=names[1], role="admin",
                                  password_hash=password_hash, at=desk.clock())  # fmt: skip
            audit.append(session, "system", "user.added", f"user:{user.id}", {"role": "admin"}, at=desk.clock())
            desk.setup_code = None
        return _enter(desk, request, user, "/")
