"""Calibration sessions: several reviewers judge one call, each alone; closed by a lead, then compared.

What is said in one changes no call.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, exists, select, true, update
from sqlalchemy.orm import Session

from analyzer.review.agreement import Agreement, among_many
from analyzer.review.workflow import RefusedError
from analyzer.store.calls import visible_to
from analyzer.store.tables import (
    Assignment,
    Calibration,
    Call,
    Finding,
    Review,
    User,
)
from analyzer.store.users import Viewer
from analyzer.store.work import NEEDS_DECISION, people_who_review


@dataclass(frozen=True, slots=True)
class Said:
    """What one participant said of a finding last."""

    decision: str
    reason: str


@dataclass(frozen=True, slots=True)
class Participant:
    id: int
    name: str
    assignment_id: int
    decided: int
    is_done: bool


@dataclass(frozen=True, slots=True)
class Meeting:
    """A calibration with everything on it. ``said`` by finding and participant; while the session is open, only what
    the viewer said themselves."""

    calibration: Calibration
    call: Call
    participants: tuple[Participant, ...]
    findings: tuple[Finding, ...]
    said: Mapping[int, Mapping[int, Said]]
    agreement: Agreement | None
    rules: Mapping[str, Agreement]


def make_calibration(
    session: Session, viewer: Viewer, call_pk: int, name: str, reviewer_ids: Sequence[int], *, by: int,
    due_at: datetime | None, now: datetime,
) -> Calibration:  # fmt: skip
    """raises  RefusedError for a call that is not there, fewer than two reviewers, or one in their own call"""
    call = session.scalar(select(Call).where(Call.id == call_pk, visible_to(viewer)))
    if call is None:
        raise RefusedError("not_found", "没有这通电话，或您无权查看")
    people = people_who_review(session, dict.fromkeys(reviewer_ids))
    if len(people) < 2:
        raise RefusedError("invalid", "校准至少需要两名质检员")
    if any(person.agent is not None and person.agent == call.agent_id for person in people):
        raise RefusedError("invalid", "不能评自己的通话：请更换质检员或通话")
    calibration = Calibration(call_pk=call_pk, name=name, state="open", created_by=by, created_at=now)
    session.add(calibration)
    session.flush()
    session.add_all(
        Assignment(call_pk=call_pk, reviewer_id=person.id, round="calibration", calibration_id=calibration.id,
                   state="open", due_at=due_at, created_by=by, created_at=now)
        for person in people
    )  # fmt: skip
    return calibration


def list_calibrations(
    session: Session, viewer: Viewer, *, before: int | None, limit: int
) -> list[tuple[Calibration, Call]]:
    """All for a lead; those a reviewer takes part in, for them."""
    statement = select(Calibration, Call).join(Call, Call.id == Calibration.call_pk).order_by(Calibration.id.desc())
    if before is not None:
        statement = statement.where(Calibration.id < before)
    return [(one, call) for one, call in session.execute(statement.where(_takes_part(viewer)).limit(limit))]


def _takes_part(viewer: Viewer) -> ColumnElement[bool]:
    if viewer.role in ("lead", "admin"):
        return true()
    return exists().where(Assignment.calibration_id == Calibration.id, Assignment.reviewer_id == viewer.user_id)


def calibration(session: Session, viewer: Viewer, calibration_id: int) -> Meeting:
    """raises  RefusedError"""
    row = session.execute(
        select(Calibration, Call)
        .join(Call, Call.id == Calibration.call_pk)
        .where(Calibration.id == calibration_id, _takes_part(viewer))
    ).first()
    if row is None:
        raise RefusedError("not_found", "没有这次校准，或您没有参加")
    one, call = row
    findings = session.scalars(
        select(Finding)
        .where(Finding.call_pk == call.id, NEEDS_DECISION, Finding.source == "auto")
        .order_by(Finding.start_ms, Finding.id)
    )
    said = _said(session, one)
    people = _participants(session, one, said)
    shown: Mapping[int, Mapping[int, Said]] = said
    agreement: Agreement | None = None
    rules: Mapping[str, Agreement] = {}
    listed = tuple(findings)
    if one.state == "open":
        shown = {finding: {by: what for by, what in of.items() if by == viewer.user_id} for finding, of in said.items()}
    else:
        agreement, rules = _agreement(listed, said)
    return Meeting(one, call, people, listed, shown, agreement, rules)


def _said(session: Session, one: Calibration) -> dict[int, dict[int, Said]]:
    rows = session.scalars(select(Review).where(Review.calibration_id == one.id).order_by(Review.id))
    said: dict[int, dict[int, Said]] = defaultdict(dict)
    for review in rows:
        said[review.finding_id][review.reviewer_id] = Said(review.decision, review.reason)
    return said


def _participants(
    session: Session, one: Calibration, said: Mapping[int, Mapping[int, Said]]
) -> tuple[Participant, ...]:
    rows = session.execute(
        select(Assignment, User.display_name)
        .join(User, User.id == Assignment.reviewer_id)
        .where(Assignment.calibration_id == one.id)
        .order_by(User.display_name, User.id)
    )
    return tuple(
        Participant(
            assignment.reviewer_id, name, assignment.id,
            sum(assignment.reviewer_id in by for by in said.values()), assignment.state == "done",
        )
        for assignment, name in rows
    )  # fmt: skip


def _agreement(
    findings: Sequence[Finding], said: Mapping[int, Mapping[int, Said]]
) -> tuple[Agreement, dict[str, Agreement]]:
    items: dict[str, list[list[str]]] = defaultdict(list)
    for finding in findings:
        items[finding.rule].append([what.decision for what in said.get(finding.id, {}).values()])
    return among_many(items)


def decide_in_calibration(
    session: Session, reviewer_id: int, calibration_id: int, finding_id: int, *, decision: str, reason: str,
    now: datetime,
) -> None:  # fmt: skip
    """Say what a finding is, alone. Changes no finding. Raises RefusedError."""
    row = session.execute(
        select(Calibration, Finding, Call)
        .join(Call, Call.id == Calibration.call_pk)
        .join(Finding, Finding.call_pk == Call.id)
        .join(Assignment, and_(Assignment.calibration_id == Calibration.id, Assignment.reviewer_id == reviewer_id))
        .where(Calibration.id == calibration_id, Finding.id == finding_id)
    ).first()
    if row is None:
        raise RefusedError("not_found", "没有这条发现，或您没有参加这次校准")
    one, finding, call = row
    if one.state != "open":
        raise RefusedError("conflict", "校准已经结束，不能再更改")
    session.add(
        Review(call_pk=call.id, finding_id=finding.id, rule=finding.rule, round="calibration",
               calibration_id=one.id, decision=decision, reason=reason, reviewer_id=reviewer_id, at=now,
               pack_digest=call.pack.digest)
    )  # fmt: skip


def close_calibration(session: Session, calibration_id: int, now: datetime) -> Calibration:
    """End a session: everybody may now see what all said. Raises RefusedError."""
    one = session.scalar(select(Calibration).where(Calibration.id == calibration_id).with_for_update())
    if one is None:
        raise RefusedError("not_found", "没有这次校准，或您没有参加")
    if one.state != "open":
        raise RefusedError("conflict", "校准已经结束")
    one.state, one.closed_at = "closed", now
    session.execute(
        update(Assignment)
        .where(Assignment.calibration_id == one.id, Assignment.state == "open")
        .values(state="withdrawn")
    )
    return one
