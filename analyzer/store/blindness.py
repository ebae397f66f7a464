"""What a double-blind second review keeps from whom, as a condition of queries, so that no filter, no order and no sum
gives away what a page hides. The same rule for one call: ``analyzer.review.workflow.is_blind_to``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, exists, false, func, null, or_, select
from sqlalchemy.orm import Session

from analyzer.review.workflow import LEADS, REVIEWERS, Round, State
from analyzer.store.tables import Assignment, Call, Finding, Review
from analyzer.store.users import Viewer

_PAIR = (Round.FIRST.value, Round.SECOND.value)


def blind_to(viewer: Viewer) -> ColumnElement[bool]:
    """The condition under which a call's decisions and final score are kept from this person: a second review of it
    runs, and they are one of the two, or no lead."""
    if viewer.role not in REVIEWERS:
        return false()
    conditions = [Call.id.in_(_given(Assignment.round == Round.SECOND.value)),
                  Call.id.in_(_given(Assignment.state == "open"))]  # fmt: skip
    if viewer.role in LEADS:
        conditions.append(Call.id.in_(_given(Assignment.reviewer_id == viewer.user_id)))
    return and_(*conditions)


def _given(*wanted: ColumnElement[bool]) -> Select[Any]:
    """Calls with such an assignment of the two rounds."""
    return select(Assignment.call_pk).where(Assignment.round.in_(_PAIR), Assignment.state != "withdrawn", *wanted)


def blind_calls(session: Session, viewer: Viewer, call_ids: Iterable[int]) -> set[int]:
    """Those of the calls of which decisions and final scores are kept from this person."""
    return set(session.scalars(select(Call.id).where(Call.id.in_(list(call_ids)), blind_to(viewer))))


# ---- what is shown instead


def shown_final_score(viewer: Viewer) -> ColumnElement[float | None]:
    return case((blind_to(viewer), null()), else_=Call.final_score)


def shown_score(viewer: Viewer) -> ColumnElement[float | None]:
    """The final score, or where there is none to be seen the automatic one."""
    return func.coalesce(shown_final_score(viewer), Call.score)


def is_shown_in(viewer: Viewer, states: Iterable[str]) -> ColumnElement[bool]:
    """Whether the call is shown to be in one of these states; a call that is reviewed blind is ``assigned``."""
    wanted, blind = set(states), blind_to(viewer)
    known = and_(Call.state.in_(wanted), ~blind)
    return or_(known, blind) if State.ASSIGNED.value in wanted else known


def is_known(viewer: Viewer) -> ColumnElement[bool]:
    """Whether this person may know of a finding at all: what another one added is hidden."""
    mine = exists().where(Review.finding_id == Finding.id, Review.reviewer_id == viewer.user_id)
    return or_(Finding.source == "auto", mine, Finding.call_pk.not_in(select(Call.id).where(blind_to(viewer))))
