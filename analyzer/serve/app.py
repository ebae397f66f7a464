"""The ASGI application."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, PlainTextResponse, RedirectResponse, Response
from fastapi.routing import APIRoute
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from analyzer import __version__
from analyzer.desk.access import SESSION_COOKIE, Allowed, check_routes, public_paths, rule_of
from analyzer.desk.app import ReviewDesk, add_desk
from analyzer.desk.problems import Error, Problem, as_json, read_invalid
from analyzer.live.hub import Hub
from analyzer.serve.api import add_api_routes
from analyzer.serve.asyncapi import asyncapi_document
from analyzer.serve.audio import add_audio_routes
from analyzer.serve.audit import Audit
from analyzer.serve.board import Board
from analyzer.serve.desk import Desk
from analyzer.serve.events import add_event_routes
from analyzer.serve.gate import Gate
from analyzer.serve.metrics import Metrics
from analyzer.serve.rights import Anyone, Known, OnOverlay, Service, Supervisor

WEB = Path(__file__).resolve().parent.parent / "web"


def create_app(
    hub: Hub,
    *,
    token: str,
    metrics: Metrics | None = None,
    metrics_open: bool = False,
    web: Path = WEB,
    review: ReviewDesk | None = None,
) -> FastAPI:
    """The server's routes around ``hub``, which stays the caller's to stop.

    metrics       the hub's scheduler's meter, if it has one
    metrics_open  ``/metrics`` needs no token
    web           folder of the pages
    review        the review desk, which then has its place in the same server
    """
    metrics = metrics or Metrics()
    metrics.watch(hub)
    desk = Desk(hub, token, metrics, Audit(hub.run.path), Board(hub, metrics), review=review)
    app = _new_app(
        "Live calls. Streams are described in /asyncapi.json. Every call needs the token or a login, but /healthz.",
        _lifespan,
    )
    app.state.desk = desk
    _add_pages(app, web, has_home=review is None)
    add_api_routes(app, desk, metrics_open=metrics_open)
    add_event_routes(app, desk)
    add_audio_routes(app, desk)

    @app.get("/asyncapi.json", tags=["service"])
    async def asyncapi(who: Known) -> dict[str, Any]:
        """The streams, as AsyncAPI 3."""
        return asyncapi_document()

    return _guarded(app, token, web, review)


def create_desk_app(review: ReviewDesk, *, token: str, web: Path = WEB) -> FastAPI:
    """The review desk alone: no model, no live calls."""
    app = _new_app("The review desk. Every call needs a login, but /healthz.")

    @app.get("/healthz", tags=["service"])
    def healthz(who: Anyone) -> dict[str, str]:
        """Whether the server runs. Needs no login."""
        return {"status": "ok"}

    return _guarded(app, token, web, review)


def _new_app(description: str, lifespan: Any = None) -> FastAPI:
    app = FastAPI(
        title="analyzer", version=__version__, docs_url=None, redoc_url=None, lifespan=lifespan, description=description
    )
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    return app


def _guarded(app: FastAPI, token: str, web: Path, review: ReviewDesk | None) -> FastAPI:
    """With the desk, the static files and the gate around all."""
    if review is not None:
        add_desk(app, review)
    check_routes(app.routes)
    _describe(app)
    app.mount("/static", StaticFiles(directory=web / "static", check_dir=False), name="static")
    app.add_middleware(
        Gate, token=token, door=web / "token.html", open_paths=public_paths(app.routes), desk=review
    )  # fmt: skip
    return app


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    following = asyncio.create_task(app.state.desk.board.follow())
    try:
        yield
    finally:
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following


# ---- pages


def _add_pages(app: FastAPI, web: Path, *, has_home: bool) -> None:
    if has_home:

        @app.get("/", tags=["pages"], response_class=RedirectResponse, status_code=307)
        async def home(who: Service) -> str:
            return "/supervisor"

    @app.get("/overlay", tags=["pages"], response_class=FileResponse)
    async def overlay_of_agent(who: OnOverlay, agent: str = "") -> Response:
        """The agent's overlay, following this agent's calls. An agent who is logged in gets their own."""
        if who.role == "agent" and agent != who.agent_id:
            if who.agent_id is None:
                raise Problem(404, "您的账号没有登记工号，请联系管理员")
            return RedirectResponse(f"/overlay?agent={quote(who.agent_id)}", 303)
        return _page(web, "overlay.html")

    @app.get("/overlay/{call_id:path}", tags=["pages"], response_class=FileResponse)
    async def overlay(call_id: str, who: OnOverlay) -> Response:
        """The agent's overlay of one call."""
        return _page(web, "overlay.html")

    @app.get("/supervisor", tags=["pages"], response_class=FileResponse)
    async def supervisor(who: Supervisor) -> Response:
        """All running calls."""
        return _page(web, "supervisor.html")

    @app.get("/supervisor/{call_id:path}", tags=["pages"], response_class=FileResponse)
    async def supervised_call(call_id: str, who: Supervisor) -> Response:
        """One call, with a box to whisper to its agent."""
        return _page(web, "call.html")


def _page(web: Path, name: str) -> Response:
    path = web / name
    if not path.is_file():
        return PlainTextResponse("没有这个页面", 404)
    return FileResponse(path, media_type="text/html; charset=utf-8", headers={"cache-control": "no-cache"})


# ---- descriptions


def _describe(app: FastAPI) -> None:
    """The document says whom each address is for, as the routes do."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = made()
            parts = document.setdefault("components", {})
            parts["securitySchemes"] = {
                "bearer": {"type": "http", "scheme": "bearer"},
                "query": {"type": "apiKey", "in": "query", "name": "token"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": "analyzer_token"},
                "session": {"type": "apiKey", "in": "cookie", "name": SESSION_COOKIE},
            }
            parts.setdefault("schemas", {})["Error"] = Error.model_json_schema()
            document["security"] = [{name: []} for name in parts["securitySchemes"]]
            for route in app.routes:
                if isinstance(route, APIRoute) and route.include_in_schema:
                    for method in route.methods or ():
                        _say_whom(document["paths"][route.path_format][method.lower()], rule_of(route))
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign]


def _say_whom(operation: dict[str, Any], rule: Allowed | None) -> None:
    roles = sorted(rule.roles) if rule else []
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    answers = {"401": "Not logged in, no token", "403": "Not for this role"} if roles else {}
    if "422" in operation["responses"]:  # FastAPI's own form of it is not what we answer
        answers["422"] = "The request is not as it must be"
    for status, description in answers.items():
        operation["responses"][status] = {"description": description, "content": error}
    operation["x-roles"] = roles
    if not roles:
        operation["security"] = []


# ---- errors


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return as_json(error)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return as_json(read_invalid(error))
