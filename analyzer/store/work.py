"""Assignments: who is to review which call until when, what is next, and listening for what the rules miss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, case, exists, func, or_, select
from sqlalchemy.orm import Session

from analyzer.review.sampling import (
    Reviewer,
)
from analyzer.review.workflow import RefusedError
from analyzer.store import audit, reviews
from analyzer.store.cursors import read_cursor, write_cursor
from analyzer.store.tables import (
    Assignment,
    AuditedSegment,
    Call,
    Finding,
    Review,
    Turn,
    User,
)
from analyzer.store.users import Principal

_REVIEWS = ("first", "second")
REVIEWING = ("reviewer", "lead", "admin")
DECISIONS = ("confirmed", "overturned", "unsure")
NEEDS_DECISION = and_(  # as analyzer.review.workflow means it; others may be decided and need not be
    Finding.outcome.in_(("violation", "unsure")), Finding.status == "stable", Finding.severity != "info"
)


def people_who_review(session: Session, most: Mapping[int, int | None]) -> list[Reviewer]:
    """Those people, with the most that each takes on. Raises RefusedError for who does not review."""
    people = session.scalars(select(User).where(User.id.in_(most), User.is_active, User.role.in_(REVIEWING)))
    found = [Reviewer(user.id, user.agent_id, most[user.id]) for user in people]
    unknown = set(most) - {reviewer.id for reviewer in found}
    if unknown:
        raise RefusedError("invalid", f"用户 {', '.join(map(str, sorted(unknown)))} 不是可用的质检员")
    return found


# ---- queues


def queue(
    session: Session, reviewer_id: int, *, state: str = "open", cursor: str | None = None, limit: int = 50
) -> tuple[list[tuple[Assignment, Call]], str | None]:
    """A page of a reviewer's assignments: open ones in the order in which they are due, done ones newest first; and
    the cursor of the next.

    raises  ValueError for a cursor that means nothing
    """
    wanted = [Assignment.reviewer_id == reviewer_id, Assignment.state == state]
    by_due = state == "open"
    if cursor is not None:
        at, number = read_cursor(cursor, datetime, int)
        wanted.append(_due_after(at, number or 0) if by_due else _done_before(at, number or 0))
    rows = session.execute(
        select(Assignment, Call)
        .join(Call, Call.id == Assignment.call_pk)
        .where(*wanted)
        .order_by(*(_DUE_FIRST if by_due else _NEWEST_FIRST))
        .limit(limit + 1)
    ).all()
    shown = [(assignment, call) for assignment, call in rows[:limit]]
    if len(rows) <= limit:
        return shown, None
    last = shown[-1][0]
    return shown, write_cursor(last.due_at if by_due else last.done_at, last.id)


def _due_after(due_at: datetime | None, number: int) -> ColumnElement[bool]:
    """What comes after an assignment in ``_DUE_FIRST``."""
    if due_at is None:
        return and_(Assignment.due_at.is_(None), Assignment.id > number)
    tied = and_(Assignment.due_at == due_at, Assignment.id > number)
    return or_(Assignment.due_at > due_at, tied, Assignment.due_at.is_(None))


def _done_before(done_at: datetime | None, number: int) -> ColumnElement[bool]:
    """What comes after an assignment in ``_NEWEST_FIRST``."""
    if done_at is None:
        return and_(Assignment.done_at.is_(None), Assignment.id < number)
    tied = and_(Assignment.done_at == done_at, Assignment.id < number)
    return or_(Assignment.done_at < done_at, tied, Assignment.done_at.is_(None))


def queue_length(session: Session, reviewer_id: int, now: datetime) -> tuple[int, int]:
    """Open assignments, and those overdue."""
    late = func.sum(case((Assignment.due_at < now, 1), else_=0))
    statement = select(func.count(), late).where(Assignment.reviewer_id == reviewer_id, Assignment.state == "open")
    n, overdue = session.execute(statement).one()
    return n, int(overdue or 0)


_DUE_FIRST = (Assignment.due_at.is_(None), Assignment.due_at, Assignment.id)
_NEWEST_FIRST = (Assignment.done_at.is_(None), Assignment.done_at.desc(), Assignment.id.desc())


def next_item(
    session: Session, reviewer_id: int, *, after_call: int | None, after_finding: int | None
) -> tuple[int, int | None] | None:
    """Where the reviewer goes on: the next finding of this call that they have to decide, else the next call with one.

    A call none of whose findings wait (or which has none) comes with None, since it must be listened to all the same.
    """
    work = session.execute(
        select(Assignment.call_pk, Assignment.round)
        .where(Assignment.reviewer_id == reviewer_id, Assignment.state == "open",
               Assignment.round.in_(_REVIEWS))
        .order_by(*_DUE_FIRST)
    ).all()  # fmt: skip
    here = next((number for number, (call, _) in enumerate(work) if call == after_call), -1)
    if here >= 0:
        call, round_ = work[here]
        found = _waiting(session, call, round_, reviewer_id, after=after_finding)
        if found is not None:
            return call, found
    for call, round_ in (*work[here + 1 :], *work[: max(here, 0)]):
        return call, _waiting(session, call, round_, reviewer_id, after=None)
    return None


def _waiting(session: Session, call_pk: int, round_: str, reviewer_id: int, *, after: int | None) -> int | None:
    statement = (
        select(Finding.id)
        .where(Finding.call_pk == call_pk, NEEDS_DECISION, Finding.source == "auto",
               _undecided(round_, reviewer_id))
        .order_by(Finding.start_ms, Finding.id)
        .limit(1)
    )  # fmt: skip
    place = session.get(Finding, after) if after is not None else None
    if place is not None and place.call_pk == call_pk:
        later = or_(Finding.start_ms > place.start_ms,
                    and_(Finding.start_ms == place.start_ms, Finding.id > place.id))  # fmt: skip
        found = session.scalar(statement.where(later))
        if found is not None:
            return found
        statement = statement.where(Finding.id != place.id)
    return session.scalar(statement)


def _undecided(round_: str, reviewer_id: int) -> ColumnElement[bool]:
    """In a blind round only what oneself said counts, so that nothing is given away."""
    if round_ == "first":
        return Finding.decision.is_(None)
    mine = exists().where(Review.finding_id == Finding.id, Review.round == round_, Review.reviewer_id == reviewer_id)
    return ~mine


def finish(session: Session, who: Principal, assignment_id: int, at: datetime) -> Assignment:
    """Say that an assignment is done.

    Said again it changes nothing. raises RefusedError if it is not this person's, or something of it still waits
    """
    wanted = (Assignment.id == assignment_id, Assignment.reviewer_id == who.user_id)
    found = session.scalar(select(Assignment).where(*wanted))
    if found is None:
        raise RefusedError("not_found", "没有这项任务")
    if found.round in _REVIEWS:
        reviews.finish(session, who, assignment_id, at=at)
        return found
    if found.state == "done":
        return found
    if found.state != "open":
        raise RefusedError("conflict", "这项任务已经撤回")
    left = _left(session, found)
    if left:
        raise RefusedError("conflict", f"还有 {left} 处没有判定")
    found.state, found.done_at = "done", at
    audit.append(session, who.actor, "assignment.done", f"call:{found.call_pk}", {"assignment": found.id}, at=at)
    return found


def _left(session: Session, assignment: Assignment) -> int:
    """What of an audit or a calibration waits still."""
    if assignment.round == "audit":
        unheard = (AuditedSegment.assignment_id == assignment.id, AuditedSegment.missed.is_(None))
        return session.scalar(select(func.count()).select_from(AuditedSegment).where(*unheard)) or 0
    said = exists().where(
        Review.finding_id == Finding.id,
        Review.reviewer_id == assignment.reviewer_id,
        Review.calibration_id == assignment.calibration_id,
    )
    waiting = (Finding.call_pk == assignment.call_pk, NEEDS_DECISION, Finding.source == "auto", ~said)
    return session.scalar(select(func.count()).select_from(Finding).where(*waiting)) or 0


def withdraw(session: Session, who: Principal, assignment_id: int, at: datetime) -> Assignment:
    """Take an open assignment from its reviewer; of a first or second review all that is open of the call.

    raises  RefusedError
    """
    found = session.get(Assignment, assignment_id)
    if found is None:
        raise RefusedError("not_found", "没有这项任务")
    if found.state != "open":
        raise RefusedError("conflict", "这项任务已经结束")
    if found.round in _REVIEWS:
        reviews.withdraw(session, who, found.call_pk, at=at)
        return found
    found.state = "withdrawn"
    audit.append(session, who.actor, "assignment.withdrawn", f"call:{found.call_pk}", {"assignment": found.id}, at=at)
    return found


# ---- audits: listening for what the rules miss


@dataclass(frozen=True, slots=True)
class Heard:
    """An utterance to listen to, with what was said right before and after it."""

    segment: AuditedSegment
    turn: Turn
    context: tuple[Turn, ...]


def audit_of(session: Session, reviewer_id: int | None, assignment_id: int) -> tuple[Assignment, Call, list[Heard]]:
    """An audit's utterances in order of time; with a reviewer, only if it is theirs. Raises RefusedError."""
    wanted = [Assignment.id == assignment_id, Assignment.round == "audit"]
    if reviewer_id is not None:
        wanted.append(Assignment.reviewer_id == reviewer_id)
    found = session.execute(select(Assignment, Call).join(Call, Call.id == Assignment.call_pk).where(*wanted)).first()
    if found is None:
        raise RefusedError("not_found", "没有这项任务")
    assignment, call = found
    turns = {turn.number: turn for turn in session.scalars(select(Turn).where(Turn.call_pk == call.id))}
    segments = session.scalars(
        select(AuditedSegment).where(AuditedSegment.assignment_id == assignment_id).order_by(AuditedSegment.turn)
    )
    return assignment, call, [
        Heard(one, turns[one.turn], tuple(turns[n] for n in range(one.turn - 2, one.turn + 3) if n in turns))
        for one in segments
        if one.turn in turns
    ]  # fmt: skip


def hear(session: Session, reviewer_id: int, segment_id: int, missed: Sequence[str], now: datetime) -> AuditedSegment:
    """Note what an utterance breaks; nothing for an empty list. Raises RefusedError."""
    row = session.execute(
        select(AuditedSegment, Assignment)
        .join(Assignment, Assignment.id == AuditedSegment.assignment_id)
        .where(AuditedSegment.id == segment_id, Assignment.reviewer_id == reviewer_id)
    ).first()
    if row is None:
        raise RefusedError("not_found", "没有这句话的审计任务")
    segment, assignment = row
    if assignment.state != "open":
        raise RefusedError("conflict", "这项审计已经结束")
    segment.missed, segment.at = sorted(set(missed)), now
    return segment
