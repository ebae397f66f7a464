"""Sums over the calls that somebody may see, added up by the database."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, time, timedelta, timezone
from typing import Any

from sqlalchemy import ColumnElement, case, func, literal_column, select
from sqlalchemy.orm import Session

from analyzer.review.trends import NO_AGENT, NO_TEAM, AppealSum, Figures, HourSum, RuleSum, Scope, Sums, total
from analyzer.store.blindness import blind_to
from analyzer.store.calls import visible_to
from analyzer.store.judgements import counts
from analyzer.store.tables import Appeal, Call, RuleResult, User
from analyzer.store.users import Viewer

_SCORE = func.coalesce(Call.final_score, Call.score)
_VERDICT = func.coalesce(Call.final_verdict, Call.verdict)


def local_zone(at: datetime) -> timezone:
    """The zone of this machine as it is at that moment; days and hours are counted in it."""
    return timezone(at.astimezone().utcoffset() or timedelta())


def conditions(viewer: Viewer, scope: Scope, zone: timezone) -> list[ColumnElement[bool]]:
    """Calls of the scope, each telephone call once, whose decisions this person may see: sums over one call would tell
    what a blind review hides."""
    found = [visible_to(viewer), counts(), ~blind_to(viewer)]
    if scope.since:
        found.append(Call.started_at >= datetime.combine(scope.since, time(), zone))
    if scope.until:
        found.append(Call.started_at < datetime.combine(scope.until + timedelta(days=1), time(), zone))
    if scope.team:
        found.append(Call.team == scope.team)
    if scope.agent:
        found.append(Call.agent_id == scope.agent)
    return found


def lately(session: Session, viewer: Viewer, zone: timezone, days: int = 30) -> Scope:
    """The ``days`` up to the newest call."""
    newest = session.scalar(select(func.max(Call.started_at)).where(visible_to(viewer)))
    if newest is None:
        return Scope()
    until = newest.astimezone(zone).date()
    return Scope(since=until - timedelta(days=days - 1), until=until)


def figures(session: Session, viewer: Viewer, scope: Scope, zone: timezone) -> Figures:
    """What the trends page shows."""
    of = conditions(viewer, scope, zone)
    days = _sums(session, of, _local(session, Call.started_at, zone, "%Y-%m-%d", "YYYY-MM-DD"))
    teams = [replace(one, title=one.key or NO_TEAM) for one in _sums(session, of, Call.team)]
    return Figures(
        scope=scope,
        total=total(teams),
        days=tuple(one for one in days if one.key),
        teams=tuple(teams),
        agents=tuple(_agents(session, of)),
        rules=tuple(_rules(session, of)),
        rates=tuple(_rates(session, of)),
        hours=tuple(_hours(session, of, zone)),
        appeals=tuple(_appeals(session, of, zone)),
        notices=_notices(session, of),
    )


def choices(session: Session, viewer: Viewer) -> tuple[list[str], list[tuple[str, str]]]:
    """What can be filtered by: teams, and agents with their names."""
    teams = session.scalars(select(Call.team).where(visible_to(viewer), Call.team.is_not(None)).distinct())
    agents = session.scalars(select(Call.agent_id).where(visible_to(viewer), Call.agent_id.is_not(None)).distinct())
    names = _agent_names(session)
    return sorted(filter(None, teams)), [(agent, names.get(agent, agent)) for agent in sorted(filter(None, agents))]


def _notices(session: Session, of: Sequence[ColumnElement[bool]]) -> dict[str, int]:
    found = session.execute(
        select(Call.notice, func.count()).where(*of, Call.notice.is_not(None)).group_by(Call.notice)
    )
    return {notice: calls for notice, calls in found if notice}


# ---- by key


def _sums(session: Session, of: Sequence[ColumnElement[bool]], key: Any) -> list[Sums]:
    statement = select(
        key,
        func.count(),
        func.count(_SCORE),
        func.sum(_SCORE),
        *(func.sum(case({verdict: 1}, value=_VERDICT, else_=0)) for verdict in ("pass", "fail", "review")),
        *(func.sum(column) for column in (Call.criticals, Call.majors, Call.minors)),
    )
    rows = session.execute(statement.where(*of).group_by(key))
    sums = [
        Sums(name or "", name or "", calls, scored, float(points or 0), *map(int, counts))
        for name, calls, scored, points, *counts in rows
    ]
    return sorted(sums, key=lambda one: one.key)


def _agents(session: Session, of: Sequence[ColumnElement[bool]]) -> Iterable[Sums]:
    names = _agent_names(session)
    for one in _sums(session, of, Call.agent_id):
        yield replace(one, title=names.get(one.key, one.key) or NO_AGENT)


def _agent_names(session: Session) -> dict[str, str]:
    rows = session.execute(select(User.agent_id, User.display_name).where(User.agent_id.is_not(None)))
    return {agent: f"{name} {agent}" for agent, name in rows if agent}


def _local(session: Session, column: Any, zone: timezone, strftime: str, to_char: str) -> ColumnElement[Any]:
    """A moment's local day or hour, as text. Written without parameters, so that it can be grouped by."""
    minutes = int((zone.utcoffset(None)).total_seconds() // 60)
    if session.get_bind().dialect.name == "sqlite":
        return func.strftime(literal_column(f"'{strftime}'"), column, literal_column(f"'{minutes:+d} minutes'"))
    shifted = func.timezone(literal_column("'UTC'"), column) + literal_column(f"interval '{minutes} minutes'")
    return func.to_char(shifted, literal_column(f"'{to_char}'"))


# ---- other sums


def _rules(session: Session, of: Sequence[ColumnElement[bool]]) -> Iterable[RuleSum]:
    rows = session.execute(
        select(RuleResult.rule, func.max(RuleResult.title), func.max(RuleResult.severity), func.count(),
               func.sum(RuleResult.points))
        .where(RuleResult.final_outcome == "violation", RuleResult.status == "stable",
               RuleResult.call_pk.in_(select(Call.id).where(*of)))
        .group_by(RuleResult.rule)
    )  # fmt: skip
    for rule, title, severity, calls, points in rows:
        yield RuleSum(rule, title, severity, calls, -float(points))


def _rates(session: Session, of: Sequence[ColumnElement[bool]]) -> Iterable[float]:
    return (rate for rate in session.scalars(select(Call.agent_rate).where(*of)) if rate is not None)


def _hours(session: Session, of: Sequence[ColumnElement[bool]], zone: timezone) -> Iterable[HourSum]:
    hour = _local(session, Call.started_at, zone, "%w %H", "D HH24")
    rows = session.execute(
        select(hour, func.count(), func.sum(Call.criticals + Call.majors + Call.minors)).where(*of).group_by(hour)
    )
    sunday = 0 if session.get_bind().dialect.name == "sqlite" else 1
    cells = [
        HourSum((int(at.split()[0]) - sunday - 1) % 7, int(at.split()[1]), calls, int(found))
        for at, calls, found in rows
        if at
    ]
    return sorted(cells, key=lambda cell: (cell.weekday, cell.hour))


def _appeals(session: Session, of: Sequence[ColumnElement[bool]], zone: timezone) -> Iterable[AppealSum]:
    day = _local(session, Call.started_at, zone, "%Y-%m-%d", "YYYY-MM-DD")
    states = [func.sum(case((Appeal.state == state, 1), else_=0)) for state in ("upheld", "rejected", "open")]
    rows = session.execute(
        select(day, *states).select_from(Appeal).join(Call, Call.id == Appeal.call_pk).where(*of).group_by(day)
    )
    return sorted((AppealSum(at, *map(int, counts)) for at, *counts in rows if at), key=lambda one: one.key)
