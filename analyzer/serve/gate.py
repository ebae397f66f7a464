"""What is checked before any route sees a request: who asks, origin, size. One place, so that no route can forget it.

Who logged in at the review desk has a session cookie and is who they are; whoever has the server's token is the
service. Either way the routes find them as ``scope["state"]["principal"]``. What they may do is said at each route
(``analyzer.desk.access``).

A token comes as ``Authorization: Bearer``, as ``?token=`` or as the cookie that the server sets when a page is opened
with a right ``?token=``; the page's address is then shown without it. Senders of audio name it in their first message
where their protocol has no other place (``analyzer.live.wire``), so their addresses open without one; a wrong one is
refused here all the same.
"""

from __future__ import annotations

import asyncio
import hmac
import re
from collections.abc import Iterator
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, quote, urlencode, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from analyzer.desk.access import SERVICE, SESSION_COOKIE, Principal
from analyzer.desk.app import ReviewDesk
from analyzer.desk.problems import as_json, unavailable
from analyzer.errors import UnavailableError
from analyzer.web import CONTENT_SECURITY_POLICY

COOKIE = "analyzer_token"
MOST_BYTES = 64 * 1024  # of a request's body and of a WebSocket message: four seconds of stereo at 8 kHz
MOST_DESK_BYTES = 1024 * 1024  # of what is sent to the desk: a rule file, a dialogue to try it on
LOOK_S = 30.0  # how often it is looked whether the login of an open stream is over
UNAUTHORISED, FOREIGN = 4401, 4403  # WebSocket close codes

_PAGES = re.compile(r"/|/(overlay|supervisor)(/.*)?")
_MACHINES = ("/api/", "/live/", "/schemas/", "/metrics", "/openapi.json", "/asyncapi.json")  # no person looks there
_SENDERS = re.compile(r"/live/(twilio|freeswitch/.+|.+/audio)")
_HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",  # with none, browsers send our own forms as from nowhere: `Origin: null`
    "cross-origin-resource-policy": "same-origin",
}


class Gate:
    """ASGI middleware around everything.

    door        the page that asks for the token
    open_paths  answer without a token
    desk        the review desk, if there is one: its logins open too, and pages ask for one
    """

    def __init__(
        self, app: ASGIApp, *, token: str, door: Path, open_paths: frozenset[str], desk: ReviewDesk | None = None
    ) -> None:
        self._app, self._token, self._door, self._desk = app, token, door, desk
        self._open = open_paths | {"/token"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(
                scope, _bounded(receive, self._most_bytes(scope["path"])), _with_headers(scope["path"], send)
            )
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        request, path = Request(scope, receive), scope["path"]
        try:
            response = self._malformed(request)
            if response is None:
                who = await self._identify(scope)
                response = self._refusal(request, who)
            if response is None and path == "/token" and request.method == "POST":
                response = await self._token_posted(request)
            if response is None:
                await self._app(scope, receive, send)
                return
        except _TooLargeError:
            response = self._too_large(path)
        except UnavailableError:  # who asks could not be looked up; within the app the desk answers
            response = as_json(unavailable())
        await response(scope, receive, send)

    def _malformed(self, request: Request) -> Response | None:
        if "\0" in request.url.path or "%00" in request.url.query:
            return _error(422, "invalid", "the address holds a NUL character")
        if int_or(request.headers.get("content-length"), 0) > self._most_bytes(request.url.path):
            return self._too_large(request.url.path)
        if request.method not in ("GET", "HEAD", "OPTIONS") and not is_same_origin(request.headers):
            return _error(403, "foreign_origin", "the request comes from another site's page")
        return None

    def _refusal(self, request: Request, who: Principal | None) -> Response | None:
        """What to answer instead of the route; None lets the request pass."""
        path = request.url.path
        if path in self._open or path.startswith("/static/"):  # scripts and styles: nothing in them is anybody's
            return None
        if who is None:
            return self._ask_who(request)
        if _PAGES.fullmatch(path) and self.is_token(request.query_params.get("token")):
            return self._with_cookie(_without_token(request), request)
        return None

    async def _identify(self, scope: Scope) -> Principal | None:
        """Who asks; the routes find them in the scope. A token in the request itself comes before a login, and that
        before a token's cookie, which may be left from another use of the same browser."""
        who: Principal | None = None
        if any(self.is_token(given) for given in _tokens_in_request(scope)):
            who = SERVICE
        if who is None and self._desk is not None and (session := _cookie(scope, SESSION_COOKIE)):
            who = await run_in_threadpool(self._desk.principal, session)
        if who is None and any(self.is_token(given) for given in _tokens_in_cookie(scope)):
            who = SERVICE
        scope.setdefault("state", {})["principal"] = who
        return who

    def _most_bytes(self, path: str) -> int:
        return MOST_DESK_BYTES if path.startswith("/api/desk/") else MOST_BYTES

    def _too_large(self, path: str) -> Response:
        return _error(413, "too_large", f"the request is longer than {self._most_bytes(path)} bytes")

    def _ask_who(self, request: Request) -> Response:
        path = request.url.path
        if self._desk is not None and not path.startswith(_MACHINES):
            here = quote(f"{path}?{request.url.query}" if request.url.query else path, safe="/")
            is_there = request.method in ("GET", "HEAD") and path != "/"
            return RedirectResponse(f"/login?next={here}" if is_there else "/login", 303)
        if self._desk is None and _PAGES.fullmatch(path):
            return self._ask_for_token()
        asked = "请先登录" if self._desk is not None else "缺少访问令牌，或令牌不正确"
        return _error(401, "unauthorised", asked)

    async def _token_posted(self, request: Request) -> Response:
        fields = parse_qs((await request.body()).decode("utf-8", "replace"))
        if not any(self.is_token(given) for given in fields.get("token", [])):
            return self._ask_for_token()
        return self._with_cookie(RedirectResponse("/", status_code=303), request)

    def _ask_for_token(self) -> Response:
        if not self._door.is_file():
            return PlainTextResponse("请在网址后加上 ?token=访问令牌", 401)
        return FileResponse(self._door, 401, media_type="text/html; charset=utf-8")

    def _with_cookie(self, response: Response, request: Request) -> Response:
        response.set_cookie(COOKIE, quote(self._token, safe=""), httponly=True, samesite="strict",
                            secure=request.url.scheme == "https")  # fmt: skip
        return response

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        code = 0
        if not is_same_origin(headers):
            code = FOREIGN
        elif await self._identify(scope) is None:
            is_sender = _SENDERS.fullmatch(scope["path"]) is not None
            code = 0 if is_sender and not list(_tokens(scope)) else UNAUTHORISED
        if code:
            await receive()
            await send({"type": "websocket.close", "code": code, "reason": "unauthorised"})
            return
        await self._serve_stream(scope, receive, send)

    async def _serve_stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An open stream counts as use of its login, and ends soon after it."""
        who: Principal | None = scope["state"]["principal"]
        session = _cookie(scope, SESSION_COOKIE)
        if self._desk is None or who is None or who.user_id is None or session is None:
            await self._app(scope, receive, send)
            return
        serving = asyncio.ensure_future(self._app(scope, receive, send))
        try:
            while not serving.done():
                await asyncio.wait([serving], timeout=LOOK_S)
                if not serving.done() and await run_in_threadpool(self._desk.principal, session) is None:
                    serving.cancel()
                    await asyncio.wait([serving])
                    await send({"type": "websocket.close", "code": UNAUTHORISED, "reason": "unauthorised"})
                    return
            serving.result()
        finally:
            serving.cancel()

    # ---- tokens

    def is_token(self, given: str | None) -> bool:
        return given is not None and hmac.compare_digest(given.encode(), self._token.encode())


def _tokens(scope: Scope) -> Iterator[str]:
    yield from _tokens_in_request(scope)
    yield from _tokens_in_cookie(scope)


def _tokens_in_request(scope: Scope) -> Iterator[str]:
    given = bearer(Headers(scope=scope))
    if given is not None:
        yield given
    query = parse_qs(scope["query_string"].decode("latin-1"))
    yield from query.get("token", [])[:1]


def _tokens_in_cookie(scope: Scope) -> Iterator[str]:
    if (value := _cookie(scope, COOKIE)) is not None:
        yield from parse_qs(f"token={value}").get("token", [])


def _cookie(scope: Scope, name: str) -> str | None:
    cookie: SimpleCookie = SimpleCookie()
    try:
        cookie.load(Headers(scope=scope).get("cookie", ""))
    except CookieError:
        return None
    return cookie[name].value if name in cookie else None


def bearer(headers: Headers) -> str | None:
    """The token of the ``Authorization`` header."""
    kind, _, credentials = headers.get("authorization", "").partition(" ")
    return credentials.strip() if kind.lower() == "bearer" else None


def is_same_origin(headers: Headers) -> bool:
    """Browsers name the page a request comes from; programs name none."""
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host")


# ---- answers


def _error(status: int, code: str, message: str) -> JSONResponse:
    return JSONResponse({"code": code, "message": message}, status_code=status)


def _without_token(request: Request) -> RedirectResponse:
    rest = [(key, value) for key, value in parse_qsl(request.url.query) if key != "token"]
    path = "/" + quote(request.scope["path"].lstrip("/"))  # two slashes would name another host
    return RedirectResponse(f"{path}?{urlencode(rest)}" if rest else path, 303)


# ---- size and headers


class _TooLargeError(Exception):
    pass


def _bounded(receive: Receive, most: int) -> Receive:
    left = most

    async def bounded() -> Message:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise _TooLargeError
        return message

    return bounded


def _with_headers(path: str, send: Send) -> Send:
    """What anybody said or did is kept by no browser; scripts and styles are, but asked after each time."""
    caching = "no-cache" if path.startswith("/static/") else "no-store"

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("cache-control", caching)
        await send(message)

    return sending


def int_or(text: Any, default: int) -> int:
    try:
        return int(text)
    except (TypeError, ValueError):
        return default
