"""Who may do what, said once per route and checked before its code runs.

    @app.get("/api/desk/calls")
    def list_calls(who: Annotated[Principal, Depends(allow("reviewer", "lead", "admin"))]) -> …

Who is asking was found out by the gate (``analyzer.serve.gate``), which is around every route. ``check_routes`` refuses
to start a server with a route that does not say whom it is for; the table in docs/desk.md and the authorisation
test are read off the routes as well. What of the objects somebody may see is the business of the queries:
``store.calls.visible_to``.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, APIWebSocketRoute
from starlette.exceptions import WebSocketException
from starlette.requests import HTTPConnection, Request
from starlette.routing import BaseRoute
from starlette.websockets import WebSocket

from analyzer.desk.problems import Problem
from analyzer.store.users import ROLES, SERVICE, Principal

__all__ = [
    "NOBODY", "SERVICE", "SESSION_COOKIE", "Allowed", "Principal", "allow", "allow_anyone", "check_routes",
    "public_paths", "rule_of",
]  # fmt: skip

SESSION_COOKIE = "analyzer_session"
NOBODY = Principal(None, "", "", "nobody")
_SAFE = ("GET", "HEAD", "OPTIONS")
_WHILE_MUST_CHANGE = ("/password", "/logout", "/api/desk/me")


@dataclass(frozen=True, slots=True)
class Allowed:
    """A route's rule. ``roles`` empty: anyone, logged in or not."""

    roles: frozenset[str]

    async def __call__(self, connection: HTTPConnection) -> Principal:
        """raises Problem 401, 403; to a WebSocket the same as WebSocketException 4401, 4403"""
        who: Principal | None = connection.scope.get("state", {}).get("principal")
        try:
            await self._check(connection, who)
        except Problem as problem:
            if isinstance(connection, WebSocket):
                raise WebSocketException(4000 + problem.status_code, problem.code) from None
            raise
        return who or NOBODY

    async def _check(self, connection: HTTPConnection, who: Principal | None) -> None:
        if not self.roles:
            return
        if who is None:
            raise Problem(401, "请先登录")
        if who.role not in self.roles:
            raise Problem(403, "您的角色没有这项权限")
        if who.must_change and connection.url.path not in _WHILE_MUST_CHANGE:
            raise Problem(403, "请先修改初始密码", "must_change")
        if who.csrf and isinstance(connection, Request) and connection.method not in _SAFE:
            await _check_csrf(connection, who)


def allow(*roles: str) -> Allowed:
    """Only these roles: agent, reviewer, lead, admin, service."""
    unknown = set(roles) - {*ROLES, "service"}
    if unknown or not roles:
        raise ValueError(f"no such roles: {sorted(unknown)}" if unknown else "name at least one role")
    return Allowed(frozenset(roles))


def allow_anyone() -> Allowed:
    """Also who is not logged in: the login page itself."""
    return Allowed(frozenset())


async def _check_csrf(request: Request, who: Principal) -> None:
    """Pages of other sites can make a browser send its cookies, but not read what must come with them."""
    given = request.headers.get("x-csrf-token")
    if given is None and request.headers.get("content-type", "").startswith(
        ("application/x-www-form-urlencoded", "multipart/form-data")
    ):
        field = (await request.form()).get("csrf")
        given = field if isinstance(field, str) else None
    if given is None or not hmac.compare_digest(given.encode(), who.csrf.encode()):
        raise Problem(403, "页面已过期，请刷新后重试", "csrf")


# ---- read off the routes


def rule_of(route: BaseRoute) -> Allowed | None:
    """Whom a route is for; None if it does not say."""
    if not isinstance(route, APIRoute | APIWebSocketRoute):
        return None
    rules = [one.call for one in _dependants(route.dependant) if isinstance(one.call, Allowed)]
    if len(rules) > 1:
        raise RuntimeError(f"{route.path}: more than one allow(...)")
    return rules[0] if rules else None


def check_routes(routes: Iterable[BaseRoute]) -> None:
    """raises RuntimeError for a route that does not say whom it is for"""
    for route in routes:
        if isinstance(route, APIRoute | APIWebSocketRoute) and rule_of(route) is None:
            raise RuntimeError(
                f"{route.path}: does not say whom it is for; "
                'add `who: Annotated[Principal, Depends(allow("reviewer", …))]`'
            )


def public_paths(routes: Iterable[BaseRoute]) -> frozenset[str]:
    """The paths that answer without a login."""
    return frozenset(
        route.path
        for route in routes
        if isinstance(route, APIRoute) and (rule := rule_of(route)) is not None and not rule.roles
    )


def _dependants(dependant: Dependant) -> Iterable[Dependant]:
    for one in dependant.dependencies:
        yield one
        yield from _dependants(one)
