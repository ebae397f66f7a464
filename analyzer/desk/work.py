"""Work to do over HTTP: saved views, queues, sampling plans, audits, calibrations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, time
from operator import itemgetter
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, Path, Query
from pydantic import BaseModel, Field, StringConstraints
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from analyzer.desk.access import Principal, allow
from analyzer.desk.insight import AgreementView
from analyzer.desk.masking import Context, context_of, veil_of
from analyzer.desk.pages import page
from analyzer.desk.problems import Problem, errors, invalid
from analyzer.desk.review_desk import ReviewDesk
from analyzer.desk.sent import Sent
from analyzer.desk.shapes import CallRow
from analyzer.desk.views import call_rows
from analyzer.review.sampling import Day, Kind, Options
from analyzer.review.sampling import Id as Reviewer
from analyzer.store import audit, calibrations, plans, views, work
from analyzer.store.tables import Calibration, Call, Plan, RuleResult, Turn, User
from analyzer.store.trends import choices, local_zone

MOST_ID = 2**31 - 1
KINDS: Mapping[str, str] = {
    "random": "随机抽取", "per_agent": "每名坐席", "by_rule": "按规则", "by_score": "按分数段",
    "critical": "全部严重违规", "audit": "漏检审计",
}  # fmt: skip
_RULES_FROM = 500  # newest calls, whose rules can be chosen

Reviewing = Annotated[Principal, Depends(allow("reviewer", "lead", "admin"))]
Leading = Annotated[Principal, Depends(allow("lead", "admin"))]
Id = Annotated[int, Path(ge=1, le=MOST_ID)]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80)]
RuleId = Annotated[str, Field(min_length=1, max_length=120)]
Before = Annotated[int | None, Query(ge=1, le=MOST_ID, description="`next` of the page before")]
_REFUSALS = errors(401, 403, 404, 409, 422)


# ---- shapes


class ViewSent(Sent):
    """``query``: the query string of the list of calls."""

    name: Name
    query: Annotated[str, Field(max_length=2000)] = ""
    is_shared: bool = False


class ViewShown(BaseModel):
    id: int
    name: str
    query: str
    is_shared: bool
    is_mine: bool
    by: str


class Views(BaseModel):
    views: list[ViewShown]
    next: None = None


class AssignmentView(BaseModel):
    """``round``: first, second, calibration or audit. Audits and calibrations have pages of their own."""

    id: int
    round: str
    state: str
    due_at: datetime | None
    is_overdue: bool
    plan_id: int | None
    calibration_id: int | None
    call: CallRow


class Queue(BaseModel):
    """``open`` and ``overdue`` count all; ``next`` is the cursor of the following page."""

    assignments: list[AssignmentView]
    next: str | None
    open: int
    overdue: int


class NextItem(BaseModel):
    """``finding_id`` null: none of the call's findings waits, but the call does."""

    call_id: int
    finding_id: int | None


class Done(BaseModel):
    id: int
    state: str


class PlanSent(Sent):
    name: Name
    kind: Kind
    options: Options


class DrawnView(BaseModel):
    """``by``: assignments per reviewer (their id) and round; ``unassigned`` calls found nobody with room for them,
    ``single`` ones no second reviewer."""

    frame: int
    calls: int
    talk_ms: int
    agents: int
    unassigned: int
    single: int
    by: dict[int, dict[str, int]]


class ProgressView(BaseModel):
    reviewer_id: int
    name: str
    open: int
    overdue: int
    done: int
    withdrawn: int


class PlanView(BaseModel):
    id: int
    name: str
    kind: str
    options: dict[str, Any]
    created_at: datetime
    drawn_at: datetime | None
    progress: list[ProgressView]


class Plans(BaseModel):
    plans: list[PlanView]
    next: int | None


class TurnView(BaseModel):
    number: int
    role: str
    start_ms: int
    end_ms: int
    text: str


class SegmentView(BaseModel):
    """An utterance to listen to; ``missed``: the rules that it breaks, null until somebody listened."""

    id: int
    turn: int
    start_ms: int
    end_ms: int
    missed: list[str] | None
    context: list[TurnView]


class AuditView(BaseModel):
    id: int
    state: str
    due_at: datetime | None
    call: CallRow
    rules: dict[str, str]
    segments: list[SegmentView]


class HeardSent(Sent):
    missed: Annotated[list[RuleId], Field(max_length=20)]


class CalibrationSent(Sent):
    name: Name
    call_id: Annotated[int, Field(ge=1, le=MOST_ID, description="`id` of the call")]
    reviewers: Annotated[list[Reviewer], Field(min_length=2, max_length=50)]
    due_day: Day | None = None


class CalibrationRow(BaseModel):
    id: int
    name: str
    state: str
    call_id: int
    call_name: str
    created_at: datetime
    closed_at: datetime | None


class Calibrations(BaseModel):
    calibrations: list[CalibrationRow]
    next: int | None


class SaidView(BaseModel):
    decision: str
    reason: str


class ItemView(BaseModel):
    """A finding of the call; ``said`` by participant (their id)."""

    id: int
    rule: str
    title: str
    severity: str
    start_ms: int
    end_ms: int
    quote: str | None
    message: str
    said: dict[int, SaidView]


class ParticipantView(BaseModel):
    id: int
    name: str
    decided: int
    is_done: bool


class CalibrationView(CalibrationRow):
    """While it is open everybody sees what they said themselves; agreement is known once it is closed."""

    participants: list[ParticipantView]
    items: list[ItemView]
    agreement: AgreementView | None
    rules: dict[str, AgreementView]
    call: CallRow


class CalibrationDecision(Sent):
    finding_id: Annotated[int, Field(ge=1, le=MOST_ID)]
    decision: Literal["confirmed", "overturned", "unsure"]
    reason: Annotated[str, Field(max_length=2000)] = ""


# ---- routes


def add_routes(app: FastAPI, desk: ReviewDesk) -> None:
    _add_views(app, desk)
    _add_queue(app, desk)
    _add_plans(app, desk)
    _add_audits(app, desk)
    _add_calibrations(app, desk)
    _add_pages(app, desk)


def _add_views(app: FastAPI, desk: ReviewDesk) -> None:
    @app.get("/api/desk/views", tags=["work"], responses=errors(401, 403))
    def list_views(who: Reviewing) -> Views:
        """One's own saved views and those that others share."""
        with desk.store.reading() as session:
            return Views(views=[_view(who, view, name) for view, name in views.list_views(session, _me(who))])

    @app.post("/api/desk/views", tags=["work"], status_code=201, responses=_REFUSALS)
    def save_view(who: Reviewing, sent: ViewSent) -> ViewShown:
        """Save a filter under a name; one's own of the same name is replaced."""
        with desk.store.writing() as session:
            view = views.save_view(
                session, _me(who), sent.name, sent.query.removeprefix("?"), is_shared=sent.is_shared, now=desk.clock()
            )
            return _view(who, view, who.display_name)

    @app.delete("/api/desk/views/{view_id}", tags=["work"], status_code=204, responses=_REFUSALS)
    def delete_view(who: Reviewing, view_id: Id) -> None:
        """Delete one of one's own views."""
        with desk.store.writing() as session:
            views.delete_view(session, _me(who), view_id)


def _add_queue(app: FastAPI, desk: ReviewDesk) -> None:
    @app.get("/api/desk/queue", tags=["work"], responses=errors(401, 403, 422))
    def queue(
        who: Reviewing,
        state: Literal["open", "done"] = "open",
        cursor: Annotated[str | None, Query(max_length=200)] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> Queue:
        """What is assigned to me, in the order in which it is due; what I am done with, newest first."""
        at = desk.clock()
        with desk.store.reading() as session:
            try:
                shown, following = work.queue(session, _me(who), state=state, cursor=cursor, limit=limit)
            except ValueError as error:
                raise invalid(str(error)) from None
            calls = {
                row.id: row for row in call_rows(session, who, list({call.id: call for _, call in shown}.values()))
            }
            n, overdue = work.queue_length(session, _me(who), at)
            return Queue(
                assignments=[
                    AssignmentView(
                        id=one.id, round=one.round, state=one.state, due_at=one.due_at, plan_id=one.plan_id,
                        is_overdue=one.state == "open" and one.due_at is not None and one.due_at < at,
                        calibration_id=one.calibration_id, call=calls[call.id],
                    )
                    for one, call in shown
                ],
                next=following,
                open=n,
                overdue=overdue,
            )  # fmt: skip

    @app.get("/api/desk/queue/next", tags=["work"], responses=errors(401, 403, 422))
    def next_item(
        who: Reviewing,
        after_call: Annotated[int | None, Query(ge=1, le=MOST_ID)] = None,
        after_finding: Annotated[int | None, Query(ge=1, le=MOST_ID)] = None,
    ) -> NextItem | None:
        """Where I go on: the next finding of this call that waits, else the next call; null when all is done."""
        with desk.store.reading() as session:
            found = work.next_item(session, _me(who), after_call=after_call, after_finding=after_finding)
        return None if found is None else NextItem(call_id=found[0], finding_id=found[1])

    @app.post("/api/desk/assignments/{assignment_id}/done", tags=["work"], responses=_REFUSALS)
    def done(who: Reviewing, assignment_id: Id) -> Done:
        """I am done with it. 409 while something of it waits."""
        with desk.store.writing() as session:
            found = work.finish(session, who, assignment_id, desk.clock())
            return Done(id=found.id, state=found.state)

    @app.post("/api/desk/assignments/{assignment_id}/withdraw", tags=["work"], responses=_REFUSALS)
    def withdraw(who: Leading, assignment_id: Id) -> Done:
        """Take it back; of a first or second review all that is open of the call."""
        with desk.store.writing() as session:
            found = work.withdraw(session, who, assignment_id, desk.clock())
            return Done(id=found.id, state=found.state)


def _add_plans(app: FastAPI, desk: ReviewDesk) -> None:
    @app.get("/api/desk/plans", tags=["work"], responses=errors(401, 403, 422))
    def list_plans(who: Leading, cursor: Before = None, limit: Annotated[int, Query(ge=1, le=200)] = 50) -> Plans:
        """Sampling plans, newest first, and how far their reviewers are."""
        return _plans(desk, cursor, limit)

    @app.post("/api/desk/plans", tags=["work"], status_code=201, responses=_REFUSALS)
    def make_plan(who: Leading, sent: PlanSent) -> PlanView:
        """Make a plan. It draws nothing yet."""
        at = desk.clock()
        with desk.store.writing() as session:
            plan = plans.make_plan(session, sent.name, sent.kind, sent.options, by=_me(who), now=at)
            audit.append(session, who.actor, "plan.made", f"plan:{plan.id}", {"kind": plan.kind}, at=at)
            return _plan(plan, [])

    @app.post("/api/desk/plans/preview", tags=["work"], responses=_REFUSALS)
    def preview(who: Leading, sent: PlanSent) -> DrawnView:
        """What such a plan would draw now. Changes nothing."""
        with desk.store.reading() as session:
            found = plans.preview(session, who, sent.kind, sent.options, local_zone(desk.clock()))
        return _drawn(found)

    @app.post("/api/desk/plans/{plan_id}/draw", tags=["work"], responses=_REFUSALS)
    def draw(who: Leading, plan_id: Id) -> DrawnView:
        """Draw the plan and assign the calls; sent again it answers what was drawn."""
        at = desk.clock()
        with desk.store.writing() as session:
            found = plans.draw_plan(session, who, plan_id, by=_me(who), zone=local_zone(at), now=at)
            counts = {"calls": found.calls, "frame": found.frame}
            audit.append(session, who.actor, "plan.drawn", f"plan:{plan_id}", counts, at=at)
        return _drawn(found)


def _add_audits(app: FastAPI, desk: ReviewDesk) -> None:
    @app.get("/api/desk/audits/{assignment_id}", tags=["work"], responses=_REFUSALS)
    def audit_of(who: Reviewing, assignment_id: Id) -> AuditView:
        """The utterances of an audit that I am to listen to."""
        with desk.store.reading() as session:
            return _audit(session, who, assignment_id)

    @app.post("/api/desk/segments/{segment_id}", tags=["work"], responses=_REFUSALS)
    def hear(who: Reviewing, segment_id: Id, sent: HeardSent) -> HeardSent:
        """What an utterance breaks; an empty list says nothing."""
        at = desk.clock()
        with desk.store.writing() as session:
            found = work.hear(session, _me(who), segment_id, sent.missed, at)
            details = {"segment": found.id, "missed": len(found.missed or ())}
            audit.append(session, who.actor, "segment.heard", f"call:{found.call_pk}", details, at=at)
            return HeardSent(missed=list(found.missed or ()))


def _add_calibrations(app: FastAPI, desk: ReviewDesk) -> None:
    @app.get("/api/desk/calibrations", tags=["work"], responses=errors(401, 403, 422))
    def list_calibrations(
        who: Reviewing, cursor: Before = None, limit: Annotated[int, Query(ge=1, le=200)] = 50
    ) -> Calibrations:
        """Calibration sessions, newest first; a reviewer's are those they take part in."""
        return _calibrations(desk, who, cursor, limit)

    @app.post("/api/desk/calibrations", tags=["work"], status_code=201, responses=_REFUSALS)
    def make_calibration(who: Leading, sent: CalibrationSent) -> CalibrationRow:
        """Ask several reviewers to judge one call, each alone."""
        at = desk.clock()
        due_at = None if sent.due_day is None else datetime.combine(sent.due_day, time.max, local_zone(at))
        with desk.store.writing() as session:
            made = calibrations.make_calibration(
                session, who, sent.call_id, sent.name, sent.reviewers, by=_me(who), due_at=due_at, now=at
            )
            details = {"call": made.call_pk, "reviewers": len(sent.reviewers)}
            audit.append(session, who.actor, "calibration.made", f"calibration:{made.id}", details, at=at)
            return _calibration_row(made, session.get_one(Call, made.call_pk))

    @app.get("/api/desk/calibrations/{calibration_id}", tags=["work"], responses=_REFUSALS)
    def calibration(who: Reviewing, calibration_id: Id) -> CalibrationView:
        """A session: what I said; once it is closed, what all said and how far they agree."""
        with desk.store.reading() as session:
            return _calibration(session, who, calibration_id)

    @app.post("/api/desk/calibrations/{calibration_id}/decisions", tags=["work"], responses=_REFUSALS)
    def decide(who: Reviewing, calibration_id: Id, sent: CalibrationDecision) -> CalibrationView:
        """Say what a finding is. Nobody sees it before the session is closed, and it changes no call."""
        at = desk.clock()
        with desk.store.writing() as session:
            calibrations.decide_in_calibration(
                session, _me(who), calibration_id, sent.finding_id, decision=sent.decision, reason=sent.reason, now=at
            )
            details = {"finding": sent.finding_id}
            audit.append(session, who.actor, "calibration.decided", f"calibration:{calibration_id}", details, at=at)
            return _calibration(session, who, calibration_id)

    @app.post("/api/desk/calibrations/{calibration_id}/close", tags=["work"], responses=_REFUSALS)
    def close(who: Leading, calibration_id: Id) -> CalibrationView:
        """End the session and show everybody what was said."""
        at = desk.clock()
        with desk.store.writing() as session:
            calibrations.close_calibration(session, calibration_id, at)
            audit.append(session, who.actor, "calibration.closed", f"calibration:{calibration_id}", {}, at=at)
            return _calibration(session, who, calibration_id)


# ---- pages


def _add_pages(app: FastAPI, desk: ReviewDesk) -> None:
    @app.get("/plans", tags=["pages"])
    def plans_page(request: Request, who: Leading) -> Response:
        """抽检计划."""
        listed = _plans(desk, None, 50)
        with desk.store.reading() as session:
            teams, agents = choices(session, who)
            offered: dict[str, Any] = {
                "teams": teams,
                "agents": agents,
                "reviewers": _reviewers(session),
                "rules": _rules(session),
            }
        return page(request, "plans", who, plans=listed.plans, kinds=KINDS, **offered)

    @app.get("/audits/{assignment_id}", tags=["pages"], responses=errors(404))
    def audit_page(request: Request, who: Reviewing, assignment_id: Id) -> Response:
        """漏检审计."""
        with desk.store.reading() as session:
            found = _audit(session, who, assignment_id)
        return page(request, "audit_segments", who, audit=found)

    @app.get("/calibrations", tags=["pages"])
    def calibrations_page(request: Request, who: Reviewing) -> Response:
        """校准."""
        listed = _calibrations(desk, who, None, 100)
        with desk.store.reading() as session:
            reviewers = _reviewers(session)
        return page(request, "calibrations", who, calibrations=listed.calibrations, reviewers=reviewers)

    @app.get("/calibrations/{calibration_id}", tags=["pages"], responses=errors(404))
    def calibration_page(request: Request, who: Reviewing, calibration_id: Id) -> Response:
        """One calibration session."""
        with desk.store.reading() as session:
            found = _calibration(session, who, calibration_id)
        takes_part = any(one.id == who.user_id for one in found.participants)
        return page(request, "calibration", who, meeting=found, takes_part=takes_part)


# ---- rows as they are answered


def _me(who: Principal) -> int:
    if who.user_id is None:
        raise Problem(403, "只有登录的人员可以这样做")
    return who.user_id


def _view(who: Principal, view: Any, name: str) -> ViewShown:
    return ViewShown(
        id=view.id, name=view.name, query=view.query, is_shared=view.is_shared, is_mine=view.user_id == who.user_id,
        by=name,
    )  # fmt: skip


def _plans(desk: ReviewDesk, before: int | None, limit: int) -> Plans:
    with desk.store.reading() as session:
        rows = plans.list_plans(session, before=before, limit=limit + 1)
        shown = rows[:limit]
        parts = plans.progress(session, [plan.id for plan in shown], desk.clock())
        return Plans(
            plans=[_plan(plan, parts.get(plan.id, [])) for plan in shown],
            next=shown[-1].id if len(rows) > limit else None,
        )


def _plan(plan: Plan, parts: Sequence[plans.Progress]) -> PlanView:
    return PlanView(
        id=plan.id, name=plan.name, kind=plan.kind, options=plan.options, created_at=plan.created_at,
        drawn_at=plan.drawn_at, progress=[ProgressView(**asdict(part)) for part in parts],
    )  # fmt: skip


def _drawn(found: plans.Drawn) -> DrawnView:
    return DrawnView(**{name: getattr(found, name) for name in DrawnView.model_fields})


def _audit(session: Session, who: Principal, assignment_id: int) -> AuditView:
    mine = None if who.role in ("lead", "admin") else _me(who)
    assignment, call, segments = work.audit_of(session, mine, assignment_id)
    [row] = call_rows(session, who, [call])
    context = context_of(session, veil_of(session, who), call.id)
    return AuditView(
        id=assignment.id, state=assignment.state, due_at=assignment.due_at, call=row, rules=_rules(session),
        segments=[
            SegmentView(
                id=one.segment.id, turn=one.segment.turn, start_ms=one.turn.start_ms, end_ms=one.turn.end_ms,
                missed=one.segment.missed, context=_context(context, one.context),
            )
            for one in segments
        ],
    )  # fmt: skip


def _context(context: Context, turns: Sequence[Turn]) -> list[TurnView]:
    return [
        TurnView(number=turn.number, role=turn.role, start_ms=turn.start_ms, end_ms=turn.end_ms,
                 text=context.turn(turn.number))
        for turn in turns
    ]  # fmt: skip


def _calibrations(desk: ReviewDesk, who: Principal, before: int | None, limit: int) -> Calibrations:
    with desk.store.reading() as session:
        rows = calibrations.list_calibrations(session, who, before=before, limit=limit + 1)
        shown = rows[:limit]
        return Calibrations(
            calibrations=[_calibration_row(one, call) for one, call in shown],
            next=shown[-1][0].id if len(rows) > limit else None,
        )


def _calibration_row(one: Calibration, call: Call) -> CalibrationRow:
    return CalibrationRow(
        id=one.id, name=one.name, state=one.state, call_id=call.id, call_name=call.call_id, created_at=one.created_at,
        closed_at=one.closed_at,
    )  # fmt: skip


def _calibration(session: Session, who: Principal, calibration_id: int) -> CalibrationView:
    found = calibrations.calibration(session, who, calibration_id)
    [row] = call_rows(session, who, [found.call])
    context = context_of(session, veil_of(session, who), found.call.id)
    return CalibrationView(
        **_calibration_row(found.calibration, found.call).model_dump(),
        participants=[
            ParticipantView(id=one.id, name=one.name, decided=one.decided, is_done=one.is_done)
            for one in found.participants
        ],
        items=[
            ItemView(
                id=one.id, rule=one.rule, title=one.title, severity=one.severity, start_ms=one.start_ms,
                end_ms=one.end_ms, quote=context.quote(one), message=context.message(one, one.message) or "",
                said={by: SaidView(**asdict(what)) for by, what in found.said.get(one.id, {}).items()},
            )
            for one in found.findings
        ],
        agreement=None if found.agreement is None else AgreementView.of(found.agreement),
        rules={rule: AgreementView.of(one) for rule, one in found.rules.items()},
        call=row,
    )  # fmt: skip


def _reviewers(session: Session) -> list[dict[str, Any]]:
    rows = session.scalars(
        select(User).where(User.is_active, User.role.in_(work.REVIEWING)).order_by(User.display_name)
    )
    return [{"id": one.id, "name": one.display_name, "role": one.role} for one in rows]


def _rules(session: Session) -> dict[str, str]:
    """Titles of the rules of the newest calls, by id."""
    newest = select(Call.id).order_by(Call.id.desc()).limit(_RULES_FROM)
    rows = session.execute(
        select(RuleResult.rule, RuleResult.title).where(RuleResult.call_pk.in_(newest.scalar_subquery())).distinct()
    )
    titles = [(rule, title) for rule, title in rows]
    return dict(sorted(titles, key=itemgetter(1)))
