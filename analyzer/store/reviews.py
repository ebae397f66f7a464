"""Decisions about findings, violations that were missed, and where a call goes next. How: ``store.deeds``."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from analyzer.review import workflow
from analyzer.review.workflow import Action, Actor, CallNow, Decision, RefusedError, ReviewNow, Round, State
from analyzer.store.case_drafts import draft_firing_case
from analyzer.store.deeds import (
    Changed,
    Deed,
    actor,
    lock_call,
    lock_finding,
    pair_of,
    read_call,
    require_version,
)
from analyzer.store.tables import Assignment, Call, Finding, Review, RuleResult, Turn, User
from analyzer.store.users import Principal
from analyzer.types import Severity

_PAIR = (Round.FIRST.value, Round.SECOND.value)
_DIFFER = "双人复核意见不一致"


@dataclass(frozen=True, slots=True)
class Added:
    """A violation that the analyzer missed: code points of a turn's text."""

    rule: str
    turn: int
    char_start: int
    char_end: int
    severity: Severity
    category: str | None = None


# ---- findings


def decide(
    session: Session,
    who: Principal,
    finding_id: int,
    decision: Decision,
    *,
    reason: str = "",
    version: int | None = None,
    at: datetime,
) -> Changed:
    """Confirm or overturn a finding, or say that it cannot be decided.

    The same decision sent again by the same person is one review. raises RefusedError
    """
    call, finding = lock_finding(session, who, finding_id)
    now, me = read_call(call), actor(who)
    round_ = workflow.round_of(now, now.all[finding_id], me)
    newest = now.all[finding_id].newest_in(round_)
    if newest == ReviewNow(me.user_id, round_, decision) and _reason(session, finding, round_) == reason:
        return Changed(call, finding)
    require_version(call, version)
    after = workflow.decide(now, finding_id, decision, me, reason)
    deed = Deed(session, call, who, at, reason)
    deed.write(now, after, workflow.DECIDING[decision])
    return deed.tell("finding.decided", finding, decision=decision.value)


def _reason(session: Session, finding: Finding, round_: Round) -> str | None:
    """The newest reason given in a round."""
    wanted = (Review.finding_id == finding.id, Review.round == round_.value)
    return session.scalar(select(Review.reason).where(*wanted).order_by(Review.id.desc()).limit(1))


def add_finding(
    session: Session,
    who: Principal,
    call_pk: int,
    added: Added,
    *,
    reason: str,
    version: int | None = None,
    at: datetime,
) -> Changed:
    """A violation that the analyzer missed: it counts like a hit of its rule, and becomes the draft of a firing case.

    Sent again by the same person it is one finding. raises RefusedError
    """
    call = lock_call(session, who, call_pk)
    now, me = read_call(call), actor(who)
    key = _added_key(added, me)
    before = session.scalar(select(Finding).where(Finding.call_pk == call.id, Finding.key == key))
    if before is not None:
        return Changed(call, before)
    require_version(call, version)
    workflow.check_add(now, me)
    deed = Deed(session, call, who, at, reason)
    same = _same_place(session, call, added)
    if same is not None:
        return _seen_too(deed, now, same, me)
    finding = _new_finding(session, call, added, key)
    deed.write(now, workflow.add(now, finding.id, me, reason), Action.ADD)
    draft_firing_case(session, call, finding, by=me.user_id, at=at)
    return deed.tell("finding.added", finding, rule=finding.rule)


def _added_key(added: Added, me: Actor) -> str:
    place = f"added:{me.user_id}:{added.rule}:{added.turn}:{added.char_start}:{added.char_end}"
    return hashlib.sha256(place.encode()).hexdigest()[:40]


def _same_place(session: Session, call: Call, added: Added) -> Finding | None:
    """What the rule has there already."""
    return session.scalar(
        select(Finding)
        .where(
            Finding.call_pk == call.id,
            Finding.rule == added.rule,
            Finding.turn == added.turn,
            Finding.char_start < added.char_end,
            Finding.char_end > added.char_start,
        )
        .limit(1)
    )


def _seen_too(deed: Deed, now: CallNow, same: Finding, me: Actor) -> Changed:
    """Two reviewers, each alone, added the same: then they agree."""
    if not (workflow.is_blind_to(now, me) and workflow.seen_alone(now.all[same.id], me) is None):
        raise RefusedError("conflict", "这个位置已经有这条规则的发现，请直接判定它")
    deed.write(now, workflow.decide(now, same.id, Decision.CONFIRMED, me, deed.why), Action.CONFIRM)
    return deed.tell("finding.decided", same, decision="confirmed")


def _new_finding(session: Session, call: Call, added: Added, key: str) -> Finding:
    turn = session.scalar(select(Turn).where(Turn.call_pk == call.id, Turn.number == added.turn))
    if turn is None or not 0 <= added.char_start < added.char_end <= len(turn.text):
        raise RefusedError("invalid", "请选中这通电话里的一段原话")
    fields = (call.pack.weights or {}).get(added.rule)
    result = session.get(RuleResult, (call.id, added.rule))
    if fields is None and result is None:
        raise RefusedError("invalid", "这通电话的规则包里没有这条规则")
    title = fields["title"] if fields else result.title if result else added.rule
    status = fields["status"] if fields else result.status if result else "stable"
    if result is None:
        result = _idle_result(call, added, title, status, fields)
        call.results.append(result)
    start_ms, end_ms = _times(turn, added)
    finding = Finding(
        call_pk=call.id, key=key, source="added", rule=added.rule, title=title, outcome="violation", status=status,
        category=added.category, severity=added.severity.value, role=turn.role, turn=turn.number, start_ms=start_ms,
        end_ms=end_ms, quote=turn.text[added.char_start : added.char_end], char_start=added.char_start,
        char_end=added.char_end, match="exact", confidence=None, message=f"人工补充：{title}", suggestion=None,
        spans=[{"turn": turn.number, "char_start": added.char_start, "char_end": added.char_end}],
        clauses=list(result.clauses), state=State.ASSIGNED.value,
    )  # fmt: skip
    call.findings.append(finding)
    session.flush()
    return finding


def _idle_result(call: Call, added: Added, title: str, status: str, fields: Mapping[str, Any] | None) -> RuleResult:
    """A rule that did not apply has no row until somebody finds that it did."""
    return RuleResult(
        call_pk=call.id, rule=added.rule, title=title, outcome="not_applicable", final_outcome="not_applicable",
        severity=fields["severity"] if fields else added.severity.value, status=status, level=None, points=0,
        max_points=fields["max_points"] if fields else 0, clauses=[], measured=None, elements=None,
    )  # fmt: skip


def _times(turn: Turn, added: Added) -> tuple[int, int]:
    """From the first character's start to the last one's end; spread evenly where characters have no times."""
    if turn.chars:
        return turn.chars[added.char_start][0], turn.chars[added.char_end - 1][1]
    length = turn.end_ms - turn.start_ms
    start, end = (turn.start_ms + length * place // len(turn.text) for place in (added.char_start, added.char_end))
    return start, end


# ---- calls


def assign(
    session: Session,
    who: Principal,
    call_pk: int,
    reviewer_id: int,
    round_: Round = Round.FIRST,
    *,
    why: str = "",
    version: int | None = None,
    due_at: datetime | None = None,
    at: datetime,
) -> Changed:
    """Give a call's first or second review to somebody. raises RefusedError"""
    call = lock_call(session, who, call_pk)
    require_version(call, version)
    user = session.get(User, reviewer_id)
    if user is None or not user.is_active:
        raise RefusedError("invalid", "没有这位质检员")
    now = read_call(call)
    after = workflow.assign(now, Actor(user.id, user.role, user.agent_id), round_, actor(who))
    call.assignments.append(
        Assignment(reviewer_id=user.id, round=round_.value, due_at=due_at, created_by=who.user_id, created_at=at)
    )
    deed = Deed(session, call, who, at, why)
    deed.write(now, after, Action.ASSIGN)
    return deed.tell("call.assigned", reviewer=user.id, round=round_.value)


def withdraw(
    session: Session, who: Principal, call_pk: int, *, why: str = "", version: int | None = None, at: datetime
) -> Changed:
    """Take back a call's open assignments. raises RefusedError"""
    deed, now = _begin(session, who, call_pk, why=why, version=version, at=at)
    after = workflow.withdraw(now, actor(who))
    for one in pair_of(deed.call):
        if one.state == "open":
            one.state = "withdrawn"
    deed.write(now, after, Action.WITHDRAW)
    return deed.tell("call.withdrawn", state=deed.call.state)


def finish(session: Session, who: Principal, assignment_id: int, *, at: datetime) -> Changed:
    """The reviewer is done with a first or second round; once both are, differences are known. raises RefusedError"""
    assignment = session.get(Assignment, assignment_id)
    if assignment is None or assignment.reviewer_id != who.user_id or assignment.round not in _PAIR:
        raise RefusedError("not_found", "没有这项任务")
    call = lock_call(session, who, assignment.call_pk)
    session.refresh(assignment)
    if assignment.state == "done":
        return Changed(call)
    now = read_call(call)
    after = workflow.finish(now, actor(who))
    assignment.state, assignment.done_at = "done", at
    deed = Deed(session, call, who, at)
    Deed(session, call, None, at, _DIFFER).write(now, after, Action.DISPUTE)
    return deed.tell("assignment.done", assignment=assignment.id)


def share(
    session: Session,
    who: Principal,
    call_pk: int,
    *,
    appeal_within: timedelta,
    why: str = "",
    version: int | None = None,
    at: datetime,
) -> Changed:
    """Show the agent what came of it; until ``at + appeal_within`` they may appeal. raises RefusedError"""
    deed, now = _begin(session, who, call_pk, why=why, version=version, at=at)
    deed.write(now, workflow.share(now, actor(who), at, appeal_within), Action.SHARE)
    deed.call.shared_at = at
    return deed.tell("call.shared", state=deed.call.state)


def acknowledge(
    session: Session, who: Principal, call_pk: int, *, why: str = "", version: int | None = None, at: datetime
) -> Changed:
    """The agent accepts what they did not appeal. raises RefusedError"""
    deed, now = _begin(session, who, call_pk, why=why, version=version, at=at)
    deed.write(now, workflow.acknowledge(now, actor(who)), Action.ACKNOWLEDGE)
    return deed.tell("call.acknowledged", state=deed.call.state)


def finalise(
    session: Session, who: Principal, call_pk: int, *, why: str = "", version: int | None = None, at: datetime
) -> Changed:
    """Lock the call. raises RefusedError"""
    deed, now = _begin(session, who, call_pk, why=why, version=version, at=at)
    deed.write(now, workflow.finalise(now, actor(who), at), Action.FINALISE)
    deed.call.locked_at = at
    return deed.tell("call.finalised", state=deed.call.state)


def reopen(
    session: Session, who: Principal, call_pk: int, *, why: str, version: int | None = None, at: datetime
) -> Changed:
    """Back to review; the agent does not see the call until it is shared again. raises RefusedError"""
    deed, now = _begin(session, who, call_pk, why=why, version=version, at=at)
    deed.write(now, workflow.reopen(now, actor(who), why), Action.REOPEN)
    deed.call.locked_at = deed.call.shared_at = None
    return deed.tell("call.reopened", state=deed.call.state)


def _begin(
    session: Session, who: Principal, call_pk: int, *, why: str, version: int | None, at: datetime
) -> tuple[Deed, CallNow]:
    call = lock_call(session, who, call_pk)
    require_version(call, version)
    return Deed(session, call, who, at, why), read_call(call)
