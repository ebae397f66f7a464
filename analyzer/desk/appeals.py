"""``/api/desk``: an agent's appeals and their decision."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Depends, FastAPI, Query
from pydantic import StringConstraints

from analyzer.desk.access import Principal, allow
from analyzer.desk.calls import CallNumber
from analyzer.desk.problems import errors
from analyzer.desk.review_desk import ReviewDesk
from analyzer.desk.sent import Sent
from analyzer.desk.shapes import AppealList, CallChanged
from analyzer.desk.views import appeal_rows, call_changed
from analyzer.store import appeals
from analyzer.store.calls import MOST, MOST_ID
from analyzer.store.deeds import Changed

Words = Annotated[str, StringConstraints(min_length=1, max_length=2000)]
_REFUSALS = errors(403, 404, 409, 423)


class AppealIn(Sent):
    text: Words


class AppealDecisionIn(Sent):
    state: Literal["upheld", "rejected"]
    reason: Words


def add_routes(app: FastAPI, desk: ReviewDesk) -> None:
    @app.post("/api/desk/findings/{finding_id}/appeal", tags=["appeals"], status_code=201, responses=_REFUSALS)
    def appeal(
        finding_id: CallNumber, body: AppealIn, who: Annotated[Principal, Depends(allow("agent"))]
    ) -> CallChanged:
        """Object to a finding of one's own call, once, before ``appeal_until``."""
        with desk.store.writing() as session:
            done = appeals.appeal(session, who, finding_id, text=body.text, at=desk.clock())
        return _told(desk, who, done)

    @app.post("/api/desk/appeals/{appeal_id}/decision", tags=["appeals"], responses=_REFUSALS)
    def decide_appeal(
        appeal_id: CallNumber,
        body: AppealDecisionIn,
        who: Annotated[Principal, Depends(allow("reviewer", "lead", "admin"))],
    ) -> CallChanged:
        """Uphold an appeal, which overturns the finding, or reject it. Not for whoever decided the finding."""
        with desk.store.writing() as session:
            done = appeals.decide_appeal(
                session, who, appeal_id, upheld=body.state == "upheld", reason=body.reason, at=desk.clock()
            )
        return _told(desk, who, done)

    @app.get("/api/desk/appeals", tags=["appeals"])
    def list_appeals(
        who: Annotated[Principal, Depends(allow("agent", "reviewer", "lead", "admin"))],
        state: Literal["", "open", "upheld", "rejected"] = "",
        cursor: Annotated[int | None, Query(ge=1, le=MOST_ID)] = None,
        limit: Annotated[int, Query(ge=1, le=MOST)] = 50,
    ) -> AppealList:
        """Appeals, newest first; an agent's own."""
        with desk.store.reading() as session:
            found = appeals.list_appeals(session, who, state=state, before=cursor, limit=limit + 1)
            shown = appeal_rows(session, who, found[:limit], desk.clock())
            return AppealList(appeals=shown, next=str(found[limit - 1][0].id) if len(found) > limit else None)


def _told(desk: ReviewDesk, who: Principal, done: Changed) -> CallChanged:
    with desk.store.reading() as session:
        return call_changed(session, who, done, desk.clock())
