"""Sampling plans: what they would draw, what they drew, and how far their reviewers are.

The drawing itself is pure (analyzer.review.sampling); here it meets the calls and becomes assignments.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, and_, case, exists, func, insert, or_, select, update
from sqlalchemy.orm import Session

from analyzer.review.sampling import (
    Candidate,
    Kind,
    Options,
    Reviewer,
    Shares,
    Task,
    complaint,
    draw,
    draw_segments,
    share_out,
)
from analyzer.review.trends import Scope
from analyzer.review.workflow import RefusedError
from analyzer.store.tables import (
    Assignment,
    AuditedSegment,
    Call,
    Finding,
    Plan,
    Transition,
    Turn,
    User,
)
from analyzer.store.trends import conditions
from analyzer.store.users import Viewer
from analyzer.store.work import NEEDS_DECISION, people_who_review

_REVIEWABLE = ("auto", "assigned", "unsure", "confirmed", "overturned")
_CHUNK = 500  # ids in one statement
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Drawn:
    """What a plan draws, or drew.

    frame      calls that it drew from
    calls      drawn ones, ``talk_ms`` long together
    by         assignments per reviewer and round
    """

    frame: int
    calls: int
    talk_ms: int
    by: Mapping[int, Mapping[str, int]]
    unassigned: int
    single: int
    agents: int


@dataclass(frozen=True, slots=True)
class Progress:
    """A reviewer's part of a plan."""

    reviewer_id: int
    name: str
    open: int
    overdue: int
    done: int
    withdrawn: int


def make_plan(session: Session, name: str, kind: Kind, options: Options, *, by: int, now: datetime) -> Plan:
    """raises  RefusedError"""
    _check(session, kind, options)
    plan = Plan(name=name, kind=kind, options=options.model_dump(mode="json"), created_by=by, created_at=now)
    session.add(plan)
    session.flush()
    return plan


def list_plans(session: Session, *, before: int | None, limit: int) -> list[Plan]:
    statement = select(Plan).order_by(Plan.id.desc()).limit(limit)
    return list(session.scalars(statement if before is None else statement.where(Plan.id < before)))


def preview(session: Session, viewer: Viewer, kind: Kind, options: Options, zone: timezone) -> Drawn:
    """What the plan would draw now. Raises RefusedError."""
    people = _check(session, kind, options)
    frame = _frame(session, viewer, kind, options, zone)
    drawn = draw(kind, options, frame)
    return _told(session, len(frame), drawn, share_out(kind, options, drawn, people))


def draw_plan(session: Session, viewer: Viewer, plan_id: int, *, by: int, zone: timezone, now: datetime) -> Drawn:
    """Draw the plan and give the calls to its reviewers, once: drawn again it answers what it drew.

    raises  RefusedError
    """
    plan = session.scalar(select(Plan).where(Plan.id == plan_id).with_for_update())
    if plan is None:
        raise RefusedError("not_found", "没有这个抽检计划")
    if plan.drawn_at is not None:
        return _drawn_before(session, plan)
    kind: Kind = plan.kind  # type: ignore[assignment]
    options = Options.model_validate(plan.options)
    people = _check(session, kind, options)
    frame = _frame(session, viewer, kind, options, zone)
    drawn = draw(kind, options, frame)
    shares = share_out(kind, options, drawn, people)
    told = _told(session, len(frame), drawn, shares)
    _assign(session, plan, shares.tasks, options, by=by, now=now, frame=len(frame))
    plan.drawn_at = now
    plan.options = {**plan.options, "drawn": _kept(told)}
    return told


def progress(session: Session, plan_ids: Iterable[int], now: datetime) -> dict[int, list[Progress]]:
    overdue = and_(Assignment.state == "open", Assignment.due_at < now)
    sums = [func.sum(case((Assignment.state == state, 1), else_=0)) for state in ("open", "done", "withdrawn")]
    rows = session.execute(
        select(Assignment.plan_id, Assignment.reviewer_id, User.display_name, *sums,
               func.sum(case((overdue, 1), else_=0)))
        .join(User, User.id == Assignment.reviewer_id)
        .where(Assignment.plan_id.in_(list(plan_ids)))
        .group_by(Assignment.plan_id, Assignment.reviewer_id, User.display_name)
        .order_by(User.display_name)
    )  # fmt: skip
    found: dict[int, list[Progress]] = defaultdict(list)
    for plan_id, reviewer, name, open_, done, withdrawn, late in rows:
        found[plan_id or 0].append(Progress(reviewer, name, int(open_), int(late), int(done), int(withdrawn)))
    return found


def _check(session: Session, kind: Kind, options: Options) -> list[Reviewer]:
    lacking = complaint(kind, options)
    if lacking:
        raise RefusedError("invalid", lacking)
    return people_who_review(session, {quota.reviewer_id: quota.most for quota in options.reviewers})


def _frame(session: Session, viewer: Viewer, kind: Kind, options: Options, zone: timezone) -> list[Candidate]:
    of = _conditions(viewer, kind, options, zone)
    rows = session.execute(
        select(Call.id, Call.agent_id, func.coalesce(Call.final_score, Call.score), Call.criticals).where(*of)
    )
    flagged = _flagged(session, of, options.rules) if kind == "by_rule" else {}
    return [
        Candidate(call, agent, score, criticals, frozenset(flagged.get(call, ())))
        for call, agent, score, criticals in rows
    ]


def _conditions(viewer: Viewer, kind: Kind, options: Options, zone: timezone) -> list[ColumnElement[bool]]:
    frame = options.frame
    of = [*conditions(viewer, Scope(frame.first_day, frame.last_day), zone), *_free(kind, frame.never_assigned)]
    for column, values in ((Call.team, frame.teams), (Call.agent_id, frame.agents)):
        if values:
            of.append(column.in_(values))
    if frame.direction:
        of.append(Call.direction == frame.direction)
    if frame.verdict:
        of.append(func.coalesce(Call.final_verdict, Call.verdict) == frame.verdict)
    return of


def _free(kind: Kind, never_assigned: bool) -> list[ColumnElement[bool]]:
    """Calls that may be given to somebody. An audit asks nothing of a call and may be of any that was not audited."""
    given = exists().where(Assignment.call_pk == Call.id, Assignment.state != "withdrawn")
    if kind == "audit":
        return [~given.where(Assignment.round == "audit")] if never_assigned else []
    reviews = given.where(Assignment.round.in_(("first", "second")))
    if never_assigned:
        return [Call.state == "auto", ~reviews]
    taken = or_(Assignment.state == "open", Assignment.round == "second")
    return [Call.state.in_(_REVIEWABLE), ~reviews.where(taken)]


def _flagged(session: Session, of: Sequence[ColumnElement[bool]], rules: Sequence[str]) -> dict[int, set[str]]:
    rows = session.execute(
        select(Finding.call_pk, Finding.rule)
        .where(Finding.rule.in_(rules), NEEDS_DECISION, Finding.call_pk.in_(select(Call.id).where(*of)))
        .distinct()
    )
    found: dict[int, set[str]] = defaultdict(set)
    for call, rule in rows:
        found[call].add(rule)
    return found


def _told(session: Session, frame: int, drawn: Sequence[Candidate], shares: Shares) -> Drawn:
    by: dict[int, Counter[str]] = defaultdict(Counter)
    for task in shares.tasks:
        by[task.reviewer][task.round] += 1
    talk_ms = sum(
        session.scalar(select(func.sum(Call.duration_ms)).where(Call.id.in_(chunk))) or 0
        for chunk in _chunks([call.call for call in drawn])
    )
    agents = len({call.agent for call in drawn if call.agent is not None})
    return Drawn(
        frame, len(drawn), int(talk_ms), {reviewer: dict(counts) for reviewer, counts in by.items()},
        len(shares.unassigned), len(shares.single), agents,
    )  # fmt: skip


def _kept(drawn: Drawn) -> dict[str, Any]:
    names = ("frame", "calls", "talk_ms", "unassigned", "single", "agents")
    return {name: getattr(drawn, name) for name in names}


def _drawn_before(session: Session, plan: Plan) -> Drawn:
    rows = session.execute(
        select(Assignment.reviewer_id, Assignment.round, func.count())
        .where(Assignment.plan_id == plan.id)
        .group_by(Assignment.reviewer_id, Assignment.round)
    )
    by: dict[int, dict[str, int]] = defaultdict(dict)
    for reviewer, round_, n in rows:
        by[reviewer][round_] = n
    return Drawn(by=by, **plan.options["drawn"])


# ---- assigning


def _assign(
    session: Session, plan: Plan, tasks: Sequence[Task], options: Options, *, by: int, now: datetime, frame: int
) -> None:
    due_at = None if options.due_days is None else now + timedelta(days=options.due_days)
    common = {"plan_id": plan.id, "calibration_id": None, "state": "open", "due_at": due_at, "created_by": by,
              "created_at": now, "done_at": None}  # fmt: skip
    if plan.kind == "audit":
        _assign_audits(session, tasks, options, common, weight=frame / max(1, len(tasks)))
        return
    rows = [{"call_pk": task.call, "reviewer_id": task.reviewer, "round": task.round, **common} for task in tasks]
    for chunk in _chunks(rows):
        session.execute(insert(Assignment), chunk)
    _mark_assigned(session, [task.call for task in tasks if task.round == "first"], by=by, now=now, why=plan.name)


def _mark_assigned(session: Session, calls: Sequence[int], *, by: int, now: datetime, why: str) -> None:
    """The first step of a finding's way, for many calls at once; calls that are further stay where they are."""
    for chunk in _chunks(calls):
        waiting = list(session.scalars(select(Call).where(Call.id.in_(chunk), Call.state == "auto")))
        ids = [call.id for call in waiting]
        session.execute(
            update(Finding).where(Finding.call_pk.in_(ids), Finding.state == "auto").values(state="assigned")
        )
        for call in waiting:
            call.state = "assigned"
            session.add(
                Transition(call_pk=call.id, finding_id=None, action="assign", state_before="auto",
                           state_after="assigned", by_id=by, at=now, why=why, pack_digest=call.pack.digest)
            )  # fmt: skip
        session.flush()


def _assign_audits(
    session: Session, tasks: Sequence[Task], options: Options, common: Mapping[str, Any], *, weight: float
) -> None:
    unflagged = _unflagged(session, [task.call for task in tasks])
    for task in tasks:
        turns = unflagged.get(task.call, [])
        if not turns:
            continue
        assignment = Assignment(call_pk=task.call, reviewer_id=task.reviewer, round="audit", **common)
        session.add(assignment)
        session.flush()
        session.add_all(
            AuditedSegment(assignment_id=assignment.id, call_pk=task.call, turn=turn, unflagged=len(turns),
                           call_weight=weight, missed=None, at=None)
            for turn in draw_segments(options.seed, task.call, turns, options.per_call)
        )  # fmt: skip


def _unflagged(session: Session, calls: Sequence[int]) -> dict[int, list[int]]:
    """The agent's utterances that no finding touches, by call."""
    found: dict[int, list[int]] = {}
    for chunk in _chunks(calls):
        flagged: dict[int, set[int]] = defaultdict(set)
        for call_pk, turn, spans in session.execute(
            select(Finding.call_pk, Finding.turn, Finding.spans).where(Finding.call_pk.in_(chunk))
        ):
            flagged[call_pk].update(part["turn"] for part in spans)
            if turn is not None:
                flagged[call_pk].add(turn)
        for call_pk, number in session.execute(
            select(Turn.call_pk, Turn.number).where(Turn.call_pk.in_(chunk), Turn.role == "agent", Turn.text != "")
        ):
            if number not in flagged[call_pk]:
                found.setdefault(call_pk, []).append(number)
    return found


def _chunks(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(rows), _CHUNK):
        yield rows[start : start + _CHUNK]
