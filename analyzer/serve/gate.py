"""What is checked before any route sees a request: token, origin, size. One place, so that no route can forget it.

A token comes as ``Authorization: Bearer``, as ``?token=`` or as the cookie that the server sets when a page is opened
with a right ``?token=``; the page's address is then shown without it. Senders of audio name it in their first message
where their protocol has no other place (``analyzer.live.wire``), so their addresses open without one; a wrong one is
refused here all the same.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterator
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, quote, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from analyzer.web import CONTENT_SECURITY_POLICY

COOKIE = "analyzer_token"
MOST_BYTES = 64 * 1024  # of a request's body and of a WebSocket message: four seconds of stereo at 8 kHz
UNAUTHORISED, FOREIGN = 4401, 4403  # WebSocket close codes

_PAGES = re.compile(r"/|/(overlay|supervisor)(/.*)?")
_SENDERS = re.compile(r"/live/(twilio|freeswitch/.+|.+/audio)")
_HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


class Gate:
    """ASGI middleware around everything.

    door        the page that asks for the token
    open_paths  answer without a token
    """

    def __init__(self, app: ASGIApp, *, token: str, door: Path, open_paths: frozenset[str]) -> None:
        self._app, self._token, self._door = app, token, door
        self._open = open_paths | {"/token"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, _bounded(receive), _with_headers(send))
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        request, path = Request(scope, receive), scope["path"]
        try:
            response = self._refusal(request)
            if response is None and path == "/token" and request.method == "POST":
                response = await self._token_posted(request)
            if response is None:
                await self._app(scope, receive, send)
                return
        except _TooLargeError:
            response = _error(413, "too_large", f"the request is longer than {MOST_BYTES} bytes")
        await response(scope, receive, send)

    def _refusal(self, request: Request) -> Response | None:
        """What to answer instead of the route; None lets the request pass."""
        path = request.url.path
        if int_or(request.headers.get("content-length"), 0) > MOST_BYTES:
            return _error(413, "too_large", f"the request is longer than {MOST_BYTES} bytes")
        if request.method not in ("GET", "HEAD", "OPTIONS") and not is_same_origin(request.headers):
            return _error(403, "foreign_origin", "the request comes from another site's page")
        if path in self._open or path.startswith("/static/"):  # scripts and styles: nothing in them is anybody's
            return None
        is_page = _PAGES.fullmatch(path) is not None
        if not self._is_known(request.scope):
            return self._ask_for_token() if is_page else _error(401, "unauthorised", "缺少访问令牌，或令牌不正确")
        if is_page and self.is_token(request.query_params.get("token")):
            return self._with_cookie(_without_token(request), request)
        return None

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
        elif not self._is_known(scope):
            is_sender = _SENDERS.fullmatch(scope["path"]) is not None
            code = 0 if is_sender and not list(_tokens(scope)) else UNAUTHORISED
        if code:
            await receive()
            await send({"type": "websocket.close", "code": code, "reason": "unauthorised"})
            return
        await self._app(scope, receive, send)

    # ---- tokens

    def is_token(self, given: str | None) -> bool:
        return given is not None and hmac.compare_digest(given.encode(), self._token.encode())

    def _is_known(self, scope: Scope) -> bool:
        return any(self.is_token(given) for given in _tokens(scope))


def _tokens(scope: Scope) -> Iterator[str]:
    headers = Headers(scope=scope)
    kind, _, credentials = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        yield credentials.strip()
    query = parse_qs(scope["query_string"].decode("latin-1"))
    yield from query.get("token", [])[:1]
    cookie: SimpleCookie = SimpleCookie()
    try:
        cookie.load(headers.get("cookie", ""))
    except CookieError:
        return
    if COOKIE in cookie:
        yield from parse_qs(f"token={cookie[COOKIE].value}").get("token", [])


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
    path = "/" + quote(request.url.path.lstrip("/"))  # two slashes would name another host
    return RedirectResponse(f"{path}?{urlencode(rest)}" if rest else path, 303)


# ---- size and headers


class _TooLargeError(Exception):
    pass


def _bounded(receive: Receive) -> Receive:
    left = MOST_BYTES

    async def bounded() -> Message:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise _TooLargeError
        return message

    return bounded


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("cache-control", "no-store")
        await send(message)

    return sending


def int_or(text: Any, default: int) -> int:
    try:
        return int(text)
    except (TypeError, ValueError):
        return default
