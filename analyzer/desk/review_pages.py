"""The pages where reviewers spend their day: the list of calls, one call, the queue, appeals, an agent's own calls.

The list comes drawn from the server, so that it is there with the first paint, and its rows come drawn again when the
filter changes: one template makes them both times. What a call is made of the pages ask of the API.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query
from fastapi.responses import HTMLResponse
from starlette.requests import Request

from analyzer.desk.access import Principal, allow
from analyzer.desk.calls import Asked, CallNumber
from analyzer.desk.pages import page
from analyzer.desk.problems import Problem, not_found
from analyzer.desk.review_desk import ReviewDesk
from analyzer.desk.views import call_rows
from analyzer.labels import DIRECTIONS, SEVERITIES, VERDICTS
from analyzer.review.workflow import NAMES
from analyzer.store.calls import COUNTED, choices, find_call, list_calls
from analyzer.web import STATIC

Reviewer = Annotated[Principal, Depends(allow("reviewer", "lead", "admin"))]
Lead = Annotated[Principal, Depends(allow("reviewer", "lead", "admin"))]
Agent = Annotated[Principal, Depends(allow("agent"))]
Anybody = Annotated[Principal, Depends(allow("agent", "reviewer", "lead", "admin"))]

_WORDS: Mapping[str, Any] = {
    "directions": DIRECTIONS,
    "verdicts": VERDICTS,
    "severities": SEVERITIES,
    "states": {state.value: name for state, name in NAMES.items()},
    "counted": COUNTED,
}
_IMPORT = re.compile(r'^import [^"]*"(\.[^"]+)"', re.MULTILINE)
BANNED_CATEGORIES = ("直呼", "责问训斥反问", "傲慢厌烦", "命令", "推诿", "其他禁语")


def add_routes(app: FastAPI, desk: ReviewDesk) -> None:
    @app.get("/calls", tags=["pages"], response_class=HTMLResponse)
    def calls_page(request: Request, who: Reviewer, asked: Annotated[Asked, Query()]) -> HTMLResponse:
        """The list of calls."""
        with desk.store.reading() as session:
            offered = choices(session)
        return page(request, "calls", who, asked=asked, offered=offered, **_rows(desk, who, asked))

    @app.get("/calls/rows", tags=["pages"], response_class=HTMLResponse)
    def calls_rows(request: Request, who: Reviewer, asked: Annotated[Asked, Query()]) -> HTMLResponse:
        """The rows of the list alone, as the list page exchanges them."""
        return page(request, "calls_rows", who, **_rows(desk, who, asked))

    @app.get("/calls/{call_pk}", tags=["pages"], response_class=HTMLResponse)
    def call_page(request: Request, call_pk: CallNumber, who: Anybody) -> HTMLResponse:
        """One call."""
        with desk.store.reading() as session:
            found = find_call(session, who, call_pk)
            if found is None:
                raise not_found("没有这通电话，或您无权查看")
            [row] = call_rows(session, who, [found])
        modules = modules_of("desk/call.js")
        return page(request, "call", who, call=row, categories=BANNED_CATEGORIES, modules=modules, **_WORDS)

    @app.get("/queue", tags=["pages"], response_class=HTMLResponse)
    def queue_page(request: Request, who: Reviewer) -> HTMLResponse:
        """What is assigned to me."""
        return page(request, "queue", who)

    @app.get("/appeals", tags=["pages"], response_class=HTMLResponse)
    def appeals_page(request: Request, who: Lead) -> HTMLResponse:
        """Appeals that wait for a decision."""
        return page(request, "appeals", who)

    @app.get("/my", tags=["pages"], response_class=HTMLResponse)
    def my_page(request: Request, who: Agent) -> HTMLResponse:
        """An agent's own calls."""
        return page(request, "my", who)


@cache
def modules_of(script: str) -> tuple[str, ...]:
    """What a script imports, and they in turn, below ``static``: a browser told so beforehand fetches all at once."""
    found: list[str] = []
    waiting = [script]
    while waiting:
        one = waiting.pop()
        names = _IMPORT.findall((STATIC / one).read_text("utf-8"))
        fresh = {posixpath.normpath(posixpath.join(posixpath.dirname(one), name)) for name in names} - {*found, script}
        found += sorted(fresh)
        waiting += sorted(fresh)
    return tuple(found)


def _rows(desk: ReviewDesk, who: Principal, asked: Asked) -> dict[str, Any]:
    with desk.store.reading() as session:
        try:
            found = list_calls(
                session, who, asked.filter, sort=asked.sort, cursor=asked.cursor, limit=asked.limit, now=desk.clock()
            )
        except ValueError as error:
            raise Problem(422, f"筛选条件无法识别：{error}") from None
        return {**_WORDS, "calls": call_rows(session, who, found.calls), "next": found.next, "total": found.total}
