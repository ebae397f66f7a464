"""``/api/desk/calls``: the list and one call."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Depends, FastAPI, Path, Query
from pydantic import Field, StringConstraints
from starlette.responses import Response

from analyzer.desk.access import Principal, allow
from analyzer.desk.problems import errors, invalid, not_found
from analyzer.desk.review_desk import ReviewDesk
from analyzer.desk.sent import Sent
from analyzer.desk.shapes import CallDetail, CallList
from analyzer.desk.views import call_detail, call_rows
from analyzer.review.sampling import Day
from analyzer.store import audit
from analyzer.store.calls import MOST, MOST_ID, Filter, find_call, list_calls

CallNumber = Annotated[int, Path(ge=1, le=MOST_ID)]
Text = Annotated[str, StringConstraints(max_length=200)]


class Asked(Sent):
    """The query of the list of calls; several values of a filter by commas. ``judgement``: of calls that were judged
    several times the list has the judgement that counts, with ``other`` those that do not, with ``all`` both."""

    q: Text = ""
    agent: Text = ""
    team: Text = ""
    verdict: Text = ""
    state: Text = ""
    direction: Text = ""
    rule: Text = ""
    category: Text = ""
    severity: Text = ""
    outcome: Text = ""
    flag: Text = ""
    assigned: Text = ""
    judgement: Literal["", "other", "all"] = ""
    since: Day | None = Field(None, alias="from")
    until: Day | None = Field(None, alias="to")
    min_score: float | None = Field(None, ge=0, le=100)
    max_score: float | None = Field(None, ge=0, le=100)
    sort: Text = "-started_at"
    cursor: Text | None = None
    limit: int = Field(50, ge=1, le=MOST)

    @property
    def filter(self) -> Filter:
        return Filter(**self.model_dump(exclude={"sort", "cursor", "limit"}))


def add_routes(app: FastAPI, desk: ReviewDesk) -> None:
    @app.get("/api/desk/calls", tags=["calls"])
    def calls(
        who: Annotated[Principal, Depends(allow("agent", "reviewer", "lead", "admin"))],
        asked: Annotated[Asked, Query()],
    ) -> CallList:
        """Calls that fit, newest first unless ``sort`` says otherwise."""
        with desk.store.reading() as session:
            try:
                page = list_calls(
                    session,
                    who,
                    asked.filter,
                    sort=asked.sort,
                    cursor=asked.cursor,
                    limit=asked.limit,
                    now=desk.clock(),
                )
            except ValueError as error:
                raise invalid(str(error)) from None
            return CallList(calls=call_rows(session, who, page.calls), next=page.next, total=page.total)

    @app.get("/api/desk/calls/{call_pk}", tags=["calls"], response_model=CallDetail, responses=errors(404))
    def call(
        call_pk: CallNumber, who: Annotated[Principal, Depends(allow("agent", "reviewer", "lead", "admin"))]
    ) -> Response:
        """One call: rules, findings, what was said, what was decided. Looking is noted in the audit log."""
        with desk.store.reading() as session:
            found = find_call(session, who, call_pk)
            if found is None:
                raise not_found("没有这通电话，或您无权查看")
            detail = call_detail(session, who, found, desk.clock())
        with desk.store.writing() as session:
            audit.append(session, who.actor, "call.viewed", f"call:{call_pk}")
        return Response(detail.model_dump_json(), media_type="application/json")  # hours of speech: written once
