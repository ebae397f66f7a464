"""A telephone call that was judged again: which of its judgements counts in lists and figures.

The one that people took furthest counts: shared with its agent, else decided on, else given to somebody to review.
Among those that got equally far, and where nobody has touched any, the newest. So new rules show in the figures at
once, and what somebody was told or decided stays what it was, until people take the newer judgement as far.

Which one counts is not stored: it follows from its work and that of its siblings, so it cannot go stale, and the order
of imports plays no part. Stored is only that there were siblings at all (``note_siblings``): most calls have none.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, and_, case, exists, or_, select, tuple_, update
from sqlalchemy.orm import Session, aliased

from analyzer.review.workflow import Round
from analyzer.store.tables import Assignment, AuditedSegment, Call, ManualScore, Review

_UNTOUCHED = ("auto", "assigned")


def counts() -> ColumnElement[bool]:
    """The condition under which a call counts: no other judgement of it goes before."""
    other = aliased(Call)
    is_sibling = and_(other.origin == Call.origin, other.id != Call.id)
    is_before = exists().where(is_sibling, tuple_(*_rank(other)) > tuple_(*_rank(Call))).correlate(Call)
    return or_(Call.is_judged_again.is_(False), ~is_before)


def note_siblings(session: Session, call: Call) -> list[int]:
    """The call's other judgements, once it is stored; all of them are marked. On PostgreSQL whoever imports does so
    alone (``importing``), else two siblings that come at once would not see each other."""
    others = list(session.scalars(select(Call.id).where(Call.origin == call.origin, Call.id != call.id)))
    if others:  # by the table, since it is no change of theirs that a reviewer has to look at: versions stay
        marked = update(Call.__table__).where(Call.origin == call.origin)  # type: ignore[arg-type]
        session.execute(marked.values(is_judged_again=True))
    return others


def set_aside(session: Session, call_pks: Iterable[int]) -> set[int]:
    """Those of the calls that do not count."""
    return set(session.scalars(select(Call.id).where(Call.id.in_(list(call_pks)), ~counts())))


def _rank(call: Any) -> tuple[ColumnElement[Any], ...]:
    return _how_far(call), call.judged_at, call.report_digest, call.id


def _how_far(call: Any) -> ColumnElement[int]:
    """How far people took a judgement. Listening for what the rules missed is a decision too: recall rests on it."""

    def any_of(table: Any, *wanted: ColumnElement[bool]) -> ColumnElement[bool]:
        return exists().where(table.call_pk == call.id, *wanted).correlate(call)

    is_decided = or_(
        call.state.not_in(_UNTOUCHED),
        any_of(Review, Review.round != Round.CALIBRATION.value),
        any_of(ManualScore),
        any_of(AuditedSegment, AuditedSegment.missed.is_not(None)),
    )
    is_given = any_of(Assignment, Assignment.state == "open", Assignment.round != Round.CALIBRATION.value)
    return case((call.shared_at.is_not(None), 3), (is_decided, 2), (is_given, 1), else_=0)
