"""Calls for the desk: the list with its filters, and one call with everything on it.

Every query begins with ``visible_to``: an agent sees their own calls that were shared with them and nothing else;
reviewers, leads and admins see all. Of a call that was judged several times the list has the judgement that counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

from sqlalchemy import CTE, ColumnElement, Select, and_, exists, false, func, or_, select, true
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from analyzer.store.blindness import is_known, is_shown_in, shown_final_score, shown_score
from analyzer.store.cursors import read_cursor, write_cursor
from analyzer.store.judgements import counts
from analyzer.store.search import calls_that_say
from analyzer.store.tables import Appeal, Assignment, Call, Finding, User
from analyzer.store.users import Viewer

MOST = 200
MOST_ID = 2**31 - 1
COUNTED = 10_000  # a list longer than this is not counted to its end
SORTS: Mapping[str, InstrumentedAttribute[Any]] = {
    "started_at": Call.started_at, "imported_at": Call.imported_at, "score": Call.score,
    "final_score": Call.final_score, "duration_ms": Call.duration_ms, "criticals": Call.criticals,
    "majors": Call.majors, "unsures": Call.unsures, "agent_rate": Call.agent_rate, "agent_id": Call.agent_id,
    "id": Call.id,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Filter:
    """What a list of calls is narrowed to; None and empty mean everything. ``since`` and ``until`` are days, both
    included, in the zone of ``midnight``. ``judgement``: ``other`` are those that do not count, ``all`` both."""

    q: str = ""
    agent: str = ""
    team: str = ""
    verdict: str = ""
    state: str = ""
    direction: str = ""
    rule: str = ""
    category: str = ""
    severity: str = ""
    outcome: str = ""
    flag: str = ""
    assigned: str = ""
    judgement: str = ""
    since: date | None = None
    until: date | None = None
    min_score: float | None = None
    max_score: float | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """``total`` is at most ``COUNTED``; ``next`` is the cursor of the following page."""

    calls: Sequence[Call]
    next: str | None
    total: int


def visible_to(viewer: Viewer) -> ColumnElement[bool]:
    """The condition under which a call may be seen by this person."""
    if viewer.role in ("reviewer", "lead", "admin"):
        return true()
    if viewer.role == "agent" and viewer.agent_id:
        return and_(Call.agent_id == viewer.agent_id, Call.shared_at.is_not(None))
    return false()


def find_call(session: Session, viewer: Viewer, call_pk: int) -> Call | None:
    """One call, if this person may see it."""
    return session.scalar(select(Call).where(Call.id == call_pk, visible_to(viewer)))


def find_finding(session: Session, viewer: Viewer, finding_id: int) -> Finding | None:
    statement = select(Finding).join(Call, Finding.call_pk == Call.id).where(Finding.id == finding_id)
    return session.scalar(statement.where(visible_to(viewer)))


def find_judgements(session: Session, viewer: Viewer, call: Call) -> Sequence[Call]:
    """All judgements of a telephone call that this person may see, this one among them, newest first."""
    newest = (Call.judged_at.desc(), Call.report_digest.desc(), Call.id.desc())
    return session.scalars(select(Call).where(Call.origin == call.origin, visible_to(viewer)).order_by(*newest)).all()


def count_judgements(session: Session, viewer: Viewer, calls: Iterable[Call]) -> dict[str, int]:
    """How many judgements of the calls this person may see, by origin."""
    wanted = Call.origin.in_({call.origin for call in calls})
    rows = session.execute(select(Call.origin, func.count()).where(wanted, visible_to(viewer)).group_by(Call.origin))
    return dict(rows.all())


def list_calls(
    session: Session,
    viewer: Viewer,
    wanted: Filter,
    *,
    sort: str = "-started_at",
    cursor: str | None = None,
    limit: int = 50,
    now: datetime,
) -> Page:
    """A page of the calls that fit, calls without a value last whatever the direction.

    raises  ValueError for a sort, cursor or search that means nothing
    """
    column, descending = _sort_column(viewer, sort)
    conditions = [visible_to(viewer), *_conditions(session, viewer, wanted, now)]
    counted = select(Call.id).where(*conditions).limit(COUNTED).subquery()
    total = session.scalar(select(func.count()).select_from(counted)) or 0
    statement: Select[Any] = select(Call.id, column).where(*conditions)  # no more of it: rows are long to sort
    if cursor is not None:
        statement = statement.where(_after(column, _read_place(cursor, column), descending=descending))
    order = (column.desc() if descending else column.asc()).nulls_last()
    places = session.execute(statement.order_by(order, Call.id.desc()).limit(limit + 1)).all()
    ids = [call_pk for call_pk, _ in places[:limit]]
    found = {call.id: call for call in session.scalars(select(Call).where(Call.id.in_(ids)))}
    following = None
    if len(places) > limit:
        last, value = places[limit - 1]
        following = write_cursor(value, last)
    return Page([found[call_pk] for call_pk in ids], following, total)


# ---- filters


def _conditions(session: Session, viewer: Viewer, wanted: Filter, now: datetime) -> Iterable[ColumnElement[bool]]:
    if wanted.judgement == "other":
        yield ~counts()
    elif wanted.judgement != "all" and not _asks_for_work(wanted):
        yield counts()
    if wanted.q.strip():
        yield or_(Call.id.in_(calls_that_say(session, wanted.q)), Call.call_id == wanted.q.strip())
    if wanted.agent:
        names = select(User.agent_id).where(User.display_name == wanted.agent, User.agent_id.is_not(None))
        yield or_(Call.agent_id == wanted.agent, Call.agent_id.in_(names))
    for column, value in (
        (Call.team, wanted.team), (Call.verdict, wanted.verdict), (Call.direction, wanted.direction),
    ):  # fmt: skip
        if value:
            yield column.in_(value.split(","))
    if wanted.state:
        yield is_shown_in(viewer, wanted.state.split(","))
    if wanted.since:
        yield Call.started_at >= _midnight(wanted.since)
    if wanted.until:
        yield Call.started_at < _midnight(wanted.until + timedelta(days=1))
    if wanted.min_score is not None:
        yield shown_score(viewer) >= wanted.min_score
    if wanted.max_score is not None:
        yield shown_score(viewer) <= wanted.max_score
    yield from _by_finding(viewer, wanted)
    yield from _by_work(viewer, wanted, now)


def _by_finding(viewer: Viewer, wanted: Filter) -> Iterable[ColumnElement[bool]]:
    asked = [
        column.in_(value.split(","))
        for column, value in (
            (Finding.rule, wanted.rule), (Finding.category, wanted.category),
            (Finding.severity, wanted.severity), (Finding.outcome, wanted.outcome),
        )
        if value
    ]  # fmt: skip
    if not asked:
        return
    if not wanted.outcome:
        asked.append(Finding.outcome.in_(("violation", "unsure")))
    yield Call.id.in_(select(Finding.call_pk).where(*asked, is_known(viewer)))


def _asks_for_work(wanted: Filter) -> bool:
    """What waits for somebody is listed whether it counts or not, so that nothing waits unseen."""
    return wanted.assigned == "me" or wanted.flag in ("overdue", "appealed")


def _by_work(viewer: Viewer, wanted: Filter, now: datetime) -> Iterable[ColumnElement[bool]]:
    open_work = exists().where(Assignment.call_pk == Call.id, Assignment.state == "open")
    match wanted.assigned:
        case "me":
            yield open_work.where(Assignment.reviewer_id == viewer.user_id)
        case "none":
            yield ~open_work
    match wanted.flag:
        case "truncated":
            yield Call.truncated.is_(True)
        case "overdue":
            yield open_work.where(Assignment.due_at < now)
        case "appealed":
            yield exists().where(Appeal.call_pk == Call.id, Appeal.state == "open")


def _midnight(day: date) -> datetime:
    """When a day begins where this machine stands, as call centres count days."""
    return datetime.combine(day, time()).astimezone()


# ---- pages


def _sort_column(viewer: Viewer, sort: str) -> tuple[ColumnElement[Any], bool]:
    name = sort.removeprefix("-")
    if name not in SORTS:
        raise ValueError(f"sort: {name!r} is none of {', '.join(SORTS)}")
    column: ColumnElement[Any] = shown_final_score(viewer) if name == "final_score" else SORTS[name].expression
    return column, sort.startswith("-")


def _read_place(cursor: str, column: ColumnElement[Any]) -> tuple[Any, int]:
    """raises ValueError"""
    value, call_pk = read_cursor(cursor, column.type.python_type, int)
    if call_pk is None:
        raise ValueError("cursor: not one that this list gave out")
    return value, call_pk


def _after(column: ColumnElement[Any], place: tuple[Any, int], *, descending: bool) -> ColumnElement[bool]:
    value, call_pk = place
    if value is None:
        return and_(column.is_(None), Call.id < call_pk)
    beyond = column < value if descending else column > value
    return or_(beyond, and_(column == value, Call.id < call_pk), column.is_(None))


@dataclass(frozen=True, slots=True)
class Choices:
    """What a list of calls can be narrowed to: teams, rules (id, title), categories."""

    teams: Sequence[str]
    rules: Sequence[tuple[str, str]]
    categories: Sequence[str]


def choices(session: Session) -> Choices:
    """The values that occur. ``title``: as the rule's newest finding names it."""
    finding = aliased(Finding)
    occurring = _distinct(Finding.rule)
    newest = select(func.max(finding.id)).where(finding.rule == occurring.c.value).scalar_subquery()
    rules = session.execute(select(occurring.c.value, Finding.title).join(Finding, Finding.id == newest))
    categories = session.scalars(select(Finding.category).where(Finding.rule == "banned_phrase").distinct())
    teams = session.scalars(select(_distinct(Call.team).c.value))
    return Choices(
        sorted(team for team in teams if team),
        sorted((rule, title) for rule, title in rules),
        sorted(category for category in categories if category),
    )


def _distinct(column: InstrumentedAttribute[Any]) -> CTE:
    """The values of an indexed column, by one look into the index for each instead of one for each row."""
    first = select(func.min(column).label("value")).cte("distinct_values", recursive=True)
    after = select(func.min(column)).where(column > first.c.value).scalar_subquery()
    return first.union_all(select(after).where(first.c.value.is_not(None)))
