"""The desk as a part of the server: its areas put together, its navigation, its errors."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DataError
from sqlalchemy.orm.exc import StaleDataError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from analyzer.desk import (
    admin_users,
    appeals,
    audit_pages,
    calls,
    data,
    exports,
    insight,
    login,
    media,
    review_pages,
    reviewing,
    rule_pages,
    rules,
    webhook_pages,
    work,
)
from analyzer.desk.access import rule_of
from analyzer.desk.pages import page
from analyzer.desk.problems import (
    Problem,
    as_json,
    broken,
    conflict,
    invalid,
    is_page,
    read_invalid,
    told,
    unavailable,
)
from analyzer.desk.review_desk import Entry, ReviewDesk
from analyzer.errors import UnavailableError
from analyzer.review.workflow import RefusedError

__all__ = ["AREAS", "ReviewDesk", "add_desk", "page"]

# Every area of the desk: a module with `add_routes(app, desk)`. One line each, in the order of the navigation.
AREAS = (
    login,
    calls,
    review_pages,
    media,
    reviewing,
    appeals,
    work,
    insight,
    exports,
    rules,
    rule_pages,
    webhook_pages,
    admin_users,
    audit_pages,
    data,
)  # fmt: skip

NAVIGATION = (
    ("我的通话", "/my"), ("通话", "/calls"), ("复核队列", "/queue"), ("申诉", "/appeals"), ("抽检计划", "/plans"),
    ("校准", "/calibrations"), ("规则效果", "/worth"), ("趋势", "/trends"), ("规则", "/rules"),
    ("实时监看", "/supervisor"), ("实时提示", "/overlay"), ("管理", "/admin/users"),
)  # fmt: skip
ADMINISTRATION = (
    ("用户", "/admin/users"), ("审计日志", "/admin/audit"), ("事件推送", "/admin/webhooks"), ("数据", "/admin/data"),
)  # fmt: skip


def add_desk(app: FastAPI, desk: ReviewDesk) -> None:
    """Add every page and address of the desk. Whoever makes the app checks its routes: ``access.check_routes``."""
    app.state.review_desk = desk
    for area in AREAS:
        area.add_routes(app, desk)
    desk.navigation, desk.administration = _there(app, NAVIGATION), _there(app, ADMINISTRATION)
    app.add_exception_handler(HTTPException, _problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(StaleDataError, _stale)
    app.add_exception_handler(RefusedError, _refused)
    app.add_exception_handler(UnavailableError, _unavailable)
    app.add_exception_handler(Exception, _broken)
    for refused in (DataError, UnicodeEncodeError):  # half characters, NUL: JSON may hold them, a database may not
        app.add_exception_handler(refused, _unstorable)


def _there(app: FastAPI, entries: tuple[tuple[str, str], ...]) -> tuple[Entry, ...]:
    """The entries whose pages exist here, with their roles."""
    rules = {getattr(route, "path", ""): rule_of(route) for route in app.routes}
    return tuple(Entry(title, path, rule.roles) for title, path in entries if (rule := rules.get(path)) is not None)


# ---- errors


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if not is_page(request):
        return as_json(error)
    shown = told(error)
    if shown.code == "must_change":
        return RedirectResponse("/password", 303)
    who = request.scope.get("state", {}).get("principal")
    return page(request, "error", who, status=error.status_code, error=shown)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return await _problem(request, read_invalid(error))


async def _refused(request: Request, error: Exception) -> Response:
    """The workflow's rules forbid it; nothing was changed."""
    assert isinstance(error, RefusedError)
    return await _problem(request, Problem(_REFUSED[error.kind], str(error)))


_REFUSED = {"forbidden": 403, "not_found": 404, "conflict": 409, "invalid": 422, "locked": 423}


async def _stale(request: Request, error: Exception) -> Response:
    """Two people changed the same row; the first one's change stands."""
    return await _problem(request, conflict())


async def _unavailable(request: Request, error: Exception) -> Response:
    return await _problem(request, unavailable())


async def _broken(request: Request, error: Exception) -> Response:
    """A fault of ours. The server's log has it."""
    return await _problem(request, broken())


async def _unstorable(request: Request, error: Exception) -> Response:
    return await _problem(request, invalid("含有无法保存的字符或数值"))
