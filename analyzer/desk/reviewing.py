"""``/api/desk``: decisions about findings, missed violations, where a call goes next, manual items, comments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI
from pydantic import Field, StringConstraints
from sqlalchemy.orm import Session

from analyzer.desk.access import Principal, allow
from analyzer.desk.calls import CallNumber
from analyzer.desk.problems import errors, invalid
from analyzer.desk.review_desk import ReviewDesk
from analyzer.desk.sent import Moment, Sent
from analyzer.desk.shapes import CallChanged
from analyzer.desk.views import call_changed
from analyzer.review.workflow import Decision, Round
from analyzer.store import comments, manual, reviews
from analyzer.store.deeds import Changed
from analyzer.types import Outcome, Severity

LONGEST = 2000  # characters of a reason or remark
Words = Annotated[str, StringConstraints(max_length=LONGEST)]
Version = Annotated[int | None, Field(ge=1, description="the call's version that was looked at; 409 if it is another")]
Reviewer = Annotated[Principal, Depends(allow("reviewer", "lead", "admin"))]
Person = Annotated[Principal, Depends(allow("agent", "reviewer", "lead", "admin"))]
_REFUSALS = errors(403, 404, 409, 423)


class DecisionIn(Sent):
    decision: Decision
    reason: Words = ""
    version: Version = None


class FindingIn(Sent):
    """A violation that the analyzer missed: code points of a turn's raw text, end exclusive."""

    rule: Annotated[str, StringConstraints(min_length=1, max_length=120)]
    turn: Annotated[int, Field(ge=0, le=100_000)]
    char_start: Annotated[int, Field(ge=0, le=1_000_000)]
    char_end: Annotated[int, Field(ge=1, le=1_000_000)]
    severity: Severity
    category: Annotated[str, StringConstraints(max_length=80)] | None = None
    reason: Words
    version: Version = None


class ActionIn(Sent):
    """``reviewer_id``, ``round`` and ``due_at`` are for ``assign``, which needs the first of them."""

    action: Literal["assign", "withdraw", "share", "acknowledge", "finalise", "reopen"]
    why: Words = ""
    reviewer_id: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    round: Literal["first", "second"] = "first"
    due_at: Moment | None = None
    version: Version = None


class ManualIn(Sent):
    """``points``: lost, 0 or less; for a violation all of the item's if not given."""

    item: Annotated[str, StringConstraints(min_length=1, max_length=120)]
    outcome: Literal["pass", "violation", "not_applicable"]
    points: Annotated[float, Field(ge=-1000, le=0)] | None = None
    comment: Words = ""
    version: Version = None


class CommentIn(Sent):
    text: Annotated[str, StringConstraints(min_length=1, max_length=LONGEST)]
    at_ms: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    finding_id: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    is_internal: bool = False


def add_routes(app: FastAPI, desk: ReviewDesk) -> None:
    @app.post("/api/desk/findings/{finding_id}/decision", tags=["review"], responses=_REFUSALS)
    def decide(finding_id: CallNumber, body: DecisionIn, who: Reviewer) -> CallChanged:
        """Confirm or overturn a finding, or say that it cannot be decided. All but confirming needs a reason. Sent
        twice it is one review."""
        with desk.store.writing() as session:
            done = reviews.decide(
                session, who, finding_id, body.decision, reason=body.reason, version=body.version, at=desk.clock()
            )
        return _told(desk, who, done)

    @app.post("/api/desk/calls/{call_pk}/findings", tags=["review"], status_code=201, responses=_REFUSALS)
    def add_finding(call_pk: CallNumber, body: FindingIn, who: Reviewer) -> CallChanged:
        """Add a violation that the analyzer missed. It counts like a hit of its rule."""
        added = reviews.Added(body.rule, body.turn, body.char_start, body.char_end, body.severity, body.category)
        with desk.store.writing() as session:
            done = reviews.add_finding(
                session, who, call_pk, added, reason=body.reason, version=body.version, at=desk.clock()
            )
        return _told(desk, who, done)

    @app.post("/api/desk/calls/{call_pk}/actions", tags=["review"], responses=_REFUSALS)
    def act(call_pk: CallNumber, body: ActionIn, who: Person) -> CallChanged:
        """Assign a call or withdraw it from its reviewers, share it with its agent, acknowledge it as the agent,
        finalise it, or reopen it (which needs a reason)."""
        with desk.store.writing() as session:
            done = _act(session, desk, who, call_pk, body)
        return _told(desk, who, done, whole=True)

    @app.post("/api/desk/calls/{call_pk}/manual", tags=["review"], responses=_REFUSALS)
    def score_by_hand(call_pk: CallNumber, body: ManualIn, who: Reviewer) -> CallChanged:
        """Score a manual item of the call's scheme. The newest score of an item counts."""
        with desk.store.writing() as session:
            done = manual.score_item(
                session, who, call_pk, body.item, Outcome(body.outcome),
                points=body.points, comment=body.comment, version=body.version, at=desk.clock(),
            )  # fmt: skip
        return _told(desk, who, done)

    @app.post("/api/desk/calls/{call_pk}/comments", tags=["review"], status_code=201, responses=_REFUSALS)
    def comment(call_pk: CallNumber, body: CommentIn, who: Person) -> CallChanged:
        """Remark on a call, a moment or a finding of it. Internal remarks are not shown to agents."""
        with desk.store.writing() as session:
            done = comments.add_comment(session, who, call_pk, **body.model_dump(), at=desk.clock())
        return _told(desk, who, done)


def _told(desk: ReviewDesk, who: Principal, done: Changed, *, whole: bool = False) -> CallChanged:
    with desk.store.reading() as session:
        return call_changed(session, who, done, desk.clock(), whole=whole)


def _act(session: Session, desk: ReviewDesk, who: Principal, call_pk: int, body: ActionIn) -> Changed:
    given: dict[str, Any] = {"why": body.why, "version": body.version, "at": desk.clock()}
    if body.action == "assign":
        if body.reviewer_id is None:
            raise invalid("请选择质检员")
        return reviews.assign(session, who, call_pk, body.reviewer_id, Round(body.round), due_at=body.due_at, **given)
    if body.action == "share":
        return reviews.share(session, who, call_pk, appeal_within=desk.settings.review.appeal_within, **given)
    return _ACTIONS[body.action](session, who, call_pk, **given)


_ACTIONS: dict[str, Callable[..., Changed]] = {
    "withdraw": reviews.withdraw,
    "acknowledge": reviews.acknowledge,
    "finalise": reviews.finalise,
    "reopen": reviews.reopen,
}
